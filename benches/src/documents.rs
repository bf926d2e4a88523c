//! The MongoDB port: on Postgres with DocumentDB, beside FerretDB on the same server, and forwarding to that.

mod bare;
mod stage;
mod work;

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use tokio::task::JoinSet;

use bare::Bare;
pub(crate) use stage::Contender;
pub(crate) use work::Work;

use crate::{
    flags::Plan,
    process,
    rival::Tools,
    sample::{median, percentile},
};
use stage::{Rival, Stage};

/// What one contender did at one work.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) contender: Contender,
    /// Operations per second.
    pub(crate) per_second: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Microseconds of the server's process per operation; Postgres is not in it.
    pub(crate) cpu_us: Option<f64>,
    /// Bytes resident, the most of all rounds.
    pub(crate) rss: Option<u64>,
    /// Why it could not be measured.
    pub(crate) failure: Option<String>,
}

/// One round.
struct Run {
    per_second: f64,
    times: Vec<f64>,
    cpu_us: Option<f64>,
    rss: Option<u64>,
}

/// Measures all works; for each the contenders take turns.
pub(crate) async fn measure(
    works: &[Work],
    tools: &Tools,
    plan: &Plan,
) -> anyhow::Result<Vec<Row>> {
    let stage = Stage::prepare(tools, plan).await?;
    let mut rows = Vec::new();
    for (done, &work) in works.iter().enumerate() {
        eprintln!("[{}/{}] {work}", done + 1, works.len());
        let mut found: Vec<_> = stage
            .rivals
            .iter()
            .filter(|rival| work.suits(rival.contender))
            .map(|rival| (rival, Vec::new()))
            .collect();
        for _ in 0..plan.rounds {
            for (rival, runs) in &mut found {
                runs.push(run(work, rival, plan).await);
            }
        }
        rows.extend(
            found
                .into_iter()
                .map(|(rival, runs)| summarise(work, rival.contender, runs)),
        );
    }
    Ok(rows)
}

/// All clients work for the plan's time, after a warm-up that logs them in.
async fn run(work: Work, rival: &Rival, plan: &Plan) -> anyhow::Result<Run> {
    let database = rival.client.database(stage::DATABASE);
    work.prepare(&database).await?;
    for number in 0..work.clients() {
        work.once(&database, number, number).await?;
    }
    let bare = match work {
        Work::BareFindOne | Work::BareInsertOne => Some(Bare::open(rival)?),
        _ => None,
    };
    let before = process::cpu_time(rival.pid);
    let start = Instant::now();
    let mut clients = JoinSet::new();
    let duration = plan.duration;
    if let Some(bare) = bare {
        clients.spawn_blocking(move || bare.client(work, duration));
    } else {
        for number in 0..work.clients() {
            let database = database.clone();
            clients.spawn(async move { client(work, &database, number, duration).await });
        }
    }
    let mut times = Vec::new();
    while let Some(joined) = clients.join_next().await {
        times.extend(joined??);
    }
    let elapsed = start.elapsed();
    let used = process::cpu_time(rival.pid)
        .zip(before)
        .and_then(|(after, before)| after.checked_sub(before));
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of measurements are far below 2^52"
    )]
    let count = times.len() as f64;
    Ok(Run {
        per_second: count / elapsed.as_secs_f64(),
        times,
        cpu_us: used.map(|used| used.as_secs_f64() * 1e6 / count.max(1.0)),
        rss: process::resident(rival.pid),
    })
}

/// One client, one operation after another; milliseconds of each.
async fn client(
    work: Work,
    database: &mongodb::Database,
    number: usize,
    duration: Duration,
) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let mut times = Vec::new();
    // Clients begin at different documents.
    let mut turn = number * 1_000;
    while start.elapsed() < duration {
        turn += 1;
        let began = Instant::now();
        work.once(database, number, turn)
            .await
            .with_context(|| work.to_string())?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

fn summarise(work: Work, contender: Contender, runs: Vec<anyhow::Result<Run>>) -> Row {
    let mut row = Row {
        work,
        contender,
        per_second: None,
        p50_ms: None,
        p95_ms: None,
        p99_ms: None,
        cpu_us: None,
        rss: None,
        failure: None,
    };
    let mut good = Vec::new();
    for run in runs {
        match run {
            Ok(run) => good.push(run),
            Err(error) => {
                row.failure = Some(format!("{error:#}"));
                return row;
            }
        }
    }
    let mut at = |percent| {
        median(
            good.iter_mut()
                .map(|run| percentile(&mut run.times, percent)),
        )
    };
    row.p50_ms = at(50.0);
    row.p95_ms = at(95.0);
    row.p99_ms = at(99.0);
    row.per_second = median(good.iter().map(|run| Some(run.per_second)));
    row.cpu_us = median(good.iter().map(|run| run.cpu_us));
    row.rss = good.iter().filter_map(|run| run.rss).max();
    row
}
