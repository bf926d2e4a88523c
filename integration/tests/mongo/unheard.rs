//! Writes that want no answer: they are carried out though their client is gone before.

use anyhow::Result;
use twinport_integration::eventually;
use twinport_integration::mongo::Front;
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::message::{MORE_TO_COME, build};

use super::forwarding::Fronting;
use super::raw::Raw;
use super::scripted::{Role, Scripted, until};
use super::support::Scene;

const WRITES: i32 = 30;

/// Inserts one after the other, none of which wants an answer.
fn inserts() -> Vec<u8> {
    let mut out = Vec::new();
    for id in 0..WRITES {
        let insert = rawdoc! {
            "insert": "c", "documents": [{ "_id": id }], "writeConcern": { "w": 0 },
            "$db": "test",
        };
        build::request(&mut out, id + 1, MORE_TO_COME, &insert, []);
    }
    out
}

#[tokio::test]
async fn silent_writes_are_carried_out_after_their_client() -> Result<()> {
    let scene = Scene::new().await?;
    let create = rawdoc! { "create": "c", "$db": "test" };
    scene.client().await?.run(&create).await?;
    // The first meets a lock, so that the client is surely gone before it is done.
    let lock = scene.lock("c").await?;
    let mut client = scene.client().await?;
    client.write(&inserts()).await?;
    scene.until_locked(1).await?;
    drop(client);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(lock);
    eventually("all are stored", async || {
        Ok(scene.count("c").await? == WRITES)
    })
    .await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn silent_writes_behind_a_command_that_is_cancelled_are_carried_out() -> Result<()> {
    let scene = Scene::new().await?;
    scene.fill("slow", 1).await?;
    let create = rawdoc! { "create": "c", "$db": "test" };
    scene.client().await?.run(&create).await?;
    let lock = scene.lock("slow").await?;
    let mut client = scene.client().await?;
    client
        .send(&rawdoc! { "find": "slow", "$db": "test" })
        .await?;
    scene.until_locked(1).await?;
    client.write(&inserts()).await?;
    drop(client);
    eventually("all are stored", async || {
        Ok(scene.count("c").await? == WRITES)
    })
    .await?;
    scene.until_locked(0).await?;
    drop(lock);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn silent_writes_are_forwarded_after_their_client() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].is_late("insert", std::time::Duration::from_millis(20));
    let front = Front::start(&servers, "").await?;
    let mut client: Raw = front.client().await?;
    client.write(&inserts()).await?;
    drop(client);
    until("all are heard", || {
        servers[0].heard("insert").len() == usize::try_from(WRITES).unwrap_or_default()
    })
    .await?;
    front.stop().await;
    Ok(())
}
