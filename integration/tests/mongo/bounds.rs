//! Transactions and cursors that outlast what others would take for their end: long statements, full pools.

use std::time::Duration;

use anyhow::Result;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{abort, begins, commit, goes_on, with};
use super::support::{OWN_ROLES, Scene, Wants, code, cursor_of, labels, page, session};

fn insert(id: &str) -> RawDocumentBuf {
    rawdoc! { "insert": "c", "documents": [{ "_id": id }], "$db": "test" }
}

#[tokio::test]
async fn the_time_of_a_long_command_is_not_idle() -> Result<()> {
    let scene = Scene::with(Wants {
        mongo_lines: "idle_transaction_timeout = \"4s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 20).await?;
    let mut client = scene.client().await?;
    client.run(&begins(insert("a"), 1, 1)).await?;
    let slow = rawdoc! {
        "aggregate": "c",
        "pipeline": [
            { "$match": { "_id": { "$lt": 2 } } },
            { "$project": { "r": { "$range": [0, 600_000] } } },
            { "$unwind": "$r" },
            { "$group": { "_id": null, "sum": { "$sum": "$r" } } },
        ],
        "cursor": {}, "$db": "test",
    };
    client.run(&goes_on(slow, 1, 1)).await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    client.run(&goes_on(insert("b"), 1, 1)).await?;
    client.run(&commit(1, 1)).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_get_more_that_fails_leaves_its_cursor() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 1,
        pool_lines: "wait_timeout = \"3s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 20).await?;
    let (mut a, mut b) = (scene.client().await?, scene.client().await?);
    let find = rawdoc! { "find": "c", "sort": { "v": 1 }, "batchSize": 2, "$db": "test" };
    let open = cursor_of(&a.run(&find).await?)?;
    let more = |size: i32| {
        rawdoc! { "getMore": open, "collection": "c", "batchSize": size, "$db": "test" }
    };
    // The pool is full: its labels say that it may be asked again.
    b.run(&begins(insert("a"), 1, 1)).await?;
    let refused = a.ask(&more(2)).await?;
    assert_eq!(code(&refused), 462, "{refused:?}");
    assert!(labels(&refused).contains(&"RetryableError"), "{refused:?}");
    b.run(&abort(1, 1)).await?;
    let first = |answer: &RawDocument| -> Result<Option<i32>> {
        let found = page(answer)?;
        Ok(found.first().and_then(|each| each.get_i32("v").ok()))
    };
    assert_eq!(first(&a.run(&more(2)).await?)?, Some(2));
    // The server refuses an argument.
    assert_ne!(code(&a.ask(&more(-1)).await?), 0);
    assert_eq!(first(&a.run(&more(2)).await?)?, Some(4));
    // A kill that is refused kills nothing.
    let odd = rawdoc! { "killCursors": "c", "cursors": [open, "x"], "$db": "test" };
    assert_ne!(code(&a.ask(&odd).await?), 0);
    assert_eq!(first(&a.run(&more(2)).await?)?, Some(6));
    let kill = rawdoc! { "killCursors": "c", "cursors": [open], "$db": "test" };
    a.run(&kill).await?;
    assert_eq!(code(&a.ask(&more(2)).await?), 43);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_upsert_in_a_transaction_takes_no_second_connection() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 2,
        pool_lines: "wait_timeout = \"2s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 1).await?;
    let index = rawdoc! {
        "createIndexes": "keyed",
        "indexes": [{ "key": { "k": 1 }, "name": "k_1", "unique": true }], "$db": "test",
    };
    scene.client().await?.run(&index).await?;
    let mut clients = Vec::new();
    for byte in [1, 2] {
        let mut client = scene.client().await?;
        client
            .run(&begins(insert(&format!("of {byte}")), byte, 1))
            .await?;
        clients.push((byte, client));
    }
    for (byte, client) in &mut clients {
        let upsert = |collection: &str| {
            rawdoc! {
                "insert": collection, "documents": [{ "k": i32::from(*byte) }],
                "comment": "@upsert(k)", "$db": "test",
            }
        };
        // What is refused before it is sent leaves the transaction as it was.
        let nowhere = client.ask(&goes_on(upsert("nowhere"), *byte, 1)).await?;
        assert_ne!(code(&nowhere), 0, "{nowhere:?}");
        client.run(&goes_on(upsert("keyed"), *byte, 1)).await?;
        client.run(&commit(*byte, 1)).await?;
    }
    assert_eq!(scene.count("keyed").await?, 2);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_include_in_a_transaction_takes_no_second_connection() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 2,
        pool_lines: "wait_timeout = \"2s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 1).await?;
    let author = rawdoc! { "target": "authors", "kind": "one", "local": "author_id" };
    let models = rawdoc! {
        "insert": "twinport.models",
        "documents": [{ "_id": "books", "relations": { "author": author } }], "$db": "test",
    };
    let books = rawdoc! {
        "insert": "books", "documents": [{ "_id": 1, "author_id": 7 }], "$db": "test",
    };
    let authors = rawdoc! { "insert": "authors", "documents": [{ "_id": 7 }], "$db": "test" };
    let mut client = scene.client().await?;
    for command in [&models, &books, &authors] {
        client.run(command).await?;
    }
    // What the database tells of relations is not known yet, and transactions hold all connections.
    let mut clients = Vec::new();
    for byte in [1, 2] {
        let mut client = scene.client().await?;
        let first = insert(&format!("of {byte}"));
        client.run(&begins(first, byte, 1)).await?;
        clients.push((byte, client));
    }
    for (byte, client) in &mut clients {
        let find = rawdoc! { "find": "books", "comment": "@include(author)", "$db": "test" };
        let answer = client.run(&goes_on(find, *byte, 1)).await?;
        let found = page(&answer)?;
        let author = found
            .first()
            .and_then(|book| book.get_document("author").ok());
        let id = author.and_then(|author| author.get_i32("_id").ok());
        assert_eq!(id, Some(7), "{answer:?}");
        // A relation that isn't there costs the transaction nothing.
        let find = rawdoc! { "find": "books", "comment": "@include(publisher)", "$db": "test" };
        let refused = client.ask(&goes_on(find, *byte, 1)).await?;
        assert_ne!(code(&refused), 0, "{refused:?}");
        client.run(&commit(*byte, 1)).await?;
    }
    assert_eq!(scene.count("c").await?, 3);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_never_can_begin_is_not_to_be_tried_again() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    let mut client = scene.client().await?;
    // The login here is done; that to the server fails from now on.
    let user = twinport_integration::USER;
    let change = format!("ALTER ROLE {user} PASSWORD 'another'");
    scene.admin.batch_execute(&change).await?;
    let refused = client.ask(&begins(insert("a"), 1, 1)).await?;
    assert_eq!(code(&refused), 13, "{refused:?}");
    assert!(labels(&refused).is_empty(), "{refused:?}");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_terminated_backend_is_not_the_port_going_down() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 3).await?;
    let lock = scene.lock("c").await?;
    let mut client = scene.client().await?;
    client.send(&rawdoc! { "find": "c", "$db": "test" }).await?;
    scene.until_locked(1).await?;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'twinport-mongo' AND wait_event_type = 'Lock'";
    scene.admin.batch_execute(terminate).await?;
    let lost = client.read().await?;
    assert_eq!(
        code(&lost),
        6,
        "a driver must keep its connections: {lost:?}"
    );
    drop(lock);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn of_a_sessions_numbers_only_the_latest_goes_on() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 1).await?;
    let mut client = scene.client().await?;
    let write = |number: i64| {
        rawdoc! {
            "insert": "c", "documents": [{ "_id": number }], "lsid": session(1),
            "txnNumber": number, "$db": "test",
        }
    };
    client.run(&write(5)).await?;
    client.run(&write(5)).await?;
    assert_eq!(code(&client.ask(&write(3)).await?), 225);
    let begin = |number: i64| {
        let insert = rawdoc! { "insert": "c", "documents": [{}], "$db": "test" };
        begins(insert, 1, number)
    };
    assert_eq!(code(&client.ask(&begin(4)).await?), 225);
    let used = client.ask(&begin(5)).await?;
    assert_eq!(code(&used), 20, "{used:?}");
    assert!(labels(&used).is_empty(), "{used:?}");
    client.run(&begin(6)).await?;
    client.run(&abort(1, 6)).await?;
    assert_eq!(code(&client.ask(&write(5)).await?), 225);
    client.run(&write(7)).await?;
    let odd = rawdoc! {
        "insert": "c", "documents": [{ "_id": "out" }], "lsid": session(1), "txnNumber": 8_i64,
        "startTransaction": true, "$db": "test",
    };
    assert_eq!(code(&client.ask(&odd).await?), 72);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_upsert_by_an_index_that_is_gone_is_refused() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let index = rawdoc! {
        "createIndexes": "keyed",
        "indexes": [{ "key": { "k": 1 }, "name": "k_1", "unique": true }], "$db": "test",
    };
    client.run(&index).await?;
    let upsert = rawdoc! {
        "insert": "keyed", "documents": [{ "k": 1 }], "comment": "@upsert(k)", "$db": "test",
    };
    client.run(&upsert).await?;
    let gone = rawdoc! { "dropIndexes": "keyed", "index": "k_1", "$db": "test" };
    client.run(&gone).await?;
    assert_ne!(code(&client.ask(&upsert).await?), 0);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_a_command_does_not_take_is_refused() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 3).await?;
    let mut client = scene.client().await?;
    let (find, filter) = (rawdoc! { "find": "c", "$db": "test" }, rawdoc! { "_id": 1 });
    let section = twinport_wire::mongo::Sequence {
        identifier: "filter",
        bytes: filter.as_bytes(),
    };
    let mut bytes = Vec::new();
    twinport_wire::mongo::message::build::request(&mut bytes, 1, 0, &find, [section]);
    client.write(&bytes).await?;
    assert_eq!(code(&client.read().await?), 9);
    let odd = rawdoc! { "find": "c", "readConcern": { "level": "bogus" }, "$db": "test" };
    assert_eq!(code(&client.ask(&odd).await?), 2);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_later_write_of_a_session_ends_what_it_has_left_open() -> Result<()> {
    let scene = Scene::with(Wants {
        mongo_lines: "idle_transaction_timeout = \"10m\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 1).await?;
    let mut client = scene.client().await?;
    let add = |more: i32| {
        rawdoc! {
            "update": "c", "updates": [{ "q": { "_id": 0 }, "u": { "$inc": { "v": more } } }],
            "$db": "test",
        }
    };
    client.run(&begins(add(1), 1, 1)).await?;
    // The abort was lost: of the transaction's lock the driver knows nothing any more.
    let numbered = rawdoc! { "lsid": session(1), "txnNumber": 2_i64 };
    client.run(&with(add(10), &numbered)).await?;
    assert_eq!(scene.wing()?.transactions(), 0);
    for late in [goes_on(add(1), 1, 1), commit(1, 1), abort(1, 1)] {
        assert_eq!(code(&client.ask(&late).await?), 225, "{late:?}");
    }
    let found = client.run(&rawdoc! { "find": "c", "$db": "test" }).await?;
    assert_eq!(page(&found)?[0].get_i32("v")?, 10);
    scene.stop().await;
    Ok(())
}
