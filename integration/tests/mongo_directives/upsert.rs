//! `@upsert` on inserts.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

use crate::Open;

/// People with a unique address, two of them there already.
async fn people(open: &Open) -> Result<Collection<Document>> {
    let people = open.database.collection::<Document>("people");
    people.drop().await?;
    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder()
        .keys(doc! { "email": 1 })
        .options(unique);
    people.create_index(index.build()).await?;
    people
        .insert_many([
            doc! { "_id": 1, "email": "a", "name": "Ann", "since": 2001 },
            doc! { "_id": 2, "email": "b", "name": "Bob", "since": 2002 },
        ])
        .await?;
    Ok(people)
}

async fn all(people: &Collection<Document>) -> Result<Vec<Document>> {
    let found = people.find(doc! {}).sort(doc! { "email": 1 }).await?;
    Ok(found.try_collect().await?)
}

/// The answer to an insert that the driver would not show.
async fn insert(
    open: &Open,
    documents: Vec<Document>,
    comment: &str,
    ordered: bool,
) -> Result<Document> {
    let command =
        doc! { "insert": "people", "documents": documents, "ordered": ordered, "comment": comment };
    Ok(open.database.run_command(command).await?)
}

#[tokio::test]
async fn what_is_there_is_updated_and_what_is_not_inserted() -> Result<()> {
    let open = Open::new().await?;
    let fresh = || {
        vec![
            doc! { "_id": 7, "email": "a", "name": "Anna" },
            doc! { "_id": 3, "email": "c", "name": "Cid", "since": 2003 },
        ]
    };
    let cid = doc! { "_id": 3, "email": "c", "name": "Cid", "since": 2003 };
    let bob = doc! { "_id": 2, "email": "b", "name": "Bob", "since": 2002 };
    for ordered in [true, false] {
        let people = people(&open).await?;
        let answer = insert(&open, fresh(), "@upsert(email)", ordered).await?;
        assert_eq!(answer.get_i32("n")?, 2);
        let told = answer.get_document("upsert")?;
        let inserted = told.get_array("inserted")?;
        assert_eq!(inserted, &[doc! { "index": 1, "_id": 3 }.into()]);
        let ann = doc! { "_id": 1, "email": "a", "name": "Anna", "since": 2001 };
        assert_eq!(all(&people).await?, [ann, bob.clone(), cid.clone()]);
    }
    let cases = [
        ("@upsert(email, update: [since])", "Ann", Some(2030)),
        ("@upsert(email, keep: [since])", "Anna", Some(2001)),
        ("@upsert(email, nothing)", "Ann", Some(2001)),
        ("@upsert(email)", "Anna", Some(2030)),
    ];
    for (comment, name, since) in cases {
        let people = people(&open).await?;
        let document = doc! { "email": "a", "name": "Anna", "since": 2030 };
        people.insert_one(document).comment(comment).await?;
        let found = all(&people).await?;
        let first = found.first().context("nobody")?;
        assert_eq!(
            (first.get_i32("_id")?, first.get_str("name")?),
            (1, name),
            "{comment}"
        );
        assert_eq!(first.get_i32("since").ok(), since, "{comment}");
        assert_eq!(found.len(), 2, "{comment}");
    }
    open.scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn of_one_key_twice_the_later_wins() -> Result<()> {
    let open = Open::new().await?;
    for ordered in [true, false] {
        let people = people(&open).await?;
        let batch = vec![
            doc! { "_id": 10, "email": "x", "n": 1 },
            doc! { "_id": 11, "email": "a", "n": 2 },
            doc! { "_id": 12, "email": "x", "n": 3 },
            doc! { "_id": 13, "email": "a", "n": 4 },
        ];
        let answer = insert(&open, batch, "@upsert(email)", ordered).await?;
        assert_eq!(answer.get_i32("n")?, 4);
        let found = all(&people).await?;
        let n: Vec<_> = found
            .iter()
            .map(|each| (each.get_i32("_id").ok(), each.get_i32("n").ok()))
            .collect();
        assert_eq!(
            n,
            [(Some(1), Some(4)), (Some(2), None), (Some(10), Some(3))],
            "ordered: {ordered}"
        );
    }
    // A thousand, twice, by the driver's own batches.
    let people = people(&open).await?;
    for turn in 0..2 {
        let batch = (0..1000).map(|n| doc! { "email": format!("m{n}"), "turn": turn });
        people
            .insert_many(batch.collect::<Vec<_>>())
            .comment("@upsert(email)")
            .await?;
        let count = people.count_documents(doc! { "turn": turn }).await?;
        assert_eq!(
            (count, people.count_documents(doc! {}).await?),
            (1000, 1002)
        );
    }
    open.scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_document_that_fails_has_its_place_in_the_batch() -> Result<()> {
    let open = Open::new().await?;
    for (ordered, expected) in [(true, 3), (false, 4)] {
        let people = people(&open).await?;
        // The second breaks the rule that `_id` is unique: it is another's.
        let batch = vec![
            doc! { "_id": 20, "email": "x" },
            doc! { "_id": 2, "email": "y" },
            doc! { "_id": 21, "email": "z" },
        ];
        let answer = insert(&open, batch, "@upsert(email)", ordered).await;
        let answer = answer.context("write errors are in the answer")?;
        let errors = answer.get_array("writeErrors")?;
        let error = errors
            .first()
            .and_then(|error| error.as_document())
            .context("no error")?;
        assert_eq!(
            (error.get_i32("index")?, error.get_i32("code")?),
            (1, 11000),
            "{answer}"
        );
        assert_eq!(errors.len(), 1);
        let count = people.count_documents(doc! {}).await?;
        assert_eq!(count, expected, "ordered: {ordered}");
    }
    open.scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_upsert_that_cannot_be_is_refused() -> Result<()> {
    let open = Open::new().await?;
    let people = people(&open).await?;
    let email = doc! { "email": "n", "name": "New" };
    let cases = [
        ("@upsert(name)", email.clone(), 27, "createIndex"),
        ("@upsert", email.clone(), 27, "email"),
        ("@upsert(email)", doc! { "name": "New" }, 2, "email"),
        ("@upsert(email)", doc! { "email": null }, 2, "email"),
        (
            "@upsert(email, update: [name], keep: [name])",
            email.clone(),
            9,
            "",
        ),
        ("@upsert(email, inserted: is_new)", email, 115, ""),
    ];
    for (comment, document, code, part) in cases {
        let result = people.insert_one(document).comment(comment).await;
        let error = result
            .err()
            .with_context(|| format!("{comment} was served"))?;
        let ErrorKind::Command(error) = *error.kind else {
            anyhow::bail!("{comment} gave {error}");
        };
        assert_eq!(error.code, code, "{comment}: {}", error.message);
        assert!(error.message.contains(part), "{comment}: {}", error.message);
    }
    assert_eq!(all(&people).await?.len(), 2);
    open.scene.stop().await;
    Ok(())
}
