//! What hurts users of poolers most, each as a test: state that leaks from one client to another,
//! cancels that hit the wrong one, queries of dead clients, waits without end.

#[path = "pooling/support.rs"]
mod support;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use support::{Scene, code, eventually};
use tokio_postgres::NoTls;

#[tokio::test]
async fn settings_and_roles_stay_apart() -> Result<()> {
    let scene = Scene::new(1).await?;
    scene
        .admin
        .batch_execute("CREATE ROLE guest; GRANT guest TO app")
        .await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    a.batch_execute("SET search_path = tenant_a; SET ROLE guest; SET statement_timeout = '7s'")
        .await?;
    let sql = "SELECT current_setting('search_path') || current_user || current_setting('statement_timeout')";
    for _ in 0..3 {
        let row: String = a.query_one(sql, &[]).await?.get(0);
        assert_eq!(row, "tenant_aguest7s");
        let row: String = b.query_one(sql, &[]).await?.get(0);
        assert_eq!(row, "\"$user\", publicapp0");
    }
    drop(a);
    let late = scene.client().await?;
    let row: String = late.query_one(sql, &[]).await?.get(0);
    assert_eq!(row, "\"$user\", publicapp0");
    Ok(())
}

#[tokio::test]
async fn a_plan_is_not_shared_under_another_search_path() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    a.batch_execute("SET search_path = tenant_a").await?;
    b.batch_execute("SET search_path = tenant_b").await?;
    let of_a = a.prepare("SELECT owner FROM secrets WHERE id = $1").await?;
    let of_b = b.prepare("SELECT owner FROM secrets WHERE id = $1").await?;
    for _ in 0..8 {
        let owner: String = a.query_one(&of_a, &[&1]).await?.get(0);
        assert_eq!(owner, "a");
        let owner: String = b.query_one(&of_b, &[&1]).await?.get(0);
        assert_eq!(owner, "b");
    }
    a.batch_execute("SET search_path = tenant_b").await?;
    let owner: String = a.query_one(&of_a, &[&1]).await?.get(0);
    assert_eq!(
        owner, "b",
        "as a server would: the statement is planned anew"
    );
    Ok(())
}

#[tokio::test]
async fn temporary_tables_go_with_their_client() -> Result<()> {
    let scene = Scene::new(1).await?;
    let a = scene.client().await?;
    a.batch_execute("CREATE TEMPORARY TABLE mine AS SELECT 1 AS id")
        .await?;
    let count: i64 = a.query_one("SELECT count(*) FROM mine", &[]).await?.get(0);
    assert_eq!(count, 1);
    drop(a);
    let b = scene.client().await?;
    let error = b.query_one("SELECT count(*) FROM mine", &[]).await;
    assert_eq!(code(&error), "42P01");
    Ok(())
}

#[tokio::test]
async fn advisory_locks_last_as_long_as_their_client() -> Result<()> {
    let scene = Scene::new(2).await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    a.query_one("SELECT pg_advisory_lock(42)", &[]).await?;
    a.query_one("SELECT 1", &[]).await?;
    let try_lock = "SELECT pg_try_advisory_lock(42)";
    let got: bool = b.query_one(try_lock, &[]).await?.get(0);
    assert!(!got, "the lock of a client that lives");
    drop(a);
    eventually("the lock of a client that left is free", async || {
        Ok(b.query_one(try_lock, &[]).await?.get(0))
    })
    .await
}

#[tokio::test]
async fn listening_and_sql_prepare_go_with_their_client() -> Result<()> {
    let scene = Scene::new(1).await?;
    let a = scene.client().await?;
    a.batch_execute(
        "LISTEN news; PREPARE mine AS SELECT 1; DECLARE held CURSOR WITH HOLD FOR SELECT 1",
    )
    .await?;
    a.batch_execute("EXECUTE mine; FETCH held").await?;
    drop(a);
    let b = scene.client().await?;
    let sql = "SELECT (SELECT count(*) FROM pg_listening_channels()) + (SELECT count(*) FROM pg_cursors WHERE is_holdable)
        + (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)";
    let left: i64 = b.query_one(sql, &[]).await?.get(0);
    assert_eq!(left, 0);
    assert_eq!(code(&b.batch_execute("EXECUTE mine").await), "26000");
    Ok(())
}

#[tokio::test]
async fn a_cancel_hits_nobody_else() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    a.query_one("SELECT 1", &[]).await?;
    let late = a.cancel_token();
    let sleep = tokio::spawn(async move { b.batch_execute("SELECT pg_sleep(1.5)").await });
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        late.cancel_query(NoTls).await?;
    }
    sleep.await??;
    Ok(())
}

#[tokio::test]
async fn a_cancel_hits_its_own_query() -> Result<()> {
    let scene = Scene::new(2).await?;
    let a = scene.client().await?;
    let token = a.cancel_token();
    let began = Instant::now();
    let (result, sent) = tokio::join!(a.batch_execute("SELECT pg_sleep(30)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    });
    sent?;
    assert_eq!(code(&result), "57014");
    assert!(began.elapsed() < Duration::from_secs(5));
    a.query_one("SELECT 1", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn a_dead_clients_query_is_cancelled() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (a, connection) = scene.parted().await?;
    let driven = tokio::spawn(connection);
    let asking = tokio::spawn(async move { a.batch_execute("SELECT pg_sleep(120)").await });
    eventually("the query runs", async || {
        Ok(scene.running("pg_sleep").await? == 1)
    })
    .await?;
    driven.abort();
    asking.abort();
    eventually("the query is over", async || {
        Ok(scene.running("pg_sleep").await? == 0)
    })
    .await?;
    scene.client().await?.query_one("SELECT 1", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn a_dead_clients_transaction_is_rolled_back() -> Result<()> {
    let scene = Scene::new(1).await?;
    let a = scene.client().await?;
    a.batch_execute("BEGIN; INSERT INTO scratch VALUES (1, 'undone')")
        .await?;
    drop(a);
    let b = scene.client().await?;
    let count: i64 = b
        .query_one("SELECT count(*) FROM scratch", &[])
        .await?
        .get(0);
    assert_eq!(count, 0);
    Ok(())
}

#[tokio::test]
async fn a_wait_ends_with_53300() -> Result<()> {
    let scene = Scene::with(1, "wait_timeout = \"1s\"").await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    a.batch_execute("BEGIN; SELECT 1").await?;
    let began = Instant::now();
    assert_eq!(code(&b.query_one("SELECT 1", &[]).await), "53300");
    let waited = began.elapsed();
    assert!(
        waited > Duration::from_millis(900) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
    a.batch_execute("COMMIT").await?;
    let again = scene.client().await?;
    again.query_one("SELECT 1", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn a_thousand_clients_on_ten_connections() -> Result<()> {
    let scene = Scene::new(10).await?;
    let mut clients = Vec::new();
    for number in 0..1000_i32 {
        clients.push((number, scene.client().await?));
    }
    let work = clients.into_iter().map(|(number, client)| {
        tokio::spawn(async move {
            for turn in 0..5_i32 {
                let row = client
                    .query_one("SELECT $1::int4 * 10 + $2::int4", &[&number, &turn])
                    .await?;
                ensure!(row.get::<_, i32>(0) == number * 10 + turn, "another's row");
            }
            anyhow::Ok(client)
        })
    });
    let work: Vec<_> = work.collect();
    let mut alive = Vec::new();
    for task in work {
        alive.push(task.await??);
    }
    let upstream = scene.upstream().await?;
    assert!(upstream <= 11, "{upstream} upstream connections");
    Ok(())
}

#[tokio::test]
async fn a_killed_server_is_told_and_survived() -> Result<()> {
    let mut scene = Scene::new(4).await?;
    let (asking, working, copying) = (
        scene.client().await?,
        scene.client().await?,
        scene.client().await?,
    );
    working
        .batch_execute("BEGIN; INSERT INTO scratch VALUES (1, 'undone')")
        .await?;
    let copy = copying
        .copy_out("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT")
        .await?;
    let query = tokio::spawn(async move {
        let result = asking.batch_execute("SELECT pg_sleep(60)").await;
        (asking, result)
    });
    eventually("the query runs", async || {
        Ok(scene.running("pg_sleep").await? == 1)
    })
    .await?;
    scene.world.server.kill9()?;
    let (asking, result) = query.await?;
    assert_eq!(code(&result), "08006", "a query under way");
    assert!(
        working.batch_execute("COMMIT").await.is_err(),
        "a transaction under way"
    );
    drop(copy);
    scene.world.server.restart().await?;
    scene.admin = scene.world.server.client("library").await?;
    eventually("new clients are served", async || {
        let Ok(client) = scene.client().await else {
            return Ok(false);
        };
        Ok(client.query_one("SELECT 1", &[]).await.is_ok())
    })
    .await?;
    let count: i64 = scene
        .client()
        .await?
        .query_one("SELECT count(*) FROM scratch", &[])
        .await?
        .get(0);
    assert_eq!(count, 0, "nothing of the transaction is left");
    drop((asking, working, copying));
    Ok(())
}

#[tokio::test]
async fn clients_cut_at_any_byte_leave_nothing() -> Result<()> {
    let scene = Scene::new(3).await?;
    // A fixed walk over the lengths, so that a failure comes again.
    let mut seed = 12345_u64;
    for _ in 0..80 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let limit = usize::try_from(seed >> 33)? % 1200;
        let Ok((client, driven)) = scene.cut_after(limit).await else {
            continue;
        };
        let _ = client
            .batch_execute(
                "SET search_path = tenant_a; CREATE TEMPORARY TABLE cut (id int); LISTEN cut",
            )
            .await;
        let _ = client
            .query("SELECT owner FROM secrets WHERE id = $1", &[&1])
            .await;
        let _ = client
            .batch_execute("BEGIN; INSERT INTO public.scratch VALUES (1, 'undone')")
            .await;
        let _ = client.query("SELECT $1::text", &[&"x".repeat(300)]).await;
        driven.abort();
    }
    eventually("no transaction and no query is left", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
        Ok(scene.admin.query_one(sql, &[]).await?.get::<_, i64>(0) == 0)
    })
    .await?;
    assert!(scene.upstream().await? <= 4);
    for _ in 0..6 {
        let client = scene.client().await?;
        let row = client
            .query_one(
                "SELECT current_setting('search_path'), (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM scratch)",
                &[],
            )
            .await?;
        assert_eq!(row.get::<_, String>(0), "\"$user\", public");
        assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (0, 0));
    }
    Ok(())
}
