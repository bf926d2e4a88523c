//! One run of pgbench, and what is read from it.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    flags::Plan,
    ground::Ground,
    point::{Point, Work},
    process,
    rival::Rival,
    sample,
};

/// What a run may take beyond its duration: a thousand clients log in first.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a slow machine manages: libpq hashes the password 4,096 times at each.
const LOGINS_PER_SECOND: u32 = 50;

/// What one run has shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    /// Transactions in a second, without the time that logging in took, save where a login is
    /// part of the transaction.
    pub(crate) tps: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Microseconds of the proxy's process per transaction, after the first second.
    pub(crate) cpu_us: Option<f64>,
    /// The most that the proxy's process had resident.
    pub(crate) rss: Option<u64>,
}

/// Runs a point once.
///
/// # Errors
/// What pgbench says, if it fails, or if it doesn't end.
pub(crate) async fn run(
    point: &Point,
    rival: &Rival,
    ground: &Ground,
    plan: &Plan,
) -> anyhow::Result<Run> {
    let logs = tempfile::TempDir::new()?;
    let duration = plan.duration + login_time(point);
    let mut command = command(point, rival, ground, duration);
    if point.work != Work::Login {
        command
            .args(["--log", "--sampling-rate", sampling_rate(point)])
            .arg("--log-prefix")
            .arg(logs.path().join("log"));
    }
    let mut child = command.spawn().context("cannot run pgbench")?;
    let watched = watch(&mut child, rival.pid());
    let Ok(watched) = tokio::time::timeout(duration + PATIENCE, watched).await else {
        child.kill().await?;
        bail!("pgbench did not end");
    };
    let (summary, cost) = watched?;
    let total = number_after(&summary, "number of transactions actually processed: ");
    let mut latencies = latencies(logs.path())?;
    let mut percentile = |percent| sample::percentile(&mut latencies, percent);
    Ok(Run {
        tps: number_after(&summary, "\ntps = "),
        p50_ms: percentile(50.0),
        p95_ms: percentile(95.0),
        p99_ms: percentile(99.0),
        cpu_us: total.and_then(|total| cost.cpu_us(total)),
        rss: cost.rss,
    })
}

/// pgbench's clock runs while its clients log in, though that time doesn't count in its `tps`.
fn login_time(point: &Point) -> Duration {
    match point.work {
        Work::Query(_) => Duration::from_secs((point.clients / LOGINS_PER_SECOND).into()),
        Work::Login => Duration::ZERO,
    }
}

fn command(point: &Point, rival: &Rival, ground: &Ground, duration: Duration) -> Command {
    let mut command = ground.pgbench(rival.port);
    let protocol = match point.work {
        Work::Query(mode) => mode.name(),
        Work::Login => {
            command.arg("--connect");
            "simple"
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    command
        .args(["--select-only", "--no-vacuum", "--progress", "1"])
        .args(["--protocol", protocol])
        .args(["--client", &point.clients.to_string()])
        .args(["--jobs", &threads.to_string()])
        .args(["--time", &duration.as_secs().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if point.tls {
        command.env("PGSSLMODE", "require");
    }
    command
}

/// One client makes few transactions, so more of them are looked at.
fn sampling_rate(point: &Point) -> &'static str {
    if point.clients == 1 { "0.5" } else { "0.1" }
}

/// What the proxy's process used while pgbench ran.
#[derive(Debug, Default)]
struct Cost {
    /// Time and transactions when the first second was over: logins are no longer in it.
    start: Option<(Duration, f64)>,
    end: Option<Duration>,
    rss: Option<u64>,
}

impl Cost {
    fn cpu_us(&self, transactions: f64) -> Option<f64> {
        let (start, before) = self.start?;
        let used = self.end?.checked_sub(start)?;
        let counted = transactions - before;
        (counted > 0.0).then(|| used.as_secs_f64() * 1e6 / counted)
    }
}

/// Follows pgbench's progress to its end; gives its summary.
async fn watch(child: &mut Child, pid: Option<u32>) -> anyhow::Result<(String, Cost)> {
    let mut stdout = child.stdout.take().context("no stdout")?;
    let stderr = child.stderr.take().context("no stderr")?;
    let mut lines = BufReader::new(stderr).lines();
    let mut cost = Cost::default();
    let mut complaint = None;
    while let Some(line) = lines.next_line().await? {
        if let Some((seconds, tps)) = progress(&line) {
            if let Some(pid) = pid {
                let now = process::cpu_time(pid);
                cost.start = cost.start.or(now.map(|now| (now, seconds * tps)));
                cost.rss = cost.rss.max(process::resident(pid));
            }
        } else if complaint.is_none() && line.contains("error:") {
            complaint = Some(line);
        }
    }
    cost.end = pid.and_then(process::cpu_time);
    let mut summary = String::new();
    stdout.read_to_string(&mut summary).await?;
    let status = child.wait().await?;
    if !status.success() || complaint.is_some() {
        bail!(complaint.unwrap_or_else(|| format!("pgbench ended with {status}")));
    }
    Ok((summary, cost))
}

/// Seconds and transactions a second of `progress: 1.0 s, 5000.1 tps, lat 0.2 ms …`.
fn progress(line: &str) -> Option<(f64, f64)> {
    let (seconds, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    let (tps, _) = rest.split_once(" tps")?;
    Some((seconds.parse().ok()?, tps.parse().ok()?))
}

fn number_after(text: &str, label: &str) -> Option<f64> {
    let (_, rest) = text.split_once(label)?;
    let end = rest
        .find(|sign: char| !sign.is_ascii_digit() && sign != '.')
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Milliseconds from pgbench's logs, whose third column is microseconds.
fn latencies(folder: &Path) -> anyhow::Result<Vec<f64>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        let columns = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2));
        all.extend(
            columns
                .filter_map(|column| column.parse::<f64>().ok())
                .map(|us| us / 1e3),
        );
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cost, latencies, number_after, progress};

    #[test]
    fn progress_is_told_from_other_lines() {
        let line = "progress: 1.0 s, 5000.5 tps, lat 0.199 ms stddev 0.05, 0 failed";
        assert_eq!(progress(line), Some((1.0, 5000.5)));
        assert_eq!(progress("pgbench: error: x"), None);
    }

    #[test]
    fn the_summary_is_read() {
        let text = "number of transactions actually processed: 120\nlatency average = 0.2 ms\n\
                    tps = 48123.5 (without initial connection time)\n";
        let label = "number of transactions actually processed: ";
        assert_eq!(number_after(text, label), Some(120.0));
        assert_eq!(number_after(text, "\ntps = "), Some(48_123.5));
        assert_eq!(number_after(text, "nothing"), None);
    }

    #[test]
    fn the_first_second_is_left_out_of_the_cost() {
        let cost = Cost {
            start: Some((Duration::from_secs(3), 100.0)),
            end: Some(Duration::from_secs(4)),
            rss: None,
        };
        assert_eq!(cost.cpu_us(600.0), Some(2000.0));
        assert_eq!(cost.cpu_us(100.0), None);
    }

    #[test]
    fn logs_of_all_threads_count() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("log.1"), "0 1 2500 0 1 2\n").unwrap();
        std::fs::write(folder.path().join("log.1.1"), "1 1 500 0 1 2\nbroken\n").unwrap();
        let mut found = latencies(folder.path()).unwrap();
        found.sort_by(f64::total_cmp);
        assert_eq!(found, [0.5, 2.5]);
    }
}
