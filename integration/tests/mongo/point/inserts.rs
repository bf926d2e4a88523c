//! A document that is inserted straight into the table is there as if the extension had inserted it.

use twinport_wire::mongo::bson::{Document, Regex};

use super::*;
use crate::support::session;

fn insert(collection: &str, document: impl Into<Bson>) -> Result<RawDocumentBuf> {
    let insert = doc! { "insert": collection, "documents": [document.into()], "$db": "test" };
    Ok(RawDocumentBuf::try_from(&insert)?)
}

/// An insert that is always left to the extension, and does the same.
fn left(collection: &str, document: impl Into<Bson>) -> Result<RawDocumentBuf> {
    let mut insert = insert(collection, document)?;
    insert.append(cstr!("bypassDocumentValidation"), false);
    Ok(insert)
}

/// Whether the last statement of the user's connection was an insert into a table.
async fn went_straight(scene: &Scene, user: &str) -> Result<bool> {
    let query = last(scene, user).await?;
    Ok(query.contains("INSERT INTO documentdb_data.documents_"))
}

/// Inserts until it goes straight, by a connection of this user.
async fn warm_up(scene: &Scene, client: &mut Raw, user: &str, collection: &str) -> Result<()> {
    for number in 0..3 {
        let id = format!("warm {number}");
        client
            .run(&insert(
                collection,
                doc! { "_id": &id, "a": &id, "b": &id },
            )?)
            .await?;
    }
    ensure!(went_straight(scene, user).await?, "not into the table");
    let delete = rawdoc! { "delete": collection, "deletes": [{ "q": { "_id": { "$regex": "^warm" } }, "limit": 0 }], "$db": "test" };
    client.run(&delete).await?;
    Ok(())
}

/// Everything in a collection, in its order.
async fn all(client: &mut Raw, collection: &str) -> Result<Vec<RawDocumentBuf>> {
    let find = rawdoc! { "find": collection, "sort": { "_id": 1, "n": 1 }, "batchSize": 10_000, "$db": "test" };
    let answer = client.run(&find).await?;
    Ok(page(&answer)?
        .into_iter()
        .map(RawDocument::to_owned)
        .collect())
}

/// An answer without the name of the collection that it speaks of.
fn told(answer: &RawDocument) -> Result<String> {
    let answer = Document::try_from(answer)?;
    Ok(answer.to_string().replace("test.r", "test.c"))
}

fn pattern() -> Regex {
    Regex {
        pattern: cstr!("a").to_owned(),
        options: cstr!("").to_owned(),
    }
}

/// Documents in every shape; `_id`s that are no key among them.
fn documents() -> Vec<Bson> {
    let mut out: Vec<Bson> = (0..)
        .zip(odd())
        .map(|(n, id)| doc! { "_id": id, "n": n }.into())
        .collect();
    let nested = (0..60).fold(Bson::from(1), |inner, _| doc! { "a": inner }.into());
    let others = [
        doc! { "n": -1, "_id": "second" },
        doc! { "_id": "twice", "n": 1, "_ID": 2 },
        doc! { "_id": "dollar", "$a": 1, "b.c": { "$d": 2 } },
        doc! { "_id": "empty", "": 1 },
        doc! { "_id": "deep", "a": nested },
        doc! { "_id": "arrays", "a": [[1, [2]], [], {}] },
        doc! { "_id": "long", "a": "x".repeat(20_000) },
        doc! { "_id": ["array"] },
        doc! { "_id": Bson::Undefined },
        doc! { "_id": Bson::RegularExpression(pattern()) },
        doc! { "_id": { "$a": 1 } },
        doc! { "_id": "last" },
    ];
    out.extend(others.map(Bson::from));
    out
}

#[tokio::test]
async fn documents_are_stored_as_the_extension_stores_them() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    for collection in ["c", "r"] {
        client
            .run(&left(collection, doc! { "_id": "first" })?)
            .await?;
        let indexes = rawdoc! { "createIndexes": collection, "indexes": [{ "key": { "n": 1 }, "name": "n_1" }], "$db": "test" };
        client.run(&indexes).await?;
    }
    warm_up(&scene, &mut client, USER, "c").await?;
    let mut straight = 0;
    // The second time they are there.
    for _ in 0..2 {
        for document in documents() {
            let ours = client.ask(&insert("c", document.clone())?).await?;
            straight += usize::from(went_straight(&scene, USER).await?);
            let theirs = client.ask(&left("r", document.clone())?).await?;
            assert_eq!(told(&ours)?, told(&theirs)?, "{document}");
        }
    }
    ensure!(straight > 20, "only {straight} went straight");
    assert_eq!(all(&mut client, "c").await?, all(&mut client, "r").await?);
    // By the index that was there before.
    let find = |collection: &str| rawdoc! { "find": collection, "filter": { "n": { "$gte": 3 } }, "hint": "n_1", "sort": { "n": 1 }, "batchSize": 1000, "$db": "test" };
    let (ours, theirs) = (client.run(&find("c")).await?, client.run(&find("r")).await?);
    ensure!(page(&ours)?.len() > 20);
    assert_eq!(page(&ours)?, page(&theirs)?);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn unique_indexes_hold() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    for collection in ["c", "r"] {
        client
            .run(&left(collection, doc! { "_id": 0, "a": 1, "b": "x" })?)
            .await?;
        let indexes = rawdoc! { "createIndexes": collection, "indexes": [
            { "key": { "a": 1 }, "name": "a_1", "unique": true },
            { "key": { "b": 1 }, "name": "b_1", "unique": true, "sparse": true },
        ], "$db": "test" };
        client.run(&indexes).await?;
    }
    warm_up(&scene, &mut client, USER, "c").await?;
    let mut refused = 0;
    for document in [
        doc! { "_id": 1, "a": 1 },
        doc! { "_id": 2, "a": 2, "b": "x" },
        doc! { "_id": 3, "a": 3, "b": "y" },
        doc! { "_id": 4, "a": [4, 5] },
        doc! { "_id": 5, "a": 5 },
        doc! { "_id": 6 },
        doc! { "_id": 7 },
        doc! { "_id": 3, "a": 9 },
    ] {
        let ours = client.ask(&insert("c", document.clone())?).await?;
        let theirs = client.ask(&left("r", document.clone())?).await?;
        assert_eq!(told(&ours)?, told(&theirs)?, "{document}");
        if ours.get("writeErrors")?.is_none() {
            continue;
        }
        refused += 1;
        // The next one is not made to suffer for it.
        let next = doc! { "_id": 100 + refused, "a": 100 + refused, "b": 100 + refused };
        client.run(&insert("c", next.clone())?).await?;
        ensure!(
            went_straight(&scene, USER).await?,
            "{next} after {document}"
        );
        client.run(&left("r", next)?).await?;
    }
    ensure!(refused >= 5, "{refused} were refused");
    assert_eq!(all(&mut client, "c").await?, all(&mut client, "r").await?);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn after_a_document_in_the_way_the_next_inserts_look_first() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    client.run(&left("c", doc! { "_id": 0 })?).await?;
    warm_up(&scene, &mut client, USER, "c").await?;
    let looks = async || -> Result<bool> { Ok(last(&scene, USER).await?.contains("ON CONFLICT")) };
    ensure!(!looks().await?, "it looks before there was any");
    for id in 1..5 {
        let answer = client.ask(&insert("c", doc! { "_id": 0 })?).await?;
        ensure!(told(&answer)?.contains("E11000"), "{answer:?}");
        client.run(&insert("c", doc! { "_id": id })?).await?;
        ensure!(went_straight(&scene, USER).await? && looks().await?);
    }
    let log = std::fs::read_to_string(scene.world.server.log())?;
    let logged = log.matches("duplicate key value").count();
    assert_eq!(logged, 1, "in the server's log");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_repeated_insert_is_applied_once() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 1,
        ..Wants::default()
    })
    .await?;
    let owner = scene
        .admin
        .query_one("SELECT current_user::text", &[])
        .await?;
    let owner: &str = owner.get(0);
    let mut client = scene.client().await?;
    client.run(&left("c", doc! { "_id": 0 })?).await?;
    warm_up(&scene, &mut client, owner, "c").await?;
    let numbered = |number: i64, id: i32| -> Result<RawDocumentBuf> {
        let mut insert = insert("c", doc! { "_id": id })?;
        insert.append(cstr!("lsid"), session(1));
        insert.append(cstr!("txnNumber"), number);
        Ok(insert)
    };
    // The first of them makes the table of records.
    client.run(&numbered(1, 1)?).await?;
    client.run(&numbered(2, 2)?).await?;
    ensure!(went_straight(&scene, owner).await?, "not into the table");
    let delete =
        rawdoc! { "delete": "c", "deletes": [{ "q": { "_id": 2 }, "limit": 1 }], "$db": "test" };
    for gone in [false, true] {
        if gone {
            client.run(&delete).await?;
        }
        let again = client.run(&numbered(2, 2)?).await?;
        assert_eq!(again.get_i32("n")?, 1, "{again:?}");
        assert!(again.get("writeErrors")?.is_none(), "{again:?}");
        let count = page(&client.run(&find("c", 2)?).await?)?.len();
        assert_eq!(count, usize::from(!gone));
    }
    // Another write may not be taken for it.
    let other = client.ask(&numbered(3, 1)?).await?;
    assert_eq!(other.get_i32("n")?, 0, "{other:?}");
    // Without the table of records it is made anew.
    scene
        .admin
        .batch_execute("DROP TABLE twinport.retryable_writes")
        .await?;
    for _ in 0..2 {
        let again = client.run(&numbered(4, 4)?).await?;
        assert_eq!(again.get_i32("n")?, 1, "{again:?}");
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_collection_that_changes_is_written_as_it_is() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    let mut changing = scene.other().await?;
    for number in 0.. {
        let (c, d) = (format!("c{number}"), format!("d{number}"));
        let Some(change) = change(number, &c, &d) else {
            break;
        };
        for collection in [&c, &d] {
            fill(&mut client, collection).await?;
        }
        warm_up(&scene, &mut client, USER, &c).await?;
        let expected = change.make(&scene, &mut changing).await?;
        // Who inserts 1 where it is, or into a view, is refused.
        let is_view = matches!(number, 2 | 3);
        let answer = client
            .ask(&insert(&c, doc! { "_id": 1, "late": true })?)
            .await?;
        if is_view {
            ensure!(code(&answer) != 0, "change {number}: {answer:?}");
            continue;
        }
        ensure!(
            answer.get_i32("n")? == i32::from(expected == 0),
            "change {number}: {answer:?}"
        );
        let found = client.run(&find(&c, 1)?).await?;
        ensure!(page(&found)?.len() == 1, "change {number}: {found:?}");
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_validator_is_asked() -> Result<()> {
    let scene = scene().await?;
    for sql in [
        "ALTER SYSTEM SET documentdb.enableSchemaValidation = on",
        "SELECT pg_reload_conf()",
    ] {
        scene.admin.batch_execute(sql).await?;
    }
    let mut client = scene.client().await?;
    client.run(&left("c", doc! { "_id": 0, "n": 1 })?).await?;
    warm_up(&scene, &mut client, USER, "c").await?;
    let validator = rawdoc! { "collMod": "c", "validator": { "$jsonSchema": { "required": ["n"] } }, "$db": "test" };
    client.ask(&validator).await?;
    let answer = client.ask(&insert("c", doc! { "_id": 1 })?).await?;
    assert_eq!(answer.get_i32("n").unwrap_or_default(), 0, "{answer:?}");
    let answer = client.ask(&insert("c", doc! { "_id": 1, "n": 1 })?).await?;
    assert_eq!(answer.get_i32("n")?, 1, "{answer:?}");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn nobody_inserts_where_he_may_not() -> Result<()> {
    let scene = scene().await?;
    let mut client = scene.client().await?;
    let mut other = scene.other().await?;
    client.run(&left("c", doc! { "_id": 0 })?).await?;
    warm_up(&scene, &mut client, USER, "c").await?;
    for id in 1..4 {
        other.run(&insert("c", doc! { "_id": id })?).await?;
    }
    ensure!(went_straight(&scene, OTHER).await?, "not into the table");
    let narrow = format!(
        "REVOKE documentdb_admin_role FROM {OTHER}; GRANT documentdb_readonly_role TO {OTHER}"
    );
    scene.admin.batch_execute(&narrow).await?;
    for id in 4..7 {
        let answer = other.ask(&insert("c", doc! { "_id": id })?).await?;
        ensure!(code(&answer) == 13, "{answer:?}");
    }
    assert_eq!(all(&mut client, "c").await?.len(), 4);
    warm_up(&scene, &mut client, USER, "c").await?;
    scene.stop().await;
    Ok(())
}
