//! Behind a balancer, where a transaction holds its connection.

use std::time::Instant;

use super::*;

/// What a server with one registered model answers to who asks for relations.
fn model(heard: &Heard) -> Option<Act> {
    let asks = heard.name == "find" && heard.body.get_str("find").ok()? == "twinport.models";
    asks.then(|| {
        let author = rawdoc! { "target": "authors", "kind": "one", "local": "author_id" };
        let model = rawdoc! { "_id": "books", "relations": { "author": author } };
        let mut cursor = rawdoc! { "firstBatch": [model], "id": 0_i64 };
        cursor.append(cstr!("ns"), "test.twinport.models");
        Act::Reply(rawdoc! { "cursor": cursor, "ok": 1.0 })
    })
}

#[tokio::test]
async fn relations_are_asked_for_on_the_transactions_connection() -> Result<()> {
    let servers = [Scripted::start(Role::Mongos).await?];
    servers[0].answers(|heard| match heard.name.as_str() {
        "listCollections" | "aggregate" => Some(Act::Reply(page("firstBatch", 0, "x"))),
        _ => model(heard),
    });
    let options = "loadBalanced=true&maxPoolSize=1&waitQueueTimeoutMS=500";
    let front = Front::start(&servers, options).await?;
    let mut client = Raw::connect(front.port).await?;
    let hello = rawdoc! { "hello": 1, "loadBalanced": true, "$db": "admin" };
    client.run(&hello).await?;
    let part = rawdoc! { "lsid": session(1), "txnNumber": 1_i64, "autocommit": false };
    let begin = with(part.clone(), &rawdoc! { "startTransaction": true });
    client.run(&with(insert(), &begin)).await?;
    let include = with(find(), &rawdoc! { "comment": "@include(author)" });
    client.run(&with(include, &part)).await?;
    client.run(&with(insert(), &part)).await?;
    let on = |name: &str, at: usize| servers[0].heard(name)[at].connection;
    assert_eq!(on("find", 0), on("insert", 0));
    assert_eq!(on("aggregate", 0), on("insert", 0));
    assert_eq!(on("insert", 1), on("insert", 0));
    // It is asked beside the transaction: the list of collections is none of its commands.
    assert!(
        servers[0].heard("listCollections")[0]
            .body
            .get("lsid")?
            .is_none()
    );
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_host_that_is_gone_keeps_nobody_waiting() -> Result<()> {
    let servers = [Scripted::start(Role::Mongos).await?];
    servers[0].answers(|heard| (heard.name == "count").then_some(Act::Vanish));
    let options = "loadBalanced=true&heartbeatFrequencyMS=1000&connectTimeoutMS=1000";
    let front = Front::start(&servers, options).await?;
    let mut client = front.client().await?;
    let began = Instant::now();
    let lost = client.ask(&count()).await?;
    assert_eq!(code(&lost), 6, "{lost:?}");
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    client.run(&find()).await?;
    front.stop().await;
    Ok(())
}
