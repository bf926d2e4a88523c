//! Answers that never come, and servers that are not there.

use super::*;

/// What a server does that closes the connection instead of answering a command, `times` times.
fn drops(name: &'static str, mut times: usize) -> impl FnMut(&Heard) -> Option<Act> {
    move |heard| {
        let hit = heard.name == name && times > 0;
        times -= usize::from(hit);
        hit.then_some(Act::Drop)
    }
}

#[tokio::test]
async fn a_lost_write_may_be_sent_again_if_it_is_numbered() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let numbered = with(
        insert(),
        &rawdoc! { "lsid": session(1), "txnNumber": 1_i64 },
    );
    for (command, label) in [(&numbered, Some("RetryableWriteError")), (&insert(), None)] {
        servers[0].answers(drops("insert", 1));
        let lost = client.ask(command).await?;
        assert_eq!(code(&lost), 6, "{lost:?}");
        assert_eq!(labels(&lost), Vec::from_iter(label));
        client.run(command).await?;
    }
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_lost_transaction_says_how_to_go_on() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.run(&begins(insert(), 1, 1)).await?;
    servers[0].answers(drops("insert", 1));
    let lost = client.ask(&goes_on(insert(), 1, 1)).await?;
    assert_eq!(
        (code(&lost), labels(&lost)),
        (6, vec!["TransientTransactionError"])
    );
    servers[0].answers(drops("commitTransaction", 1));
    let token = rawdoc! { "recoveryToken": { "shardId": "x" } };
    let commit = with(commit(1, 1), &token);
    let lost = client.ask(&commit).await?;
    assert_eq!(code(&lost), 6);
    let said = labels(&lost);
    assert!(said.contains(&"UnknownTransactionCommitResult"), "{said:?}");
    assert!(said.contains(&"RetryableWriteError"), "{said:?}");
    client.run(&commit).await?;
    assert_eq!(servers[0].heard("commitTransaction")[1].body, commit);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_finds_no_connection_says_how_to_go_on() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::start(&servers, "maxPoolSize=1&waitQueueTimeoutMS=100").await?;
    let (mut slow, mut client) = (front.client().await?, front.client().await?);
    client.run(&begins(insert(), 1, 1)).await?;
    servers[0].is_late("count", Duration::from_secs(2));
    slow.send(&count()).await?;
    servers[0].hears("count").await?;
    let again = "TransientTransactionError";
    for command in [goes_on(insert(), 1, 1), begins(insert(), 2, 1)] {
        let refused = client.ask(&command).await?;
        assert_eq!(code(&refused), 462, "{refused:?}");
        assert!(labels(&refused).contains(&again), "{refused:?}");
    }
    let refused = client.ask(&commit(2, 1)).await?;
    let said = labels(&refused);
    assert!(
        said.contains(&"UnknownTransactionCommitResult"),
        "{refused:?}"
    );
    assert!(!said.contains(&again), "{refused:?}");
    slow.read().await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn labels_of_the_server_are_relayed() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].answers(|_| {
        let mut answer = error(112, "write conflict");
        let labels = rawdoc! { "errorLabels": ["TransientTransactionError", "Another"] };
        answer = with(answer, &labels);
        Some(Act::Reply(answer))
    });
    let front = Front::start(&servers, "").await?;
    let refused = front.client().await?.ask(&insert()).await?;
    assert_eq!(labels(&refused), ["TransientTransactionError", "Another"]);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_is_found_again() -> Result<()> {
    let server = Scripted::start(Role::Standalone).await?;
    let place = server.place;
    let servers = [server];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.run(&insert()).await?;
    drop(servers);
    let numbered = with(
        insert(),
        &rawdoc! { "lsid": session(1), "txnNumber": 1_i64 },
    );
    // The first may still meet the connection's end.
    for _ in 0..2 {
        let refused = client.ask(&numbered).await?;
        assert_eq!(code(&refused), 6, "{refused:?}");
        assert_eq!(labels(&refused), ["RetryableWriteError"]);
    }
    // Who comes now is told what was last known, and its commands fail.
    let mut late = front.client().await?;
    assert_eq!(code(&late.ask(&find()).await?), 6);
    let again = Scripted::at(place, Role::Standalone).await?;
    client.run(&numbered).await?;
    late.run(&find()).await?;
    assert_eq!(again.heard("find").len(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_was_never_there_is_told_at_hello() -> Result<()> {
    let place = Scripted::start(Role::Standalone).await?.place;
    let front = Front::forwarding(&format!("mongodb://{place}"), "").await?;
    let mut client = Raw::connect(front.port).await?;
    let refused = client.ask(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
    assert_eq!(code(&refused), 6, "{refused:?}");
    let again = Scripted::at(place, Role::Standalone).await?;
    client.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
    client.run(&find()).await?;
    drop(again);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_has_its_command_stopped() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].is_late("count", Duration::from_secs(60));
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.send(&count()).await?;
    until("the count is there", || servers[0].connections() == 1).await?;
    drop(client);
    until("its connection is closed", || servers[0].connections() == 0).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_cursor_outlives_a_connection_that_breaks() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let mut dropped = false;
    servers[0].answers(move |heard| match heard.name.as_str() {
        "find" => Some(Act::Reply(page("firstBatch", 9, "x"))),
        "getMore" if !dropped => {
            dropped = true;
            Some(Act::Drop)
        }
        "getMore" => Some(Act::Reply(page("nextBatch", 0, "x"))),
        _ => None,
    });
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let opened = client.run(&find()).await?;
    let more = more(cursor_of(&opened)?);
    assert_eq!(code(&client.ask(&more).await?), 6);
    let last = client.run(&more).await?;
    assert_eq!(cursor_of(&last)?, 0);
    assert_eq!(code(&client.ask(&more).await?), 43);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_falls_silent_keeps_nobody_waiting() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "connectTimeoutMS=300&heartbeatFrequencyMS=500").await?;
    let mut client = front.client().await?;
    client.run(&find()).await?;
    servers[0].falls_silent();
    let numbered = with(
        insert(),
        &rawdoc! { "lsid": session(1), "txnNumber": 1_i64 },
    );
    let lost = client.ask(&numbered).await?;
    assert_eq!(code(&lost), 6, "{lost:?}");
    assert_eq!(labels(&lost), ["RetryableWriteError"]);
    front.stop().await;
    Ok(())
}
