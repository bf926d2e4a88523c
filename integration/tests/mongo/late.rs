//! Statements whose time is over: nothing of them reaches another client.

use anyhow::Result;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{abort, begins, goes_on, with};
use super::support::{ONE_CONNECTION, Scene, Wants, code, labels, page, session};

/// A command that takes seconds, and gives itself little time.
pub(crate) fn slow(more: &RawDocument) -> RawDocumentBuf {
    let slow = rawdoc! {
        "aggregate": "c",
        "pipeline": [
            { "$match": { "_id": 1 } },
            { "$project": { "r": { "$range": [0, 3_000_000] } } },
            { "$unwind": "$r" },
            { "$group": { "_id": null, "sum": { "$sum": "$r" } } },
        ],
        "cursor": {}, "$db": "test",
    };
    with(slow, more)
}

/// The only connection serves everybody, and everybody gets its own.
async fn everybody_has_its_own(scene: &Scene) -> Result<()> {
    let (mut a, mut b) = (scene.client().await?, scene.client().await?);
    let find = |id: i32| rawdoc! { "find": "c", "filter": { "_id": id }, "$db": "test" };
    for turn in 0..3 {
        for (client, id) in [(&mut a, turn), (&mut b, turn + 10)] {
            let answer = client.run(&find(id)).await?;
            let found = page(&answer)?;
            let own = found.first().and_then(|own| own.get_i32("_id").ok());
            assert_eq!(own, Some(id), "another's answer: {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_late_statement_of_a_transaction_leaves_no_answer_to_others() -> Result<()> {
    let scene = Scene::with(ONE_CONNECTION).await?;
    scene.fill("c", 20).await?;
    for limit in [
        rawdoc! { "maxTimeMS": 100 },
        rawdoc! { "comment": "@timeout(100ms)" },
    ] {
        let mut client = scene.client().await?;
        let find = rawdoc! { "find": "c", "filter": { "_id": 1 }, "$db": "test" };
        client.run(&begins(find, 1, 1)).await?;
        let late = client.ask(&goes_on(slow(&limit), 1, 1)).await?;
        assert_eq!(code(&late), 50, "{late:?}");
        let ended = client.ask(&abort(1, 1)).await?;
        assert_eq!(code(&ended), 251, "it is over already");
        everybody_has_its_own(&scene).await?;
        // The session may go on with its next transaction.
        client
            .run(&rawdoc! { "endSessions": [session(1)], "$db": "admin" })
            .await?;
    }
    eventually("nothing runs on", async || Ok(scene.busy().await? == 0)).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_late_statement_leaves_no_answer_to_others() -> Result<()> {
    let scene = Scene::with(ONE_CONNECTION).await?;
    scene.fill("c", 20).await?;
    let mut client = scene.client().await?;
    let late = client.ask(&slow(&rawdoc! { "maxTimeMS": 100 })).await?;
    assert_eq!(code(&late), 50, "{late:?}");
    everybody_has_its_own(&scene).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_wait_for_a_connection_counts() -> Result<()> {
    let scene = Scene::with(Wants {
        pool_lines: "wait_timeout = \"60s\"",
        ..ONE_CONNECTION
    })
    .await?;
    scene.fill("c", 20).await?;
    let (mut a, mut b) = (scene.client().await?, scene.client().await?);
    let insert = rawdoc! { "insert": "c", "documents": [{ "_id": "a" }], "$db": "test" };
    let find = rawdoc! { "find": "c", "$db": "test" };
    let index = rawdoc! {
        "createIndexes": "c", "indexes": [{ "key": { "k": 1 }, "name": "k" }], "$db": "test",
    };
    let numbered = rawdoc! { "lsid": session(2), "txnNumber": 1_i64 };
    let upsert = rawdoc! { "comment": "@upsert(v)" };
    a.run(&begins(insert.clone(), 1, 1)).await?;
    for command in [
        find.clone(),
        rawdoc! { "find": "c", "filter": { "_id": 1 }, "$db": "test" },
        rawdoc! { "count": "c", "$db": "test" },
        insert.clone(),
        with(insert.clone(), &numbered),
        with(insert.clone(), &upsert),
        index,
        begins(insert.clone(), 3, 1),
    ] {
        let late = b.ask(&with(command, &rawdoc! { "maxTimeMS": 100 })).await?;
        assert_eq!(code(&late), 50, "{late:?}");
        assert!(labels(&late).is_empty(), "{late:?}");
    }
    assert_eq!(scene.wing()?.transactions(), 1);
    a.run(&abort(1, 1)).await?;
    // Nothing of them is left, and what did not begin can be begun.
    b.run(&begins(insert, 3, 1)).await?;
    b.run(&abort(3, 1)).await?;
    assert_eq!(scene.count("c").await?, 20);
    scene.stop().await;
    Ok(())
}
