//! What `createIndexes` takes, and how it answers.

use anyhow::Result;
use twinport_wire::mongo::bson::raw::RawArrayBuf;
use twinport_wire::mongo::bson::{RawDocumentBuf, rawdoc};

use super::commands::{begins, commit, goes_on};
use super::raw::Raw;
use super::support::{Scene, code, page};

fn create(specs: impl IntoIterator<Item = RawDocumentBuf>) -> RawDocumentBuf {
    let specs: RawArrayBuf = specs.into_iter().collect();
    rawdoc! { "createIndexes": "c", "indexes": specs, "$db": "test" }
}

/// The names of the indexes that are there, and of those that are hidden.
async fn there(client: &mut Raw, collection: &str) -> Result<(Vec<String>, Vec<String>)> {
    let list = rawdoc! { "listIndexes": collection, "$db": "test" };
    let answer = client.run(&list).await?;
    let (mut all, mut hidden) = (Vec::new(), Vec::new());
    for index in page(&answer)? {
        let name = index.get_str("name")?.to_owned();
        if index.get_bool("hidden").unwrap_or_default() {
            hidden.push(name.clone());
        }
        all.push(name);
    }
    all.sort();
    hidden.sort();
    Ok((all, hidden))
}

#[tokio::test]
async fn the_index_of_the_key_is_there_already() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 3).await?;
    let mut client = scene.client().await?;
    for name in ["_id_", "_id_1"] {
        let answer = client
            .run(&create([rawdoc! { "key": { "_id": 1 }, "name": name }]))
            .await?;
        assert_eq!(answer.get_i32("numIndexesBefore")?, 1, "{answer:?}");
        assert_eq!(answer.get_i32("numIndexesAfter")?, 1, "{answer:?}");
        assert_eq!(answer.get_str("note")?, "all indexes already exist");
    }
    let unique = rawdoc! { "key": { "_id": 1 }, "name": "u", "unique": true };
    let backwards = rawdoc! { "key": { "_id": -1 }, "name": "b" };
    for (spec, expected) in [(unique, 197), (backwards, 2)] {
        let answer = client.ask(&create([spec])).await?;
        assert_eq!(code(&answer), expected, "{answer:?}");
    }
    let a = || rawdoc! { "key": { "a": 1 }, "name": "a_1" };
    let answer = client
        .run(&create([a(), rawdoc! { "key": { "_id": 1 }, "name": "x" }]))
        .await?;
    assert_eq!(
        answer.get_str("note")?,
        "index already exists",
        "{answer:?}"
    );
    let answer = client.run(&create([a()])).await?;
    assert_eq!(
        answer.get_str("note")?,
        "all indexes already exist",
        "{answer:?}"
    );
    let answer = client
        .run(&create([rawdoc! { "key": { "b": 1 }, "name": "b_1" }]))
        .await?;
    assert!(answer.get("note")?.is_none(), "{answer:?}");
    let new = rawdoc! { "createIndexes": "new", "indexes": [{ "key": { "_id": 1 }, "name": "_id_" }], "$db": "test" };
    let answer = client.run(&new).await?;
    assert_eq!(
        answer.get_str("note")?,
        "all indexes already exist",
        "{answer:?}"
    );
    let names = ["_id_", "a_1", "b_1"].map(str::to_owned);
    assert_eq!(there(&mut client, "c").await?.0, names);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_index_is_hidden_from_the_beginning() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 3).await?;
    let mut client = scene.client().await?;
    let spec = |name: &str, hidden: bool| {
        let key = match name {
            "a" => rawdoc! { "a": 1 },
            "b" => rawdoc! { "b": 1 },
            _ => rawdoc! { "d": 1 },
        };
        rawdoc! { "key": key, "name": name, "sparse": true, "hidden": hidden }
    };
    client.run(&create([spec("a", false)])).await?;
    let answer = client
        .run(&create([
            spec("a", true),
            spec("b", true),
            spec("d", false),
        ]))
        .await?;
    assert_eq!(answer.get_i32("numIndexesAfter")?, 4, "{answer:?}");
    assert_eq!(answer.get_str("note")?, "index already exists");
    // What is there already stays what it is.
    let (all, hidden) = there(&mut client, "c").await?;
    assert_eq!((all.len(), hidden), (4, vec!["b".to_owned()]));
    let answer = client
        .ask(&create([
            rawdoc! { "key": { "_id": 1 }, "name": "_id_", "hidden": true },
        ]))
        .await?;
    assert_eq!(code(&answer), 2, "{answer:?}");
    let unique = rawdoc! { "key": { "e": 1 }, "name": "e", "unique": true, "hidden": true };
    assert_eq!(code(&client.ask(&create([unique])).await?), 115);
    // In a transaction too, on what that has made.
    let make = rawdoc! { "createIndexes": "t", "indexes": [{ "key": { "a": 1 }, "name": "a", "hidden": true }], "$db": "test" };
    client
        .run(&begins(rawdoc! { "create": "t", "$db": "test" }, 1, 1))
        .await?;
    client.run(&goes_on(make, 1, 1)).await?;
    client.run(&commit(1, 1)).await?;
    assert_eq!(there(&mut client, "t").await?.1, ["a"]);
    scene.stop().await;
    Ok(())
}
