//! The server dies in the middle: clients are told in a way that makes drivers try again, and all
//! recovers by itself.

use anyhow::Result;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::raw::RawDocumentBuf;
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{begins, commit, goes_on};
use super::support::{Scene, code, cursor_of, labels, page, session};

/// Codes after which drivers try a read again: the host can't be reached, or shuts down.
const RETRYABLE: [i32; 5] = [6, 7, 89, 91, 11600];

fn insert(id: &str) -> RawDocumentBuf {
    rawdoc! { "insert": "free", "documents": [{ "_id": id }], "$db": "test" }
}

#[tokio::test]
async fn a_killed_server_is_told_and_survived() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.fill("c", 100).await?;
    scene.fill("free", 1).await?;
    let mut idle = scene.client().await?;
    let mut reading = scene.client().await?;
    let mut writing = scene.client().await?;
    let mut within_one = scene.client().await?;
    let mut within_two = scene.client().await?;
    // A cursor between two batches, and two transactions between two commands.
    let find = rawdoc! { "find": "c", "sort": { "v": 1 }, "batchSize": 2, "lsid": session(9), "$db": "test" };
    let open = cursor_of(&idle.run(&find).await?)?;
    within_one.run(&begins(insert("one"), 1, 1)).await?;
    within_two.run(&begins(insert("two"), 2, 1)).await?;
    // A find and an insert in the middle.
    let lock = scene.lock("c").await?;
    reading
        .send(&rawdoc! { "find": "c", "$db": "test" })
        .await?;
    let write = rawdoc! {
        "insert": "c", "documents": [{ "_id": "new" }], "lsid": session(3), "txnNumber": 1_i64,
        "$db": "test",
    };
    writing.send(&write).await?;
    scene.until_locked(2).await?;
    scene.world.server.kill9()?;
    let answer = reading.read().await?;
    assert!(RETRYABLE.contains(&code(&answer)), "a read: {answer:?}");
    let answer = writing.read().await?;
    assert!(RETRYABLE.contains(&code(&answer)), "a write: {answer:?}");
    assert_eq!(
        labels(&answer),
        ["RetryableWriteError"],
        "a write: {answer:?}"
    );
    let answer = within_one.ask(&goes_on(insert("more"), 1, 1)).await?;
    assert_eq!(labels(&answer), ["TransientTransactionError"], "{answer:?}");
    let answer = within_two.ask(&commit(2, 1)).await?;
    assert_eq!(labels(&answer), ["TransientTransactionError"], "{answer:?}");
    // While the server is away.
    let answer = idle.ask(&rawdoc! { "find": "c", "$db": "test" }).await?;
    assert!(RETRYABLE.contains(&code(&answer)), "{answer:?}");
    let answer = writing.ask(&write).await?;
    assert_eq!(labels(&answer), ["RetryableWriteError"], "{answer:?}");
    let answer = within_one.ask(&begins(insert("three"), 4, 1)).await?;
    assert_eq!(labels(&answer), ["TransientTransactionError"], "{answer:?}");
    idle.run(&rawdoc! { "ping": 1, "$db": "admin" }).await?;
    drop(lock);
    scene.world.server.restart().await?;
    scene.admin = scene.world.server.client("postgres").await?;
    // The same clients are served again, and the write that was sent again is applied once.
    eventually("clients are served", async || {
        let answer = reading.ask(&rawdoc! { "find": "c", "$db": "test" }).await?;
        Ok(code(&answer) == 0)
    })
    .await?;
    for _ in 0..2 {
        let answer = writing.run(&write).await?;
        assert_eq!(answer.get_i32("n")?, 1);
    }
    within_one.run(&begins(insert("four"), 5, 1)).await?;
    within_one.run(&commit(5, 1)).await?;
    let all = rawdoc! { "find": "free", "sort": { "_id": 1 }, "$db": "test" };
    let answer = within_two.run(&all).await?;
    let found: Vec<_> = page(&answer)?
        .iter()
        .filter_map(|each| each.get_str("_id").ok())
        .collect();
    assert_eq!(found, ["four"], "nothing of the lost transactions is left");
    let more = rawdoc! { "getMore": open, "collection": "c", "lsid": session(9), "$db": "test" };
    assert_ne!(
        code(&idle.ask(&more).await?),
        1,
        "a cursor that is gone is no internal error"
    );
    assert_eq!(scene.wing()?.transactions(), 0);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_terminated_connection_is_told_and_replaced() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 3).await?;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'twinport-mongo'";
    let mut client = scene.client().await?;
    let lock = scene.lock("c").await?;
    client.send(&rawdoc! { "find": "c", "$db": "test" }).await?;
    scene.until_locked(1).await?;
    scene.admin.execute(kill, &[]).await?;
    let answer = client.read().await?;
    assert!(RETRYABLE.contains(&code(&answer)), "{answer:?}");
    drop(lock);
    client
        .run(&rawdoc! { "create": "free", "$db": "test" })
        .await?;
    client.run(&begins(insert("one"), 1, 1)).await?;
    scene.admin.execute(kill, &[]).await?;
    let answer = client.ask(&goes_on(insert("two"), 1, 1)).await?;
    assert_eq!(labels(&answer), ["TransientTransactionError"], "{answer:?}");
    client.run(&rawdoc! { "find": "c", "$db": "test" }).await?;
    scene.stop().await;
    Ok(())
}
