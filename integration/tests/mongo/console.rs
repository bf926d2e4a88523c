//! The admin console, asked by SQL.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use twinport::Running;
use twinport_integration::{PASSWORD, USER};

/// A row, by its columns.
pub(crate) type Row = BTreeMap<String, Option<String>>;

/// A proxy's console, open to the suites' user.
pub(crate) struct Console(Client);

impl Console {
    pub(crate) async fn of(running: &Running) -> Result<Self> {
        let address = running.postgres.first().context("no Postgres port")?;
        let url = format!("postgres://{USER}:{PASSWORD}@{address}/twinport");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        Ok(Self(client))
    }

    /// What a SHOW gives.
    pub(crate) async fn show(&self, what: &str) -> Result<Vec<Row>> {
        let messages = self.0.simple_query(&format!("SHOW {what}")).await?;
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

    /// The rows of the MongoDB port's clients.
    pub(crate) async fn clients(&self) -> Result<Vec<Row>> {
        let mut rows = self.show("CLIENTS").await?;
        rows.retain(|row| cell(row, "protocol") == "mongo");
        Ok(rows)
    }
}

/// A column's text.
pub(crate) fn cell<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Option::as_deref).unwrap_or("NULL")
}
