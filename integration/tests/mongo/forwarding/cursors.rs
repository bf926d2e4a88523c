//! Whose cursors are, and for how long.

use twinport_config::Settings;

use super::*;

/// A server whose cursor never ends.
async fn endless() -> Result<[Scripted; 1]> {
    let server = Scripted::start(Role::Standalone).await?;
    server.answers(|heard| match heard.name.as_str() {
        "find" => Some(Act::Reply(page("firstBatch", 9, "x"))),
        "getMore" => Some(Act::Reply(page("nextBatch", 9, "x"))),
        _ => None,
    });
    Ok([server])
}

#[tokio::test]
async fn a_cursor_belongs_to_its_session() -> Result<()> {
    let servers = endless().await?;
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let in_session = |body: RawDocumentBuf, byte| with(body, &rawdoc! { "lsid": session(byte) });
    let opened = client.run(&in_session(find(), 1)).await?;
    let id = cursor_of(&opened)?;
    assert_eq!(code(&client.ask(&in_session(more(id), 2)).await?), 50_738);
    assert_eq!(code(&client.ask(&more(id)).await?), 50_737);
    client.run(&in_session(more(id), 1)).await?;
    let bare = cursor_of(&client.run(&find()).await?)?;
    assert_eq!(code(&client.ask(&in_session(more(bare), 1)).await?), 50_736);
    client.run(&more(bare)).await?;
    assert_eq!(servers[0].heard("getMore").len(), 2);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn without_sessions_a_cursor_outlives_the_connection_that_opened_it() -> Result<()> {
    let servers = endless().await?;
    servers[0].has_no_sessions();
    let front = Front::start(&servers, "").await?;
    let (mut first, mut second) = (front.client().await?, front.client().await?);
    let id = cursor_of(&first.run(&find()).await?)?;
    // Nobody would close this one: it goes with its client.
    let patient = with(find(), &rawdoc! { "noCursorTimeout": true });
    first.run(&patient).await?;
    drop(first);
    until("the patient one is killed", || {
        !servers[0].heard("killCursors").is_empty()
    })
    .await?;
    second.run(&more(id)).await?;
    assert_eq!(servers[0].heard("killCursors").len(), 1);
    front.stop().await;
    Ok(())
}

/// A server with one connection for clients, which a `count` takes until told; each `find` opens another cursor.
async fn crowded() -> Result<(Scripted, Arc<Notify>, Front)> {
    let server = Scripted::start(Role::Standalone).await?;
    let told = Arc::<Notify>::default();
    let (taken, mut last) = (Arc::clone(&told), 0);
    server.answers(move |heard| match heard.name.as_str() {
        "find" => {
            last += 1;
            Some(Act::Reply(page("firstBatch", last, "x")))
        }
        "killCursors" => {
            let cursors = heard.body.get_array("cursors").ok()?.to_owned();
            Some(Act::Reply(
                rawdoc! { "cursorsKilled": cursors, "cursorsNotFound": [], "ok": 1.0 },
            ))
        }
        _ => counting(&taken, heard),
    });
    let options = "maxPoolSize=1&waitQueueTimeoutMS=200";
    let front = Front::start(std::slice::from_ref(&server), options).await?;
    Ok((server, told, front))
}

/// The server's numbers of the cursors that it was told to kill.
fn dead(server: &Scripted) -> BTreeSet<i64> {
    let heard = server.heard("killCursors").into_iter();
    heard
        .flat_map(|heard| {
            let cursors = heard.body.get_array("cursors").ok();
            let ids = cursors.into_iter().flatten().flatten();
            ids.filter_map(|id| id.as_i64()).collect::<Vec<_>>()
        })
        .collect()
}

fn kill(id: i64) -> RawDocumentBuf {
    rawdoc! { "killCursors": "books", "cursors": [id], "$db": "test" }
}

#[tokio::test]
async fn a_kill_that_finds_no_connection_is_done_when_there_is_one() -> Result<()> {
    let (server, told, front) = crowded().await?;
    let (mut client, mut hasty, mut busy) = (
        front.client().await?,
        front.client().await?,
        front.client().await?,
    );
    let first = cursor_of(&client.run(&find()).await?)?;
    let in_session = with(find(), &rawdoc! { "lsid": session(1) });
    let second = cursor_of(&hasty.run(&in_session).await?)?;
    busy.send(&count()).await?;
    server.hears("count").await?;
    // One goes before it has an answer.
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    hasty.send(&kill(second)).await?;
    until("it is off the list", || wing.cursors() == 1).await?;
    drop(hasty);
    let answer = client.run(&kill(first)).await?;
    assert_eq!(answer.get_array("cursorsKilled")?.get_i64(0)?, first);
    assert_eq!(code(&client.ask(&more(first)).await?), 43);
    assert_eq!(dead(&server), BTreeSet::new());
    told.notify_one();
    until("both are killed", || dead(&server) == [1, 2].into()).await?;
    assert_eq!(server.connections(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn cursors_that_a_client_leaves_are_killed_when_there_is_a_connection() -> Result<()> {
    let (server, told, front) = crowded().await?;
    let (mut client, mut busy) = (front.client().await?, front.client().await?);
    for _ in 0..3 {
        client.run(&find()).await?;
    }
    busy.send(&count()).await?;
    server.hears("count").await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    drop(client);
    until("its cursors are off the list", || wing.cursors() == 0).await?;
    // Longer than anybody waits for a connection.
    tokio::time::sleep(Duration::from_millis(700)).await;
    told.notify_one();
    until("all are killed", || dead(&server) == [1, 2, 3].into()).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_kill_whose_connection_breaks_is_sent_again() -> Result<()> {
    let (server, _, front) = crowded().await?;
    let mut client = front.client().await?;
    let id = cursor_of(&client.run(&find()).await?)?;
    let mut broken = false;
    server.answers(move |heard| {
        let breaks = heard.name == "killCursors" && !std::mem::replace(&mut broken, true);
        breaks.then_some(Act::Drop)
    });
    let answer = client.run(&kill(id)).await?;
    assert_eq!(answer.get_f64("ok")?, 1.0);
    until("it is sent again", || {
        server.heard("killCursors").len() == 2
    })
    .await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_kill_that_is_refused_kills_nothing() -> Result<()> {
    let servers = endless().await?;
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let id = cursor_of(&client.run(&find()).await?)?;
    let odd = rawdoc! { "killCursors": "books", "cursors": [id, "x"], "$db": "test" };
    assert_ne!(code(&client.ask(&odd).await?), 0);
    client.run(&more(id)).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_cursor_whose_client_leaves_in_a_page_is_killed() -> Result<()> {
    let servers = endless().await?;
    let front = Front::start(&servers, "").await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    let mut client = front.client().await?;
    let in_session = |body: RawDocumentBuf| with(body, &rawdoc! { "lsid": session(1) });
    let id = cursor_of(&client.run(&in_session(find())).await?)?;
    servers[0].is_late("getMore", Duration::from_secs(60));
    client.send(&in_session(more(id))).await?;
    servers[0].hears("getMore").await?;
    drop(client);
    servers[0].hears("killCursors").await?;
    assert_eq!(wing.cursors(), 0);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_session_that_ends_in_a_page_ends_its_cursor() -> Result<()> {
    let servers = endless().await?;
    let front = Front::start(&servers, "").await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    let (mut client, mut other) = (front.client().await?, front.client().await?);
    let in_session = |body: RawDocumentBuf| with(body, &rawdoc! { "lsid": session(1) });
    let id = cursor_of(&client.run(&in_session(find())).await?)?;
    servers[0].is_late("getMore", Duration::from_secs(60));
    client.send(&in_session(more(id))).await?;
    servers[0].hears("getMore").await?;
    let end = rawdoc! { "endSessions": [session(1)], "$db": "admin" };
    other.run(&end).await?;
    let killed = client.read().await?;
    assert_eq!(code(&killed), 237, "{killed:?}");
    servers[0].hears("killCursors").await?;
    assert_eq!(wing.cursors(), 0);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn cursors_end_with_their_deployment() -> Result<()> {
    let [old] = endless().await?;
    let [new] = endless().await?;
    let lines = |server: &Scripted| Front::settings(&format!("mongodb://{}/", server.place), "");
    let front = Front::of(&lines(&old)).await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    let (mut client, mut busy) = (front.client().await?, front.client().await?);
    let waiting = cursor_of(&client.run(&find()).await?)?;
    let read = cursor_of(&busy.run(&find()).await?)?;
    old.is_late("getMore", Duration::from_millis(300));
    busy.send(&more(read)).await?;
    old.hears("getMore").await?;
    front
        .running
        .reload(Settings::parse(&lines(&new), "test.toml")?)?;
    until("one is killed at once", || {
        old.heard("killCursors").len() == 1
    })
    .await?;
    // What was asked before is answered, and then it is over, too.
    assert_eq!(code(&busy.read().await?), 0);
    until("both are killed", || old.heard("killCursors").len() == 2).await?;
    for id in [waiting, read] {
        assert_eq!(code(&client.ask(&more(id)).await?), 43);
    }
    client.run(&find()).await?;
    assert_eq!((new.heard("find").len(), wing.cursors()), (1, 1));
    front.stop().await;
    assert_eq!(old.heard("killCursors").len(), 2);
    Ok(())
}

#[tokio::test]
async fn cursors_end_with_the_proxy() -> Result<()> {
    let servers = endless().await?;
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    for byte in [1, 2] {
        let find = with(find(), &rawdoc! { "lsid": session(byte) });
        client.run(&find).await?;
    }
    front.stop().await;
    assert_eq!(servers[0].heard("killCursors").len(), 2);
    Ok(())
}
