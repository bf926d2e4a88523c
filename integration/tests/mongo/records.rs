//! Who may use the table of records, and what becomes of a write that is sent again when that has changed in between:
//! it is applied once.

use std::time::Duration;

use anyhow::{Context, Result};
use twinport_integration::{PASSWORD, USER};
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{begins, commit};
use super::raw::Raw;
use super::support::{OWN_ROLES, Scene, code, labels, page, session};

/// Two users, who work by their own roles: one of them may make the table of records, both may use it.
async fn for_two() -> Result<Scene> {
    let scene = Scene::with(OWN_ROLES).await?;
    scene.fill("c", 2).await?;
    let grant = format!("GRANT CREATE ON DATABASE postgres TO {USER}");
    scene.admin.batch_execute(&grant).await?;
    Ok(scene)
}

#[tokio::test]
async fn every_user_has_records_of_its_own() -> Result<()> {
    let scene = for_two().await?;
    let add = |id: i32| {
        rawdoc! {
            "update": "c",
            "updates": [
                { "q": { "_id": id }, "u": { "$inc": { "v": 100 } } },
                { "q": { "_id": id }, "u": { "$inc": { "v": 1000 } } },
            ],
            "lsid": session(1), "txnNumber": 1_i64, "$db": "test",
        }
    };
    for (id, mut client) in [(0, scene.client().await?), (1, scene.other().await?)] {
        for _ in 0..3 {
            let answer = client.run(&add(id)).await?;
            assert_eq!(answer.get_i32("nModified")?, 2, "{answer:?}");
        }
    }
    let find = rawdoc! { "find": "c", "sort": { "_id": 1 }, "$db": "test" };
    let found = scene.client().await?.run(&find).await?;
    let found: Vec<_> = page(&found)?
        .iter()
        .filter_map(|each| each.get_i32("v").ok())
        .collect();
    assert_eq!(found, [1100, 1101]);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn nobody_reads_anothers_records_and_old_ones_go() -> Result<()> {
    let scene = for_two().await?;
    let write = |number: i64| {
        rawdoc! {
            "insert": "c", "documents": [{}], "lsid": session(1), "txnNumber": number,
            "$db": "test",
        }
    };
    // Whoever writes first owns the table.
    scene.client().await?.run(&write(1)).await?;
    scene.other().await?.run(&write(1)).await?;
    let mut owner = tokio_postgres::Config::new();
    owner
        .host("127.0.0.1")
        .port(scene.world.server.port())
        .user(USER)
        .password(PASSWORD)
        .dbname("postgres");
    let (owner, connection) = owner.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let seen = "SELECT count(*) FROM twinport.retryable_writes WHERE owner <> current_user";
    let count: i64 = owner.query_one(seen, &[]).await?.get(0);
    assert_eq!(count, 0, "the owner of the table sees others' records");
    // Each user's old records go with what it writes itself.
    scene
        .admin
        .batch_execute(
            "INSERT INTO twinport.retryable_writes (owner, id, result, success, written)
             SELECT DISTINCT owner, 'old'::bytea, ''::bytea, true, now() - interval '1 hour'
             FROM twinport.retryable_writes",
        )
        .await?;
    let Scene { running, world, .. } = scene;
    running.finish(Duration::from_secs(1)).await;
    let scene = Scene::before(world, OWN_ROLES).await?;
    for mut client in [scene.client().await?, scene.other().await?] {
        client.run(&write(2)).await?;
    }
    let old = "SELECT count(*) FROM twinport.retryable_writes WHERE id = 'old'::bytea";
    let count: i64 = scene.admin.query_one(old, &[]).await?.get(0);
    assert_eq!(count, 0);
    scene.stop().await;
    Ok(())
}

/// A numbered command that adds `by` to a document in so many updates.
fn add(id: i32, by: i32, updates: usize, number: i64) -> RawDocumentBuf {
    let update = rawdoc! { "q": { "_id": id }, "u": { "$inc": { "v": by } } };
    let updates: RawArrayBuf = std::iter::repeat_n(update, updates).collect();
    rawdoc! {
        "update": "c", "updates": updates, "lsid": session(1), "txnNumber": number, "$db": "test",
    }
}

/// What a document counts.
async fn counted(client: &mut Raw, id: i32) -> Result<i32> {
    let find =
        rawdoc! { "find": "c", "filter": { "_id": id }, "projection": { "v": 1 }, "$db": "test" };
    let found = client.run(&find).await?;
    let found = page(&found)?;
    Ok(found.first().context("the document")?.get_i32("v")?)
}

/// Leaves the table of records to the first user, who has made it, and to nobody else.
async fn close_to_others(scene: &Scene) -> Result<()> {
    let close = "REVOKE ALL ON twinport.retryable_writes FROM PUBLIC";
    Ok(scene.admin.batch_execute(close).await?)
}

#[tokio::test]
async fn one_users_want_of_rights_is_not_anothers() -> Result<()> {
    let scene = for_two().await?;
    let (mut app, mut other) = (scene.client().await?, scene.other().await?);
    app.run(&add(0, 1, 2, 1)).await?;
    close_to_others(&scene).await?;
    other.run(&add(1, 1, 1, 1)).await?;
    // By the extension's record, several updates would be applied twice.
    app.run(&add(0, 1, 2, 1)).await?;
    assert_eq!(counted(&mut app, 0).await?, 2);
    // Nor does one's table keep another's transactions from their commit.
    for number in 2..5 {
        app.run(&add(0, 1, 1, number)).await?;
        let insert = rawdoc! { "insert": "d", "documents": [{}], "$db": "test" };
        other.run(&begins(insert, 2, number)).await?;
        other.run(&commit(2, number)).await?;
    }
    assert_eq!(scene.count("d").await?, 3);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_write_is_applied_once_though_its_user_loses_the_table() -> Result<()> {
    let scene = for_two().await?;
    let (mut app, mut other) = (scene.client().await?, scene.other().await?);
    app.run(&add(0, 1, 1, 1)).await?;
    other.run(&add(1, 1, 1, 1)).await?;
    // What is recorded can still be read.
    let writes = "REVOKE INSERT ON twinport.retryable_writes FROM PUBLIC";
    scene.admin.batch_execute(writes).await?;
    other.run(&add(1, 1, 1, 1)).await?;
    assert_eq!(counted(&mut app, 1).await?, 2);
    // Or not: then nobody can say, and it is not to be tried again.
    close_to_others(&scene).await?;
    let refused = other.ask(&add(1, 1, 1, 1)).await?;
    assert_eq!(code(&refused), 13, "{refused:?}");
    assert!(labels(&refused).is_empty(), "{refused:?}");
    assert_eq!(counted(&mut app, 1).await?, 2);
    // The next is the extension's to record.
    for _ in 0..2 {
        other.run(&add(1, 1, 1, 2)).await?;
    }
    assert_eq!(counted(&mut app, 1).await?, 3);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_write_is_applied_once_though_its_user_gets_the_table() -> Result<()> {
    let scene = for_two().await?;
    let (mut app, mut other) = (scene.client().await?, scene.other().await?);
    app.run(&add(0, 1, 1, 1)).await?;
    close_to_others(&scene).await?;
    other.run(&add(1, 1, 1, 1)).await?;
    let open = "GRANT SELECT, INSERT, DELETE ON twinport.retryable_writes TO PUBLIC";
    scene.admin.batch_execute(open).await?;
    // Longer than the proxy remembers that the user was refused.
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    other.run(&add(1, 1, 1, 1)).await?;
    assert_eq!(counted(&mut app, 1).await?, 2);
    // The next goes into the table.
    other.run(&add(1, 1, 2, 2)).await?;
    other.run(&add(1, 1, 2, 2)).await?;
    assert_eq!(counted(&mut app, 1).await?, 4);
    scene.stop().await;
    Ok(())
}
