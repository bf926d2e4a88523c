//! The points of pgbench, contenders in turns.

use serde::Serialize;

use crate::{
    flags::Plan,
    ground::Ground,
    pgbench::{self, Run},
    point::Point,
    rival::{Contender, Rival},
    sample::median,
};

/// Medians over the rounds; what can't be had is missing.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Figures {
    /// Transactions per second.
    pub(crate) tps: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Microseconds of the proxy per transaction.
    pub(crate) cpu_us: Option<f64>,
    /// Bytes resident, the most of all rounds.
    pub(crate) rss: Option<u64>,
}

/// What a contender did at one point.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub(crate) enum Outcome {
    Measured(Figures),
    /// It takes no part.
    Absent {
        reason: String,
    },
    /// A run broke.
    Failed {
        reason: String,
    },
}

/// One row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The point's name.
    pub(crate) point: String,
    /// What the contenders did.
    pub(crate) outcomes: Vec<(Contender, Outcome)>,
}

impl Row {
    /// What a contender did.
    pub(crate) fn of(&self, contender: Contender) -> Option<&Outcome> {
        let mut outcomes = self.outcomes.iter();
        let found = outcomes.find(|(who, _)| *who == contender);
        found.map(|(_, outcome)| outcome)
    }
}

/// Measures all points. What fails is in the table as such.
pub(crate) async fn measure(
    points: &[Point],
    rivals: &[Rival],
    ground: &Ground,
    plan: &Plan,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for (done, point) in points.iter().enumerate() {
        eprintln!("[{}/{}] {point}", done + 1, points.len());
        rows.push(row(point, rivals, ground, plan).await);
    }
    rows
}

/// The machine's speed drifts, so contenders take turns.
async fn row(point: &Point, rivals: &[Rival], ground: &Ground, plan: &Plan) -> Row {
    let mut found: Vec<_> = rivals.iter().map(|rival| (rival, Vec::new())).collect();
    for _ in 0..plan.rounds {
        for (rival, runs) in &mut found {
            if rival.objection(point).is_none() {
                runs.push(pgbench::run(point, rival, ground, plan).await);
            }
        }
    }
    let outcomes = found
        .into_iter()
        .map(|(rival, runs)| {
            let outcome = match rival.objection(point) {
                Some(reason) => Outcome::Absent { reason },
                None => summarise(runs),
            };
            (rival.contender, outcome)
        })
        .collect();
    Row {
        point: point.to_string(),
        outcomes,
    }
}

fn summarise(runs: Vec<anyhow::Result<Run>>) -> Outcome {
    let mut good = Vec::new();
    for run in runs {
        match run {
            Ok(run) => good.push(run),
            Err(error) => {
                return Outcome::Failed {
                    reason: format!("{error:#}"),
                };
            }
        }
    }
    let of = |figure: fn(&Run) -> Option<f64>| median(good.iter().map(figure));
    Outcome::Measured(Figures {
        tps: of(|run| run.tps),
        p50_ms: of(|run| run.p50_ms),
        p95_ms: of(|run| run.p95_ms),
        p99_ms: of(|run| run.p99_ms),
        cpu_us: of(|run| run.cpu_us),
        rss: good.iter().filter_map(|run| run.rss).max(),
    })
}
