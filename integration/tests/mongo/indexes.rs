//! Indexes of small collections are built at once, and keep nobody waiting who writes there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf};
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{RawBinaryRef, RawBsonRef, rawdoc};

use super::batches::{add_behind, stranger};
use super::commands::with;
use super::raw::Raw;
use super::support::{OWN_ROLES, Scene, code, page};

/// The command that makes indexes of these keys.
fn create(collection: &str, keys: impl IntoIterator<Item = RawDocumentBuf>) -> RawDocumentBuf {
    let indexes: RawArrayBuf = keys
        .into_iter()
        .map(|key| {
            let name = key.iter().flatten().map(|(field, _)| field.as_str());
            let name = name.collect::<Vec<_>>().join("_");
            rawdoc! { "key": key, "name": name }
        })
        .collect();
    rawdoc! { "createIndexes": collection, "indexes": indexes, "$db": "test" }
}

async fn names(client: &mut Raw, collection: &str) -> Result<Vec<String>> {
    let list = rawdoc! { "listIndexes": collection, "$db": "test" };
    let answer = client.run(&list).await?;
    let names = page(&answer)?
        .into_iter()
        .map(|index| index.get_str("name"));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Fills the collection `large` with 6 MB that can't be compressed.
async fn large(client: &mut Raw) -> Result<()> {
    let mut state = 1_u64;
    for _ in 0..6 {
        let mut bytes = Vec::new();
        while bytes.len() < 1 << 20 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            bytes.extend_from_slice(&state.to_be_bytes()[..4]);
        }
        let bytes = RawBsonRef::Binary(RawBinaryRef {
            subtype: BinarySubtype::Generic,
            bytes: &bytes,
        });
        let insert =
            rawdoc! { "insert": "large", "documents": [{ "bytes": bytes }], "$db": "test" };
        client.run(&insert).await?;
    }
    Ok(())
}

/// Ends all that the database does in the background from now on, or lets it go on.
async fn in_background(scene: &Scene, works: bool) -> Result<()> {
    let set = format!("UPDATE cron.job SET active = {works}");
    scene.admin.batch_execute(&set).await?;
    Ok(())
}

#[tokio::test]
async fn a_small_collection_has_its_indexes_at_once() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    in_background(&scene, false).await?;
    scene.fill("c", 100).await?;
    let mut client = scene.client().await?;
    let keys = [
        rawdoc! { "v": 1 },
        rawdoc! { "a": 1, "b": -1 },
        rawdoc! { "h": "hashed" },
        rawdoc! { "$**": 1 },
        rawdoc! { "t": "text" },
    ];
    let bounded = with(create("c", keys.clone()), &rawdoc! { "maxTimeMS": 20_000 });
    let answer = client.run(&bounded).await?;
    assert_eq!(answer.get_i32("numIndexesBefore")?, 1, "{answer:?}");
    assert_eq!(answer.get_i32("numIndexesAfter")?, 6, "{answer:?}");
    let expected = ["_id_", "v", "a_b", "h", "$**", "t"];
    assert_eq!(names(&mut client, "c").await?, expected);
    // Once more they are there already.
    let answer = client.run(&create("c", keys)).await?;
    assert_eq!(answer.get_i32("numIndexesAfter")?, 6, "{answer:?}");
    assert!(answer.get_str("note").is_ok(), "{answer:?}");
    let find = rawdoc! { "find": "c", "filter": { "v": 7 }, "hint": "v", "$db": "test" };
    assert_eq!(page(&client.run(&find).await?)?.len(), 1);
    // A large one has them when somebody has looked in the background.
    large(&mut client).await?;
    let late = with(
        create("large", [rawdoc! { "v": 1 }]),
        &rawdoc! { "maxTimeMS": 1000 },
    );
    assert_eq!(code(&client.ask(&late).await?), 50);
    // What is wrong is told as ever.
    for (expected, index) in [
        (86, rawdoc! { "key": { "w": 1 }, "name": "v" }),
        (85, rawdoc! { "key": { "v": 1 }, "name": "other" }),
        (67, rawdoc! { "key": { "v": "nope" }, "name": "nope" }),
    ] {
        let wrong = rawdoc! { "createIndexes": "c", "indexes": [index], "$db": "test" };
        let refused = client.ask(&wrong).await?;
        assert_eq!(code(&refused), expected, "{wrong:?}: {refused:?}");
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn documents_that_are_equal_in_a_unique_index_are_told() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let insert = rawdoc! {
        "insert": "c", "documents": [{ "v": 1, "w": 1 }, { "v": 1, "w": 2 }], "$db": "test",
    };
    client.run(&insert).await?;
    let v = rawdoc! { "key": { "v": 1 }, "name": "v", "unique": true };
    let w = rawdoc! { "key": { "w": 1 }, "name": "w", "unique": true };
    // At once, and in the background.
    let one = rawdoc! { "createIndexes": "c", "indexes": [v.clone()], "$db": "test" };
    let both = rawdoc! { "createIndexes": "c", "indexes": [w, v], "$db": "test" };
    let mut answers = Vec::new();
    for command in [one, both] {
        let refused = client.ask(&command).await?;
        assert_eq!(code(&refused), 11_000, "{refused:?}");
        assert_eq!(
            refused.get_document("keyPattern")?,
            &*rawdoc! { "v": 1 },
            "{refused:?}"
        );
        answers.push(refused);
    }
    assert_eq!(answers.first(), answers.last());
    let after = names(&mut client, "c").await?;
    assert!(!after.contains(&"v".to_owned()), "{after:?}");
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn nobody_waits_for_an_index_that_waits() -> Result<()> {
    let scene = Scene::new().await?;
    in_background(&scene, false).await?;
    scene.fill("c", 100).await?;
    let other = stranger(&scene).await?;
    add_behind(&other, 2).await?;
    let (mut client, mut writer) = (scene.client().await?, scene.client().await?);
    client.send(&create("c", [rawdoc! { "v": 1 }])).await?;
    // It goes to the background, and there it is until somebody looks.
    let queued = "SELECT count(*) FROM documentdb_api_catalog.documentdb_index_queue";
    twinport_integration::eventually("it waits in the background", async || {
        let update = rawdoc! {
            "update": "c", "updates": [{ "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } } }], "$db": "test",
        };
        let written = tokio::time::timeout(Duration::from_secs(10), writer.run(&update));
        let written = written.await.context("a write waits for an index")??;
        ensure!(written.get_i32("n")? == 1, "{written:?}");
        Ok(scene.admin.query_one(queued, &[]).await?.get::<_, i64>(0) > 0)
    })
    .await?;
    // Nor does another that comes while it is under way say that it is there.
    let same = with(
        create("c", [rawdoc! { "v": 1 }]),
        &rawdoc! { "maxTimeMS": 500 },
    );
    assert_eq!(code(&writer.ask(&same).await?), 50);
    other.batch_execute("COMMIT").await?;
    in_background(&scene, true).await?;
    let answer = client.read().await?;
    assert_eq!(code(&answer), 0, "{answer:?}");
    assert_eq!(names(&mut client, "c").await?, ["_id_", "v"]);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn who_makes_the_same_index_at_a_time_has_it_once() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 500).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = scene.client().await?;
        tasks.spawn(async move {
            let keys = [rawdoc! { "v": 1 }, rawdoc! { "w": 1 }];
            client.run(&create("c", keys)).await?;
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let made = names(&mut scene.client().await?, "c").await?;
    assert_eq!(made, ["_id_", "v", "w"]);
    scene.stop().await;
    Ok(())
}
