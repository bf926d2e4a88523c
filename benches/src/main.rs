//! Ours against direct and against peers, in one run on one machine. docs/benchmarks.md says what
//! the figures mean.

mod documents;
mod flags;
mod ground;
mod idle;
mod include;
mod machine;
mod pgbench;
mod point;
mod process;
mod report;
mod rival;
mod sample;
mod throughput;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    flags::{Flags, Plan},
    ground::Ground,
    report::Report,
    rival::{Rival, Tools},
};

#[tokio::main]
async fn main() -> ExitCode {
    let plan = Flags::parse().plan();
    let result = tokio::select! {
        result = run(&plan) => result,
        result = interrupted() => result,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever was started ends with us, and its folders go.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}

async fn run(plan: &Plan) -> anyhow::Result<()> {
    process::raise_file_limit()?;
    let tools = Tools::find(plan)?;
    let ground = Ground::prepare(plan).await?;
    let mut report = Report::new(plan, machine::describe(&ground, &tools));

    let points = plan.points();
    if !points.is_empty() {
        let rivals = Rival::start_all(&tools, &ground, plan).await?;
        report.throughput = throughput::measure(&points, &rivals, &ground, plan).await;
        report.save()?;
    }
    let crowds = plan.crowds();
    if !crowds.is_empty() {
        report.idle = idle::measure(&crowds, &tools, &ground, plan).await;
        report.save()?;
    }
    if plan.wants(include::NAME) {
        report.include = include::measure(&tools, &ground, plan)
            .await
            .context("eager loading")?;
        report.save()?;
    }
    let works = plan.works();
    if !works.is_empty() {
        report.documents = documents::measure(&works, &tools, plan)
            .await
            .context("the MongoDB port")?;
        report.save()?;
    }
    println!("{}", report.markdown());
    Ok(())
}
