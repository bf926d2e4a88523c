//! The proxy in front of a [`World`], in this process.

use std::time::Duration;

use anyhow::{Context, Result};
use twinport::Running;
use twinport_config::Settings;

use crate::{Address, Identity, PASSWORD, Target, USER, World};

/// The database whose pool has a single connection.
const SINGLE: &str = "single";

/// Who may use the admin console of a proxy that asks for no proof.
pub const OPERATOR: &str = "operator";

/// A proxy that serves a world's library in transaction mode. Stop it with [`Port::stop`].
pub struct Port {
    /// The server, for what tests look at from inside.
    pub running: Running,
    /// The library behind a pool of the size asked for.
    pub address: Address,
    direct: Target,
}

impl Port {
    /// Starts a proxy with this many upstream connections.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn start(world: &World, pool: usize) -> Result<Self> {
        Self::with(world, pool, "").await
    }

    /// Starts a proxy whose `[pool]` has further lines.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn with(world: &World, pool: usize, lines: &str) -> Result<Self> {
        let text = strict(world, pool, lines)?;
        Self::serve(world, &text).await
    }

    /// Starts a proxy that asks no client for a proof and speaks no TLS, for tests with very many
    /// logins.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn trusting(world: &World, pool: usize, lines: &str) -> Result<Self> {
        let direct = world.address();
        let library = format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{}",
            direct.port, direct.database
        );
        Self::trusting_at(&library, world, pool, lines).await
    }

    /// As [`Port::trusting`], with the library to be found at another URL.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn trusting_at(
        library: &str,
        world: &World,
        pool: usize,
        lines: &str,
    ) -> Result<Self> {
        let text = format!(
            r#"
            [postgres]
            listen = ["127.0.0.1:0"]
            [postgres.auth]
            method = "trust"
            [databases.library]
            url = "{library}"
            [users.{USER}]
            [users.{OPERATOR}]
            admin = true
            [admin]
            http = "off"
            [pool]
            size = {pool}
            {lines}
            "#
        );
        Self::serve(world, &text).await
    }

    async fn serve(world: &World, text: &str) -> Result<Self> {
        let direct = world.address();
        let settings = Settings::parse(text, "test.toml")?;
        let running = twinport::start(settings).await?;
        let port = running
            .postgres
            .first()
            .context("the proxy has no port")?
            .port();
        Ok(Self {
            running,
            address: Address { port, ..direct },
            direct: world.direct(),
        })
    }

    /// The port as a suite's target.
    pub fn target(&self) -> Target {
        Target {
            address: self.address.clone(),
            single: Address {
                database: SINGLE.to_owned(),
                ..self.address.clone()
            },
            annotated: true,
            ..self.direct.clone()
        }
    }

    /// Ends the proxy; what still runs is cut off soon.
    pub async fn stop(self) {
        self.running.finish(Duration::from_secs(1)).await;
    }
}

/// TLS and SCRAM on both sides, every client by its own proof.
fn strict(world: &World, pool: usize, lines: &str) -> Result<String> {
    let Identity { certificate, key } = Identity::write(world.authority()?, world.folder())?;
    let direct = world.address();
    let upstream = format!(
        "postgres://localhost:{}/{{}}?sslmode=verify-full&sslrootcert={}",
        direct.port,
        direct.ca.display()
    );
    let library = upstream.replace("{}", &direct.database);
    let anything = upstream.replace("/{}", "/");
    Ok(format!(
        r#"
            [postgres]
            listen = ["127.0.0.1:0"]
            [postgres.tls]
            mode = "allow"
            certificate = "{certificate}"
            key = "{key}"
            [postgres.auth]
            auth_query = "default"
            auth_user = "{superuser}"
            [databases.library]
            url = "{library}"
            [databases.{SINGLE}]
            url = "{library}"
            pool = {{ size = 1 }}
            [databases."*"]
            url = "{anything}"
            [users.{USER}]
            password = "{PASSWORD}"
            [users.{superuser}]
            password = "{password}"
            admin = true
            [admin]
            http = "off"
            [pool]
            size = {pool}
            {lines}
            "#,
        certificate = certificate.display(),
        key = key.display(),
        superuser = world.server.superuser(),
        password = world.server.password(),
    ))
}
