//! What hurts users of poolers most, each as a test: state that leaks from one client to another,
//! cancels that hit the wrong one, queries of dead clients, waits without end.

#[path = "pooling/apart.rs"]
mod apart;
#[path = "pooling/aside.rs"]
mod aside;
#[path = "pooling/batch.rs"]
mod batch;
#[path = "pooling/bounds.rs"]
mod bounds;
#[path = "pooling/deferred.rs"]
mod deferred;
#[path = "pooling/fates.rs"]
mod fates;
#[path = "pooling/flow.rs"]
mod flow;
#[path = "pooling/handles.rs"]
mod handles;
#[path = "pooling/lifecycle.rs"]
mod lifecycle;
#[path = "pooling/names.rs"]
mod names;
#[path = "pooling/pair.rs"]
mod pair;
#[path = "pooling/raw.rs"]
mod raw;
#[path = "pooling/readings.rs"]
mod readings;
#[path = "pooling/reread.rs"]
mod reread;
#[path = "pooling/resets.rs"]
mod resets;
#[path = "pooling/support.rs"]
#[allow(dead_code, reason = "the tests of leaks use the rest")]
mod support;
#[path = "pooling/tongues.rs"]
mod tongues;
#[path = "pooling/unasked.rs"]
mod unasked;
#[path = "pooling/unlearned.rs"]
mod unlearned;
#[path = "pooling/unread.rs"]
mod unread;
#[path = "pooling/within.rs"]
mod within;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use support::{Scene, code};
use tokio_postgres::NoTls;
use twinport_integration::eventually;

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
async fn what_follows_an_error_up_to_sync_has_not_happened() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut client = scene.raw().await?;
    // The client has read the error and goes on with its batch: libpq's pipelines do so.
    client.parse("", "SELECT no_such_column");
    client.flush().await?;
    assert_eq!(client.until(b'E').await?, "E[42703]");
    client.parse("kept", "SELECT 1").run("kept");
    client.query("SELECT 2");
    assert_eq!(client.sync().await?, "Z");
    // On no connection is there such a statement, for nobody.
    assert_eq!(client.run("kept").sync().await?, "E[26000]Z");
    assert_eq!(
        client.parse("kept", "SELECT 1").run("kept").sync().await?,
        "12DCZ"
    );
    let mut other = scene.raw().await?;
    assert_eq!(
        other.parse("kept", "SELECT 1").run("kept").sync().await?,
        "12DCZ"
    );
    // The same, sent at once.
    client
        .parse("", "SELECT no_such_column")
        .run("")
        .query("SELECT 2");
    assert_eq!(client.parse("late", "SELECT 3").sync().await?, "E[42703]Z");
    assert_eq!(client.run("late").sync().await?, "E[26000]Z");
    assert_eq!(client.run("kept").sync().await?, "2DCZ");
    Ok(())
}

#[tokio::test]
async fn statements_given_up_are_closed_on_the_server() -> Result<()> {
    let scene = Scene::with(1, "prepared_statements = 2").await?;
    let mut client = scene.raw().await?;
    for number in 0..6 {
        let name = format!("s{number}");
        // Each third batch fails before the server reads our Close.
        if number % 3 == 2 {
            client.parse("", "SELECT no_such_column");
        }
        client
            .parse(&name, &format!("SELECT {number}"))
            .sync()
            .await?;
    }
    for number in [0, 1, 3, 4] {
        assert_eq!(client.run(&format!("s{number}")).sync().await?, "2DCZ");
    }
    let held = "SELECT 1 / (count(*) <= 2)::int FROM pg_prepared_statements";
    assert_eq!(client.query(held).answer().await?, "TDCZ");
    Ok(())
}

#[tokio::test]
async fn sql_can_execute_what_the_protocol_has_prepared() -> Result<()> {
    let scene = Scene::with(1, "prepared_statements = 1").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.parse("Kept", "SELECT 1 / $1::int").sync().await?;
    a.parse("runs", "EXECUTE \"Kept\"(1)").sync().await?;
    for _ in 0..3 {
        assert_eq!(a.query("EXECUTE \"Kept\"(1)").answer().await?, "TDCZ");
        assert_eq!(a.query("EXECUTE \"Kept\"(0)").answer().await?, "E[22012]Z");
        assert_eq!(a.run("runs").sync().await?, "2DCZ");
        // Another client's statements take the place of both.
        assert_eq!(b.parse("", "SELECT 2").run("").sync().await?, "12DCZ");
        b.parse("kept", "SELECT 3").run("kept").sync().await?;
        assert_eq!(b.query("EXECUTE kept").answer().await?, "TDCZ");
        b.query("DEALLOCATE kept").answer().await?;
        assert_eq!(b.query("EXECUTE kept").answer().await?, "E[26000]Z");
    }
    Ok(())
}
