//! What clients leave behind when they go: cursors, transactions, statements that run.

use std::time::Duration;

use anyhow::Result;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::raw::RawDocumentBuf;
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{abort, begins, commit};
use super::support::{ONE_CONNECTION, Scene, Wants, code, cursor_of, page, session};

fn begin(byte: u8, number: i64) -> RawDocumentBuf {
    let insert = rawdoc! { "insert": "c", "documents": [{ "_id": "undone" }], "$db": "test" };
    begins(insert, byte, number)
}

#[tokio::test]
async fn a_dead_clients_command_is_cancelled() -> Result<()> {
    let scene = Scene::with(ONE_CONNECTION).await?;
    scene.fill("c", 3).await?;
    let lock = scene.lock("c").await?;
    let mut client = scene.client().await?;
    client.send(&rawdoc! { "find": "c", "$db": "test" }).await?;
    scene.until_locked(1).await?;
    drop(client);
    scene.until_locked(0).await?;
    drop(lock);
    assert_eq!(
        scene.count("c").await?,
        3,
        "the only connection serves the next"
    );
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_dead_clients_write_is_whole_or_not_there() -> Result<()> {
    let scene = Scene::with(ONE_CONNECTION).await?;
    scene.fill("c", 3).await?;
    let lock = scene.lock("c").await?;
    let mut client = scene.client().await?;
    client
        .send(&rawdoc! { "insert": "c", "documents": [{}, {}], "$db": "test" })
        .await?;
    scene.until_locked(1).await?;
    drop(client);
    scene.until_locked(0).await?;
    drop(lock);
    assert_eq!(scene.count("c").await?, 3);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn cursors_go_with_their_client_or_session_or_time() -> Result<()> {
    let scene = Scene::with(Wants {
        mongo_lines: "cursor_timeout = \"3s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 100).await?;
    let wing = scene.wing()?;
    let sorted = |lsid: Option<u8>| {
        let mut find = rawdoc! { "find": "c", "sort": { "v": -1 }, "batchSize": 2, "$db": "test" };
        if let Some(byte) = lsid {
            find.append(
                twinport_wire::mongo::bson::raw::cstr!("lsid"),
                session(byte),
            );
        }
        find
    };
    // Without a session: with the client.
    let mut client = scene.client().await?;
    for _ in 0..5 {
        client.run(&sorted(None)).await?;
    }
    assert_eq!((wing.cursors(), scene.files().await?), (5, 5));
    drop(client);
    eventually("the client's cursors are closed", async || {
        Ok(wing.cursors() == 0)
    })
    .await?;
    eventually("their files are gone", async || {
        Ok(scene.files().await? == 0)
    })
    .await?;
    // With a session: another connection may go on, until the session ends.
    let mut client = scene.client().await?;
    let open = cursor_of(&client.run(&sorted(Some(1))).await?)?;
    drop(client);
    let mut client = scene.client().await?;
    let more = rawdoc! { "getMore": open, "collection": "c", "lsid": session(1), "batchSize": 3, "$db": "test" };
    assert_eq!(page(&client.run(&more).await?)?.len(), 3);
    client
        .run(&rawdoc! { "endSessions": [session(1)], "$db": "admin" })
        .await?;
    assert_eq!(wing.cursors(), 0);
    assert_eq!(code(&client.ask(&more).await?), 43);
    // Nobody asks: with time.
    client.run(&sorted(Some(2))).await?;
    drop(client);
    eventually("the cursor is too old", async || Ok(wing.cursors() == 0)).await?;
    eventually("all files are gone", async || Ok(scene.files().await? == 0)).await?;
    assert_eq!(scene.busy().await?, 0);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_cursor_goes_with_a_client_that_leaves_in_a_page() -> Result<()> {
    let scene = Scene::with(ONE_CONNECTION).await?;
    scene.fill("c", 100).await?;
    let (mut client, mut other) = (scene.client().await?, scene.client().await?);
    let find = rawdoc! {
        "find": "c", "sort": { "v": -1 }, "batchSize": 2, "lsid": session(1), "$db": "test",
    };
    let open = cursor_of(&client.run(&find).await?)?;
    assert_eq!(scene.files().await?, 1);
    other.run(&begin(2, 1)).await?;
    let more = rawdoc! { "getMore": open, "collection": "c", "lsid": session(1), "$db": "test" };
    client.send(&more).await?;
    eventually("it waits for the connection", async || {
        let pools = scene.running.wing().pools().list();
        let waiting: usize = pools.iter().map(|(_, pool)| pool.census().waiting).sum();
        Ok(waiting == 1)
    })
    .await?;
    drop(client);
    eventually("its cursor is off the list", async || {
        Ok(scene.wing()?.cursors() == 0)
    })
    .await?;
    other.run(&abort(2, 1)).await?;
    eventually("its file is gone", async || Ok(scene.files().await? == 0)).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn cursors_left_while_the_pool_is_full_go_when_it_is_free() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 1,
        pool_lines: "wait_timeout = \"1s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 100).await?;
    let (mut client, mut other) = (scene.client().await?, scene.client().await?);
    let find = rawdoc! { "find": "c", "sort": { "v": -1 }, "batchSize": 2, "$db": "test" };
    for _ in 0..20 {
        client.run(&find).await?;
    }
    assert_eq!(scene.files().await?, 20);
    other.run(&begin(1, 1)).await?;
    drop(client);
    eventually("its cursors are off the list", async || {
        Ok(scene.wing()?.cursors() == 0)
    })
    .await?;
    // Longer than anybody waits for a connection.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.files().await?, 20);
    other.run(&abort(1, 1)).await?;
    eventually("their files are gone", async || {
        Ok(scene.files().await? == 0)
    })
    .await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn cursors_of_a_transaction_end_with_it() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 100).await?;
    let mut client = scene.client().await?;
    let find = rawdoc! { "find": "c", "sort": { "v": 1 }, "batchSize": 2, "$db": "test" };
    for (number, end) in [(1, commit(1, 1)), (2, abort(1, 2))] {
        client.run(&begins(find.clone(), 1, number)).await?;
        assert_eq!(scene.wing()?.cursors(), 1);
        client.run(&end).await?;
        eventually("its cursor is closed", async || {
            Ok(scene.wing()?.cursors() == 0)
        })
        .await?;
    }
    eventually("no file is left", async || Ok(scene.files().await? == 0)).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_abandoned_transaction_is_rolled_back() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 1,
        mongo_lines: "idle_transaction_timeout = \"2s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 3).await?;
    let wing = scene.wing()?;
    let mut client = scene.client().await?;
    client.run(&begin(1, 1)).await?;
    assert_eq!((wing.transactions(), scene.busy().await?), (1, 1));
    drop(client);
    eventually("it is rolled back", async || Ok(wing.transactions() == 0)).await?;
    assert_eq!(
        scene.count("c").await?,
        3,
        "the only connection serves the next"
    );
    let mut client = scene.client().await?;
    let late = client.ask(&commit(1, 1)).await?;
    assert_eq!(code(&late), 251, "{late:?}");
    // Or its session ends.
    client.run(&begin(2, 1)).await?;
    client
        .run(&rawdoc! { "endSessions": [session(2)], "$db": "admin" })
        .await?;
    assert_eq!(wing.transactions(), 0);
    assert_eq!(scene.count("c").await?, 3);
    // Or its session begins another.
    client.run(&begin(3, 1)).await?;
    client.run(&begin(3, 2)).await?;
    assert_eq!(wing.transactions(), 1);
    assert_eq!(code(&client.ask(&commit(3, 1)).await?), 251);
    client.run(&commit(3, 2)).await?;
    assert_eq!(scene.count("c").await?, 4);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn behind_a_balancer_a_transaction_goes_with_its_client() -> Result<()> {
    let scene = Scene::with(ONE_CONNECTION).await?;
    scene.fill("c", 3).await?;
    let mut client = scene.stranger().await?;
    let hello = rawdoc! { "hello": 1, "loadBalanced": true, "$db": "admin" };
    let answer = client.run(&hello).await?;
    assert!(answer.get_object_id("serviceId").is_ok(), "{answer:?}");
    client
        .log_in(twinport_integration::USER, twinport_integration::PASSWORD)
        .await?;
    client.run(&begin(1, 1)).await?;
    assert_eq!(scene.wing()?.transactions(), 1);
    drop(client);
    eventually("it is rolled back", async || {
        Ok(scene.wing()?.transactions() == 0)
    })
    .await?;
    assert_eq!(scene.count("c").await?, 3);
    scene.stop().await;
    Ok(())
}
