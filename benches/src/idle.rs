//! What an idle client costs a proxy in memory.

use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio_postgres::{Client, Config, NoTls};

use crate::{
    flags::Plan,
    ground::{Ground, NAME},
    process,
    rival::{Contender, Rival, Tools},
};

/// Logins under way at the same time.
const PARALLEL_LOGINS: usize = 32;
/// After which a proxy has given back what logins alone needed.
const REST: Duration = Duration::from_secs(3);
/// What one proxy and crowd may take.
const PATIENCE: Duration = Duration::from_secs(240);
/// Files that we and a proxy need beside the clients' sockets.
const SPARE_FILES: u64 = 500;

/// What one proxy needed.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Idle clients.
    pub(crate) clients: usize,
    /// Whose memory.
    pub(crate) contender: Contender,
    /// Bytes resident before, after one client had come and gone.
    pub(crate) before: Option<u64>,
    /// Bytes resident with all of them.
    pub(crate) after: Option<u64>,
    /// Growth divided by clients.
    pub(crate) bytes_per_client: Option<u64>,
    /// What went wrong, if it did.
    pub(crate) failure: Option<String>,
}

/// How many clients.
pub(crate) fn crowds(quick: bool) -> Vec<usize> {
    if quick {
        vec![200]
    } else {
        vec![1_000, 10_000]
    }
}

/// The name for `--only`.
pub(crate) fn name(clients: usize) -> String {
    format!("idle/{clients}")
}

/// Measures each proxy with each number of clients, in a fresh process.
pub(crate) async fn measure(
    crowds: &[usize],
    tools: &Tools,
    ground: &Ground,
    plan: &Plan,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for &clients in crowds {
        for contender in [
            Contender::Twinport,
            Contender::Pgbouncer,
            Contender::Odyssey,
        ] {
            let absent = match contender {
                Contender::Pgbouncer => tools.pgbouncer.is_none(),
                Contender::Odyssey => tools.odyssey.is_none(),
                Contender::Direct | Contender::Twinport => false,
            };
            if absent {
                continue;
            }
            eprintln!("{} {contender}", name(clients));
            let row = one(clients, contender, tools, ground, plan);
            let row = tokio::time::timeout(PATIENCE, row)
                .await
                .unwrap_or_else(|_| Err(anyhow::anyhow!("not done after {PATIENCE:?}")));
            rows.push(row.unwrap_or_else(|error| Row {
                clients,
                contender,
                before: None,
                after: None,
                bytes_per_client: None,
                failure: Some(format!("{error:#}")),
            }));
        }
    }
    rows
}

async fn one(
    clients: usize,
    contender: Contender,
    tools: &Tools,
    ground: &Ground,
    plan: &Plan,
) -> anyhow::Result<Row> {
    let limit = process::file_limit();
    if limit < clients as u64 + SPARE_FILES {
        anyhow::bail!("`ulimit -n` is {limit}");
    }
    let rival = match contender {
        Contender::Pgbouncer => Rival::pgbouncer(tools, ground, plan).await?,
        Contender::Odyssey => Rival::odyssey(tools, ground, plan).await?,
        _ => Some(Rival::twinport(tools, ground, plan).await?),
    };
    let rival = rival.context("not installed")?;
    let pid = rival.pid().context("it has ended")?;

    drop(log_in(rival.port).await?);
    tokio::time::sleep(REST).await;
    let before = process::resident(pid).context("it has ended")?;
    let crowd: Vec<Client> = stream::iter(0..clients)
        .map(|_| log_in(rival.port))
        .buffer_unordered(PARALLEL_LOGINS)
        .try_collect()
        .await?;
    tokio::time::sleep(REST).await;
    let after = process::resident(pid).context("it has ended")?;
    let alive = crowd.iter().filter(|client| !client.is_closed()).count();
    if alive < clients {
        anyhow::bail!("only {alive} of {clients} clients are still connected");
    }
    Ok(Row {
        clients,
        contender,
        before: Some(before),
        after: Some(after),
        bytes_per_client: Some(after.saturating_sub(before) / clients as u64),
        failure: None,
    })
}

/// A client that has logged in and asked once, as all real ones have.
async fn log_in(port: u16) -> anyhow::Result<Client> {
    let (client, connection) = Config::new()
        .host("127.0.0.1")
        .port(port)
        .user(NAME)
        .password(NAME)
        .dbname(NAME)
        .connect(NoTls)
        .await?;
    // Ends when the client is dropped; its error comes up in the client's requests, too.
    tokio::spawn(connection);
    client.simple_query("SELECT 1").await?;
    Ok(client)
}
