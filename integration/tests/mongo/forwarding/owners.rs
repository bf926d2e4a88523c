//! Users are kept apart though upstream they are all one.

use twinport_integration::PASSWORD;

use super::*;

/// A proxy with two users, and a client of each.
async fn two(server: &Scripted) -> Result<(Front, Raw, Raw)> {
    let text = format!(
        r#"
        [postgres]
        listen = []
        [users.ann]
        password = "{PASSWORD}"
        [users.bob]
        password = "{PASSWORD}"
        [admin]
        http = "off"
        [mongo]
        listen = ["127.0.0.1:0"]
        upstream = "mongodb://{}/"
        "#,
        server.place
    );
    let front = Front::of(&text).await?;
    let mut clients = Vec::new();
    for user in ["ann", "bob"] {
        let mut client = Raw::connect(front.port).await?;
        client.log_in(user, PASSWORD).await?;
        clients.push(client);
    }
    let (bob, ann) = (clients.pop(), clients.pop());
    Ok((front, ann.context("ann")?, bob.context("bob")?))
}

/// The identifiers in the list that a command was heard with.
fn listed(heard: &Heard) -> Vec<u8> {
    let list = heard
        .body
        .get_array(heard.name.as_str())
        .into_iter()
        .flatten()
        .flatten();
    list.filter_map(|each| {
        each.as_document()?
            .get_binary("id")
            .ok()?
            .bytes
            .first()
            .copied()
    })
    .collect()
}

#[tokio::test]
async fn nobody_writes_in_anothers_session() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let (front, mut ann, mut bob) = two(&servers[0]).await?;
    ann.run(&with(find(), &rawdoc! { "lsid": session(1) }))
        .await?;
    let write = with(
        insert(),
        &rawdoc! { "lsid": session(1), "txnNumber": 1_000_i64 },
    );
    let refused = bob.ask(&write).await?;
    assert_eq!(code(&refused), 13, "{refused:?}");
    assert!(servers[0].heard("insert").is_empty());
    ann.run(&write).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn nobody_ends_anothers_sessions() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let (front, mut ann, mut bob) = two(&servers[0]).await?;
    ann.run(&with(find(), &rawdoc! { "lsid": session(1) }))
        .await?;
    bob.run(&with(find(), &rawdoc! { "lsid": session(2) }))
        .await?;
    for name in ["killSessions", "endSessions"] {
        let mut end = RawDocumentBuf::new();
        let list: twinport_wire::mongo::bson::raw::RawArrayBuf =
            [session(1), session(2), session(3)].into_iter().collect();
        end.append(
            twinport_wire::mongo::bson::raw::CString::try_from(name)?,
            list,
        );
        end.append(cstr!("$db"), "admin");
        bob.run(&end).await?;
    }
    assert_eq!(listed(&servers[0].heard("killSessions")[0]), [2]);
    // Of one that nobody has used here the end does no harm.
    assert_eq!(listed(&servers[0].heard("endSessions")[0]), [2, 3]);
    bob.run(&rawdoc! { "killAllSessions": [], "$db": "admin" })
        .await?;
    assert!(servers[0].heard("killAllSessions").is_empty());
    assert_eq!(listed(&servers[0].heard("killSessions")[1]), [2]);
    let theirs = rawdoc! { "killAllSessions": [{ "user": "ann", "db": "admin" }], "$db": "admin" };
    bob.run(&theirs).await?;
    assert_eq!(servers[0].heard("killSessions").len(), 2);
    let pattern = rawdoc! { "killAllSessionsByPattern": [], "$db": "admin" };
    assert_eq!(code(&bob.ask(&pattern).await?), 13);
    assert!(servers[0].heard("killAllSessionsByPattern").is_empty());
    front.stop().await;
    Ok(())
}
