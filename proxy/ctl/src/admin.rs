//! `proxyctl show`, `reload`, `drain`: what the admin console of a running Twinport can do.

use anyhow::Context;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::table;

/// Where the admin console is.
#[derive(Debug, clap::Args)]
pub(crate) struct Console {
    /// The admin console, as `postgres://admin:password@host:port/twinport`
    #[arg(long, env = "TWINPORT_ADMIN_URL", hide_env_values = true)]
    url: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    console: Console,
    /// What to show: pools, clients, servers, cursors, transactions, databases, stats, config, version
    #[arg(required = true, value_parser = word)]
    subject: Vec<String>,
}

/// Only words go into the command that is sent.
fn word(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(text.to_uppercase())
    } else {
        Err("a word is expected".into())
    }
}

pub(crate) async fn show(options: &Show) -> anyhow::Result<()> {
    let console = connect(&options.console).await?;
    let answer = ask(&console, &format!("SHOW {}", options.subject.join(" "))).await?;
    print!("{}", table::render(&answer, ""));
    Ok(())
}

pub(crate) async fn reload(console: &Console) -> anyhow::Result<()> {
    ask(&connect(console).await?, "RELOAD").await?;
    println!("reload asked for; the server's log tells what changed");
    Ok(())
}

pub(crate) async fn drain(console: &Console) -> anyhow::Result<()> {
    match connect(console).await?.simple_query("SHUTDOWN").await {
        // It may be gone before it has answered.
        Err(error)
            if !error.is_closed()
                && error
                    .code()
                    .is_some_and(|code| !code.code().starts_with("57P")) =>
        {
            Err(error).context("the server refuses to shut down")
        }
        _ => {
            println!("shutdown asked for; what runs may finish");
            Ok(())
        }
    }
}

async fn connect(console: &Console) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&console.url, NoTls).await.context(
        "cannot reach the admin console: check --url (or TWINPORT_ADMIN_URL), and that its user is \
         an admin in the settings",
    )?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the admin console ended");
        }
    });
    Ok(client)
}

async fn ask(client: &Client, command: &str) -> anyhow::Result<Vec<SimpleQueryMessage>> {
    client
        .simple_query(command)
        .await
        .map_err(|error| match error.as_db_error() {
            Some(answer) => anyhow::anyhow!(
                "{}{}",
                answer.message(),
                answer
                    .hint()
                    .map(|hint| format!(" ({hint})"))
                    .unwrap_or_default()
            ),
            None => anyhow::Error::new(error).context("the admin console did not answer"),
        })
}
