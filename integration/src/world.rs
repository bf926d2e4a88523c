//! A private Postgres with TLS, SCRAM and the library fixture.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;
use twinport_embedded::{Authority, Options, Server};

use crate::{Address, Target};

/// The user that the suites log in as: an ordinary role that owns the database.
pub const USER: &str = "app";
/// Its password.
pub const PASSWORD: &str = "app-secret";

const DATABASE: &str = "library";
const FIXTURE: &str = include_str!("../fixtures/schema.sql");

/// A private server with the fixture loaded. Gone when dropped.
#[derive(Debug)]
pub struct World {
    /// The server, to be looked at or broken.
    pub server: Server,
    folder: TempDir,
}

impl World {
    /// Starts a server of this major version and fills it.
    ///
    /// # Errors
    /// When that version isn't installed or doesn't start.
    pub async fn start(major: u32) -> Result<Self> {
        let options = Options {
            major: Some(major),
            tls: true,
            ..Options::for_tests()
        };
        Self::with(options.set("max_connections", "200")).await
    }

    /// Starts a server as the options say, and fills it. They must ask for TLS.
    ///
    /// # Errors
    /// When the server isn't installed or doesn't start.
    pub async fn with(options: Options) -> Result<Self> {
        let server = Server::start(options).await?;
        let admin = server.client("postgres").await?;
        let role = format!(
            "CREATE ROLE {USER} LOGIN CREATEROLE CREATEDB REPLICATION PASSWORD '{PASSWORD}'"
        );
        admin.batch_execute(&role).await?;
        let database = format!("CREATE DATABASE {DATABASE} OWNER {USER}");
        admin.batch_execute(&database).await?;
        let owner = server.client(DATABASE).await?;
        let fixture = format!("SET ROLE {USER}; {FIXTURE}");
        owner
            .batch_execute(&fixture)
            .await
            .context("fixtures/schema.sql")?;
        let world = Self {
            server,
            folder: TempDir::new()?,
        };
        fs::write(world.ca(), world.authority()?.pem())?;
        Ok(world)
    }

    /// Who signed the server's certificate.
    ///
    /// # Errors
    /// When the server was started without TLS.
    pub fn authority(&self) -> Result<&Authority> {
        self.server.authority().context("the server has no TLS")
    }

    /// PEM file with the authority.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A folder for files that live as long as the world.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The library on the server itself.
    pub fn address(&self) -> Address {
        Address {
            port: self.server.port(),
            database: DATABASE.to_owned(),
            ca: self.ca(),
        }
    }

    /// The server itself as a suite's target.
    pub fn direct(&self) -> Target {
        Target::direct(self.address(), self.server.installation().bin.clone())
    }
}
