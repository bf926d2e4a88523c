//! Answers and errors that are MongoDB's, where the extension's own are others.

use anyhow::{Context, Result};
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;

use super::commands::{begins, goes_on};
use super::raw::Raw;
use super::support::{OWN_ROLES, Scene, code, page, session};

#[tokio::test]
async fn in_a_transaction_a_collection_is_made_once() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let create = |collection: &str| rawdoc! { "create": collection, "$db": "test" };
    client.run(&create("there")).await?;
    let refused = client.ask(&begins(create("there"), 1, 1)).await?;
    assert_eq!(code(&refused), 48, "{refused:?}");
    assert_eq!(refused.get_str("codeName")?, "NamespaceExists");
    assert!(refused.get("errorLabels")?.is_none(), "{refused:?}");
    client.run(&begins(create("new"), 1, 2)).await?;
    let again = client.ask(&goes_on(create("new"), 1, 2)).await?;
    assert_eq!(code(&again), 48);
    scene.stop().await;
    Ok(())
}

/// The write error that a command must get.
async fn write_error(
    client: &mut Raw,
    command: &RawDocument,
) -> Result<(String, Option<RawDocumentBuf>, Option<RawDocumentBuf>)> {
    let answer = client.ask(command).await?;
    let errors = answer.get_array("writeErrors").context("no write error")?;
    let error = errors.get_document(0)?;
    assert_eq!(error.get_i32("code")?, 11_000, "{answer:?}");
    let of = |name: &str| error.get_document(name).ok().map(ToOwned::to_owned);
    let text = error.get_str("errmsg")?.to_owned();
    Ok((text, of("keyPattern"), of("keyValue")))
}

#[tokio::test]
async fn an_update_that_makes_a_duplicate_tells_the_key() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let indexes = rawdoc! {
        "createIndexes": "people", "$db": "test", "indexes": [
            { "key": { "email": 1 }, "name": "by_email", "unique": true },
            { "key": { "team": 1, "place": 1 }, "name": "by_place", "unique": true },
        ],
    };
    client.run(&indexes).await?;
    let insert = rawdoc! { "insert": "people", "$db": "test", "documents": [
    { "_id": 1, "email": "a", "team": 1, "place": 1 }, { "_id": 2, "email": "b", "team": 1, "place": 2 }] };
    client.run(&insert).await?;
    let email = (rawdoc! { "email": 1 }, Some(rawdoc! { "email": "a" }));
    let place = (
        rawdoc! { "team": 1, "place": 1 },
        rawdoc! { "team": 1, "place": 1 },
    );
    let cases = [
        (
            rawdoc! { "q": { "_id": 2 }, "u": { "$set": { "email": "a" } } },
            email.clone(),
        ),
        (
            rawdoc! { "q": { "_id": 2 }, "u": { "email": "a", "team": 2 } },
            email.clone(),
        ),
        (
            rawdoc! { "q": { "_id": 3 }, "u": { "$set": { "email": "a", "team": 3 } }, "upsert": true },
            email.clone(),
        ),
        (
            rawdoc! { "q": { "_id": 2, "team": 1 }, "u": { "$set": { "place": 1 } } },
            (place.0.clone(), Some(place.1.clone())),
        ),
        // The command doesn't tell the team.
        (
            rawdoc! { "q": { "_id": 2 }, "u": { "$set": { "place": 1 } } },
            (place.0.clone(), None),
        ),
        (
            rawdoc! { "q": { "_id": 2 }, "u": [{ "$set": { "email": "a" } }] },
            (email.0.clone(), None),
        ),
    ];
    for (change, (pattern, value)) in cases {
        let shown = format!("{change:?}");
        let update = rawdoc! { "update": "people", "$db": "test", "updates": [change] };
        let (text, keys, values) = write_error(&mut client, &update).await?;
        assert_eq!(keys, Some(pattern), "{shown}: {text}");
        assert_eq!(values, value, "{shown}: {text}");
        assert!(
            text.contains("E11000 duplicate key error collection: test.people index: by_"),
            "{text}"
        );
    }
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_role_alone_is_one_of_the_current_database() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let create = |name: &str, role: &str| {
        rawdoc! { "createUser": name, "pwd": "Secret-1234567", "roles": [role], "$db": "admin" }
    };
    client.run(&create("reader", "readAnyDatabase")).await?;
    let info = rawdoc! { "usersInfo": "reader", "$db": "admin" };
    let answer = client.ask(&info).await?;
    let user = answer.get_array("users")?.get_document(0)?;
    let role = user.get_array("roles")?.get_document(0)?;
    assert_eq!(
        (role.get_str("role")?, role.get_str("db")?),
        ("readAnyDatabase", "admin")
    );
    // What the extension has not is its error, and not one of form.
    let refused = client.ask(&create("writer", "dbOwner")).await?;
    assert_ne!(code(&refused), 0);
    assert!(
        refused.get_str("errmsg")?.contains("dbOwner"),
        "{refused:?}"
    );
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn local_sessions_are_those_of_the_user() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    scene.fill("c", 10).await?;
    let (mut app, mut other) = (scene.client().await?, scene.other().await?);
    let open = |byte| rawdoc! { "find": "c", "batchSize": 2, "lsid": session(byte), "$db": "test" };
    app.run(&open(1)).await?;
    other.run(&open(2)).await?;
    let list = |options| {
        rawdoc! {
            "aggregate": 1, "pipeline": [{ "$listLocalSessions": options }, { "$sort": { "_id": 1 } }],
            "cursor": {}, "lsid": session(3), "$db": "admin",
        }
    };
    let listed = app.run(&list(rawdoc! {})).await?;
    let mut sessions = Vec::new();
    for document in page(&listed)? {
        document.get_datetime("lastUse")?;
        let id = document.get_document("_id")?.get_binary("id")?;
        sessions.push(id.bytes.first().copied());
    }
    assert_eq!(sessions, [Some(1), Some(3)], "not the other's, which is 2");
    // As the drivers' specs have it.
    let spec = rawdoc! {
        "aggregate": 1, "cursor": {}, "lsid": session(3), "$db": "admin", "pipeline": [
            { "$listLocalSessions": {} }, { "$limit": 1 }, { "$addFields": { "dummy": "dummy field" } },
            { "$project": { "_id": 0, "dummy": 1 } }],
    };
    let listed = app.run(&spec).await?;
    assert_eq!(page(&listed)?, [&*rawdoc! { "dummy": "dummy field" }]);
    let refused = app.ask(&list(rawdoc! { "allUsers": true })).await?;
    assert_eq!(code(&refused), 13, "{refused:?}");
    scene.stop().await;
    Ok(())
}
