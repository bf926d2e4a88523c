//! Users' roles, what they allow, and commands of administration.

use anyhow::Result;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};

use super::raw::Raw;
use super::support::{OTHER_READS, OWN_ROLES, Scene, code};

/// The names of roles in a list of them.
fn roles(list: &RawDocument, field: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for role in list.get_array(field)? {
        let role = role?.as_document().map(|role| role.get_str("role"));
        names.extend(role.transpose()?.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

async fn roles_of(client: &mut Raw, user: &str) -> Result<Vec<String>> {
    let info = rawdoc! { "usersInfo": user, "$db": "admin" };
    let answer = client.run(&info).await?;
    match answer.get_array("users")?.into_iter().next() {
        Some(Ok(RawBsonRef::Document(user))) => roles(user, "roles"),
        _ => Ok(Vec::new()),
    }
}

fn command(name: &str, user: &str, named: &[&str]) -> RawDocumentBuf {
    let roles: RawArrayBuf = named.iter().copied().collect();
    match name {
        "createUser" => {
            rawdoc! { "createUser": user, "pwd": "Wh4tever-it-is", "roles": roles, "$db": "admin" }
        }
        "updateUser" => rawdoc! { "updateUser": user, "roles": roles, "$db": "admin" },
        "grantRolesToUser" => rawdoc! { "grantRolesToUser": user, "roles": roles, "$db": "admin" },
        _ => rawdoc! { "revokeRolesFromUser": user, "roles": roles, "$db": "admin" },
    }
}

const READ: &str = "readAnyDatabase";
const WRITE: &str = "readWriteAnyDatabase";
const ADMIN: &str = "clusterAdmin";

#[tokio::test]
async fn roles_of_users_are_given_and_taken() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    client
        .run(&command("createUser", "o'\"Neil", &[READ]))
        .await?;
    client.run(&command("createUser", "ann", &[READ])).await?;
    for user in ["ann", "o'\"Neil"] {
        for (name, named, expected) in [
            (
                "grantRolesToUser",
                vec![WRITE, ADMIN],
                vec![ADMIN, READ, WRITE],
            ),
            ("grantRolesToUser", vec![READ], vec![ADMIN, READ, WRITE]),
            ("revokeRolesFromUser", vec![READ], vec![ADMIN, WRITE]),
            ("updateUser", vec![READ], vec![READ]),
            ("updateUser", vec![WRITE, ADMIN], vec![ADMIN, WRITE]),
        ] {
            let command = command(name, user, &named);
            client.run(&command).await?;
            assert_eq!(roles_of(&mut client, user).await?, expected, "{command:?}");
        }
    }
    for (name, user, named, expected) in [
        ("grantRolesToUser", "nobody", vec![READ], 11),
        ("grantRolesToUser", "ann", vec!["dbOwner"], 31),
        ("updateUser", "ann", vec![WRITE], 2),
        ("updateUser", "ann", vec![], 2),
        ("revokeRolesFromUser", "ann", vec![WRITE, ADMIN], 2),
        // A role of Postgres that is no user of DocumentDB is none to be given to.
        (
            "grantRolesToUser",
            "documentdb_bg_worker_role",
            vec![READ],
            11,
        ),
    ] {
        let command = command(name, user, &named);
        let answer = client.ask(&command).await?;
        assert_eq!(code(&answer), expected, "{command:?}: {answer:?}");
    }
    assert_eq!(roles_of(&mut client, "ann").await?, [ADMIN, WRITE]);
    // A password that can't be taken leaves the roles as they are.
    let both =
        |pwd: &str| rawdoc! { "updateUser": "ann", "pwd": pwd, "roles": [READ], "$db": "admin" };
    assert_ne!(code(&client.ask(&both("")).await?), 0);
    assert_eq!(roles_of(&mut client, "ann").await?, [ADMIN, WRITE]);
    client.run(&both("An0ther-than-before")).await?;
    assert_eq!(roles_of(&mut client, "ann").await?, [READ]);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn one_is_told_ones_roles() -> Result<()> {
    let scene = Scene::with(OWN_ROLES).await?;
    scene.admin.batch_execute(OTHER_READS).await?;
    let (mut app, mut other) = (scene.client().await?, scene.other().await?);
    let status = rawdoc! { "connectionStatus": 1, "showPrivileges": true, "$db": "admin" };
    for (client, user, expected, writes) in [
        (&mut app, "app", vec![ADMIN, WRITE], true),
        (&mut other, "other", vec![READ], false),
    ] {
        let answer = client.run(&status).await?;
        let info = answer.get_document("authInfo")?;
        assert!(format!("{:?}", info.get_array("authenticatedUsers")?).len() > user.len());
        assert_eq!(roles(info, "authenticatedUserRoles")?, expected);
        let mut actions = Vec::new();
        for privilege in info.get_array("authenticatedUserPrivileges")? {
            if let RawBsonRef::Document(privilege) = privilege? {
                for action in privilege.get_array("actions")? {
                    actions.extend(action?.as_str().map(str::to_owned));
                }
            }
        }
        assert!(actions.contains(&"find".to_owned()));
        assert_eq!(actions.contains(&"insert".to_owned()), writes);
        let plain = rawdoc! { "connectionStatus": 1, "$db": "admin" };
        let answer = client.run(&plain).await?;
        let info = answer.get_document("authInfo")?;
        assert_eq!(roles(info, "authenticatedUserRoles")?, expected);
        assert!(info.get("authenticatedUserPrivileges")?.is_none());
    }
    // Who may not give roles is told so.
    let grant = command("grantRolesToUser", "app", &[READ]);
    assert_eq!(code(&other.ask(&grant).await?), 13);
    let mut stranger = scene.stranger().await?;
    let answer = stranger.run(&status).await?;
    assert!(roles(answer.get_document("authInfo")?, "authenticatedUserRoles")?.is_empty());
    let info = rawdoc! { "rolesInfo": 1, "showBuiltinRoles": true, "$db": "admin" };
    assert_eq!(
        roles(&app.run(&info).await?, "roles")?,
        [ADMIN, READ, WRITE, "root"]
    );
    let info = rawdoc! { "rolesInfo": [READ, { "role": "nope", "db": "admin" }], "showPrivileges": true, "$db": "admin" };
    let answer = app.run(&info).await?;
    assert_eq!(roles(&answer, "roles")?, [READ]);
    assert!(format!("{answer:?}").len() > 100);
    let own = rawdoc! { "rolesInfo": 1, "$db": "test" };
    assert!(roles(&app.run(&own).await?, "roles")?.is_empty());
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn commands_of_administration_are_answered() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("c", 100).await?;
    let mut client = scene.client().await?;
    let size = |more: &RawDocument| {
        super::commands::with(rawdoc! { "dataSize": "test.c", "$db": "test" }, more)
    };
    // Two numbers of four bytes in each document.
    let answer = client.run(&size(&rawdoc! {})).await?;
    assert_eq!(
        (answer.get_i64("size")?, answer.get_i64("numObjects")?),
        (2_100, 100)
    );
    let answer = client
        .run(&size(
            &rawdoc! { "min": { "_id": 10 }, "max": { "_id": 20 } },
        ))
        .await?;
    assert_eq!(
        (answer.get_i64("size")?, answer.get_i64("numObjects")?),
        (210, 10)
    );
    let answer = client.run(&size(&rawdoc! { "estimate": true })).await?;
    assert!(answer.get_bool("estimate")?);
    let none = rawdoc! { "dataSize": "test.none", "$db": "test" };
    assert_eq!(client.run(&none).await?.get_i64("size")?, 0);
    for level in [-1, 0] {
        let answer = client
            .run(&rawdoc! { "profile": level, "$db": "test" })
            .await?;
        assert_eq!(answer.get_i32("was")?, 0);
    }
    for (refused, expected) in [
        (rawdoc! { "dataSize": "c", "$db": "test" }, 73),
        (rawdoc! { "profile": 2, "$db": "test" }, 2),
        (rawdoc! { "profile": 0, "slowms": 5, "$db": "test" }, 2),
        (rawdoc! { "setParameter": 1, "$db": "admin" }, 72),
        (
            rawdoc! { "setParameter": 1, "logLevel": 1, "$db": "admin" },
            72,
        ),
        (
            rawdoc! { "setParameter": 1, "cursorTimeoutMillis": 1, "$db": "admin" },
            20,
        ),
        (
            rawdoc! { "setParameter": 1, "logLevel": 1, "$db": "test" },
            13,
        ),
        (
            rawdoc! { "grantRolesToRole": "r", "roles": [], "$db": "admin" },
            115,
        ),
    ] {
        let answer = client.ask(&refused).await?;
        assert_eq!(code(&answer), expected, "{refused:?}: {answer:?}");
    }
    scene.stop().await;
    Ok(())
}
