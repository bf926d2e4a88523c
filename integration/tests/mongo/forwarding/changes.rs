//! Servers that change under the requests: what is told of it, and what is sent again.

use super::*;
use twinport_wire::mongo::bson::oid::ObjectId;

#[tokio::test]
async fn a_change_of_a_server_is_none_of_the_ports() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    for change in [91, 189, 10_107, 11_600, 11_602, 13_435, 13_436] {
        servers[0].answers(move |heard| {
            let told = with(
                error(change, "the server changes"),
                &rawdoc! { "errorLabels": ["RetryableWriteError"] },
            );
            let concern = rawdoc! {
                "n": 1, "writeConcernError": { "code": change, "errmsg": "the server changes" }, "ok": 1.0,
            };
            match heard.name.as_str() {
                "insert" => Some(Act::Reply(told)),
                "update" => Some(Act::Reply(concern)),
                _ => None,
            }
        });
        let refused = client.ask(&insert()).await?;
        assert_eq!(code(&refused), 6, "{change}: {refused:?}");
        assert_eq!(refused.get_str("codeName")?, "HostUnreachable");
        assert_eq!(refused.get_str("errmsg")?, "the server changes");
        assert_eq!(labels(&refused), ["RetryableWriteError"]);
        let update =
            rawdoc! { "update": "books", "updates": [{ "q": {}, "u": {} }], "$db": "test" };
        let concern = client.run(&update).await?;
        let concern = concern.get_document("writeConcernError")?;
        assert_eq!(concern.get_i32("code")?, 6, "{change}");
    }
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_may_have_run_in_part_is_not_sent_again() -> Result<()> {
    let servers = Scripted::set(2).await?;
    for server in &servers {
        server.answers(|heard| match heard.name.as_str() {
            "insert" => Some(Act::Reply(error(10_107, "not primary any more"))),
            _ => None,
        });
    }
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let heard = || {
        servers
            .iter()
            .map(|each| each.heard("insert").len())
            .sum::<usize>()
    };
    let two =
        rawdoc! { "insert": "books", "documents": [{ "_id": 1 }, { "_id": 2 }], "$db": "test" };
    assert_eq!(code(&client.ask(&two).await?), 6);
    assert_eq!(heard(), 1, "some of it may have been applied");
    let numbered = with(two, &rawdoc! { "lsid": session(1), "txnNumber": 1_i64 });
    assert_ne!(code(&client.ask(&numbered).await?), 0);
    assert!(heard() > 2, "it is applied once, however often it is sent");
    let before = heard();
    assert_ne!(code(&client.ask(&insert()).await?), 0);
    assert!(heard() > before + 1, "one is applied or not");
    front.stop().await;
    Ok(())
}

/// A server behind a balancer, and a transaction on one of its connections.
async fn balanced(lines: &str) -> Result<([Scripted; 1], Front, Raw)> {
    let servers = [Scripted::start(Role::Mongos).await?];
    servers[0].also_says(rawdoc! { "serviceId": ObjectId::from_bytes([1; 12]) });
    let front = Front::with(&servers, "loadBalanced=true", lines).await?;
    let mut client = front.client().await?;
    client.run(&begins(insert(), 1, 1)).await?;
    Ok((servers, front, client))
}

#[tokio::test]
async fn a_held_connection_is_not_idle_while_a_command_runs() -> Result<()> {
    let (servers, front, mut client) = balanced("idle_transaction_timeout = \"4s\"").await?;
    servers[0].is_late("update", Duration::from_secs(4));
    let update = rawdoc! { "update": "books", "updates": [{ "q": {}, "u": {} }], "$db": "test" };
    client.run(&goes_on(update, 1, 1)).await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    client.run(&goes_on(insert(), 1, 1)).await?;
    let heard = servers[0].heard("insert");
    assert_eq!(heard[0].connection, heard[1].connection);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_whose_held_connection_is_gone_does_not_go_on_elsewhere() -> Result<()> {
    let (servers, front, mut client) = balanced("idle_transaction_timeout = \"1s\"").await?;
    until("its connection is closed", || servers[0].connections() == 0).await?;
    let refused = client.ask(&goes_on(insert(), 1, 1)).await?;
    assert_eq!(code(&refused), 251, "{refused:?}");
    assert_eq!(labels(&refused), ["TransientTransactionError"]);
    assert_eq!(servers[0].heard("insert").len(), 1);
    // So it is if it breaks under a command.
    client.run(&begins(insert(), 2, 1)).await?;
    let again = goes_on(insert(), 2, 1);
    servers[0].answers(|heard| (heard.name == "insert").then_some(Act::Drop));
    assert_eq!(code(&client.ask(&again).await?), 6);
    servers[0].answers(|_| None);
    let before = servers[0].heard("insert").len();
    assert_eq!(code(&client.ask(&again).await?), 251);
    assert_eq!(servers[0].heard("insert").len(), before);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn hello_waits_for_no_connection_behind_a_balancer() -> Result<()> {
    let servers = [Scripted::start(Role::Mongos).await?];
    servers[0].also_says(rawdoc! { "serviceId": ObjectId::from_bytes([1; 12]) });
    let front = Front::start(&servers, "loadBalanced=true&maxPoolSize=1").await?;
    let mut client = front.client().await?;
    servers[0].is_late("count", Duration::from_secs(60));
    let count = rawdoc! { "count": "books", "$db": "test" };
    client.send(&count).await?;
    servers[0].hears("count").await?;
    let mut other = Raw::connect(front.port).await?;
    let hello = other.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
    assert_eq!(hello.get_i32("maxWriteBatchSize")?, 1_234);
    drop(client);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_the_server_has_ended_is_not_open() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.run(&begins(insert(), 1, 1)).await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    assert_eq!(wing.transactions(), 1);
    servers[0].answers(|_| Some(Act::Reply(error(251, "aborted a while ago"))));
    assert_eq!(code(&client.ask(&goes_on(insert(), 1, 1)).await?), 251);
    assert_eq!(wing.transactions(), 0);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_the_server_has_ended_holds_no_connection() -> Result<()> {
    let servers = [Scripted::start(Role::Mongos).await?];
    servers[0].also_says(rawdoc! { "serviceId": ObjectId::from_bytes([1; 12]) });
    let front = Front::start(
        &servers,
        "loadBalanced=true&maxPoolSize=1&waitQueueTimeoutMS=200",
    )
    .await?;
    let mut client = front.client().await?;
    servers[0].answers(|heard| {
        (heard.name == "insert").then(|| Act::Reply(error(112, "write conflict")))
    });
    assert_eq!(code(&client.ask(&begins(insert(), 1, 1)).await?), 112);
    client.run(&find()).await?;
    assert_eq!(servers[0].connections(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_later_write_of_a_session_ends_its_transaction() -> Result<()> {
    let servers = [Scripted::start(Role::Mongos).await?];
    servers[0].also_says(rawdoc! { "serviceId": ObjectId::from_bytes([1; 12]) });
    let front = Front::start(&servers, "loadBalanced=true").await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    let mut client = front.client().await?;
    client.run(&begins(insert(), 1, 1)).await?;
    assert_eq!(wing.transactions(), 1);
    let later = rawdoc! { "lsid": session(1), "txnNumber": 2_i64 };
    client.run(&with(insert(), &later)).await?;
    assert_eq!(wing.transactions(), 0);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_gets_no_answer_any_more_is_not_open() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::start(&servers, "").await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    let mut client = front.client().await?;
    // Its client leaves in the middle.
    client.run(&begins(insert(), 1, 1)).await?;
    servers[0].is_late("update", Duration::from_secs(60));
    let update = rawdoc! { "update": "books", "updates": [{ "q": {}, "u": {} }], "$db": "test" };
    client.send(&goes_on(update, 1, 1)).await?;
    servers[0].hears("update").await?;
    assert_eq!(wing.transactions(), 1);
    drop(client);
    until("the client's is over", || wing.transactions() == 0).await?;
    // Its server does.
    let mut client = front.client().await?;
    servers[0].answers(|heard| (heard.name == "insert").then_some(Act::Drop));
    assert_eq!(code(&client.ask(&begins(insert(), 2, 1)).await?), 6);
    assert_eq!(wing.transactions(), 0);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_get_more_that_waits_ends_when_its_cursor_is_killed() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].answers(|heard| match heard.name.as_str() {
        "aggregate" => Some(Act::Reply(page("firstBatch", 9, "x"))),
        "getMore" => Some(Act::Late(
            Duration::from_secs(60),
            page("nextBatch", 9, "x"),
        )),
        _ => None,
    });
    let front = Front::start(&servers, "").await?;
    let (mut client, mut other) = (front.client().await?, front.client().await?);
    let watch = rawdoc! {
        "aggregate": "books", "pipeline": [{ "$changeStream": {} }], "cursor": {},
        "lsid": session(1), "$db": "test",
    };
    let open = cursor_of(&client.run(&watch).await?)?;
    let more = with(more(open), &rawdoc! { "lsid": session(1) });
    client.send(&more).await?;
    servers[0].hears("getMore").await?;
    let kill = rawdoc! { "killCursors": "books", "cursors": [open], "$db": "test" };
    other.run(&kill).await?;
    assert_eq!(code(&client.read().await?), 237);
    servers[0].hears("killCursors").await?;
    front.stop().await;
    Ok(())
}
