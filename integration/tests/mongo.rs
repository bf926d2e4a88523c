//! What hurts users of a proxy most, each as a test on the MongoDB port: state that leaks from one
//! client to another, writes applied twice, work of dead clients that goes on, waits without end.

#[path = "mongo/abandoned.rs"]
mod abandoned;
#[path = "mongo/admin.rs"]
mod admin;
#[path = "mongo/alike.rs"]
mod alike;
#[path = "mongo/answers.rs"]
mod answers;
#[path = "mongo/bad_input.rs"]
mod bad_input;
#[path = "mongo/batches.rs"]
mod batches;
#[path = "mongo/bounds.rs"]
mod bounds;
#[path = "mongo/bson.rs"]
mod bson;
#[path = "mongo/commands.rs"]
mod commands;
#[path = "mongo/concerns.rs"]
mod concerns;
#[path = "mongo/console.rs"]
mod console;
#[path = "mongo/cutter.rs"]
mod cutter;
#[path = "mongo/deletes.rs"]
mod deletes;
#[path = "mongo/ended.rs"]
mod ended;
#[path = "mongo/explain.rs"]
mod explain;
#[path = "mongo/forwarding.rs"]
mod forwarding;
#[path = "mongo/indexes.rs"]
mod indexes;
#[path = "mongo/killed.rs"]
mod killed;
#[path = "mongo/late.rs"]
mod late;
#[path = "mongo/point.rs"]
mod point;
#[path = "mongo/raw.rs"]
mod raw;
#[path = "mongo/records.rs"]
mod records;
#[path = "mongo/retries.rs"]
mod retries;
#[path = "mongo/rights.rs"]
mod rights;
#[path = "mongo/scripted.rs"]
mod scripted;
#[path = "mongo/specs.rs"]
mod specs;
#[path = "mongo/stored.rs"]
mod stored;
#[path = "mongo/support.rs"]
mod support;
#[path = "mongo/unheard.rs"]
mod unheard;

use std::time::{Duration, Instant};

use anyhow::Result;
use commands::{abort, begins, commit, goes_on};
use support::{OTHER_READS, OWN_ROLES, Scene, Wants, code, cursor_of, labels, session};
use twinport_wire::mongo::bson::rawdoc;

#[tokio::test]
async fn a_wait_ends_with_462() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 1,
        pool_lines: "wait_timeout = \"1s\"",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 1).await?;
    let (mut a, mut b) = (scene.client().await?, scene.client().await?);
    let find = rawdoc! { "find": "c", "$db": "test" };
    a.run(&begins(find.clone(), 1, 1)).await?;
    let began = Instant::now();
    let insert = rawdoc! {
        "insert": "c", "documents": [{}], "lsid": session(2), "txnNumber": 1_i64, "$db": "test",
    };
    for command in [&find, &insert] {
        let answer = b.ask(command).await?;
        assert_eq!(code(&answer), 462, "{answer:?}");
        assert_eq!(
            answer.get_str("codeName")?,
            "IngressRequestRateLimitExceeded"
        );
        let labels = labels(&answer);
        assert!(labels.contains(&"SystemOverloadedError"), "{labels:?}");
        assert!(labels.contains(&"RetryableError"), "{labels:?}");
    }
    let waited = began.elapsed();
    assert!(
        waited > Duration::from_millis(1900) && waited < Duration::from_secs(10),
        "{waited:?}"
    );
    a.run(&commit(1, 1)).await?;
    b.run(&find).await?;
    b.run(&insert).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn limits_hold_and_are_told() -> Result<()> {
    let scene = Scene::with(Wants {
        mongo_lines: "max_clients = 3\nmax_cursors = 1",
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 10).await?;
    twinport_integration::eventually("the first is gone", async || {
        Ok(scene.wing()?.clients().count() == 0)
    })
    .await?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(scene.client().await?);
    }
    assert_eq!(scene.wing()?.clients().count(), 3, "each counts once");
    assert!(scene.client().await.is_err(), "one too many");
    let mut client = clients.pop().into_iter().next().expect("three of them");
    drop(clients);
    let find = rawdoc! { "find": "c", "batchSize": 2, "lsid": session(1), "$db": "test" };
    let first = cursor_of(&client.run(&find).await?)?;
    let refused = client.ask(&find).await?;
    assert_eq!(code(&refused), 146, "{refused:?}");
    let kill = rawdoc! { "killCursors": "c", "cursors": [first], "$db": "test" };
    client.run(&kill).await?;
    client.run(&find).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn two_users_are_kept_apart() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    scene.admin.batch_execute(OTHER_READS).await?;
    scene.fill("c", 10).await?;
    let (mut app, mut other) = (scene.client().await?, scene.other().await?);
    let find = rawdoc! { "find": "c", "batchSize": 2, "lsid": session(1), "$db": "test" };
    let theirs = cursor_of(&other.run(&find).await?)?;
    let insert = rawdoc! { "insert": "c", "documents": [{ "_id": "b" }], "$db": "test" };
    let refused = other.ask(&insert).await?;
    // The whole command, as in MongoDB, and not one document of it.
    assert_eq!(code(&refused), 13, "{refused:?}");
    assert!(
        refused
            .get_str("errmsg")?
            .contains("not authorized on test"),
        "{refused:?}"
    );
    let (update, delete) = (
        rawdoc! { "update": "c", "updates": [{ "q": {}, "u": { "$set": { "a": 1 } } }], "$db": "test" },
        rawdoc! { "delete": "c", "deletes": [{ "q": {}, "limit": 0 }], "$db": "test" },
    );
    assert_eq!(code(&other.ask(&update).await?), 13);
    assert_eq!(code(&other.ask(&delete).await?), 13);
    // A cursor is its user's, also for who knows its number and its session.
    let more = rawdoc! { "getMore": theirs, "collection": "c", "lsid": session(1), "$db": "test" };
    assert_eq!(code(&app.ask(&more).await?), 43);
    let kill = rawdoc! { "killCursors": "c", "cursors": [theirs], "$db": "test" };
    let answer = app.run(&kill).await?;
    assert_eq!(answer.get_array("cursorsKilled")?.into_iter().count(), 0);
    let end = rawdoc! { "endSessions": [session(1)], "$db": "admin" };
    app.run(&end).await?;
    other.run(&more).await?;
    // So is a transaction, and its number.
    let begin = begins(rawdoc! { "find": "c", "$db": "test" }, 2, 1);
    app.run(&begin).await?;
    other.run(&begin).await?;
    other.run(&abort(2, 1)).await?;
    let write = rawdoc! { "insert": "c", "documents": [{ "_id": "in" }], "$db": "test" };
    app.run(&goes_on(write, 2, 1)).await?;
    // Nobody acts for another by logging in over it.
    other.run(&rawdoc! { "logout": 1, "$db": "admin" }).await?;
    assert_eq!(code(&other.ask(&find).await?), 13);
    scene.stop().await;
    Ok(())
}
