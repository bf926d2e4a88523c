//! The admin console shows the MongoDB port's clients, cursors and transactions.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use twinport_integration::eventually;
use twinport_integration::{PASSWORD, USER};
use twinport_wire::mongo::bson::rawdoc;

use super::commands::begins;
use super::support::{Scene, Wants};

type Row = BTreeMap<String, Option<String>>;

async fn console(scene: &Scene) -> Result<Client> {
    let address = scene.running.postgres.first().context("no Postgres port")?;
    let url = format!("postgres://{USER}:{PASSWORD}@{address}/twinport");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn show(console: &Client, what: &str) -> Result<Vec<Row>> {
    let messages = console.simple_query(&format!("SHOW {what}")).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let rows = rows.map(|row| {
        let names = row.columns().iter().enumerate();
        names
            .map(|(at, column)| (column.name().to_owned(), row.get(at).map(str::to_owned)))
            .collect()
    });
    Ok(rows.collect())
}

fn cell<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Option::as_deref).unwrap_or("NULL")
}

/// The rows of this port's clients.
async fn clients(console: &Client) -> Result<Vec<Row>> {
    let mut rows = show(console, "CLIENTS").await?;
    rows.retain(|row| cell(row, "protocol") == "mongo");
    Ok(rows)
}

#[tokio::test]
async fn clients_cursors_and_transactions_are_shown() -> Result<()> {
    let scene = Scene::with(Wants {
        pool: 2,
        ..Wants::default()
    })
    .await?;
    scene.fill("c", 10).await?;
    let console = console(&scene).await?;
    eventually("nobody is left", async || {
        Ok(clients(&console).await?.is_empty())
    })
    .await?;
    let mut client = scene.stranger().await?;
    let hello = rawdoc! {
        "hello": 1, "client": { "application": { "name": "shop" } }, "$db": "admin",
    };
    client.run(&hello).await?;
    let rows = clients(&console).await?;
    ensure!(rows.len() == 1, "{rows:?}");
    assert_eq!(
        (cell(&rows[0], "user"), cell(&rows[0], "database")),
        ("", "")
    );
    client.log_in(USER, PASSWORD).await?;
    let rows = clients(&console).await?;
    ensure!(rows.len() == 1, "who has logged in counts once: {rows:?}");
    let row = &rows[0];
    assert_eq!((cell(row, "user"), cell(row, "state")), (USER, "idle"));
    assert_eq!(
        (cell(row, "addr"), cell(row, "application_name")),
        ("127.0.0.1", "shop")
    );
    // The console's own client has another number.
    let all = show(&console, "CLIENTS").await?;
    let numbers: std::collections::BTreeSet<_> = all.iter().map(|row| cell(row, "id")).collect();
    assert_eq!(numbers.len(), all.len());

    // A command that runs: the client holds a connection, and the connection its client.
    let lock = scene.lock("c").await?;
    let mut busy = scene.client().await?;
    busy.send(&rawdoc! { "find": "c", "$db": "test" }).await?;
    eventually("it runs", async || Ok(scene.locked().await? == 1)).await?;
    let rows = clients(&console).await?;
    let row = rows
        .iter()
        .find(|row| cell(row, "state") == "active")
        .context("nobody is active")?;
    let servers = show(&console, "SERVERS").await?;
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
    let rows = show(&console, "TRANSACTIONS").await?;
    ensure!(rows.len() == 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        (cell(row, "session"), cell(row, "number")),
        (&*"07".repeat(16), "4")
    );
    assert_eq!((cell(row, "user"), cell(row, "state")), (USER, "idle"));
    let servers = show(&console, "SERVERS").await?;
    let server = servers
        .iter()
        .find(|server| cell(server, "id") == cell(row, "link"));
    assert_eq!(
        cell(server.context("the transaction's server")?, "state"),
        "active"
    );
    let rows = show(&console, "CURSORS").await?;
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

    let lists = show(&console, "LISTS").await?;
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
    let pools = show(&console, "POOLS").await?;
    // The URL names who works for all users of the port.
    let [pool] = &*pools else {
        bail!("not one pool: {pools:?}");
    };
    assert_eq!(cell(pool, "cl_idle"), "2", "{pool:?}");
    scene.stop().await;
    Ok(())
}
