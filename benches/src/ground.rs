//! The ground that all contenders stand on: a private Postgres with pgbench's tables and a small
//! library, and a folder for files.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail};
use nix::unistd::{Uid, User};
use tempfile::TempDir;
use tokio::process::Command;
use twinport_embedded::{Identity, Options, Server};

use crate::{flags::Plan, include};

/// The user of all contenders, its password and its database.
pub(crate) const NAME: &str = "bench";

/// What the server lets in; a direct run with more clients is left out.
pub(crate) const MAX_CONNECTIONS: u32 = 300;

/// A private Postgres, filled.
pub(crate) struct Ground {
    pub(crate) server: Server,
    /// What proxies show their clients.
    pub(crate) identity: Identity,
    /// What the server keeps of the password. Proxies get this and not the password, which would
    /// cost them thousands of hashes per login unless they remember the result.
    pub(crate) verifier: String,
    folder: TempDir,
    /// Whom programs that refuse to run as root run as.
    account: Option<User>,
}

impl Ground {
    pub(crate) async fn prepare(plan: &Plan) -> anyhow::Result<Self> {
        let options = Options {
            tls: true,
            ..Options::for_tests()
        };
        let options = options
            .set("max_connections", MAX_CONNECTIONS.to_string())
            .set("shared_buffers", "512MB")
            .set("autovacuum", "off");
        let server = Server::start(options).await?;
        let client = server.client("postgres").await?;
        let role = format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}'");
        client.batch_execute(&role).await?;
        let database = format!("CREATE DATABASE {NAME} OWNER {NAME}");
        client.batch_execute(&database).await?;
        let verifier = client
            .query_one(
                "SELECT rolpassword FROM pg_authid WHERE rolname = $1",
                &[&NAME],
            )
            .await?
            .try_get(0)?;
        let identity = server
            .authority()
            .context("the private server has no TLS")?
            .server(&["localhost", "127.0.0.1"])?;
        let folder = TempDir::with_prefix("twinport-benches-")?;
        // Those who aren't root must find their files here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let ground = Self {
            server,
            identity,
            verifier,
            folder,
            account: account()?,
        };
        ground.fill(plan).await?;
        Ok(ground)
    }

    async fn fill(&self, plan: &Plan) -> anyhow::Result<()> {
        let output = self
            .pgbench(self.server.port())
            .args(["--initialize", "--quiet", "--scale"])
            .arg(plan.scale.to_string())
            .stdout(Stdio::null())
            .output()
            .await
            .context("cannot run pgbench; Debian has it in postgresql-contrib")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("pgbench can't fill its tables: {}", said.trim());
        }
        let client = self.server.client(NAME).await?;
        let library = format!("SET ROLE {NAME}; {}", include::LIBRARY);
        client.batch_execute(&library).await?;
        // Not in one batch with the rest: VACUUM refuses to run in a transaction.
        client.batch_execute("RESET ROLE").await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        client.batch_execute("CHECKPOINT").await?;
        Ok(())
    }

    /// pgbench that logs in by this port, without TLS unless said otherwise.
    pub(crate) fn pgbench(&self, port: u16) -> Command {
        // An unpacked Postgres may come without its clients.
        let installed = self.server.installation().program("pgbench");
        let program = installed.unwrap_or_else(|| "pgbench".into());
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", NAME)
            .env("PGPASSWORD", NAME)
            .env("PGDATABASE", NAME)
            .env("PGSSLMODE", "disable")
            .env("PGGSSENCMODE", "disable")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A path in the folder that goes when we go.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file for a proxy; it belongs to whom [`Self::unprivileged`] runs programs as.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some(user) = &self.account {
            chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(path)
    }

    /// A command that runs as an ordinary user even if we are root.
    pub(crate) fn unprivileged(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = &self.account {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Where proxies find the server. Without TLS, so that the clients' side alone is compared.
    pub(crate) fn upstream(&self) -> String {
        let port = self.server.port();
        format!("postgres://{NAME}:{NAME}@127.0.0.1:{port}/{NAME}?sslmode=disable")
    }
}

fn account() -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!("PgBouncer does not run as root, and there is no user `postgres` or `nobody`");
}
