//! What mappers and people meet first where the extension differs from MongoDB: indexes as they were made, collations,
//! types of fields, users, hints.

use std::time::Duration;

use anyhow::Result;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};

use super::commands::{begins, with};
use super::raw::Raw;
use super::support::{OWN_ROLES, Scene, code, page, session};

/// The identifiers on a cursor's only page.
fn ids(answer: &RawDocument) -> Result<Vec<String>> {
    let found = page(answer)?;
    let ids = found.into_iter().map(|each| each.get_str("_id"));
    let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    Ok(ids.into_iter().map(str::to_owned).collect())
}

#[tokio::test]
async fn answers_are_those_of_mongodb() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    scene.fill("c", 10).await?;
    listed_indexes(&mut client).await?;
    unique_over_duplicates(&mut client).await?;
    types_of_fields(&mut client).await?;
    times(&mut client).await?;
    hints(&mut client).await?;
    users(&mut client).await?;
    small_ones(&mut client).await?;
    scene.stop().await;
    Ok(())
}

async fn listed_indexes(client: &mut Raw) -> Result<()> {
    let indexes = rawdoc! {
        "createIndexes": "indexed", "$db": "test", "indexes": [
            { "key": { "a": 1 }, "name": "a_1", "unique": true },
            { "key": { "b": -1 }, "name": "b_-1" },
        ],
    };
    client.run(&indexes).await?;
    let list = rawdoc! { "listIndexes": "indexed", "$db": "test" };
    let answer = client.run(&list).await?;
    let expected = [
        rawdoc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" },
        rawdoc! { "v": 2, "key": { "a": 1 }, "name": "a_1", "unique": true },
        rawdoc! { "v": 2, "key": { "b": -1 }, "name": "b_-1" },
    ];
    let found = page(&answer)?;
    assert_eq!(found, expected.iter().map(|e| &**e).collect::<Vec<_>>());
    Ok(())
}

async fn unique_over_duplicates(client: &mut Raw) -> Result<()> {
    let insert = rawdoc! {
        "insert": "twice", "$db": "test", "documents": [{ "v": 1, "w": 1 }, { "v": 1, "w": 1 }],
    };
    client.run(&insert).await?;
    let index = rawdoc! {
        "createIndexes": "twice", "$db": "test",
        "indexes": [{ "key": { "v": 1, "w": -1 }, "name": "both", "unique": true }],
    };
    let refused = client.ask(&index).await?;
    assert_eq!(code(&refused), 11_000, "{refused:?}");
    let text = refused.get_str("errmsg")?;
    assert!(
        text.contains("E11000 duplicate key error collection: test.twice index: both"),
        "{text}"
    );
    assert_eq!(
        refused.get_document("keyPattern")?,
        &*rawdoc! { "v": 1, "w": -1 }
    );
    Ok(())
}

async fn types_of_fields(client: &mut Raw) -> Result<()> {
    for wrong in [
        rawdoc! { "find": "c", "maxTimeMS": "a", "$db": "test" },
        rawdoc! { "find": "c", "maxTimeMS": 1.5, "$db": "test" },
        rawdoc! { "find": "c", "readConcern": 5, "$db": "test" },
        rawdoc! { "insert": "c", "documents": [{}], "writeConcern": 5, "$db": "test" },
        rawdoc! { "getMore": "x", "collection": "c", "$db": "test" },
        rawdoc! { "killCursors": "c", "cursors": ["x"], "$db": "test" },
        rawdoc! { "killCursors": "c", "cursors": 5, "$db": "test" },
    ] {
        let refused = client.ask(&wrong).await?;
        assert_eq!(code(&refused), 14, "{wrong:?}: {refused:?}");
        assert_eq!(refused.get_str("codeName")?, "TypeMismatch");
    }
    for millis in [-1_i64, 1 << 40] {
        let find = rawdoc! { "find": "c", "maxTimeMS": millis, "$db": "test" };
        assert_eq!(code(&client.ask(&find).await?), 2, "{millis}");
    }
    let find = rawdoc! { "find": "c", "maxTimeMS": i32::MAX, "$db": "test" };
    client.run(&find).await?;
    Ok(())
}

async fn times(client: &mut Raw) -> Result<()> {
    let status = client
        .run(&rawdoc! { "serverStatus": 1, "$db": "admin" })
        .await?;
    let (seconds, millis) = (status.get_f64("uptime")?, status.get_i64("uptimeMillis")?);
    assert!(seconds >= 0.0 && millis > 0, "{status:?}");
    Ok(())
}

async fn hints(client: &mut Raw) -> Result<()> {
    let update = |id: i32, hint: RawBsonRef<'_>| {
        rawdoc! { "q": { "_id": id }, "u": { "$set": { "hinted": true } }, "hint": hint }
    };
    let (nope, id) = (RawBsonRef::String("nope"), RawBsonRef::String("_id_"));
    let updates = |first: RawDocumentBuf, second: RawDocumentBuf| {
        rawdoc! { "update": "c", "updates": [first, second], "$db": "test" }
    };
    // The first that fails ends an ordered command.
    let answer = client.ask(&updates(update(1, nope), update(2, id))).await?;
    assert_eq!((answer.get_i32("n")?, answer.get_i32("nModified")?), (0, 0));
    let error = answer.get_array("writeErrors")?.get_document(0)?;
    assert_eq!((error.get_i32("index")?, error.get_i32("code")?), (0, 2));
    // Behind another it is refused with that.
    let refused = client.ask(&updates(update(1, id), update(2, nope))).await?;
    assert_eq!(code(&refused), 2, "{refused:?}");
    let count = rawdoc! { "count": "c", "query": { "hinted": true }, "$db": "test" };
    assert_eq!(client.run(&count).await?.get_i32("n")?, 0);
    let key = rawdoc! { "_id": 1.0 };
    let natural = rawdoc! { "$natural": 1 };
    for hint in [
        id,
        RawBsonRef::Document(&key),
        RawBsonRef::Document(&natural),
    ] {
        let update = rawdoc! { "update": "c", "updates": [update(3, hint)], "$db": "test" };
        assert_eq!(client.run(&update).await?.get_i32("n")?, 1, "{hint:?}");
    }
    let delete = |hint: RawDocumentBuf| {
        rawdoc! { "delete": "c", "deletes": [{ "q": { "_id": 9 }, "limit": 1, "hint": hint }], "$db": "test" }
    };
    let answer = client.ask(&delete(rawdoc! { "nope": 1 })).await?;
    assert_eq!(answer.get_i32("n")?, 0);
    assert!(answer.get_array("writeErrors").is_ok(), "{answer:?}");
    // In a transaction it is over with that, too.
    let within = client
        .ask(&begins(delete(rawdoc! { "nope": 1 }), 7, 1))
        .await?;
    assert!(within.get_array("writeErrors").is_ok(), "{within:?}");
    let commit = super::commands::commit(7, 1);
    assert_eq!(code(&client.ask(&commit).await?), 251);
    assert_eq!(
        client
            .run(&delete(rawdoc! { "_id": 1 }))
            .await?
            .get_i32("n")?,
        1
    );
    let nowhere = rawdoc! { "update": "nowhere", "updates": [update(1, nope)], "$db": "test" };
    let answer = client.run(&nowhere).await?;
    assert!(answer.get_array("writeErrors").is_err(), "{answer:?}");
    Ok(())
}

async fn users(client: &mut Raw) -> Result<()> {
    let role = rawdoc! { "role": "readAnyDatabase", "db": "admin" };
    let create =
        rawdoc! { "createUser": "ann", "pwd": "Str0ng!pass1", "roles": [role], "$db": "admin" };
    client.run(&create).await?;
    let again = client.ask(&create).await?;
    assert_eq!(code(&again), 51_003, "{again:?}");
    let drop = rawdoc! { "dropUser": "ann", "$db": "admin" };
    client.run(&drop).await?;
    let update = rawdoc! { "updateUser": "ann", "pwd": "Str0ng!pass2", "$db": "admin" };
    for command in [drop, update] {
        let gone = client.ask(&command).await?;
        assert_eq!(code(&gone), 11, "{gone:?}");
        assert_eq!(gone.get_str("codeName")?, "UserNotFound");
    }
    Ok(())
}

async fn small_ones(client: &mut Raw) -> Result<()> {
    for (expected, command) in [
        (14, rawdoc! { "getLog": 5, "$db": "admin" }),
        (125, rawdoc! { "getLog": "nope", "$db": "admin" }),
        (0, rawdoc! { "getLog": "startupWarnings", "$db": "admin" }),
        (0, rawdoc! { "getLog": "*", "$db": "admin" }),
        (13, rawdoc! { "listDatabases": 1, "$db": "test" }),
        (0, rawdoc! { "listDatabases": 1, "$db": "admin" }),
        (40_414, rawdoc! { "distinct": "c", "$db": "test" }),
        (40_415, rawdoc! { "find": "c", "nope": 1, "$db": "test" }),
        (
            40_415,
            rawdoc! { "aggregate": "c", "pipeline": [], "cursor": {}, "nope": 1, "$db": "test" },
        ),
    ] {
        let answer = client.ask(&command).await?;
        assert_eq!(code(&answer), expected, "{command:?}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn collations_hold_where_the_extension_knows_them() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let fill = rawdoc! {
        "insert": "letters", "$db": "test",
        "documents": [{ "_id": "a", "s": "a" }, { "_id": "A", "s": "A" }, { "_id": "b", "s": "b" }],
    };
    client.run(&fill).await?;
    let letters = rawdoc! { "locale": "en", "strength": 1 };
    let collated = |command: RawDocumentBuf| {
        let collation = rawdoc! { "collation": letters.clone(), "$db": "test" };
        with(command, &collation)
    };
    for filter in [
        rawdoc! { "s": "a" },
        rawdoc! { "_id": "a" },
        rawdoc! { "_id": { "$in": ["A"] } },
    ] {
        let found = client
            .run(&collated(rawdoc! { "find": "letters", "filter": filter }))
            .await?;
        assert_eq!(ids(&found)?, ["A", "a"]);
    }
    let plain = rawdoc! { "find": "letters", "filter": { "_id": "a" }, "$db": "test" };
    assert_eq!(ids(&client.run(&plain).await?)?, ["a"]);
    let pipeline = [rawdoc! { "$match": { "s": "A" } }];
    let pipeline: twinport_wire::mongo::bson::raw::RawArrayBuf = pipeline.into_iter().collect();
    let found = collated(rawdoc! { "aggregate": "letters", "pipeline": pipeline, "cursor": {} });
    assert_eq!(ids(&client.run(&found).await?)?, ["A", "a"]);
    let count = collated(rawdoc! { "count": "letters", "query": { "s": "a" } });
    assert_eq!(client.run(&count).await?.get_i32("n")?, 2);
    // A later page as the first, in the order of letters and not of bytes.
    let sorted =
        rawdoc! { "find": "letters", "sort": { "s": 1 }, "batchSize": 2, "lsid": session(1) };
    let first = client.run(&collated(sorted)).await?;
    assert_eq!(ids(&first)?, ["A", "a"]);
    let more = rawdoc! {
        "getMore": super::support::cursor_of(&first)?, "collection": "letters", "lsid": session(1),
        "$db": "test",
    };
    assert_eq!(ids(&client.run(&more).await?)?, ["b"]);
    // Where it has none it says so, and does nothing.
    let update =
        rawdoc! { "q": { "s": "a" }, "u": { "$set": { "x": 1 } }, "collation": letters.clone() };
    for refused in [
        rawdoc! { "update": "letters", "updates": [update], "$db": "test" },
        collated(rawdoc! { "findAndModify": "letters", "query": { "s": "a" }, "remove": true }),
        collated(rawdoc! { "distinct": "letters", "key": "s" }),
        collated(rawdoc! { "create": "others" }),
    ] {
        let answer = client.ask(&refused).await?;
        assert_ne!(code(&answer), 0, "{refused:?}: {answer:?}");
    }
    let index = rawdoc! { "key": { "s": 1 }, "name": "s", "collation": letters.clone() };
    let index = rawdoc! { "createIndexes": "letters", "indexes": [index], "$db": "test" };
    assert_ne!(code(&client.ask(&index).await?), 0);
    let delete = rawdoc! { "q": { "_id": "a" }, "limit": 0, "collation": letters.clone() };
    let delete = rawdoc! { "delete": "letters", "deletes": [delete], "$db": "test" };
    assert_eq!(client.run(&delete).await?.get_i32("n")?, 2);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn one_user_leaves_the_servers_cursor_files_to_others() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    // The server's own number is fixed when it starts; a session's is told as it stands.
    scene
        .admin
        .batch_execute("ALTER DATABASE postgres SET documentdb.maxCursorFileCount = 20")
        .await?;
    let mut client = scene.client().await?;
    scene.fill("c", 10).await?;
    let sorted = rawdoc! { "find": "c", "sort": { "v": 1 }, "batchSize": 2, "lsid": session(1), "$db": "test" };
    let mut opened = 0;
    let refused = loop {
        let answer = client.ask(&sorted).await?;
        if code(&answer) != 0 {
            break answer;
        }
        opened += 1;
        anyhow::ensure!(opened <= 20, "one user has them all");
    };
    assert_eq!((opened, code(&refused)), (18, 146), "{refused:?}");
    assert!(
        refused
            .get_str("errmsg")?
            .contains("documentdb.maxCursorFileCount")
    );
    // Those that need no file, and those of others.
    let plain = rawdoc! { "find": "c", "batchSize": 2, "lsid": session(1), "$db": "test" };
    client.run(&plain).await?;
    let mut other = scene.other().await?;
    other.run(&sorted).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_is_killed_in_time_is_interrupted() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 1).await?;
    let lock = scene.lock("c").await?;
    let mut client = scene.client().await?;
    let find = rawdoc! { "find": "c", "sort": { "v": 1 }, "maxTimeMS": 60_000, "$db": "test" };
    client.send(&find).await?;
    scene.until_locked(1).await?;
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'twinport-mongo' AND wait_event_type = 'Lock'";
    scene.admin.execute(cancel, &[]).await?;
    let answer = tokio::time::timeout(Duration::from_secs(30), client.read()).await??;
    assert_eq!(code(&answer), 11_601, "{answer:?}");
    drop(lock);
    eventually("nothing runs on", async || Ok(scene.busy().await? == 0)).await?;
    scene.stop().await;
    Ok(())
}
