//! The contenders, and how each is started.

mod odyssey;
mod pgbouncer;
pub(crate) mod twinport;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::process::{Child, Command};

use crate::{
    flags::Plan,
    ground::{Ground, MAX_CONNECTIONS},
    point::{Mode, Point, Work},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contender {
    Direct,
    Twinport,
    Pgbouncer,
    Odyssey,
}

impl Contender {
    pub(crate) const ALL: [Self; 4] =
        [Self::Direct, Self::Twinport, Self::Pgbouncer, Self::Odyssey];
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Twinport => "Twinport",
            Self::Pgbouncer => "PgBouncer",
            Self::Odyssey => "Odyssey",
        })
    }
}

/// The binaries.
pub(crate) struct Tools {
    pub(crate) twinport: PathBuf,
    /// What it says of its own version.
    pub(crate) twinport_version: String,
    pub(crate) pgbouncer: Option<pgbouncer::Installed>,
    pub(crate) odyssey: Option<odyssey::Installed>,
}

impl Tools {
    /// Builds ours and looks for the peers; without them the run goes on.
    pub(crate) fn find(plan: &Plan) -> anyhow::Result<Self> {
        let twinport = twinport::binary(plan)?;
        let pgbouncer = pgbouncer::find();
        if pgbouncer.is_none() {
            eprintln!("PgBouncer is not installed, so it is left out: apt-get install pgbouncer");
        }
        let odyssey = odyssey::find(plan);
        if odyssey.is_none() {
            eprintln!(
                "Odyssey is not installed, so it is left out: build it and name it by --odyssey"
            );
        }
        Ok(Self {
            odyssey,
            twinport_version: twinport::version(&twinport),
            twinport,
            pgbouncer,
        })
    }
}

/// A contender that is up.
pub(crate) struct Rival {
    pub(crate) contender: Contender,
    pub(crate) port: u16,
    /// The proxy's process.
    child: Option<Child>,
    /// Whether prepared statements survive a change of the upstream connection.
    prepared: bool,
}

impl Rival {
    /// Postgres itself, and every proxy that there is.
    pub(crate) async fn start_all(
        tools: &Tools,
        ground: &Ground,
        plan: &Plan,
    ) -> anyhow::Result<Vec<Self>> {
        let mut rivals = vec![Self::direct(ground)];
        rivals.push(Self::twinport(tools, ground, plan).await?);
        rivals.extend(Self::pgbouncer(tools, ground, plan).await?);
        rivals.extend(Self::odyssey(tools, ground, plan).await?);
        Ok(rivals)
    }

    /// Postgres itself.
    pub(crate) fn direct(ground: &Ground) -> Self {
        Self {
            contender: Contender::Direct,
            port: ground.server.port(),
            child: None,
            prepared: true,
        }
    }

    /// A fresh Twinport.
    pub(crate) async fn twinport(
        tools: &Tools,
        ground: &Ground,
        plan: &Plan,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let command = twinport::command(&tools.twinport, ground, plan, port)?;
        Self::start(Contender::Twinport, command, port, true, ground).await
    }

    /// A fresh PgBouncer, if it is installed.
    pub(crate) async fn pgbouncer(
        tools: &Tools,
        ground: &Ground,
        plan: &Plan,
    ) -> anyhow::Result<Option<Self>> {
        let Some(installed) = &tools.pgbouncer else {
            return Ok(None);
        };
        let port = free_port()?;
        let command = installed.command(ground, plan, port)?;
        let prepared = installed.tracks_prepared_statements();
        let rival = Self::start(Contender::Pgbouncer, command, port, prepared, ground).await?;
        Ok(Some(rival))
    }

    /// A fresh Odyssey, if there is one.
    pub(crate) async fn odyssey(
        tools: &Tools,
        ground: &Ground,
        plan: &Plan,
    ) -> anyhow::Result<Option<Self>> {
        let Some(installed) = &tools.odyssey else {
            return Ok(None);
        };
        let port = free_port()?;
        let command = installed.command(ground, plan, port)?;
        let rival = Self::start(Contender::Odyssey, command, port, true, ground).await?;
        Ok(Some(rival))
    }

    async fn start(
        contender: Contender,
        command: Command,
        port: u16,
        prepared: bool,
        ground: &Ground,
    ) -> anyhow::Result<Self> {
        let log = ground.path(&format!("{contender}-{port}.log"));
        let child = launch(&contender.to_string(), command, port, &log).await?;
        Ok(Self {
            contender,
            port,
            child: Some(child),
            prepared,
        })
    }

    /// The proxy's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Why the contender can't take part in a point.
    pub(crate) fn objection(&self, point: &Point) -> Option<String> {
        if self.contender == Contender::Direct && point.clients >= MAX_CONNECTIONS {
            return Some(format!("max_connections is {MAX_CONNECTIONS}"));
        }
        let prepared = point.work == Work::Query(Mode::Prepared);
        (prepared && !self.prepared).then(|| "not supported".to_owned())
    }
}

/// Runs a server until it is dropped; back when it listens.
pub(crate) async fn launch(
    name: &str,
    mut command: Command,
    port: u16,
    log: &Path,
) -> anyhow::Result<Child> {
    let file = std::fs::File::create(log)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let start = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while TcpStream::connect(address).is_err() {
        let ended = child.try_wait()?.is_some();
        if ended || start.elapsed() > PATIENCE {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{name} does not start:\n{}", said.trim());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(child)
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
