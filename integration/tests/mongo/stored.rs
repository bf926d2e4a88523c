//! What MongoDB does to documents before it stores them.

use anyhow::{Context, Result};
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{Timestamp, rawdoc};

use super::commands::{begins, goes_on};
use super::raw::Raw;
use super::support::{Scene, code, page, session};

const ZERO: Timestamp = Timestamp {
    time: 0,
    increment: 0,
};

/// A document that has this `_id`, and then others.
fn twice(id: i32) -> RawDocumentBuf {
    let mut document = rawdoc! { "_id": id, "a": 1 };
    document.append(cstr!("_id"), id + 1);
    document
}

/// How many were written, and the places and codes of errors.
fn told(answer: &RawDocument) -> Result<(i32, Vec<(i32, i32)>)> {
    let mut errors = Vec::new();
    for error in answer.get_array("writeErrors").into_iter().flatten() {
        let error = error?.as_document().context("an error is a document")?;
        let code = error.get_i32("code")?;
        if code == 2 {
            let text = "can't have multiple _id fields in one document";
            assert_eq!(error.get_str("errmsg")?, text);
        }
        errors.push((error.get_i32("index")?, code));
    }
    Ok((answer.get_i32("n")?, errors))
}

async fn ids(client: &mut Raw) -> Result<Vec<i32>> {
    let find = rawdoc! { "find": "c", "sort": { "_id": 1 }, "$db": "test" };
    let answer = client.run(&find).await?;
    let ids = page(&answer)?.into_iter().map(|each| each.get_i32("_id"));
    Ok(ids.collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn a_document_with_two_ids_is_refused() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    // More than one, so that the way straight to the table is tried too.
    for _ in 0..3 {
        let alone = rawdoc! { "insert": "c", "documents": [twice(1)], "$db": "test" };
        assert_eq!(told(&client.ask(&alone).await?)?, (0, vec![(0, 2)]));
        let fine = rawdoc! { "insert": "c", "documents": [{ "_id": 0 }], "$db": "test" };
        client.ask(&fine).await?;
    }
    let documents = [rawdoc! { "_id": 10 }, twice(20), rawdoc! { "_id": 30 }];
    let [first, second, third] = documents.clone();
    let ordered = rawdoc! { "insert": "c", "documents": [first, second, third], "$db": "test" };
    assert_eq!(told(&client.ask(&ordered).await?)?, (1, vec![(1, 2)]));
    assert_eq!(ids(&mut client).await?, [0, 10]);
    // What fails before ends it.
    assert_eq!(told(&client.ask(&ordered).await?)?, (0, vec![(0, 11_000)]));
    let [first, second, third] = documents;
    let unordered = rawdoc! {
        "insert": "c", "documents": [second, first, third], "ordered": false,
        "lsid": session(1), "txnNumber": 1_i64, "$db": "test",
    };
    // Sent again, it is told the same.
    for _ in 0..2 {
        let answer = client.ask(&unordered).await?;
        assert_eq!(told(&answer)?, (1, vec![(0, 2), (1, 11_000)]), "{answer:?}");
    }
    assert_eq!(ids(&mut client).await?, [0, 10, 30]);
    // In a transaction it ends that.
    let insert = |document| rawdoc! { "insert": "c", "documents": [document], "$db": "test" };
    client
        .run(&begins(insert(rawdoc! { "_id": 40 }), 2, 1))
        .await?;
    let answer = client.ask(&goes_on(insert(twice(50)), 2, 1)).await?;
    assert_eq!(told(&answer)?, (0, vec![(0, 2)]));
    let answer = client
        .ask(&goes_on(insert(rawdoc! { "_id": 60 }), 2, 1))
        .await?;
    assert_eq!(code(&answer), 251, "{answer:?}");
    assert_eq!(ids(&mut client).await?, [0, 10, 30]);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_empty_timestamp_at_the_top_becomes_the_time() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let document = |id: i32| rawdoc! { "_id": id, "t": ZERO, "in": { "t": ZERO }, "u": ZERO };
    let replacement = rawdoc! { "t": ZERO, "in": { "t": ZERO }, "u": ZERO };
    let (first, second) = (document(2), document(3));
    for command in [
        rawdoc! { "insert": "c", "documents": [document(1)], "$db": "test" },
        rawdoc! { "insert": "c", "documents": [first, second], "$db": "test" },
        rawdoc! { "insert": "c", "documents": [{ "_id": 4 }, { "_id": 5 }], "$db": "test" },
        rawdoc! {
            "update": "c", "updates": [
                { "q": { "_id": 4 }, "u": replacement.clone() },
                { "q": { "_id": 6 }, "u": replacement.clone(), "upsert": true },
            ], "$db": "test",
        },
        rawdoc! {
            "findAndModify": "c", "query": { "_id": 5 }, "update": replacement.clone(), "$db": "test",
        },
        rawdoc! {
            "findandmodify": "c", "query": { "_id": 7 }, "update": replacement.clone(),
            "upsert": true, "$db": "test",
        },
        rawdoc! { "insert": "c", "documents": [{ "_id": ZERO }], "$db": "test" },
        rawdoc! {
            "update": "c", "updates": [
                { "q": { "_id": 8 }, "u": { "$set": { "in": { "t": ZERO } } }, "upsert": true },
            ], "$db": "test",
        },
    ] {
        let answer = client.run(&command).await?;
        assert!(answer.get_array("writeErrors").is_err(), "{answer:?}");
    }
    let find = rawdoc! { "find": "c", "filter": { "_id": { "$type": "int" } }, "sort": { "_id": 1 }, "$db": "test" };
    let answer = client.run(&find).await?;
    let found = page(&answer)?;
    assert_eq!(found.len(), 8);
    let (mut times, mut last) = (Vec::new(), 0);
    for document in found {
        assert_eq!(document.get_document("in")?.get_timestamp("t")?, ZERO);
        let id = document.get_i32("_id")?;
        if id == 8 {
            continue;
        }
        let [t, u] = [document.get_timestamp("t")?, document.get_timestamp("u")?];
        assert!(t.time > 1_700_000_000 && u > t, "{document:?}");
        times.extend([t, u]);
        last = id;
    }
    assert_eq!(last, 7);
    times.sort();
    times.dedup();
    assert_eq!(times.len(), 14, "no two are the same");
    let zero = rawdoc! { "count": "c", "query": { "_id": ZERO }, "$db": "test" };
    assert_eq!(client.run(&zero).await?.get_i32("n")?, 1, "a key stays");
    scene.stop().await;
    Ok(())
}
