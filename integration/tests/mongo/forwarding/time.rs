//! The time that a command allows itself: it also bounds the wait for a server and for a connection to it.

use super::*;

fn in_time(body: RawDocumentBuf) -> RawDocumentBuf {
    with(body, &rawdoc! { "maxTimeMS": 100 })
}

#[tokio::test]
async fn it_bounds_the_wait_for_a_connection() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::start(&servers, "maxPoolSize=1&waitQueueTimeoutMS=60000").await?;
    let (mut busy, mut client) = (front.client().await?, front.client().await?);
    client.run(&begins(insert(), 1, 1)).await?;
    let told = Arc::<Notify>::default();
    let taken = Arc::clone(&told);
    servers[0].answers(move |heard| counting(&taken, heard));
    busy.send(&count()).await?;
    servers[0].hears("count").await?;
    let numbered = with(
        insert(),
        &rawdoc! { "lsid": session(2), "txnNumber": 1_i64 },
    );
    let annotated = with(
        insert(),
        &rawdoc! { "comment": "@upsert(_id) @timeout(100ms)" },
    );
    for command in [
        in_time(find()),
        in_time(numbered),
        in_time(goes_on(insert(), 1, 1)),
        in_time(begins(insert(), 3, 1)),
        annotated,
    ] {
        let late = client.ask(&command).await?;
        assert_eq!(code(&late), 50, "{command:?} gave {late:?}");
        assert!(labels(&late).is_empty(), "{late:?}");
    }
    let late = client.ask(&in_time(commit(1, 1))).await?;
    assert_eq!(code(&late), 50, "{late:?}");
    assert_eq!(labels(&late), ["UnknownTransactionCommitResult"]);
    told.notify_one();
    busy.read().await?;
    client.run(&commit(1, 1)).await?;
    assert_eq!(servers[0].heard("find").len(), 0);
    assert_eq!(servers[0].heard("insert").len(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn it_bounds_the_wait_for_a_server() -> Result<()> {
    let servers = Scripted::set(2).await?;
    servers[0].become_a(Role::Secondary);
    let front = Front::start(&servers, "serverSelectionTimeoutMS=60000").await?;
    let mut client = front.client().await?;
    assert_eq!(code(&client.ask(&in_time(insert())).await?), 50);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_was_not_begun_is_not_open() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::start(&servers, "maxPoolSize=1&waitQueueTimeoutMS=100").await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    let (mut busy, mut client) = (front.client().await?, front.client().await?);
    servers[0].is_late("count", Duration::from_secs(60));
    busy.send(&count()).await?;
    servers[0].hears("count").await?;
    assert_eq!(code(&client.ask(&begins(insert(), 1, 1)).await?), 462);
    assert_eq!(wing.transactions(), 0);
    drop(busy);
    front.stop().await;
    Ok(())
}
