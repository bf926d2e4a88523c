//! What is no BSON, in messages whose end is known: it is told, and the connection goes on.

use anyhow::{Context, Result};
use twinport_integration::mongo::Front;
use twinport_wire::mongo::Frame;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::compressed::{Compressor, compress};
use twinport_wire::mongo::message::build;

use super::forwarding::Fronting;
use super::scripted::{Role, Scripted};
use super::support::{Scene, code};

/// A find whose filter has a text that is no UTF-8.
fn odd_text() -> Result<Vec<u8>> {
    // Long enough to be worth compressing.
    let other = "a".repeat(500);
    let find = rawdoc! {
        "find": "c", "filter": { "name": "cafe", "other": other }, "$db": "test",
    };
    let mut bytes = message(&find);
    let at = bytes.windows(4).position(|part| part == b"cafe");
    let last = at.and_then(|at| bytes.get_mut(at + 3));
    *last.context("the text")? = 0xe9;
    Ok(bytes)
}

/// A find whose filter has more levels than a message may have.
fn too_deep() -> RawDocumentBuf {
    let mut deep = rawdoc! { "a": 1 };
    for _ in 0..250 {
        deep = rawdoc! { "a": deep };
    }
    rawdoc! { "find": "c", "filter": deep, "$db": "test" }
}

fn message(body: &RawDocument) -> Vec<u8> {
    let mut bytes = Vec::new();
    build::request(&mut bytes, 7, 0, body, []);
    bytes
}

#[tokio::test]
async fn what_is_no_bson_is_told_and_the_connection_goes_on() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    client.write(&odd_text()?).await?;
    let refused = client.read().await?;
    assert_eq!(code(&refused), 22, "{refused:?}");
    let refused = client.ask(&too_deep()).await?;
    assert_eq!(code(&refused), 15, "{refused:?}");
    assert_eq!(refused.get_str("codeName")?, "Overflow");
    client.run(&rawdoc! { "ping": 1, "$db": "admin" }).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_is_no_bson_is_told_also_when_it_came_compressed() -> Result<()> {
    let scene = Scene::new().await?;
    let mut client = scene.client().await?;
    let names = Compressor::ALL.map(Compressor::name);
    let hello = rawdoc! {
        "hello": 1, "compression": [names[0], names[1], names[2]], "$db": "admin",
    };
    client.run(&hello).await?;
    for compressor in Compressor::ALL {
        for (bytes, expected) in [(odd_text()?, 22), (message(&too_deep()), 15)] {
            let mut compressed = Vec::new();
            let frame = Frame::first(&bytes)?.context("a frame")?;
            assert!(compress(&mut compressed, &frame, compressor));
            client.write(&compressed).await?;
            let refused = client.read().await?;
            assert_eq!(code(&refused), expected, "{compressor:?}: {refused:?}");
        }
    }
    client.run(&rawdoc! { "ping": 1, "$db": "admin" }).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn text_that_is_no_utf_8_is_forwarded_as_it_came() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let bytes = odd_text()?;
    client.write(&bytes).await?;
    let answer = client.read().await?;
    assert_eq!(code(&answer), 0, "{answer:?}");
    let heard = servers[0].heard("find");
    let sent = heard.first().context("nothing came")?.body.as_bytes();
    assert!(bytes.ends_with(sent), "{sent:?}");
    // What is no BSON at all goes to nobody.
    assert_eq!(code(&client.ask(&too_deep()).await?), 15);
    assert_eq!(servers[0].heard("find").len(), 1);
    front.stop().await;
    Ok(())
}
