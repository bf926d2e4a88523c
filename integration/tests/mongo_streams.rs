//! Large messages through the forwarding port take no memory by their size. Alone in its process, so that its
//! memory is its own.

#[path = "mongo/raw.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raw::Raw;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use twinport_integration::mongo::Front;
use twinport_integration::resident;
use twinport_wire::mongo::Sequence;
use twinport_wire::mongo::bson::raw::RawArrayBuf;
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::message::build;

const CLIENTS: usize = 20;

/// Bytes of a message.
const LARGE: usize = 40_000_000;

/// What all clients together may take, in bytes: a hundredth of their messages, and what allocators keep.
const SLACK: usize = 64 << 20;

/// A server that throws away what it is sent; a `find` it answers at length.
async fn sink(listener: TcpListener, page: Arc<Vec<u8>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            // The end of a connection is no failure.
            let _ = swallow(stream, &page).await;
        });
    }
}

async fn swallow(mut stream: TcpStream, page: &[u8]) -> Result<()> {
    let mut sink = tokio::io::sink();
    loop {
        let length = usize::try_from(stream.read_i32_le().await?)?;
        let request = stream.read_i32_le().await?;
        // The other numbers, the flags, the section's kind, the body's length, the first field's type and its name.
        let mut start = [0; 23];
        stream.read_exact(&mut start).await?;
        let left = (length - 31) as u64;
        tokio::io::copy(&mut (&mut stream).take(left), &mut sink).await?;
        if start.ends_with(b"find\0") {
            let (numbers, rest) = page.split_at_checked(12).context("a message")?;
            stream
                .write_all(numbers.get(..8).context("numbers")?)
                .await?;
            stream.write_i32_le(request).await?;
            stream.write_all(rest).await?;
            continue;
        }
        let answer = rawdoc! {
            "isWritablePrimary": true, "ismaster": true, "maxBsonObjectSize": 16_777_216,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "minWireVersion": 0,
            "maxWireVersion": 21, "n": 1, "ok": 1.0,
        };
        let mut out = Vec::new();
        build::reply(&mut out, 1, request, &answer);
        stream.write_all(&out).await?;
    }
}

/// The most memory while `work` goes on, above what it was before.
async fn peak(work: JoinSet<Result<()>>) -> Result<usize> {
    let before = resident()?;
    let most = Arc::new(AtomicUsize::new(before));
    let seen = Arc::clone(&most);
    let watch = tokio::spawn(async move {
        while let Ok(now) = resident() {
            seen.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    for done in work.join_all().await {
        done?;
    }
    watch.abort();
    Ok(most.load(Ordering::Relaxed) - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_take_little_memory() -> Result<()> {
    let text = "x".repeat(1_000);
    let page: RawArrayBuf = (0..LARGE / 1_000)
        .map(|_| rawdoc! { "t": text.as_str() })
        .collect();
    let page = rawdoc! { "cursor": { "firstBatch": page, "id": 0_i64, "ns": "test.c" }, "ok": 1.0 };
    let mut answer = Vec::new();
    build::reply(&mut answer, 1, 0, &page);
    drop(page);
    let answer = Arc::new(answer);
    let length = answer.len();
    let bytes = rawdoc! { "t": text.as_str() }
        .as_bytes()
        .repeat(LARGE / 1_020);
    let mut request = Vec::new();
    let insert = rawdoc! { "insert": "c", "ordered": true, "$db": "test" };
    let sequence = Sequence {
        identifier: "documents",
        bytes: &bytes,
    };
    build::request(&mut request, 7, 0, &insert, [sequence]);
    drop(bytes);
    let request = Arc::new(request);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = listener.local_addr()?;
    let server = tokio::spawn(sink(listener, answer));
    let front = Front::forwarding(&format!("mongodb://{upstream}/"), "").await?;
    let port = front.port;

    let mut inserts = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Raw::connect(port).await?;
        client.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
        let request = Arc::clone(&request);
        inserts.spawn(async move {
            client.write(&request).await?;
            ensure!(client.read().await?.get_i32("n")? == 1);
            Ok(())
        });
    }
    let inserting = peak(inserts).await?;
    let mut finds = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Raw::connect(port).await?;
        client.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
        finds.spawn(async move {
            client
                .send(&rawdoc! { "find": "c", "filter": { "by": "a large page" }, "$db": "test" })
                .await?;
            let mut left = length;
            while left > 0 {
                left -= client.take(left.min(100_000)).await?.len();
            }
            Ok(())
        });
    }
    let finding = peak(finds).await?;
    for (what, bytes) in [("inserting", inserting), ("finding", finding)] {
        assert!(bytes < SLACK, "{what} took {bytes} bytes");
    }
    front.stop().await;
    server.abort();
    Ok(())
}
