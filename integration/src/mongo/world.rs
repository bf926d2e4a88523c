//! A private Postgres 18 with the DocumentDB extension.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use twinport_embedded::{Authority, Options, Server};

use crate::{PASSWORD, USER};

/// A second user, who must see nothing of the first one's cursors and transactions.
pub const OTHER: &str = "other";
/// Its password.
pub const OTHER_PASSWORD: &str = "other-secret";

/// A private server with the extension and two users who may use it. Gone when dropped.
#[derive(Debug)]
pub struct MongoWorld {
    /// The server, to be looked at or broken.
    pub server: Server,
    folder: TempDir,
}

impl MongoWorld {
    /// Starts a server and puts the extension into its database `postgres`.
    ///
    /// # Errors
    /// When Postgres 18 or the extension isn't installed (`scripts/setup-postgres-18.sh`) or
    /// doesn't start.
    pub async fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        // Servers and proxies may run as another user.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let server = Server::start(options()).await?;
        let admin = server.client("postgres").await?;
        admin
            .batch_execute("CREATE EXTENSION documentdb CASCADE")
            .await
            .context("scripts/setup-postgres-18.sh brings the extension")?;
        for (user, password) in [(USER, PASSWORD), (OTHER, OTHER_PASSWORD)] {
            let role = format!(
                "CREATE ROLE {user} LOGIN PASSWORD '{password}' IN ROLE documentdb_admin_role"
            );
            admin.batch_execute(&role).await?;
        }
        let world = Self { server, folder };
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
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn options() -> Options {
    Options {
        major: Some(18),
        tls: true,
        documentdb: Some("postgres".to_owned()),
        ..Options::for_tests()
    }
    .set("max_connections", "200")
}
