//! `proxyctl dev`: a private Postgres with a small library in it and Twinport in front of it, in
//! this process, until Ctrl-C.

mod library;
mod stage;
mod tour;

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use stage::Stage;

/// The ports that are tried first, so that pasted connection strings work the next time, too.
const USUAL_PORT: u16 = 6432;
const USUAL_MONGO_PORT: u16 = 27017;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print one line of JSON when all is ready, for scripts, and nothing else
    #[arg(long)]
    json: bool,
    /// Keep the data in this folder and use it again; without it, all is gone at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Twinport's port for Postgres clients; 0 for any free one [default: 6432, or a free one]
    #[arg(long, value_name = "PORT")]
    postgres_port: Option<u16>,
    /// Twinport's port for MongoDB clients; 0 for any free one [default: 27017, or a free one]
    #[arg(long, value_name = "PORT")]
    mongo_port: Option<u16>,
    /// Twinport's admin HTTP port; 0 for any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    admin_port: u16,
    /// The private Postgres's own port; any free one if not given
    #[arg(long, value_name = "PORT")]
    database_port: Option<u16>,
    /// The major version of Postgres; if not given, the newest on this machine that has the
    /// DocumentDB extension, or else the newest
    #[arg(long, value_name = "VERSION")]
    postgres_version: Option<u32>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let stage = tokio::select! {
        stage = Stage::start(&options) => stage?,
        // Leaving the start unfinished ends what it had begun.
        () = signals.any() => return Ok(()),
    };
    let shown = tokio::select! {
        shown = announce(&stage, options.json) => shown,
        () = signals.any() => Ok(()),
    };
    if shown.is_ok() {
        tokio::select! {
            () = signals.any() => {}
            () = stage.shutdown_requested() => {}
        }
    }
    stage.stop().await;
    shown
}

async fn announce(stage: &Stage, json: bool) -> anyhow::Result<()> {
    let text = if json {
        if let Err(reason) = stage.mongo_url() {
            eprintln!("proxyctl: {reason}");
        }
        format!("{}\n", stage.json())
    } else {
        tour::text(stage).await?
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to stdout")
}

/// What a user or a supervisor ends us with.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
