//! Statements whose time is over: nothing of them reaches another client.

use anyhow::Result;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::rawdoc;

use super::support::{Scene, Wants, code, page, session};

/// A command that takes seconds, and gives itself little time.
fn slow(more: &RawDocument) -> RawDocumentBuf {
    let mut out = rawdoc! {
        "aggregate": "c",
        "pipeline": [
            { "$match": { "_id": 1 } },
            { "$project": { "r": { "$range": [0, 3_000_000] } } },
            { "$unwind": "$r" },
            { "$group": { "_id": null, "sum": { "$sum": "$r" } } },
        ],
        "cursor": {},
    };
    for (key, value) in more.iter().flatten() {
        out.append(key, value);
    }
    out.append(cstr!("$db"), "test");
    out
}

fn within(starts: bool) -> RawDocumentBuf {
    let mut out = rawdoc! { "lsid": session(1), "txnNumber": 1_i64, "autocommit": false };
    if starts {
        out.append(cstr!("startTransaction"), true);
    }
    out
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
    let scene = Scene::with(Wants {
        pool: 1,
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 20).await?;
    for limit in [
        rawdoc! { "maxTimeMS": 100 },
        rawdoc! { "comment": "@timeout(100ms)" },
    ] {
        let mut client = scene.client().await?;
        let mut begin = rawdoc! { "find": "c", "filter": { "_id": 1 } };
        for (key, value) in within(true).iter().flatten() {
            begin.append(key, value);
        }
        begin.append(cstr!("$db"), "test");
        client.run(&begin).await?;
        let mut bounded = limit.clone();
        for (key, value) in within(false).iter().flatten() {
            bounded.append(key, value);
        }
        let late = client.ask(&slow(&bounded)).await?;
        assert_eq!(code(&late), 50, "{late:?}");
        let mut abort = rawdoc! { "abortTransaction": 1 };
        for (key, value) in within(false).iter().flatten() {
            abort.append(key, value);
        }
        abort.append(cstr!("$db"), "admin");
        assert_eq!(code(&client.ask(&abort).await?), 251, "it is over already");
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
    let scene = Scene::with(Wants {
        pool: 1,
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 20).await?;
    let mut client = scene.client().await?;
    let late = client.ask(&slow(&rawdoc! { "maxTimeMS": 100 })).await?;
    assert_eq!(code(&late), 50, "{late:?}");
    everybody_has_its_own(&scene).await?;
    scene.stop().await;
    Ok(())
}
