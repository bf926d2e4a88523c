//! Two clients who share one connection.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::{Client, SimpleQueryMessage};
use twinport_integration::eventually;

use super::support::Scene;

/// Two clients on one connection.
pub(crate) struct Pair {
    pub(crate) scene: Scene,
    pub(crate) a: Client,
    pub(crate) b: Client,
}

impl Pair {
    pub(crate) async fn on(major: u32) -> Result<Self> {
        let scene = Scene::on(major, 1, "").await?;
        scene
            .admin
            .batch_execute(
                "CREATE ROLE low; GRANT low TO app; GRANT CREATE ON SCHEMA public TO app, low",
            )
            .await?;
        let (a, b) = (scene.client().await?, scene.client().await?);
        Ok(Self { scene, a, b })
    }

    /// Waits until it is known what leaves something behind: nobody's statement waits long for that.
    pub(crate) async fn learned(&self) -> Result<()> {
        eventually("it is known what is harmless", async || {
            self.a.batch_execute("SELECT 1").await?;
            // The client has its answer before the server is asked.
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(self.last().await? == "SELECT 1")
        })
        .await
    }

    /// What a client reads, by the simple protocol.
    pub(crate) async fn read(client: &Client, sql: &str) -> Result<String> {
        let messages = client.simple_query(sql).await?;
        let row = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.with_context(|| format!("no row of {sql}"))?;
        Ok(row.get(0).unwrap_or("").to_owned())
    }

    /// `a` runs this; then it reads `set` by `question`, and `b` what is there otherwise.
    pub(crate) async fn keeps(&self, sql: &str, question: &str, set: &str) -> Result<()> {
        let before = Self::read(&self.b, question).await?;
        self.a
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())?;
        for _ in 0..2 {
            assert_eq!(
                Self::read(&self.b, question).await?,
                before,
                "b after {sql}"
            );
            assert_eq!(Self::read(&self.a, question).await?, set, "a after {sql}");
        }
        self.a.batch_execute("DISCARD ALL").await?;
        Ok(())
    }

    /// After this `a` keeps the connection, until it has run `end`.
    pub(crate) async fn pins(&self, sql: &str, end: &str) -> Result<()> {
        self.a
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())?;
        eventually(sql, async || Ok(!self.scene.pins().is_empty())).await?;
        self.a
            .batch_execute(end)
            .await
            .with_context(|| end.to_owned())?;
        self.b
            .simple_query("SELECT 1")
            .await
            .with_context(|| format!("after {end}"))?;
        Ok(())
    }

    /// The text that the connection ran last.
    pub(crate) async fn last(&self) -> Result<String> {
        let sql = "SELECT query FROM pg_stat_activity WHERE usename = 'app'
            AND application_name <> 'twinport' ORDER BY state_change DESC LIMIT 1";
        Ok(self.scene.admin.query_one(sql, &[]).await?.get(0))
    }
}
