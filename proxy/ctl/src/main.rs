//! The binary `proxyctl`: tries Twinport out, checks its settings, and steers a running one.

mod admin;
mod check;
mod dev;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs and steers Twinport.
#[derive(Debug, Parser)]
#[command(name = "proxyctl", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a private Postgres with a small library in it, and Twinport in front of it
    Dev(dev::Options),
    /// Judge a settings file: all that is wrong with it, or what it amounts to
    Check(check::Options),
    /// Ask a running Twinport: pools, clients, servers, databases, stats, config, version
    Show(admin::Show),
    /// Have a running Twinport read its settings again
    Reload(admin::Console),
    /// Have a running Twinport finish what runs, and end
    Drain(admin::Console),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxyctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    if let Command::Check(options) = command {
        return check::run(&options);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Dev(options) => dev::run(options).await,
            Command::Check(options) => check::run(&options),
            Command::Show(options) => admin::show(&options).await,
            Command::Reload(console) => admin::reload(&console).await,
            Command::Drain(console) => admin::drain(&console).await,
        }
    })
}
