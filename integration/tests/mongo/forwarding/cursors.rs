//! Whose cursors are, and for how long.

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
