//! The machine and the versions, so that figures can be told apart later.

use std::{fs, process::Command};

use serde::Serialize;

use crate::{ground::Ground, rival::Tools};

/// Where a measurement was made.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// Threads that run at the same time.
    pub(crate) cores: usize,
    /// Gigabytes.
    pub(crate) memory_gb: Option<u64>,
    /// System and release.
    pub(crate) kernel: String,
    /// The server's version.
    pub(crate) postgres: String,
    /// Ours.
    pub(crate) twinport: String,
    /// The peers', as far as they are there.
    pub(crate) peers: Vec<String>,
    /// The load when the run began: above the number of cores, others were at work.
    pub(crate) load: String,
}

/// Looks around.
pub(crate) fn describe(ground: &Ground, tools: &Tools) -> Machine {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Machine {
        processor: value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
        cores: std::thread::available_parallelism().map_or(0, |n| n.get()),
        memory_gb: value_of("/proc/meminfo", "MemTotal").and_then(|value| {
            let kilobytes: u64 = value.split_whitespace().next()?.parse().ok()?;
            Some(kilobytes.div_ceil(1 << 20))
        }),
        kernel: kernel(),
        postgres: ground.server.version().to_string(),
        twinport: tools.twinport_version.clone(),
        peers: {
            let pgbouncer = tools.pgbouncer.iter().map(|found| found.label.clone());
            let odyssey = tools.odyssey.iter().map(|found| found.label.clone());
            pgbouncer.chain(odyssey).collect()
        },
        load: load.split(' ').next().unwrap_or_default().to_owned(),
    }
}

/// The first value of a `key: value` file.
fn value_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kernel() -> String {
    let output = Command::new("uname").args(["-s", "-r", "-m"]).output();
    output.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
