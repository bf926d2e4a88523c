//! A proxy with a MongoDB port as a test's own settings say, in this process.

use std::time::Duration;

use anyhow::{Context, Result};
use twinport::Running;
use twinport_config::Settings;

/// A proxy with a MongoDB port. Stop it with [`Front::stop`].
pub struct Front {
    /// The server, for what tests look at from inside.
    pub running: Running,
    /// The port on 127.0.0.1.
    pub port: u16,
}

impl Front {
    /// Starts a proxy as these settings say.
    ///
    /// # Errors
    /// When they are refused or the port can't be listened on.
    pub async fn of(settings: &str) -> Result<Self> {
        let running = twinport::start(Settings::parse(settings, "test.toml")?).await?;
        let address = running.mongo.first();
        let port = address.context("the proxy has no MongoDB port")?.port();
        Ok(Self { running, port })
    }

    /// Starts a proxy, open to everybody, that forwards to the servers of a `mongodb://` URL, with further lines of
    /// `[mongo]`.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn forwarding(url: &str, lines: &str) -> Result<Self> {
        Self::of(&Self::settings(url, lines)).await
    }

    /// The settings of [`Front::forwarding`].
    pub fn settings(url: &str, lines: &str) -> String {
        format!(
            r#"
            [postgres]
            listen = []
            [users.app]
            password = "app-secret"
            [admin]
            http = "127.0.0.1:0"
            [mongo]
            listen = ["127.0.0.1:0"]
            upstream = "{url}"
            auth.method = "trust"
            {lines}
            "#,
        )
    }

    /// Ends the proxy; what still runs is cut off soon.
    pub async fn stop(self) {
        self.running.finish(Duration::from_secs(1)).await;
    }
}
