//! The connection is lost between the execution of a write and its answer, before the port and
//! behind it: the driver sends the write again, and it is applied once.

use anyhow::{Result, ensure};
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection};
use twinport_integration::mongo::MongoWorld;
use twinport_integration::{PASSWORD, Suite, USER};
use twinport_wire::mongo::bson::raw::RawDocumentBuf;
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{begins, commit};
use super::cutter::{Cutter, Loses};
use super::raw::Raw;
use super::support::{Scene, Wants, code, labels, page, session};

/// What only commands have that may be sent again.
const NUMBERED: &[u8] = b"\x12txnNumber\0";

/// How the server says that a write's record is made, and so the write done.
const RECORDED: &[u8] = b"INSERT 0 1\0";

/// PyMongo, each of whose writes loses its first answer.
const PYMONGO: Suite = Suite {
    name: "PyMongo's retries",
    command: &["{cache}/python/bin/python", "pymongo_retries.py"],
    folder: "python",
    checks: &[
        "insert_one",
        "insert_many",
        "update_one",
        "replace_one",
        "delete_one",
        "find_one_and_update",
        "find_one_and_delete",
        "bulk_write",
        "upsert_directive",
    ],
    annotated: &[],
};

fn url(port: u16) -> String {
    format!("mongodb://{USER}:{PASSWORD}@127.0.0.1:{port}/")
}

fn environment(port: u16) -> Vec<(&'static str, String)> {
    let keys = [
        "TWINPORT_TEST_URL",
        "TWINPORT_TEST_SINGLE_URL",
        "TWINPORT_TEST_DIRECT_URL",
        "TWINPORT_TEST_CA",
    ];
    keys.map(|key| (key, url(port))).to_vec()
}

/// Writes of every kind by the Rust driver; gives how many commands they are.
async fn write(url: &str) -> Result<usize> {
    let client = Client::with_uri_str(url).await?;
    let books: Collection<Document> = client.database("retries").collection("books");
    let start: Vec<_> = (0..3).map(|id| doc! { "_id": id, "n": 0 }).collect();
    let inserted = books.insert_many(start).await?;
    ensure!(inserted.inserted_ids.len() == 3);
    books.insert_one(doc! { "_id": 3, "n": 0 }).await?;
    let add = doc! { "$inc": { "n": 1 } };
    let updated = books.update_one(doc! { "_id": 0 }, add.clone()).await?;
    ensure!((updated.matched_count, updated.modified_count) == (1, 1));
    let before = books
        .find_one_and_update(doc! { "_id": 1 }, add.clone())
        .await?;
    ensure!(before == Some(doc! { "_id": 1, "n": 0 }), "{before:?}");
    let upserted = books
        .update_one(doc! { "name": "new" }, add)
        .upsert(true)
        .await?;
    ensure!(upserted.upserted_id.is_some(), "{upserted:?}");
    let deleted = books.delete_one(doc! { "n": 0 }).await?;
    ensure!(deleted.deleted_count == 1);
    let gone = books.find_one_and_delete(doc! { "n": 0 }).await?;
    ensure!(gone.is_some());
    let sum: i32 = {
        let all = books
            .distinct("n", doc! { "_id": { "$in": [0, 1] } })
            .await?;
        all.iter().filter_map(|n| n.as_i32()).sum()
    };
    ensure!(sum == 1, "each was added to once: {sum}");
    let left = books.count_documents(doc! {}).await?;
    ensure!(left == 3, "of five two are deleted: {left}");
    Ok(7)
}

/// A port, and what loses answers before it.
async fn before(loses: Loses) -> Result<(Scene, Cutter)> {
    let scene = Scene::new().await?;
    let cutter = Cutter::before(scene.port, loses).await?;
    Ok((scene, cutter))
}

/// A port, and what loses answers between it and the server.
async fn behind(loses: Loses) -> Result<(Scene, Cutter)> {
    let world = MongoWorld::start().await?;
    let cutter = Cutter::before(world.server.port(), loses).await?;
    let wants = Wants {
        server: Some(cutter.port),
        ..Wants::default()
    };
    Ok((Scene::before(world, wants).await?, cutter))
}

/// The Rust driver's writes, each of which loses its first answer.
async fn by_the_rust_driver(scene: Scene, cutter: &Cutter, port: u16) -> Result<()> {
    let commands = write(&url(port)).await?;
    assert_eq!(cutter.lost(), commands, "each command has lost an answer");
    scene.stop().await;
    Ok(())
}

/// PyMongo's, too.
async fn by_pymongo(scene: Scene, cutter: &Cutter, port: u16) -> Result<()> {
    PYMONGO.run_in(&environment(port)).await?;
    let lost = cutter.lost();
    assert!(lost >= PYMONGO.checks.len(), "{lost} were lost");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn before_the_port_by_the_rust_driver() -> Result<()> {
    let (scene, cutter) = before(Loses::AnswerToEveryOther(NUMBERED)).await?;
    by_the_rust_driver(scene, &cutter, cutter.port).await
}

#[tokio::test]
async fn behind_the_port_by_the_rust_driver() -> Result<()> {
    let (scene, cutter) = behind(Loses::Answer(RECORDED)).await?;
    let port = scene.port;
    by_the_rust_driver(scene, &cutter, port).await
}

#[tokio::test]
async fn before_the_port_by_pymongo() -> Result<()> {
    let (scene, cutter) = before(Loses::AnswerToEveryOther(NUMBERED)).await?;
    by_pymongo(scene, &cutter, cutter.port).await
}

#[tokio::test]
async fn behind_the_port_by_pymongo() -> Result<()> {
    let (scene, cutter) = behind(Loses::Answer(RECORDED)).await?;
    let port = scene.port;
    by_pymongo(scene, &cutter, port).await
}

#[tokio::test]
async fn sent_again_while_the_first_still_runs() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 1).await?;
    let add = |number: i64| {
        rawdoc! {
            "update": "c",
            "updates": [
                { "q": { "_id": 0 }, "u": { "$inc": { "v": 1 } } },
                { "q": { "_id": 0 }, "u": { "$inc": { "v": 10 } } },
            ],
            "lsid": session(1), "txnNumber": number, "$db": "test",
        }
    };
    // The table of records is made by the first.
    scene.client().await?.run(&add(1)).await?;
    let lock = scene.lock("c").await?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = scene.client().await?;
        client.send(&add(2)).await?;
        clients.push(client);
    }
    scene.until_locked(3).await?;
    drop(lock);
    for mut client in clients {
        let answer = client.read().await?;
        assert_eq!(answer.get_i32("nModified")?, 2, "{answer:?}");
    }
    assert_eq!(only(&mut scene.client().await?).await?, Some(22));
    scene.stop().await;
    Ok(())
}

/// A transaction that adds 1 to the only document, up to its commit.
async fn add_one(scene: &Scene) -> Result<(Raw, RawDocumentBuf)> {
    scene.fill("c", 1).await?;
    let mut client = scene.client().await?;
    let write = rawdoc! {
        "update": "c", "updates": [{ "q": { "_id": 0 }, "u": { "$inc": { "v": 1 } } }],
        "$db": "test",
    };
    client.run(&begins(write, 1, 1)).await?;
    Ok((client, commit(1, 1)))
}

/// What the only document counts.
async fn only(client: &mut Raw) -> Result<Option<i32>> {
    let found = client.run(&rawdoc! { "find": "c", "$db": "test" }).await?;
    let found = page(&found)?;
    Ok(found.first().and_then(|only| only.get_i32("v").ok()))
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_known_when_asked_again() -> Result<()> {
    let (scene, cutter) = behind(Loses::Answer(b"COMMIT\0")).await?;
    let (mut client, commit) = add_one(&scene).await?;
    let lost = client.ask(&commit).await?;
    assert_ne!(code(&lost), 0);
    let found = labels(&lost);
    assert!(
        found.contains(&"UnknownTransactionCommitResult"),
        "{lost:?}"
    );
    assert_eq!(cutter.lost(), 1);
    // The driver asks again, and again.
    for _ in 0..2 {
        client.run(&commit).await?;
    }
    assert_eq!(only(&mut client).await?, Some(1));
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_known_when_asked_again() -> Result<()> {
    let (scene, _cutter) = behind(Loses::Request(b"COMMIT\0")).await?;
    let (mut client, commit) = add_one(&scene).await?;
    let lost = client.ask(&commit).await?;
    let found = labels(&lost);
    assert!(
        found.contains(&"UnknownTransactionCommitResult"),
        "{lost:?}"
    );
    for _ in 0..2 {
        let known = client.ask(&commit).await?;
        assert_eq!(code(&known), 251);
        assert_eq!(labels(&known), ["TransientTransactionError"]);
    }
    assert_eq!(only(&mut client).await?, Some(0));
    scene.stop().await;
    Ok(())
}
