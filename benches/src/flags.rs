//! What to measure, and how long.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{
    documents::Work,
    idle,
    point::{self, Point},
};

/// Measures Twinport against a direct connection and PgBouncer, side by side, on a private Postgres.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Flags {
    /// Few, small and short points: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Measure only what has one of these in its name, e.g. `prepared/10,login,idle,include`.
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<String>,
    /// Seconds that one run of pgbench takes, at least 2 [default: 5; quick: 2]
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: Option<u64>,
    /// Runs of every point per contender, taken in turns; the table shows medians [default: 3; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// pgbench's scale: 100,000 accounts each [default: 10; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    scale: Option<u32>,
    /// Repetitions of every eager-loading query [default: 300; quick: 30]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: Option<u32>,
    /// Upstream connections of each proxy.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..200))]
    pool: u32,
    /// Twinport's `workers`: a number, or "auto" for one per core. PgBouncer has always one.
    #[arg(long, default_value = "1")]
    workers: String,
    /// The binary to measure; if none, it is built by `cargo build --release -p twinport`.
    #[arg(long, value_name = "PATH")]
    twinport: Option<PathBuf>,
    /// The Odyssey to measure beside ours; if none, one on PATH.
    #[arg(long, value_name = "PATH")]
    odyssey: Option<PathBuf>,
    /// The FerretDB to measure beside our MongoDB port; if none, one on PATH or in Go's folder of binaries.
    #[arg(long, value_name = "PATH")]
    ferretdb: Option<PathBuf>,
    /// Write the figures as JSON, too; after every part, so that a broken run leaves some.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The flags with their defaults filled in.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    only: Vec<String>,
    pub(crate) duration: Duration,
    pub(crate) rounds: u32,
    pub(crate) scale: u32,
    pub(crate) iterations: u32,
    pub(crate) pool: u32,
    pub(crate) workers: String,
    pub(crate) twinport: Option<PathBuf>,
    pub(crate) odyssey: Option<PathBuf>,
    pub(crate) ferretdb: Option<PathBuf>,
    pub(crate) out: Option<PathBuf>,
}

impl Flags {
    pub(crate) fn plan(self) -> Plan {
        let (seconds, rounds, scale, iterations) = if self.quick {
            (2, 1, 1, 30)
        } else {
            (5, 3, 10, 300)
        };
        Plan {
            quick: self.quick,
            only: self.only,
            duration: Duration::from_secs(self.seconds.unwrap_or(seconds)),
            rounds: self.rounds.unwrap_or(rounds),
            scale: self.scale.unwrap_or(scale),
            iterations: self.iterations.unwrap_or(iterations),
            pool: self.pool,
            workers: self.workers,
            twinport: self.twinport,
            odyssey: self.odyssey,
            ferretdb: self.ferretdb,
            out: self.out,
        }
    }
}

impl Plan {
    /// Whether `--only` lets a part of this name through.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    /// The points of pgbench.
    pub(crate) fn points(&self) -> Vec<Point> {
        let mut points = point::all(self.quick);
        points.retain(|point| self.wants(&point.to_string()));
        points
    }

    /// What the MongoDB port is measured at.
    pub(crate) fn works(&self) -> Vec<Work> {
        let mut works = Work::ALL.to_vec();
        works.retain(|work| self.wants(&work.to_string()));
        works
    }

    /// Numbers of idle clients.
    pub(crate) fn crowds(&self) -> Vec<usize> {
        let mut crowds = idle::crowds(self.quick);
        crowds.retain(|&clients| self.wants(&idle::name(clients)));
        crowds
    }
}
