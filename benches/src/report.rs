//! What was found: as JSON for programs, as Markdown for people.

mod markdown;

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::{documents, flags::Plan, idle, include, machine::Machine, throughput};

/// How the run was asked for.
#[derive(Debug, Serialize)]
struct Settings {
    quick: bool,
    scale: u32,
    seconds: u64,
    rounds: u32,
    iterations: u32,
    pool: u32,
    workers: String,
}

/// All that one run has found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    settings: Settings,
    /// pgbench's points.
    pub(crate) throughput: Vec<throughput::Row>,
    /// Idle clients.
    pub(crate) idle: Vec<idle::Row>,
    /// Eager loading.
    pub(crate) include: Vec<include::Row>,
    /// The MongoDB port.
    pub(crate) documents: Vec<documents::Row>,
    #[serde(skip)]
    out: Option<PathBuf>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(plan: &Plan, machine: Machine) -> Self {
        Self {
            machine,
            settings: Settings {
                quick: plan.quick,
                scale: plan.scale,
                seconds: plan.duration.as_secs(),
                rounds: plan.rounds,
                iterations: plan.iterations,
                pool: plan.pool,
                workers: plan.workers.clone(),
            },
            throughput: Vec::new(),
            idle: Vec::new(),
            include: Vec::new(),
            documents: Vec::new(),
            out: plan.out.clone(),
        }
    }

    /// Writes what is known so far to the file asked for, if one is.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let Some(path) = &self.out else {
            return Ok(());
        };
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
