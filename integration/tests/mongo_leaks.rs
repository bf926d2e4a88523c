//! Clients of the MongoDB port cut at any byte leave nothing: no cursor, no transaction, no connection, no memory.
//! Alone in its process, so that its memory is its own.

#[path = "mongo/raw.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod raw;
#[path = "mongo/support.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod support;

use anyhow::Result;
use raw::Raw;
use support::{Scene, Wants, session};
use twinport_integration::{PASSWORD, USER, cut_after, eventually, leaves_no_memory};
use twinport_wire::mongo::bson::rawdoc;

#[tokio::test]
async fn clients_cut_at_any_byte_leave_nothing() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 3,
        mongo_lines: "cursor_timeout = \"2s\"\nidle_transaction_timeout = \"2s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 50).await?;
    let mut sessions = (0..250).cycle();
    // A login is about 500 bytes, all that follows about 1,000.
    leaves_no_memory(
        1700,
        async |limit| {
            let mut client = Raw::over(cut_after(scene.port, limit).await?);
            // It ends with an error where it is cut.
            let _ = leave(&mut client, sessions.next().unwrap_or_default()).await;
            Ok(())
        },
        async || at_rest(&scene).await,
    )
    .await?;
    let left = scene.count("undone").await?;
    assert_eq!(left, 0, "of no transaction anything is left");
    scene.stop().await;
    Ok(())
}

/// Leaves state of every kind behind, if it gets that far.
async fn leave(client: &mut Raw, byte: u8) -> Result<()> {
    client.log_in(USER, PASSWORD).await?;
    let find = rawdoc! { "find": "c", "sort": { "v": 1 }, "batchSize": 2, "$db": "test" };
    client.run(&find).await?;
    let find = rawdoc! {
        "find": "c", "sort": { "v": 1 }, "batchSize": 2, "lsid": session(byte), "$db": "test",
    };
    client.run(&find).await?;
    let insert = rawdoc! {
        "insert": "d", "documents": [{ "text": "x".repeat(100) }], "lsid": session(byte),
        "txnNumber": 1_i64, "$db": "test",
    };
    client.run(&insert).await?;
    let begin = rawdoc! {
        "insert": "undone", "documents": [{ "text": "x".repeat(100) }], "lsid": session(byte),
        "txnNumber": 2_i64, "autocommit": false, "startTransaction": true, "$db": "test",
    };
    client.run(&begin).await?;
    let more = rawdoc! {
        "find": "c", "batchSize": 2, "lsid": session(byte), "txnNumber": 2_i64,
        "autocommit": false, "$db": "test",
    };
    client.run(&more).await?;
    let slow = rawdoc! { "aggregate": "c", "pipeline": [], "cursor": {}, "$db": "test" };
    client.send(&slow).await
}

async fn at_rest(scene: &Scene) -> Result<()> {
    let wing = scene.wing()?;
    eventually(
        "no client is left",
        async || Ok(wing.clients().count() == 0),
    )
    .await?;
    eventually("no transaction is left", async || {
        Ok(wing.transactions() == 0)
    })
    .await?;
    eventually("no cursor is left", async || Ok(wing.cursors() == 0)).await?;
    eventually("no transaction and no statement is left", async || {
        Ok(scene.busy().await? == 0)
    })
    .await?;
    assert!(scene.upstream().await? <= 4);
    Ok(())
}
