//! Inserts of one document that come at the same time go together, and each client is answered as if its own had
//! gone alone.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use twinport_integration::eventually;

use super::*;
use crate::commands::abort;
use crate::support::session;

/// As long as nobody should have to wait.
const SOON: Duration = Duration::from_secs(10);

/// Several connections, all of one user.
async fn wide() -> Result<Scene> {
    Scene::with(Wants {
        pool: 8,
        ..Wants::default()
    })
    .await
}

/// An insert that is recorded.
fn insert(id: impl Into<Bson>, byte: u8) -> Result<RawDocumentBuf> {
    let document = doc! { "_id": id.into(), "by": i32::from(byte) };
    let insert = doc! { "insert": "c", "documents": [document], "$db": "test" };
    let mut insert = RawDocumentBuf::try_from(&insert)?;
    insert.append(cstr!("lsid"), session(byte));
    insert.append(cstr!("txnNumber"), 1_i64);
    Ok(insert)
}

/// As many clients, logged in.
async fn clients(scene: &Scene, count: usize) -> Result<Vec<Raw>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(scene.client().await?);
    }
    Ok(clients)
}

/// Makes the collection, and inserts until it goes straight into its table.
async fn warm_up(client: &mut Raw) -> Result<()> {
    for number in 0..4 {
        let id = format!("warm {number}");
        let insert = doc! { "insert": "c", "documents": [{ "_id": id }], "$db": "test" };
        client.run(&RawDocumentBuf::try_from(&insert)?).await?;
    }
    client.run(&insert("warm", 255)?).await?;
    Ok(())
}

/// How many transactions have made the documents that have `by`, and how many those are.
async fn made(scene: &Scene) -> Result<(i64, i64)> {
    let sql = "SELECT collection_id FROM documentdb_api_catalog.collections
        WHERE database_name = 'test' AND collection_name = 'c'";
    let collection: i64 = scene.admin.query_one(sql, &[]).await?.get(0);
    let sql = format!(
        "SELECT count(DISTINCT xmin::text), count(*) FROM documentdb_data.documents_{collection}
         WHERE document OPERATOR(documentdb_api_catalog.@?) '{{ \"by\": true }}'::documentdb_core.bson"
    );
    let row = scene.admin.query_one(&sql, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// All clients insert at the same time; what they are told, by their numbers.
async fn at_once(
    clients: Vec<Raw>,
    id: impl Fn(u8) -> Bson,
    first: u8,
) -> Result<JoinSet<Result<(u8, RawDocumentBuf)>>> {
    let mut asked = JoinSet::new();
    for (byte, mut client) in (first..).zip(clients) {
        let insert = insert(id(byte), byte)?;
        asked.spawn(async move { Ok((byte, client.ask(&insert).await?)) });
    }
    Ok(asked)
}

#[tokio::test]
async fn those_that_come_together_go_together() -> Result<()> {
    let scene = wide().await?;
    warm_up(&mut scene.client().await?).await?;
    let lock = scene.lock("c").await?;
    // Two go at once, and wait; the others wait for them.
    let asked = at_once(clients(&scene, 20).await?, |byte| i32::from(byte).into(), 1).await?;
    eventually("a group waits", async || Ok(scene.locked().await? > 2)).await?;
    drop(lock);
    for answer in timeout(SOON, asked.join_all()).await? {
        let (byte, answer) = answer?;
        assert_eq!(answer.get_i32("n")?, 1, "{byte}: {answer:?}");
        assert_eq!(answer.get_f64("ok")?, 1.0);
    }
    let (transactions, documents) = made(&scene).await?;
    assert_eq!(documents, 21);
    // On a busy machine not all come at the same time.
    ensure!(transactions < documents, "each has gone by itself");
    // Each is recorded: sent again, it is not applied again.
    let mut client = scene.client().await?;
    for byte in 1..=20 {
        let delete = rawdoc! { "delete": "c", "deletes": [{ "q": { "_id": i32::from(byte) }, "limit": 1 }], "$db": "test" };
        client.run(&delete).await?;
        let again = client.run(&insert(i32::from(byte), byte)?).await?;
        assert_eq!(again.get_i32("n")?, 1, "{byte}: {again:?}");
    }
    assert_eq!(made(&scene).await?.1, 1);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn one_that_is_refused_is_refused_alone() -> Result<()> {
    let scene = wide().await?;
    warm_up(&mut scene.client().await?).await?;
    let lock = scene.lock("c").await?;
    // 5 and 6 insert the same, and so do 7 and one that was before.
    let id = |byte| match byte {
        6 => Bson::from(5),
        7 => Bson::from("warm 0"),
        byte => i32::from(byte).into(),
    };
    let asked = at_once(clients(&scene, 10).await?, id, 1).await?;
    eventually("a group waits", async || Ok(scene.locked().await? > 2)).await?;
    drop(lock);
    let mut refused = Vec::new();
    for answer in timeout(SOON, asked.join_all()).await? {
        let (byte, answer) = answer?;
        if answer.get_i32("n")? == 0 {
            let errors: Vec<_> = answer.get_array("writeErrors")?.into_iter().collect();
            let error = errors.first().context("no error")?.as_ref().ok();
            let error = error.and_then(|error| error.as_document());
            assert_eq!(error.context("no error")?.get_i32("code")?, 11000);
            refused.push(byte);
        }
    }
    refused.sort_unstable();
    ensure!(matches!(*refused, [5 | 6, 7]), "{refused:?}");
    assert_eq!(made(&scene).await?.1, 9);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn nobody_waits_for_the_lock_of_another() -> Result<()> {
    let scene = wide().await?;
    let mut holder = scene.client().await?;
    warm_up(&mut holder).await?;
    let hold = rawdoc! { "insert": "c", "documents": [{ "_id": "held" }], "$db": "test" };
    holder.run(&begins(hold, 100, 1)).await?;
    // Both seats are taken by inserts that wait for the transaction, and one more is in the group.
    let first = at_once(clients(&scene, 2).await?, |_| "held".into(), 1).await?;
    scene.until_locked(2).await?;
    let id = |byte| match byte {
        10 => Bson::from("held"),
        byte => i32::from(byte).into(),
    };
    let mut others = at_once(clients(&scene, 8).await?, id, 10).await?;
    for _ in 0..7 {
        let answer = timeout(SOON, others.join_next()).await?;
        let (byte, answer) = answer.context("all are answered")???;
        assert_eq!(answer.get_i32("n")?, 1, "{byte}: {answer:?}");
        assert_ne!(byte, 10);
    }
    scene.until_locked(3).await?;
    holder
        .run(&abort(100, 1))
        .await
        .context("the transaction ends")?;
    let mut inserted = 0;
    for answer in timeout(SOON, first.join_all()).await? {
        inserted += answer?.1.get_i32("n")?;
    }
    for answer in timeout(SOON, others.join_all()).await? {
        inserted += answer?.1.get_i32("n")?;
    }
    assert_eq!(inserted, 1);
    scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_group_is_cancelled_when_all_have_left() -> Result<()> {
    let scene = wide().await?;
    warm_up(&mut scene.client().await?).await?;
    let lock = scene.lock("c").await?;
    let stay = at_once(clients(&scene, 2).await?, |byte| i32::from(byte).into(), 1).await?;
    scene.until_locked(2).await?;
    let mut leave = clients(&scene, 6).await?;
    for (byte, client) in (10..).zip(&mut leave) {
        client.send(&insert(i32::from(byte), byte)?).await?;
    }
    eventually("they wait, too", async || Ok(scene.locked().await? > 2)).await?;
    drop(leave);
    scene.until_locked(2).await?;
    drop(lock);
    for answer in timeout(SOON, stay.join_all()).await? {
        assert_eq!(answer?.1.get_i32("n")?, 1);
    }
    assert_eq!(made(&scene).await?.1, 3);
    scene.stop().await;
    Ok(())
}
