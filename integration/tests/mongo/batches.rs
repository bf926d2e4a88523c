//! Batches that are in each other's way. The database runs each as one transaction, which keeps what it has locked;
//! to clients every statement is on its own, so that none fails for others.

use anyhow::{Context, Result, ensure};
use tokio_postgres::Client;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::rawdoc;

use super::raw::Raw;
use super::support::{Scene, code, labels, page, session};

/// Adds 1 to documents that are looked for by this field, in this order.
fn add(field: &str, values: &[i32], ordered: bool) -> RawDocumentBuf {
    let query = |value: i32| match field {
        "_id" => rawdoc! { "_id": value },
        _ => rawdoc! { "v": value },
    };
    let updates: RawArrayBuf = values
        .iter()
        .map(|value| rawdoc! { "q": query(*value), "u": { "$inc": { "n": 1 } } })
        .collect();
    rawdoc! { "update": "c", "updates": updates, "ordered": ordered, "$db": "test" }
}

/// The same as a session's write of this number.
pub(super) fn numbered(mut write: RawDocumentBuf, of: u8, number: i64) -> RawDocumentBuf {
    write.append(cstr!("lsid"), session(of));
    write.append(cstr!("txnNumber"), number);
    write
}

/// Somebody else's transaction, who is never the one that a deadlock ends.
pub(super) async fn stranger(scene: &Scene) -> Result<Client> {
    let other = scene.world.server.client("postgres").await?;
    other
        .batch_execute("SET deadlock_timeout = '1h'; BEGIN")
        .await?;
    Ok(other)
}

/// Adds 100 to a document in such a transaction.
pub(super) async fn add_behind(other: &Client, id: i32) -> Result<()> {
    let command = format!(
        r#"{{ "update": "c", "updates": [{{ "q": {{ "_id": {id} }}, "u": {{ "$inc": {{ "n": 100 }} }} }}] }}"#
    );
    let sql = "SELECT (documentdb_api.update('test', $1::text::documentdb_core.bson)).p_success";
    let row = other.query_one(sql, &[&command]).await?;
    ensure!(row.get::<_, bool>(0), "{command}");
    Ok(())
}

/// What the documents count.
pub(super) async fn counts(client: &mut Raw) -> Result<Vec<i32>> {
    let find = rawdoc! { "find": "c", "sort": { "_id": 1 }, "$db": "test" };
    let found = client.run(&find).await?;
    let documents = page(&found)?.into_iter();
    let counts = documents.map(|each| each.get_i32("n").unwrap_or_default());
    Ok(counts.collect())
}

/// A batch that has locked a document that another transaction wants, and wants one that this has locked. Gives who
/// waits for the batch's answer, the other, and what the other does.
async fn entangled(
    scene: &Scene,
    batch: &RawDocumentBuf,
) -> Result<(Raw, Client, tokio::task::JoinHandle<Result<Client>>)> {
    scene.fill("c", 4).await?;
    // The table of records is made by the first.
    scene
        .client()
        .await?
        .run(&numbered(add("_id", &[9], true), 1, 1))
        .await?;
    let (other, watching) = (
        stranger(scene).await?,
        scene.world.server.client("postgres").await?,
    );
    add_behind(&other, 2).await?;
    let mut client = scene.client().await?;
    client.send(batch).await?;
    scene.until_locked(1).await?;
    let other = tokio::spawn(async move {
        add_behind(&other, 1).await?;
        Ok(other)
    });
    Ok((client, watching, other))
}

/// Asks again, as a driver whose answer was lost; nothing is applied by it.
async fn asks_again(scene: &Scene, batch: &RawDocumentBuf, answer: &RawDocumentBuf) -> Result<()> {
    let mut client = scene.client().await?;
    let before = counts(&mut client).await?;
    for _ in 0..2 {
        assert_eq!(&client.run(batch).await?, answer);
    }
    assert_eq!(counts(&mut client).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_batch_lets_go_of_what_another_waits_for() -> Result<()> {
    for (field, ordered) in [("_id", true), ("_id", false), ("v", true), ("v", false)] {
        let scene = Scene::new().await?;
        let batch = numbered(add(field, &[1, 2, 3], ordered), 1, 2);
        let (mut client, _, other) = entangled(&scene, &batch).await?;
        let other = other.await??;
        other.batch_execute("COMMIT").await?;
        let answer = client.read().await?;
        assert_eq!(answer.get_i32("nModified")?, 3, "{answer:?}");
        assert!(answer.get("writeErrors")?.is_none(), "{answer:?}");
        assert_eq!(counts(&mut client).await?, [0, 101, 101, 1]);
        asks_again(&scene, &batch, &answer).await?;
        scene.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_that_is_cut_off_halfway_goes_on_when_sent_again() -> Result<()> {
    for ordered in [true, false] {
        let scene = Scene::new().await?;
        let batch = numbered(add("v", &[1, 2, 3], ordered), 1, 2);
        let (mut client, watching, other) = entangled(&scene, &batch).await?;
        let other = other.await??;
        // The first part is over now, since the other goes on; the next waits.
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'twinport-mongo' AND wait_event_type = 'Lock'";
        eventually("the batch is cut off", async || {
            Ok(watching.query_one(kill, &[]).await?.get::<_, i64>(0) == 1)
        })
        .await?;
        let lost = client.read().await?;
        assert_ne!(code(&lost), 0, "{lost:?}");
        assert!(labels(&lost).contains(&"RetryableWriteError"), "{lost:?}");
        other.batch_execute("COMMIT").await?;
        let answer = scene.client().await?.run(&batch).await?;
        assert_eq!(answer.get_i32("nModified")?, 3, "{answer:?}");
        asks_again(&scene, &batch, &answer).await?;
        let found = counts(&mut scene.client().await?).await?;
        assert_eq!(found, [0, 101, 101, 1]);
        scene.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn many_batches_in_any_order_lose_nothing() -> Result<()> {
    const CLIENTS: u8 = 4;
    const ROUNDS: i64 = 4;
    let scene = Scene::new().await?;
    scene.fill("c", 10).await?;
    let mut total = 0;
    let mut written = 0_i64;
    for (field, ordered) in [("_id", true), ("_id", false), ("v", true), ("v", false)] {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 1..=CLIENTS {
            let mut client = scene.client().await?;
            tasks.spawn(async move {
                for round in 0..ROUNDS {
                    // Each begins elsewhere, and every other goes the other way.
                    let start = i32::from(number) * 3 + i32::try_from(round)?;
                    let mut values: Vec<i32> = (0..10).map(|at| (start + at) % 10).collect();
                    if number % 2 == 0 {
                        values.reverse();
                    }
                    let mut batch = add(field, &values, ordered);
                    // Some are numbered, and some are not.
                    if number % 2 == 0 {
                        written += 1;
                        batch = numbered(batch, number, written);
                    }
                    let answer = client.run(&batch).await?;
                    ensure!(answer.get_i32("nModified")? == 10, "{answer:?}");
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        written += ROUNDS;
        total += i32::from(CLIENTS) * i32::try_from(ROUNDS)?;
        let found = counts(&mut scene.client().await?).await?;
        assert_eq!(found, [total; 10], "{field}, ordered: {ordered}");
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn deletes_in_the_way_of_others_are_carried_out() -> Result<()> {
    let scene = Scene::new().await?;
    let deletes: RawArrayBuf = [1, 2, 3]
        .into_iter()
        .map(|v| rawdoc! { "q": { "v": v }, "limit": 0 })
        .collect();
    let batch = rawdoc! {
        "delete": "c", "deletes": deletes, "ordered": false,
        "lsid": session(1), "txnNumber": 2_i64, "$db": "test",
    };
    let (mut client, _, other) = entangled(&scene, &batch).await?;
    // One is gone when the other comes to it.
    let other = other.await??;
    other.batch_execute("COMMIT").await?;
    let answer = client.read().await?;
    assert_eq!(answer.get_i32("n")?, 3, "{answer:?}");
    assert!(answer.get("writeErrors")?.is_none(), "{answer:?}");
    asks_again(&scene, &batch, &answer).await?;
    assert_eq!(scene.count("c").await?, 1);
    scene.stop().await;
    Ok(())
}

/// A collection whose `k` is unique.
async fn with_unique(scene: &Scene) -> Result<Raw> {
    scene.fill("c", 1).await?;
    let mut client = scene.client().await?;
    let create = rawdoc! {
        "createIndexes": "c",
        "indexes": [{ "key": { "k": 1 }, "name": "k_1", "unique": true }],
        "$db": "test",
    };
    client.run(&create).await?;
    Ok(client)
}

#[tokio::test]
async fn an_upsert_that_comes_second_finds_the_document() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = with_unique(&scene).await?;
    let change = rawdoc! { "$inc": { "n": 1 } };
    let update = |query: RawDocumentBuf, number: i64| {
        rawdoc! {
            "update": "c", "updates": [{ "q": query, "u": change.clone(), "upsert": true }],
            "lsid": session(1), "txnNumber": number, "$db": "test",
        }
    };
    let races = [
        (10, update(rawdoc! { "k": 10 }, 1), "/n"),
        (11, update(rawdoc! { "_id": 11 }, 2), "/n"),
        (
            12,
            rawdoc! {
                "findAndModify": "c", "query": { "k": 12 }, "update": change.clone(), "upsert": true,
                "lsid": session(1), "txnNumber": 3_i64, "$db": "test",
            },
            "lastErrorObject/n",
        ),
        (
            13,
            rawdoc! {
                "insert": "c", "documents": [{ "k": 13, "n": 1 }], "comment": "@upsert(k)",
                "lsid": session(1), "txnNumber": 4_i64, "$db": "test",
            },
            "/n",
        ),
    ];
    for (key, command, found) in races {
        let other = stranger(&scene).await?;
        let insert = format!(
            r#"{{ "insert": "c", "documents": [{{ "_id": {key}, "k": {key}, "n": 0 }}] }}"#
        );
        let sql =
            "SELECT (documentdb_api.insert('test', $1::text::documentdb_core.bson)).p_success";
        ensure!(other.query_one(sql, &[&insert]).await?.get::<_, bool>(0));
        client.send(&command).await?;
        scene.until_locked(1).await?;
        other.batch_execute("COMMIT").await?;
        let answer = client.read().await?;
        assert_eq!(code(&answer), 0, "{answer:?}");
        assert!(answer.get("writeErrors")?.is_none(), "{answer:?}");
        let (inside, field) = found.split_once('/').context("a path")?;
        let holds = match inside {
            "" => &answer,
            inside => answer.get_document(inside)?,
        };
        assert_eq!(holds.get_i32(field)?, 1, "{answer:?}");
        for _ in 0..2 {
            assert_eq!(client.run(&command).await?, answer);
        }
        let find = rawdoc! { "find": "c", "filter": { "_id": key }, "$db": "test" };
        let found = client.run(&find).await?;
        let counted = page(&found)?
            .first()
            .and_then(|only| only.get_i32("n").ok());
        assert_eq!(counted, Some(1), "{command:?}");
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn many_upserts_of_the_same_keys_all_count() -> Result<()> {
    let scene = Scene::new().await?;
    with_unique(&scene).await?;
    for (round, ordered) in [(1, true), (2, false)] {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..4_i32 {
            let mut client = scene.client().await?;
            tasks.spawn(async move {
                let upserts: RawArrayBuf = (0..12)
                    .map(|at| {
                        let key = round * 100 + (number * 3 + at) % 12;
                        rawdoc! {
                            "q": { "k": key }, "u": { "$inc": { "n": 1 } }, "upsert": true,
                        }
                    })
                    .collect();
                let batch = rawdoc! {
                    "update": "c", "updates": upserts, "ordered": ordered, "$db": "test",
                };
                let answer = client.run(&batch).await?;
                ensure!(answer.get_i32("n")? == 12, "{answer:?}");
                let upserted = answer.get_array("upserted").into_iter().flatten();
                anyhow::Ok(upserted.count())
            });
        }
        let mut upserted = 0;
        while let Some(done) = tasks.join_next().await {
            upserted += done??;
        }
        assert_eq!(upserted, 12, "ordered: {ordered}");
    }
    let found = counts(&mut scene.client().await?).await?;
    assert_eq!(found.iter().sum::<i32>(), 2 * 4 * 12);
    assert_eq!(found.len(), 1 + 2 * 12);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_upsert_into_a_key_that_is_taken_for_good_fails() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = with_unique(&scene).await?;
    let upsert = |query: RawDocumentBuf, k: i32| {
        rawdoc! {
            "update": "c",
            "updates": [{ "q": query, "u": { "$set": { "k": k } }, "upsert": true }],
            "$db": "test",
        }
    };
    client.run(&upsert(rawdoc! { "_id": 1 }, 1)).await?;
    for query in [rawdoc! { "_id": 2 }, rawdoc! { "other": 2 }] {
        let answer = client.ask(&upsert(query, 1)).await?;
        let errors = answer.get_array("writeErrors")?;
        let first = errors.into_iter().next().context("an error")??;
        let first = first.as_document().context("a document")?;
        assert_eq!(first.get_i32("code")?, 11_000);
        assert_eq!(first.get_document("keyPattern")?, &*rawdoc! { "k": 1 });
    }
    scene.stop().await;
    Ok(())
}
