//! Clients cut at any byte leave nothing: no state, no connection, no memory. Alone in its process, so that its
//! memory is its own.

#[path = "pooling/raw.rs"]
#[allow(dead_code, reason = "the tests of the pool use the rest")]
mod raw;
#[path = "pooling/support.rs"]
#[allow(dead_code, reason = "the tests of the pool use the rest")]
mod support;

use anyhow::Result;
use support::Scene;
use twinport_integration::{eventually, leaves_no_memory};

#[tokio::test]
async fn clients_cut_at_any_byte_leave_nothing() -> Result<()> {
    let scene = Scene::new(3).await?;
    leaves_no_memory(
        1200,
        async |limit| cut(&scene, limit).await,
        async || at_rest(&scene).await,
    )
    .await?;
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

/// A client that leaves state of every kind behind, if it gets that far.
async fn cut(scene: &Scene, limit: usize) -> Result<()> {
    let Ok((client, driven)) = scene.cut_after(limit).await else {
        return Ok(());
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
    Ok(())
}

async fn at_rest(scene: &Scene) -> Result<()> {
    eventually("no client is left", async || Ok(scene.clients() == 0)).await?;
    eventually("no transaction and no query is left", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
        Ok(scene.admin.query_one(sql, &[]).await?.get::<_, i64>(0) == 0)
    })
    .await?;
    assert!(scene.upstream().await? <= 4);
    Ok(())
}
