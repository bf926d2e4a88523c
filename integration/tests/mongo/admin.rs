//! The admin console shows the MongoDB port's clients, cursors and transactions.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinport_integration::mongo::Front;
use twinport_integration::{PASSWORD, USER, eventually};
use twinport_wire::mongo::bson::rawdoc;

use super::commands::begins;
use super::console::{Console, cell};
use super::raw::Raw;
use super::support::{Scene, Wants};

#[tokio::test]
async fn clients_cursors_and_transactions_are_shown() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 2,
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 10).await?;
    let console = Console::of(&scene.running).await?;
    eventually("nobody is left", async || {
        Ok(console.clients().await?.is_empty())
    })
    .await?;
    let mut client = scene.stranger().await?;
    let hello = rawdoc! {
        "hello": 1, "client": { "application": { "name": "shop" } }, "$db": "admin",
    };
    client.run(&hello).await?;
    let rows = console.clients().await?;
    ensure!(rows.len() == 1, "{rows:?}");
    assert_eq!(
        (cell(&rows[0], "user"), cell(&rows[0], "database")),
        ("", "")
    );
    client.log_in(USER, PASSWORD).await?;
    let rows = console.clients().await?;
    ensure!(rows.len() == 1, "who has logged in counts once: {rows:?}");
    let row = &rows[0];
    assert_eq!((cell(row, "user"), cell(row, "state")), (USER, "idle"));
    assert_eq!(
        (cell(row, "addr"), cell(row, "application_name")),
        ("127.0.0.1", "shop")
    );
    // The console's own client has another number.
    let all = console.show("CLIENTS").await?;
    let numbers: std::collections::BTreeSet<_> = all.iter().map(|row| cell(row, "id")).collect();
    assert_eq!(numbers.len(), all.len());

    // A command that runs: the client holds a connection, and the connection its client.
    let lock = scene.lock("c").await?;
    let mut busy = scene.client().await?;
    busy.send(&rawdoc! { "find": "c", "$db": "test" }).await?;
    eventually("it runs", async || Ok(scene.locked().await? == 1)).await?;
    let rows = console.clients().await?;
    let row = rows
        .iter()
        .find(|row| cell(row, "state") == "active")
        .context("nobody is active")?;
    let servers = console.show("SERVERS").await?;
    let server = servers
        .iter()
        .find(|server| cell(server, "id") == cell(row, "link"));
    let server = server.with_context(|| format!("{row:?} has no server in {servers:?}"))?;
    assert_eq!(
        (cell(server, "state"), cell(server, "link")),
        ("active", cell(row, "id"))
    );
    drop(lock);
    busy.read().await?;

    // A transaction between two commands, and a cursor in it.
    let begin = |number: i64| {
        let find = rawdoc! { "find": "c", "batchSize": 2, "$db": "test" };
        begins(find, 7, number)
    };
    client.run(&begin(4)).await?;
    let rows = console.show("TRANSACTIONS").await?;
    ensure!(rows.len() == 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        (cell(row, "session"), cell(row, "number")),
        (&*"07".repeat(16), "4")
    );
    assert_eq!((cell(row, "user"), cell(row, "state")), (USER, "idle"));
    let servers = console.show("SERVERS").await?;
    let server = servers
        .iter()
        .find(|server| cell(server, "id") == cell(row, "link"));
    assert_eq!(
        cell(server.context("the transaction's server")?, "state"),
        "active"
    );
    let rows = console.show("CURSORS").await?;
    ensure!(rows.len() == 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        (cell(row, "namespace"), cell(row, "transaction")),
        ("test.c", "4")
    );
    assert_eq!(
        (cell(row, "state"), cell(row, "session")),
        ("idle", &*"07".repeat(16))
    );

    let lists = console.show("LISTS").await?;
    let item = |name| {
        lists
            .iter()
            .find(|row| cell(row, "list") == name)
            .map(|row| cell(row, "items"))
    };
    assert_eq!(
        (item("cursors"), item("transactions")),
        (Some("1"), Some("1"))
    );
    assert_eq!(
        item("used_clients"),
        Some("2"),
        "the console's own has no part in it"
    );
    let pools = console.show("POOLS").await?;
    // The URL names who works for all users of the port.
    let [pool] = &*pools else {
        bail!("not one pool: {pools:?}");
    };
    assert_eq!(cell(pool, "cl_idle"), "2", "{pool:?}");
    scene.stop().await;
    Ok(())
}

/// A sample of `/metrics`, by its name and labels.
async fn metric(front: &Front, sample: &str) -> Result<f64> {
    let address = front.running.admin.context("no HTTP port")?;
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    Ok(value
        .with_context(|| format!("{sample} is not in:\n{text}"))?
        .parse()?)
}

#[tokio::test]
async fn metrics_tell_of_what_is_forwarded() -> Result<()> {
    let scene = Scene::new().await?;
    let url = format!("mongodb://{USER}:{PASSWORD}@127.0.0.1:{}/", scene.port);
    let front = Front::forwarding(&url, "").await?;
    let mut client = Raw::connect(front.port).await?;
    client.run(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
    let before = metric(&front, "twinport_mongo_commands_total").await?;
    assert_eq!(metric(&front, "twinport_mongo_rewrites_total").await?, 0.0);
    client.run(&rawdoc! { "ping": 1, "$db": "admin" }).await?;
    let upsert = rawdoc! { "insert": "people", "documents": [{ "_id": 1, "email": "a@b" }],
    "comment": "@upsert(_id)", "$db": "test" };
    client.run(&upsert).await?;
    let commands = metric(&front, "twinport_mongo_commands_total").await?;
    assert_eq!(commands - before, 2.0);
    assert_eq!(metric(&front, "twinport_mongo_rewrites_total").await?, 1.0);
    let labels = format!("server=\"127.0.0.1:{}\",user=\"{USER}\"", scene.port);
    let pool = |what: &str| format!("twinport_mongo_pool_{what}{{{labels}}}");
    let idle = format!("twinport_mongo_pool_servers{{{labels},state=\"idle\"}}");
    ensure!(metric(&front, &idle).await? >= 1.0);
    ensure!(metric(&front, &pool("opened_total")).await? >= 1.0);
    ensure!(metric(&front, &pool("size")).await? >= 1.0);
    for what in ["waits_total", "wait_seconds_total", "longest_wait_seconds"] {
        ensure!(metric(&front, &pool(what)).await? >= 0.0);
    }
    front.stop().await;
    scene.stop().await;
    Ok(())
}
