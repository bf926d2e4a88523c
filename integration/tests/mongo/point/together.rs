//! Finds by `_id` that come at the same time go together, and each client is given what it asked for.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::Client;
use twinport_integration::eventually;

use super::*;

/// Finds under way, each with its `_id`.
type Asked = JoinSet<Result<(Bson, RawDocumentBuf)>>;

/// As long as nobody should have to wait.
const SOON: Duration = Duration::from_secs(10);

/// Clients, each with a find.
const CLIENTS: usize = 10;

/// However slow the machine is, finds wait for those before them.
const TOGETHER: &str = "group_finds = \"1m\"";

/// A connection for each client, and a collection whose documents are read from its table.
async fn wide(lines: &str) -> Result<Scene> {
    let scene = Scene::with(Wants {
        pool: CLIENTS,
        mongo_lines: lines,
        ..Wants::default()
    })
    .await?;
    let mut client = scene.client().await?;
    fill(&mut client, "c").await?;
    for id in 0..4 {
        client.run(&find("c", id)?).await?;
    }
    Ok(scene)
}

/// All find at the same time, each its own; what they are given.
async fn at_once(scene: &Scene, ids: impl IntoIterator<Item = Bson>) -> Result<Asked> {
    let mut clients = Vec::new();
    for id in ids {
        clients.push((id, scene.client().await?));
    }
    let mut asked = JoinSet::new();
    for (id, mut client) in clients {
        let find = find("c", id.clone())?;
        asked.spawn(async move { Ok((id, client.ask(&find).await?)) });
    }
    Ok(asked)
}

/// Connections that have read several documents at last.
const GROUPS: &str = "pg_stat_activity WHERE application_name = 'twinport-mongo' \
     AND query LIKE '%WITH ORDINALITY u(key, place)%'";

/// How many of them there are.
async fn groups(scene: &Scene) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM {GROUPS}");
    Ok(scene.admin.query_one(&sql, &[]).await?.get(0))
}

/// Everybody is given as many documents.
async fn each_is_given(asked: Asked, documents: usize) -> Result<()> {
    for answer in timeout(SOON, asked.join_all()).await? {
        let (id, answer) = answer?;
        assert_eq!(page(&answer)?.len(), documents, "{id}: {answer:?}");
    }
    Ok(())
}

/// Finds that wait for the lock that is given: two went at once, the others together.
async fn held(ids: impl IntoIterator<Item = Bson>) -> Result<(Scene, Client, Asked)> {
    let scene = wide(TOGETHER).await?;
    assert_eq!(groups(&scene).await?, 0);
    let lock = scene.lock("c").await?;
    let asked = at_once(&scene, ids).await?;
    eventually("a group waits", async || Ok(groups(&scene).await? > 0)).await?;
    Ok((scene, lock, asked))
}

fn numbers() -> impl Iterator<Item = Bson> {
    (0..).step_by(7).take(CLIENTS).map(|id: i32| Bson::from(id))
}

#[tokio::test]
async fn those_that_come_together_go_together() -> Result<()> {
    // Two want the same, and two what isn't there.
    let others = [0.into(), "none".into(), Bson::from(1e9)];
    let (scene, lock, asked) = held(numbers().chain(others)).await?;
    drop(lock);
    let mut found = 0;
    for answer in timeout(SOON, asked.join_all()).await? {
        let (id, answer) = answer?;
        let page = page(&answer)?;
        let there = id.as_i32().is_some();
        assert_eq!(page.len(), usize::from(there), "{id}: {answer:?}");
        if let Some(document) = page.first() {
            assert_eq!(Some(document.get_i32("_id")?), id.as_i32());
            assert_eq!(document.get_str("in")?, "c");
            found += 1;
        }
    }
    assert_eq!(found, CLIENTS + 1);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_group_reads_the_collection_that_is_there_by_then() -> Result<()> {
    let (scene, lock, asked) = held(numbers()).await?;
    lock.batch_execute(
        "UPDATE documentdb_api_catalog.collections SET collection_name = 'other'
         WHERE database_name = 'test' AND collection_name = 'c'; COMMIT",
    )
    .await?;
    each_is_given(asked, 0).await?;
    let mut client = scene.client().await?;
    assert_eq!(page(&client.run(&find("other", 7)?).await?)?.len(), 1);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_group_that_the_server_stops_goes_one_by_one() -> Result<()> {
    let (scene, lock, asked) = held(numbers()).await?;
    // Only groups; those by themselves go on.
    let refuse = format!("SELECT pg_cancel_backend(pid) FROM {GROUPS}");
    scene.admin.batch_execute(&refuse).await?;
    drop(lock);
    each_is_given(asked, 1).await?;
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn nobody_waits_where_that_is_off() -> Result<()> {
    let scene = wide("group_finds = \"off\"").await?;
    let lock = scene.lock("c").await?;
    let asked = at_once(&scene, numbers()).await?;
    scene.until_locked(i64::try_from(CLIENTS)?).await?;
    assert_eq!(groups(&scene).await?, 0);
    drop(lock);
    each_is_given(asked, 1).await?;
    scene.stop().await;
    Ok(())
}
