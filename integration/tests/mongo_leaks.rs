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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinport_integration::{PASSWORD, USER, eventually, resident};
use twinport_wire::mongo::bson::rawdoc;

/// So many clients are cut before the first count, which lets caches and allocators fill.
const WARM_UP: usize = 150;

/// So many between the counts.
const CUTS: usize = 450;

/// What may be more after them, in bytes: a few hundred for each.
const SLACK: usize = CUTS * 1024;

#[tokio::test]
async fn clients_cut_at_any_byte_leave_nothing() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 3,
        mongo_lines: "cursor_timeout = \"2s\"\nidle_transaction_timeout = \"2s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 50).await?;
    // A fixed walk over the lengths, so that a failure comes again.
    let mut seed = 12345;
    cut(&scene, &mut seed, WARM_UP).await?;
    at_rest(&scene).await?;
    let before = resident()?;
    cut(&scene, &mut seed, CUTS).await?;
    at_rest(&scene).await?;
    let after = resident()?;
    assert!(
        after < before + SLACK,
        "{before} bytes have become {after} by {CUTS} clients"
    );
    let count = rawdoc! { "count": "undone", "query": {}, "$db": "test" };
    let answer = scene.client().await?.run(&count).await?;
    assert_eq!(
        answer.get_i32("n")?,
        0,
        "of no transaction anything is left"
    );
    scene.stop().await;
    Ok(())
}

/// Clients that leave state of every kind behind, if they get that far.
async fn cut(scene: &Scene, seed: &mut u64, clients: usize) -> Result<()> {
    for number in 0..clients {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // A login is about 500 bytes, all that follows about 1,000.
        let limit = usize::try_from(*seed >> 33)? % 1700;
        let mut client = cut_after(scene.port, limit).await?;
        // It ends with an error where it is cut.
        let _ = leave(&mut client, u8::try_from(number % 250)?).await;
    }
    Ok(())
}

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

/// A client whose socket is cut when it has sent this many bytes.
async fn cut_after(port: u16, limit: usize) -> Result<Raw> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(&mut far);
        let (mut back, mut forth) = socket.split();
        let sending = async {
            let mut bounded = AsyncReadExt::take(&mut from, limit as u64);
            let _ = tokio::io::copy(&mut bounded, &mut forth).await;
        };
        tokio::select! {
            () = sending => {}
            _ = tokio::io::copy(&mut back, &mut to) => {}
        }
        let _ = far.shutdown().await;
    });
    Ok(Raw::over(near))
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
