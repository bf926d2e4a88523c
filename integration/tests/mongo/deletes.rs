//! Deletes of one document that come on one which somebody else is about to change: it is deleted when it has been
//! changed, as MongoDB does, and once.

use anyhow::Result;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;

use super::batches::{add_behind, counts, numbered, stranger};
use super::commands::{begins, goes_on};
use super::support::{OWN_ROLES, Scene, code, labels};

/// A delete of one document for each of these queries.
fn one_each(queries: impl IntoIterator<Item = RawDocumentBuf>, ordered: bool) -> RawDocumentBuf {
    let deletes: RawArrayBuf = queries
        .into_iter()
        .map(|query| rawdoc! { "q": query, "limit": 1 })
        .collect();
    rawdoc! { "delete": "c", "deletes": deletes, "ordered": ordered, "$db": "test" }
}

/// What an answer says of how many were found.
fn found(answer: &RawDocumentBuf) -> Result<i32> {
    let told = answer.get_document("lastErrorObject");
    Ok(told.unwrap_or(answer).get_i32("n")?)
}

#[tokio::test]
async fn what_is_changed_before_it_is_deleted_is_deleted() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 40).await?;
    let mut client = scene.client().await?;
    let mut number = 0;
    let mut left = 40;
    for by in ["_id", "v"] {
        for numbers in [false, true] {
            for what in ["delete", "remove", "sorted", "update", "modify"] {
                number += 1;
                let id = i32::try_from(number)?;
                let query = match by {
                    "_id" => rawdoc! { "_id": id },
                    _ => rawdoc! { "v": id },
                };
                let change = rawdoc! { "$inc": { "n": 1 } };
                let write = match what {
                    "delete" => one_each([query], true),
                    "remove" => {
                        rawdoc! { "findAndModify": "c", "query": query, "remove": true, "$db": "test" }
                    }
                    "sorted" => rawdoc! {
                        "findAndModify": "c", "query": query, "remove": true, "sort": { "n": 1 }, "$db": "test",
                    },
                    "update" => rawdoc! {
                        "update": "c", "updates": [{ "q": query, "u": change }], "$db": "test",
                    },
                    _ => rawdoc! {
                        "findAndModify": "c", "query": query, "update": change, "$db": "test",
                    },
                };
                let write = match numbers {
                    true => numbered(write, 1, number),
                    false => write,
                };
                let other = stranger(&scene).await?;
                add_behind(&other, id).await?;
                client.send(&write).await?;
                scene.until_locked(1).await?;
                other.batch_execute("COMMIT").await?;
                let answer = client.read().await?;
                assert_eq!(found(&answer)?, 1, "{write:?}: {answer:?}");
                if !matches!(what, "update" | "modify") {
                    left -= 1;
                }
                assert_eq!(scene.count("c").await?, left, "{write:?}");
                // Sent again it has the same answer, and deletes no other.
                if numbers {
                    assert_eq!(client.run(&write).await?, answer);
                    assert_eq!(scene.count("c").await?, left, "{write:?}");
                }
            }
        }
    }
    let counted = counts(&mut client).await?;
    let changed = counted.iter().filter(|n| **n > 0);
    assert!(changed.eq([101; 8].iter()), "{counted:?}");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_no_longer_matches_is_left() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 4).await?;
    let mut client = scene.client().await?;
    let write = one_each([rawdoc! { "v": 2, "n": { "$exists": false } }], true);
    let other = stranger(&scene).await?;
    add_behind(&other, 2).await?;
    client.send(&numbered(write, 1, 1)).await?;
    scene.until_locked(1).await?;
    other.batch_execute("COMMIT").await?;
    assert_eq!(found(&client.read().await?)?, 0);
    assert_eq!(counts(&mut client).await?, [0, 0, 100, 0]);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_batch_of_deletes_leaves_none() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let mut number = 0;
    for by in ["_id", "v"] {
        for ordered in [false, true] {
            // The other is done while the batch still waits for it, or long after.
            for at_once in [false, true] {
                scene.fill("c", 6).await?;
                number += 1;
                let queries = [3, 1, 2, 9].map(|value| match by {
                    "_id" => rawdoc! { "_id": value },
                    _ => rawdoc! { "v": value },
                });
                let write = numbered(one_each(queries, ordered), 1, number);
                let other = stranger(&scene).await?;
                add_behind(&other, 1).await?;
                client.send(&write).await?;
                if at_once {
                    let watch =
                        "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted)
                        LOOP END LOOP; END $$; COMMIT";
                    other.batch_execute(watch).await?;
                } else {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    scene.until_locked(1).await?;
                    other.batch_execute("COMMIT").await?;
                }
                let answer = client.read().await?;
                assert_eq!(
                    found(&answer)?,
                    3,
                    "{by}, ordered: {ordered}, {at_once}: {answer:?}"
                );
                assert!(answer.get("writeErrors")?.is_none(), "{answer:?}");
                for _ in 0..2 {
                    assert_eq!(client.run(&write).await?, answer);
                }
                assert_eq!(scene.count("c").await?, 3);
                let all =
                    rawdoc! { "delete": "c", "deletes": [{ "q": {}, "limit": 0 }], "$db": "test" };
                assert_eq!(found(&client.run(&all).await?)?, 3);
            }
        }
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_user_without_records_deletes_once() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    scene.fill("c", 4).await?;
    let mut client = scene.client().await?;
    let write = numbered(one_each([rawdoc! { "v": { "$gt": 1 } }], true), 1, 1);
    let other = stranger(&scene).await?;
    add_behind(&other, 2).await?;
    client.send(&write).await?;
    scene.until_locked(1).await?;
    other.batch_execute("COMMIT").await?;
    assert_eq!(found(&client.read().await?)?, 1);
    assert_eq!(found(&client.run(&write).await?)?, 1);
    assert_eq!(scene.count("c").await?, 3);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_ends_rather_than_delete_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 4).await?;
    let mut client = scene.client().await?;
    let deletes = [
        one_each([rawdoc! { "_id": 2 }], true),
        one_each([rawdoc! { "v": 2 }], true),
        rawdoc! { "findAndModify": "c", "query": { "v": 2 }, "remove": true, "$db": "test" },
    ];
    for (number, delete) in (1..).zip(deletes) {
        let count = rawdoc! { "find": "c", "$db": "test" };
        client.run(&begins(count, 1, number)).await?;
        let other = stranger(&scene).await?;
        add_behind(&other, 2).await?;
        other.batch_execute("COMMIT").await?;
        let refused = client.ask(&goes_on(delete, 1, number)).await?;
        assert_eq!(code(&refused), 112, "{refused:?}");
        assert!(labels(&refused).contains(&"TransientTransactionError"));
    }
    assert_eq!(counts(&mut client).await?, [0, 0, 300, 0]);
    scene.stop().await;
    Ok(())
}
