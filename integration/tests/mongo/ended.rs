//! What is ended by somebody else: operations by their session, cursors by a drop of what they read.

use std::time::{Duration, Instant};

use anyhow::Result;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::raw::RawDocumentBuf;
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{abort, begins, goes_on, with};
use super::late::slow;
use super::raw::Raw;
use super::support::{OWN_ROLES, Scene, code, cursor_of, page, session};

const INTERRUPTED: i32 = 11_601;
const QUERY_PLAN_KILLED: i32 = 175;

fn find(collection: &str) -> RawDocumentBuf {
    rawdoc! { "find": collection, "batchSize": 2, "$db": "test" }
}

fn of(command: RawDocumentBuf, byte: u8) -> RawDocumentBuf {
    with(command, &rawdoc! { "lsid": session(byte) })
}

#[tokio::test]
async fn sessions_that_are_killed_have_their_operations_interrupted() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    scene.fill("c", 10).await?;
    scene.fill("locked", 1).await?;
    let running = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'twinport-mongo' AND state = 'active'";
        anyhow::Ok(scene.admin.query_one(sql, &[]).await?.get::<_, i64>(0))
    };
    let mut killer = scene.client().await?;
    let mut other = scene.other().await?;
    let kills = [
        rawdoc! { "killSessions": [session(1)] },
        rawdoc! { "killAllSessions": [] },
        rawdoc! { "killAllSessionsByPattern": [{ "lsid": session(1) }] },
        rawdoc! { "killAllSessionsByPattern": [{ "users": [{ "user": "app", "db": "admin" }] }] },
    ];
    for (kill, number) in kills.into_iter().zip((1..).step_by(2)) {
        // Its own session goes on.
        let kill = with(kill, &rawdoc! { "lsid": session(1), "$db": "admin" });
        let mut reading = scene.client().await?;
        let mut within = scene.client().await?;
        let lock = scene.lock("locked").await?;
        reading.send(&of(find("locked"), 1)).await?;
        within.run(&begins(find("c"), 1, number)).await?;
        within.send(&goes_on(slow(&rawdoc! {}), 1, number)).await?;
        eventually("both run", async || Ok(running().await? == 2)).await?;
        // Another's session of the same number is another session.
        other.run(&kill).await?;
        assert_eq!(running().await?, 2, "{kill:?}");
        killer.run(&kill).await?;
        let began = Instant::now();
        for client in [&mut reading, &mut within] {
            let answer = client.read().await?;
            assert_eq!(code(&answer), INTERRUPTED, "{answer:?}");
            assert_eq!(answer.get_str("codeName")?, "Interrupted");
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        // The server's work ends too, while the lock is still there.
        eventually("nothing runs any more", async || Ok(running().await? == 0)).await?;
        drop(lock);
        let answer = within.ask(&goes_on(find("c"), 1, number)).await?;
        assert_eq!(code(&answer), 251, "{answer:?}");
        // The session can be used again.
        reading.run(&of(find("c"), 1)).await?;
        within.run(&begins(find("c"), 1, number + 1)).await?;
        within.run(&abort(1, number + 1)).await?;
    }
    let wrong = rawdoc! { "killAllSessionsByPattern": [{ "nobody": 1 }], "$db": "admin" };
    assert_eq!(code(&killer.ask(&wrong).await?), 2);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn sessions_that_end_leave_what_runs() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 10).await?;
    let (mut reading, mut ending) = (scene.client().await?, scene.client().await?);
    let lock = scene.lock("c").await?;
    reading.send(&of(find("c"), 1)).await?;
    scene.until_locked(1).await?;
    let end = rawdoc! { "endSessions": [session(1)], "$db": "admin" };
    ending.run(&end).await?;
    drop(lock);
    assert_eq!(page(&reading.read().await?)?.len(), 2);
    scene.stop().await;
    Ok(())
}

/// Asks for more of a cursor.
async fn more(client: &mut Raw, cursor: i64, collection: &str) -> Result<RawDocumentBuf> {
    client
        .ask(&rawdoc! { "getMore": cursor, "collection": collection, "$db": "test" })
        .await
}

#[tokio::test]
async fn a_cursor_whose_collection_goes_is_told() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let mut dropping = scene.client().await?;
    let sort = rawdoc! { "find": "c", "sort": { "v": -1 }, "batchSize": 2, "$db": "test" };
    let group = rawdoc! {
        "aggregate": "c", "pipeline": [{ "$group": { "_id": "$v" } }],
        "cursor": { "batchSize": 2 }, "$db": "test",
    };
    let listing = rawdoc! { "listCollections": 1, "cursor": { "batchSize": 1 }, "$db": "test" };
    for (command, message) in [
        (rawdoc! { "drop": "c", "$db": "test" }, "collection dropped"),
        (
            rawdoc! { "dropDatabase": 1, "$db": "test" },
            "collection dropped",
        ),
        (
            rawdoc! { "renameCollection": "test.c", "to": "test.d", "$db": "admin" },
            "collection renamed from 'test.c' to 'test.d'",
        ),
        (
            rawdoc! { "renameCollection": "test.e", "to": "test.c", "dropTarget": true, "$db": "admin" },
            "collection dropped",
        ),
    ] {
        client
            .run(&rawdoc! { "dropDatabase": 1, "$db": "test" })
            .await?;
        scene.fill("c", 100).await?;
        scene.fill("e", 100).await?;
        let mut open = Vec::new();
        for command in [&find("c"), &sort, &group] {
            open.push(cursor_of(&client.run(command).await?)?);
        }
        let untouched = cursor_of(&client.run(&find("e")).await?)?;
        let listed = cursor_of(&client.run(&listing).await?)?;
        dropping.run(&command).await?;
        // What has come since under that name is another.
        client
            .run(&rawdoc! { "insert": "c", "documents": [{}, {}, {}], "$db": "test" })
            .await?;
        let new = cursor_of(&client.run(&find("c")).await?)?;
        for cursor in open {
            let answer = more(&mut client, cursor, "c").await?;
            assert_eq!(code(&answer), QUERY_PLAN_KILLED, "{command:?}: {answer:?}");
            assert_eq!(answer.get_str("codeName")?, "QueryPlanKilled");
            assert!(answer.get_str("errmsg")?.contains(message), "{answer:?}");
            assert_eq!(
                code(&more(&mut client, cursor, "c").await?),
                43,
                "it is over"
            );
        }
        assert_eq!(code(&more(&mut client, new, "c").await?), 0);
        let kept = command.get_str("drop").is_ok();
        let expected = if kept { 0 } else { QUERY_PLAN_KILLED };
        if kept || command.get("dropDatabase")?.is_some() {
            assert_eq!(code(&more(&mut client, untouched, "e").await?), expected);
        }
        assert_ne!(
            code(&more(&mut client, listed, "$cmd.listCollections").await?),
            QUERY_PLAN_KILLED
        );
        // What can't be done ends nothing.
        let open = cursor_of(&client.run(&find("c")).await?)?;
        dropping.ask(&rawdoc! { "renameCollection": "test.none", "to": "test.c", "dropTarget": true, "$db": "admin" }).await?;
        assert_eq!(code(&more(&mut client, open, "c").await?), 0);
    }
    scene.stop().await;
    Ok(())
}
