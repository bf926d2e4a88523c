//! Forwarding to servers that do what no server at hand can be made to do: elections, lost answers, cursors with
//! the same number, change streams.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::Notify;
use twinport_integration::mongo::Front;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{Timestamp, rawdoc};
use twinport_wire::mongo::message::{EXHAUST_ALLOWED, MORE_TO_COME, build};

use super::commands::{begins, commit, goes_on, with};
use super::raw::Raw;
use super::scripted::{Act, Heard, Role, Scripted, error, page, place_of, until};
use super::support::{code, cursor_of, labels, session};

#[path = "forwarding/balanced.rs"]
mod balanced;
#[path = "forwarding/changes.rs"]
mod changes;
#[path = "forwarding/cursors.rs"]
mod cursors;
#[path = "forwarding/login.rs"]
mod login;
#[path = "forwarding/lost.rs"]
mod lost;
#[path = "forwarding/owners.rs"]
mod owners;
#[path = "forwarding/passing.rs"]
mod passing;
#[path = "forwarding/replica_set.rs"]
mod replica_set;
#[path = "forwarding/time.rs"]
mod time;

/// A proxy before scripted servers, open to everybody.
pub(crate) trait Fronting: Sized {
    async fn start(servers: &[Scripted], options: &str) -> Result<Self>;
    /// As [`Fronting::start`], with further lines of `[mongo]`.
    async fn with(servers: &[Scripted], options: &str, lines: &str) -> Result<Self>;
    /// A client that has said `hello`, and so is in.
    async fn client(&self) -> Result<Raw>;
}

impl Fronting for Front {
    async fn start(servers: &[Scripted], options: &str) -> Result<Self> {
        Self::with(servers, options, "").await
    }

    async fn with(servers: &[Scripted], options: &str, lines: &str) -> Result<Self> {
        let places: Vec<String> = servers.iter().map(|each| each.place.to_string()).collect();
        let url = format!("mongodb://{}/?{options}", places.join(","));
        Self::forwarding(&url, lines).await
    }

    async fn client(&self) -> Result<Raw> {
        let mut client = Raw::connect(self.port).await?;
        client.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
        Ok(client)
    }
}

pub(crate) fn insert() -> RawDocumentBuf {
    rawdoc! { "insert": "books", "documents": [{ "_id": 1 }], "$db": "test" }
}

pub(crate) fn find() -> RawDocumentBuf {
    rawdoc! { "find": "books", "$db": "test" }
}

pub(crate) fn count() -> RawDocumentBuf {
    rawdoc! { "count": "books", "$db": "test" }
}

/// What a server does that takes a `count` until told.
fn counting(told: &Arc<Notify>, heard: &Heard) -> Option<Act> {
    let answer = rawdoc! { "n": 1, "ok": 1.0 };
    (heard.name == "count").then(|| Act::Halves(Arc::clone(told), answer))
}

/// A find with this read preference.
fn reading(mode: &str) -> RawDocumentBuf {
    with(find(), &rawdoc! { "$readPreference": { "mode": mode } })
}

fn more(id: i64) -> RawDocumentBuf {
    rawdoc! { "getMore": id, "collection": "books", "$db": "test" }
}

/// Two cursors, on the primary and on a secondary: their numbers here, and their first pages.
async fn two_cursors(client: &mut Raw) -> Result<[(i64, RawDocumentBuf); 2]> {
    let primary = client.run(&find()).await?;
    let secondary = client.run(&reading("secondary")).await?;
    let (first, second) = (cursor_of(&primary)?, cursor_of(&secondary)?);
    assert_ne!(first, second);
    assert_ne!(place_of(&primary)?, place_of(&secondary)?);
    Ok([(first, primary), (second, secondary)])
}

#[tokio::test]
async fn hello_is_that_of_a_mongos_with_the_servers_limits() -> Result<()> {
    let servers = Scripted::set(2).await?;
    let front = Front::start(&servers, "").await?;
    let mut client = Raw::connect(front.port).await?;
    let hello = client.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
    assert_eq!(hello.get_str("msg")?, "isdbgrid");
    assert_eq!(hello.get_i32("maxBsonObjectSize")?, 16_000_000);
    assert_eq!(hello.get_i32("maxMessageSizeBytes")?, 40_000_000);
    assert_eq!(hello.get_i32("maxWriteBatchSize")?, 1_234);
    assert_eq!(hello.get_i32("maxWireVersion")?, 20);
    assert_eq!(hello.get_i32("logicalSessionTimeoutMinutes")?, 30);
    for field in [
        "setName",
        "hosts",
        "me",
        "electionId",
        "setVersion",
        "secondary",
        "$clusterTime",
    ] {
        assert!(hello.get(field)?.is_none(), "{field} in {hello:?}");
    }
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn sessions_are_promised_only_if_the_server_has_them() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].has_no_sessions();
    servers[0].also_says(rawdoc! { "maxWireVersion": 99 });
    let front = Front::start(&servers, "").await?;
    let mut client = Raw::connect(front.port).await?;
    let hello = client
        .run(&rawdoc! { "isMaster": 1, "$db": "admin" })
        .await?;
    assert!(hello.get("logicalSessionTimeoutMinutes")?.is_none());
    assert_eq!(hello.get_i32("maxWireVersion")?, 21);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn who_asks_for_a_replica_set_sees_one() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let lines = "replica_set = \"mask\"\nadvertise = \"Proxy.example:1\"";
    let front = Front::with(&servers, "", lines).await?;
    let mut client = Raw::connect(front.port).await?;
    let hello = client.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
    assert_eq!(hello.get_str("setName")?, "mask");
    assert_eq!(hello.get_str("me")?, "proxy.example:1");
    assert_eq!(hello.get_array("hosts")?.get_str(0)?, "proxy.example:1");
    assert!(hello.get("msg")?.is_none() && hello.get_bool("isWritablePrimary")?);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_command_goes_on_as_it_came() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let command = with(
        insert(),
        &rawdoc! {
            "lsid": session(1), "comment": "no directive", "futureField": { "a": [1, { "b": 2 }] },
            "$clusterTime": { "clusterTime": Timestamp { time: 5, increment: 6 } },
        },
    );
    client.run(&command).await?;
    client
        .run(&rawdoc! { "unheardOf": 1, "$db": "admin" })
        .await?;
    let heard = servers[0].heard("insert");
    assert_eq!(heard[0].body, command);
    assert_eq!(servers[0].heard("unheardOf").len(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn cluster_time_is_relayed_and_never_invented() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let time = rawdoc! { "clusterTime": Timestamp { time: 9, increment: 1 } };
    let told = time.clone();
    servers[0].answers(move |heard| {
        let answer = rawdoc! { "n": 1, "ok": 1.0, "$clusterTime": told.clone() };
        (heard.name == "insert").then_some(Act::Reply(answer))
    });
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let answer = client.run(&insert()).await?;
    assert_eq!(answer.get_document("$clusterTime")?, &*time);
    client.run(&find()).await?;
    assert!(
        servers[0].heard("find")[0]
            .body
            .get("$clusterTime")?
            .is_none()
    );
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn flags_and_checksums_end_here() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "maxPoolSize=1").await?;
    let mut client = front.client().await?;
    let mut out = Vec::new();
    build::request(&mut out, 7, EXHAUST_ALLOWED, &find(), []);
    client.write(&out).await?;
    client.read().await?;
    assert_eq!(servers[0].heard("find")[0].flags, 0);
    // No answer is waited for, and the one connection is free again.
    let mut out = Vec::new();
    build::request(&mut out, 8, MORE_TO_COME, &insert(), []);
    client.write(&out).await?;
    client.run(&find()).await?;
    let inserts = servers[0].heard("insert");
    assert_eq!(inserts[0].flags, MORE_TO_COME);
    assert_eq!(
        inserts[0].connection,
        servers[0].heard("find")[1].connection
    );
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn many_clients_share_few_connections() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "maxPoolSize=3").await?;
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(front.client().await?);
    }
    let mut tasks = Vec::new();
    for mut client in clients {
        tasks.push(tokio::spawn(async move {
            for _ in 0..5 {
                client.run(&find()).await?;
            }
            anyhow::Ok(client)
        }));
    }
    let mut alive = Vec::new();
    for task in tasks {
        alive.push(task.await??);
    }
    let finds = servers[0].heard("find");
    assert_eq!(finds.len(), 300);
    let connections: BTreeSet<usize> = finds.iter().map(|heard| heard.connection).collect();
    assert!(connections.len() <= 3, "{connections:?}");
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn cursors_of_two_servers_may_have_one_number() -> Result<()> {
    let servers = Scripted::set(2).await?;
    for server in &servers {
        let place = server.place.to_string();
        server.answers(move |heard| match heard.name.as_str() {
            "find" => Some(Act::Reply(page("firstBatch", 77, &place))),
            "getMore" => {
                let known = heard.body.get_i64("getMore").ok() == Some(77);
                let answer = match known {
                    true => page("nextBatch", 77, &place),
                    false => error(43, "cursor not found"),
                };
                Some(Act::Reply(answer))
            }
            "killCursors" => {
                let killed = rawdoc! { "cursorsKilled": [77_i64], "ok": 1.0 };
                Some(Act::Reply(killed))
            }
            _ => None,
        });
    }
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let cursors = two_cursors(&mut client).await?;
    for (id, opened) in cursors.iter().chain(&cursors[1..]) {
        let next = client.run(&more(*id)).await?;
        assert_eq!(place_of(&next)?, place_of(opened)?);
        assert_eq!(cursor_of(&next)?, *id);
    }
    let [first, second] = cursors.map(|(id, _)| id);
    let elsewhere = rawdoc! { "getMore": first, "collection": "other", "$db": "test" };
    assert_eq!(code(&client.ask(&elsewhere).await?), 13);
    // Each server is told of its own.
    let kill = rawdoc! { "killCursors": "books", "cursors": [first, second, 5_i64], "$db": "test" };
    let answer = client.run(&kill).await?;
    assert_eq!(answer.get_array("cursorsKilled")?.into_iter().count(), 2);
    assert_eq!(answer.get_array("cursorsNotFound")?.into_iter().count(), 1);
    for server in &servers {
        let heard = server.heard("killCursors");
        assert_eq!(heard[0].body.get_array("cursors")?.get_i64(0)?, 77);
    }
    assert_eq!(code(&client.ask(&more(first)).await?), 43);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn who_waits_for_data_keeps_nobody_waiting() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let token = rawdoc! { "_data": "8263A1" };
    let resume = token.clone();
    servers[0].answers(move |heard| match heard.name.as_str() {
        "aggregate" => Some(Act::Reply(page("firstBatch", 5, "stream"))),
        "getMore" => {
            let mut answer = RawDocumentBuf::new();
            let mut cursor = rawdoc! { "nextBatch": [{ "_id": resume.clone() }] };
            cursor.append(cstr!("postBatchResumeToken"), resume.clone());
            cursor.append(cstr!("id"), 5_i64);
            cursor.append(cstr!("ns"), "test.books");
            answer.append(cstr!("cursor"), cursor);
            answer.append(cstr!("ok"), 1.0);
            Some(Act::Late(Duration::from_millis(700), answer))
        }
        _ => None,
    });
    let front = Front::start(&servers, "maxPoolSize=1&waitQueueTimeoutMS=300").await?;
    let (mut watcher, mut client) = (front.client().await?, front.client().await?);
    let open = rawdoc! {
        "aggregate": "books", "pipeline": [{ "$changeStream": {} }], "cursor": {}, "$db": "test",
    };
    let opened = watcher.run(&open).await?;
    let more = rawdoc! {
        "getMore": cursor_of(&opened)?, "collection": "books", "maxTimeMS": 1000, "$db": "test",
    };
    watcher.send(&more).await?;
    servers[0].hears("getMore").await?;
    // The pool has one connection, and it is not the watcher's.
    client.run(&find()).await?;
    let answer = watcher.read().await?;
    let cursor = answer.get_document("cursor")?;
    assert_eq!(cursor.get_document("postBatchResumeToken")?, &*token);
    // Killed while it waits, it is closed as soon as it does not.
    watcher.send(&more).await?;
    until("the next getMore is there", || {
        servers[0].heard("getMore").len() == 2
    })
    .await?;
    let kill = rawdoc! {
        "killCursors": "books", "cursors": [cursor_of(&opened)?], "$db": "test",
    };
    let killed = client.run(&kill).await?;
    assert_eq!(killed.get_array("cursorsKilled")?.into_iter().count(), 1);
    assert_eq!(code(&client.ask(&more).await?), 43);
    watcher.read().await?;
    let closed = || servers[0].heard("killCursors").len();
    until("the cursor is killed", || closed() == 1).await?;
    // A client that goes away has its cursors closed.
    watcher.run(&open).await?;
    drop(watcher);
    until("the other is killed", || closed() == 2).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_full_pool_says_that_it_is_overloaded() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].is_late("count", Duration::from_secs(2));
    let front = Front::start(&servers, "maxPoolSize=1&waitQueueTimeoutMS=100").await?;
    let (mut slow, mut client) = (front.client().await?, front.client().await?);
    slow.send(&count()).await?;
    servers[0].hears("count").await?;
    let refused = client.ask(&find()).await?;
    assert_eq!(code(&refused), 462, "{refused:?}");
    let labels = labels(&refused);
    ensure!(labels.contains(&"SystemOverloadedError") && labels.contains(&"RetryableError"));
    slow.read().await?;
    client.run(&find()).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn messages_are_compressed_as_each_side_has_agreed() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].also_says(rawdoc! { "compression": ["zstd", "snappy"] });
    let front = Front::start(&servers, "compressors=snappy").await?;
    let mut client = front.client().await?;
    let filter = "a".repeat(1000);
    let long = rawdoc! { "find": "books", "filter": { "a": filter.as_str() }, "$db": "test" };
    client.run(&long).await?;
    let heard = servers[0].heard("find");
    assert!(heard[0].compressed);
    assert_eq!(heard[0].body, long);
    let secret = rawdoc! { "createUser": "u", "pwd": filter.as_str(), "roles": [], "$db": "test" };
    client.run(&secret).await?;
    assert!(!servers[0].heard("createUser")[0].compressed);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn directives_are_carried_out_before_it_goes_on() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let lines = "relations.books.author = { target = \"authors\", kind = \"one\", \
                 local = \"author\", foreign = \"name\" }";
    let front = Front::with(&servers, "", lines).await?;
    let mut client = front.client().await?;
    let annotated = rawdoc! { "find": "books", "comment": "@include(author)", "$db": "test" };
    client.ask(&annotated).await?;
    assert!(servers[0].heard("find").is_empty());
    let heard = servers[0].heard("aggregate");
    let sent = String::from_utf8_lossy(heard[0].body.as_bytes());
    assert!(
        sent.contains("$lookup") && !sent.contains("@include"),
        "{sent}"
    );
    servers[0].hears("listIndexes").await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn behind_a_balancer_everything_keeps_its_connection() -> Result<()> {
    let servers = [Scripted::start(Role::Mongos).await?];
    servers[0].answers(|heard| match heard.name.as_str() {
        "find" if heard.body.get("batchSize").ok()?.is_some() => {
            Some(Act::Reply(page("firstBatch", 6, "balanced")))
        }
        "getMore" => Some(Act::Reply(page("nextBatch", 6, "balanced"))),
        _ => None,
    });
    let front = Front::start(&servers, "loadBalanced=true").await?;
    let mut client = Raw::connect(front.port).await?;
    let hello = rawdoc! { "hello": 1, "loadBalanced": true, "$db": "admin" };
    let first = client.run(&hello).await?;
    assert!(first.get_object_id("serviceId").is_ok());
    let opened = client
        .run(&with(find(), &rawdoc! { "batchSize": 1 }))
        .await?;
    client.run(&begins(insert(), 1, 1)).await?;
    client.run(&find()).await?;
    client.run(&more(cursor_of(&opened)?)).await?;
    let on = |name: &str, at: usize| servers[0].heard(name)[at].connection;
    assert_eq!(on("find", 0), on("getMore", 0));
    let held = BTreeSet::from([on("find", 0), on("insert", 0), on("find", 1)]);
    assert_eq!(held.len(), 3, "a held connection was given away");
    // The transaction of a client that is gone is aborted, on its connection.
    drop(client);
    servers[0].hears("abortTransaction").await?;
    assert_eq!(on("abortTransaction", 0), on("insert", 0));
    front.stop().await;
    Ok(())
}
