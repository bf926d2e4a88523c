//! Servers that others wrote: FerretDB over Postgres with DocumentDB, and mongo-java-server, which keeps all in
//! memory.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::MongoWorld;
use crate::suite::cache;
use crate::{PASSWORD, USER};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(60);

/// A server of its own process. Gone when dropped.
#[derive(Debug)]
pub struct Independent {
    /// Where it is, with a user if it has users.
    pub url: String,
    process: Child,
    _state: TempDir,
}

impl Independent {
    /// FerretDB before the world's server.
    ///
    /// # Errors
    /// When it isn't installed (`scripts/setup-drivers.sh`) or doesn't start.
    pub async fn ferretdb(world: &MongoWorld) -> Result<Self> {
        let (state, port) = (TempDir::new()?, free_port()?);
        let server = &world.server;
        let postgres = format!(
            "postgres://{}:{}@localhost:{}/postgres?sslmode=require",
            server.superuser(),
            server.password(),
            server.port()
        );
        let mut command = Command::new(cache()?.join("go-bin/ferretdb"));
        command
            .arg(format!("--listen-addr=127.0.0.1:{port}"))
            .arg("--debug-addr=")
            .arg("--telemetry=disable")
            .arg("--log-level=ERROR")
            .arg("--state-dir")
            .arg(state.path())
            .env("FERRETDB_POSTGRESQL_URL", postgres);
        let url = format!("mongodb://{USER}:{PASSWORD}@127.0.0.1:{port}/");
        Self::start(command, url, port, state).await
    }

    /// mongo-java-server, which has no users.
    ///
    /// # Errors
    /// When it isn't installed (`scripts/setup-drivers.sh`) or doesn't start.
    pub async fn java() -> Result<Self> {
        let (state, port) = (TempDir::new()?, free_port()?);
        let jars = cache()?.join("java/mongo-server/*");
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/java/InMemoryServer.java");
        let mut command = Command::new("java");
        command
            .arg("-cp")
            .arg(jars)
            .arg(program)
            .arg(port.to_string());
        Self::start(command, format!("mongodb://127.0.0.1:{port}/"), port, state).await
    }

    async fn start(mut command: Command, url: String, port: u16, state: TempDir) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let mut process = command.spawn().with_context(|| {
            format!("cannot run {command:?}: scripts/setup-drivers.sh installs what is missing")
        })?;
        let listening = async {
            loop {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                    .await
                    .is_ok()
                {
                    return Ok(());
                }
                if let Some(status) = process.try_wait()? {
                    bail!("{command:?} ended with {status}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(START, listening)
            .await
            .context("the server did not listen in time")??;
        Ok(Self {
            url,
            process,
            _state: state,
        })
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When the process can't be ended.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// A port that nobody listens on just now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
