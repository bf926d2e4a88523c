//! The server binary.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use twinport::Source;
use twinport_config::{Overrides, Settings};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Database proxy that speaks Postgres's wire protocol: pooling, eager loading and upserts by annotation.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    /// The settings' file (TOML).
    #[arg(short, long, env = "TWINPORT_CONFIG")]
    config: Option<PathBuf>,
    /// A setting that stands above the file, e.g. `--set pool.size=50`; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("twinport: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let mut overrides = Overrides::new();
    for set in &flags.set {
        let (key, value) = set
            .split_once('=')
            .with_context(|| format!("--set {set}: expected KEY=VALUE"))?;
        overrides.set("--set", key, value);
    }
    let environment = twinport_config::environment();
    let path = twinport_config::locate(flags.config.as_deref(), &environment);
    let settings = Settings::load(path.as_deref(), environment, &overrides)?;
    twinport::init_log(&settings.log);
    let runtime = twinport::runtime(settings.workers).context("cannot start the runtime")?;
    let source = Source {
        path,
        flags: overrides,
    };
    runtime.block_on(serve(settings, source))
}

async fn serve(settings: Settings, source: Source) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut running = twinport::start(settings).await?;
    running.watch(source);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = running.shutdown_requested() => {}
    }
    tracing::info!("shutting down; a second signal ends what still runs");
    let drain = running.drain();
    let stopping = running.stop();
    tokio::pin!(stopping);
    tokio::select! {
        () = &mut stopping => return Ok(()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drain.end_now();
    stopping.await;
    Ok(())
}
