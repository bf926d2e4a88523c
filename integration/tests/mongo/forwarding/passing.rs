//! Messages that are too large to be held: they go on while they come, and what breaks off does no harm.

use std::sync::Arc;

use tokio::sync::Notify;
use twinport_wire::mongo::bson::raw::RawArrayBuf;
use twinport_wire::mongo::message::CHECKSUM_PRESENT;
use twinport_wire::mongo::{Message, Sequence, frame};

use super::super::scripted::page_of;
use super::*;

/// Documents of a large message, 1,000 bytes each.
const MANY: usize = 2_000;

fn documents(count: usize) -> Vec<u8> {
    let text = "x".repeat(980);
    let one = rawdoc! { "t": text.as_str() };
    one.as_bytes().repeat(count)
}

/// An insert with its documents beside it.
fn large(body: &RawDocument, flags: u32) -> Vec<u8> {
    let bytes = documents(MANY);
    let sequence = Sequence {
        identifier: "documents",
        bytes: &bytes,
    };
    let mut out = Vec::new();
    build::request(&mut out, 7, flags, body, [sequence]);
    out
}

fn into(collection: &str) -> RawDocumentBuf {
    rawdoc! { "insert": collection, "ordered": true, "$db": "test", "lsid": session(1) }
}

/// A page of 2 MB of a cursor with this number, which comes after the documents or before them.
fn long_page(batch: &str, id: i64, place: &str, last: bool) -> RawDocumentBuf {
    let mut all = RawArrayBuf::new();
    all.push(rawdoc! { "at": place });
    let text = "x".repeat(1_000);
    for _ in 0..MANY {
        all.push(rawdoc! { "t": text.as_str() });
    }
    page_of(batch, id, all, last)
}

#[tokio::test]
async fn a_large_request_goes_on_before_its_end() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let bytes = large(&into("books"), 0);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    client.write(first).await?;
    until("half of it is there", || {
        servers[0].received() > first.len() - 1_000
    })
    .await?;
    assert!(servers[0].heard("insert").is_empty());
    // The rest comes in pieces that end anywhere.
    let mut size = 1;
    let mut rest = second;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        client.write(piece).await?;
        tokio::task::yield_now().await;
        (rest, size) = (after, size * 3);
    }
    let answer = client.read().await?;
    assert_eq!(answer.get_i32("n")?, 1);
    let heard = servers[0].heard("insert");
    assert_eq!((heard[0].documents, &heard[0].body), (MANY, &into("books")));
    client.run(&find()).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_can_not_go_on_at_once_is_held() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let plain = large(&into("books"), 0);
    // With a checksum.
    let mut checked = plain.clone();
    let length = i32::try_from(checked.len() + 4)?;
    checked[..4].copy_from_slice(&length.to_le_bytes());
    checked[16..20].copy_from_slice(&CHECKSUM_PRESENT.to_le_bytes());
    let checksum = crc32c::crc32c(&checked);
    checked.extend(checksum.to_le_bytes());
    // With the documents before the command.
    let end = 21 + into("books").as_bytes().len();
    let turned = [&plain[..20], &plain[end..], &plain[20..end]].concat();
    for bytes in [&checked, &turned] {
        client.write(bytes).await?;
        client.read().await?;
    }
    let heard = servers[0].heard("insert");
    assert!(
        heard
            .iter()
            .all(|each| each.documents == MANY && each.flags == 0)
    );
    assert_eq!(heard.len(), 2);
    // With a comment, which may be a directive: it is carried out.
    let annotated = with(into("books"), &rawdoc! { "comment": "@upsert(_id)" });
    client.write(&large(&annotated, 0)).await?;
    assert!(
        client.read().await?.get("errmsg")?.is_some(),
        "no document has an _id"
    );
    assert_eq!(servers[0].heard("insert").len(), 2);
    // Without an answer.
    client.write(&large(&into("books"), MORE_TO_COME)).await?;
    client.run(&find()).await?;
    assert_eq!(servers[0].heard("insert").len(), 3);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn large_messages_are_compressed_as_agreed() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].also_says(rawdoc! { "compression": ["snappy"] });
    let front = Front::start(&servers, "compressors=snappy").await?;
    let mut client = front.client().await?;
    client.write(&large(&into("books"), 0)).await?;
    client.read().await?;
    let heard = servers[0].heard("insert");
    assert!(heard[0].compressed && heard[0].documents == MANY);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_run() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "maxPoolSize=1").await?;
    let bytes = large(&into("books"), 0);
    let mut leaving = front.client().await?;
    leaving.write(&bytes[..bytes.len() - 1]).await?;
    until("it is there", || servers[0].received() > bytes.len() / 2).await?;
    drop(leaving);
    // A second command hides behind the documents: the server may not take it for the first.
    let mut hiding = bytes.clone();
    hiding.push(0);
    hiding.extend_from_slice(rawdoc! { "dropDatabase": 1, "$db": "test" }.as_bytes());
    let length = i32::try_from(hiding.len())?;
    hiding[..4].copy_from_slice(&length.to_le_bytes());
    // So may a document that is longer than its section.
    let mut lying = bytes.clone();
    let last = lying.len() - documents(1).len();
    lying[last] ^= 1;
    for bytes in [hiding, lying] {
        let mut client = front.client().await?;
        // It may be closed before all of it is sent.
        let _ = client.write(&bytes).await;
        assert!(client.read().await.is_err(), "it was answered");
    }
    let mut client = front.client().await?;
    client.run(&find()).await?;
    assert!(servers[0].heard("insert").is_empty());
    assert!(servers[0].heard("dropDatabase").is_empty());
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_goes_in_the_middle_of_a_request_is_told() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    servers[0].takes_at_most(500_000);
    let numbered = with(into("books"), &rawdoc! { "txnNumber": 1_i64 });
    client.write(&large(&numbered, 0)).await?;
    let lost = client.read().await?;
    assert_eq!(code(&lost), 6, "{lost:?}");
    assert_eq!(labels(&lost), ["RetryableWriteError"]);
    // The same client goes on.
    servers[0].takes_at_most(frame::MAX_LENGTH);
    client.write(&large(&numbered, 0)).await?;
    assert_eq!(client.read().await?.get_i32("n")?, 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_large_request_is_not_sent_twice() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let mut refusals = 1;
    servers[0].answers(move |heard| {
        let refuses = heard.name == "insert" && refusals > 0;
        refusals -= i32::from(refuses);
        refuses.then(|| Act::Reply(error(10_107, "not primary")))
    });
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.write(&large(&into("books"), 0)).await?;
    assert_eq!(code(&client.read().await?), 6);
    client.write(&large(&into("books"), 0)).await?;
    assert_eq!(client.read().await?.get_i32("n")?, 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn who_can_not_be_served_is_told_after_its_request() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let place = servers[0].place;
    let front = Front::start(&servers, "serverSelectionTimeoutMS=300").await?;
    let mut client = front.client().await?;
    drop(servers);
    for _ in 0..2 {
        client.write(&large(&into("books"), 0)).await?;
        // As it was lost, or as there is none to be found in time.
        let refused = client.read().await?;
        assert!(matches!(code(&refused), 6 | 133), "{refused:?}");
    }
    let again = Scripted::at(place, Role::Standalone).await?;
    client.write(&large(&into("books"), 0)).await?;
    client.read().await?;
    assert_eq!(again.heard("insert")[0].documents, MANY);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_large_answer_goes_on_before_its_end() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let told = Arc::new(Notify::new());
    let (tell, page) = (Arc::clone(&told), long_page("firstBatch", 0, "x", true));
    let sent = page.clone();
    servers[0].answers(move |heard| {
        (heard.name == "find").then(|| Act::Halves(Arc::clone(&told), sent.clone()))
    });
    let front = Front::start(&servers, "maxPoolSize=1").await?;
    let mut client = front.client().await?;
    client.send(&find()).await?;
    let half = page.as_bytes().len() / 2 - 10_000;
    let mut bytes = client.take(half).await?;
    tell.notify_one();
    let length = u32::from_le_bytes(*bytes.first_chunk().context("a length")?) as usize;
    bytes.extend(client.take(length - half).await?);
    let frame = frame::Frame::first(&bytes)?.context("a message")?;
    let message = Message::decode(&frame)?;
    assert_eq!((message.response_to, message.body), (2, &*page));
    // The connection is there for the next one.
    tell.notify_one();
    client.run(&find()).await?;
    assert_eq!(servers[0].connections(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn large_pages_keep_their_cursors() -> Result<()> {
    let servers = Scripted::set(2).await?;
    for (server, last) in servers.iter().zip([true, false]) {
        let place = server.place.to_string();
        let mut pages = 2;
        server.answers(move |heard| match heard.name.as_str() {
            "find" => Some(Act::Reply(long_page("firstBatch", 77, &place, last))),
            "getMore" if heard.body.get_i64("getMore").ok() == Some(77) => {
                pages -= 1;
                let id = if pages > 0 { 77 } else { 0 };
                Some(Act::Reply(long_page("nextBatch", id, &place, last)))
            }
            "getMore" => Some(Act::Reply(error(43, "cursor not found"))),
            _ => None,
        });
    }
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    for (id, opened) in two_cursors(&mut client).await? {
        let elsewhere = rawdoc! { "getMore": id, "collection": "other", "$db": "test" };
        assert_eq!(
            code(&client.ask(&elsewhere).await?),
            13,
            "of the other collection"
        );
        for left in [id, 0] {
            let next = client.run(&more(id)).await?;
            assert_eq!(place_of(&next)?, place_of(&opened)?);
            assert_eq!(cursor_of(&next)?, left);
        }
        assert_eq!(code(&client.ask(&more(id)).await?), 43);
    }
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn half_an_answer_ends_the_clients_connection() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let mut broken = false;
    servers[0].answers(move |heard| {
        let limited = heard.body.get_i32("limit").is_ok();
        let first = || long_page("firstBatch", 9, "x", true);
        let next = || long_page("nextBatch", 0, "x", true);
        match heard.name.as_str() {
            "find" if limited => Some(Act::Half(first())),
            "find" => Some(Act::Reply(first())),
            "getMore" if !std::mem::replace(&mut broken, true) => Some(Act::Half(next())),
            "getMore" => Some(Act::Reply(next())),
            _ => None,
        }
    });
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.send(&with(find(), &rawdoc! { "limit": 1 })).await?;
    assert!(
        client.read().await.is_err(),
        "half an answer was taken for all"
    );
    let mut client = front.client().await?;
    let opened = client
        .run(&with(find(), &rawdoc! { "lsid": session(1) }))
        .await?;
    let next = with(more(cursor_of(&opened)?), &rawdoc! { "lsid": session(1) });
    client.send(&next).await?;
    assert!(client.read().await.is_err());
    // By another connection the cursor goes on.
    let mut client = front.client().await?;
    let last = client.run(&next).await?;
    assert_eq!(cursor_of(&last)?, 0);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_cursor_whose_client_leaves_in_its_first_page_is_closed() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let told = Arc::new(Notify::new());
    let never = Arc::clone(&told);
    servers[0].answers(move |heard| {
        let page = || long_page("firstBatch", 9, "x", false);
        (heard.name == "find").then(|| Act::Halves(Arc::clone(&never), page()))
    });
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.send(&find()).await?;
    client.take(100_000).await?;
    drop(client);
    servers[0].hears("killCursors").await?;
    let heard = servers[0].heard("killCursors");
    assert_eq!(heard[0].body.get_array("cursors")?.get_i64(0)?, 9);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn too_many_cursors_are_told_and_not_begun() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].answers(|heard| {
        let page = || long_page("firstBatch", 9, "x", true);
        (heard.name == "find").then(|| Act::Reply(page()))
    });
    let front = Front::with(&servers, "", "max_cursors = 1").await?;
    let mut client = front.client().await?;
    client.run(&find()).await?;
    assert_eq!(code(&client.ask(&find()).await?), 146);
    front.stop().await;
    Ok(())
}
