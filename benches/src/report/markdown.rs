//! The report as Markdown tables.

mod documents;

use std::fmt::Write as _;

use super::Report;
use crate::{
    rival::Contender::{self, Direct, Odyssey, Pgbouncer, Twinport},
    throughput::{Outcome, Row},
};

/// What stands where there is no figure.
const NONE: &str = "–";

impl Report {
    /// All tables, those without rows left out.
    pub(crate) fn markdown(&self) -> String {
        let mut text = self.heading();
        if !self.throughput.is_empty() {
            text += &throughput(&self.throughput);
            text += &latency(&self.throughput);
            text += &cost(&self.throughput);
            text += &remarks(&self.throughput);
        }
        text += &self.idle();
        text += &self.eager_loading();
        text += &documents::table(&self.documents);
        text
    }

    fn heading(&self) -> String {
        let machine = &self.machine;
        let settings = &self.settings;
        let memory = machine
            .memory_gb
            .map_or(String::new(), |gb| format!(", {gb} GB"));
        let peers = if machine.peers.is_empty() {
            "no peer".to_owned()
        } else {
            machine.peers.join(", ")
        };
        format!(
            "{processor}, {cores} cores{memory}, {kernel}; Postgres {postgres}, {twinport}, {peers}; \
             load at the start {load}.\n\
             Scale {scale}, {rounds} × {seconds} s per point in turns, pool of {pool}, \
             {workers} worker(s).\n",
            processor = machine.processor,
            cores = machine.cores,
            kernel = machine.kernel,
            postgres = machine.postgres,
            twinport = machine.twinport,
            load = machine.load,
            scale = settings.scale,
            rounds = settings.rounds,
            seconds = settings.seconds,
            pool = settings.pool,
            workers = settings.workers,
        )
    }

    fn idle(&self) -> String {
        if self.idle.is_empty() {
            return String::new();
        }
        let mut text = title(
            "Memory of idle clients",
            &[
                "clients",
                "proxy",
                "before",
                "with them",
                "bytes per client",
            ],
        );
        for row in &self.idle {
            let clients = row.clients.to_string();
            let proxy = row.contender.to_string();
            let cells = match &row.failure {
                Some(failure) => [clients, proxy, failure.clone(), NONE.into(), NONE.into()],
                None => [
                    clients,
                    proxy,
                    megabytes(row.before),
                    megabytes(row.after),
                    row.bytes_per_client
                        .map_or(NONE.into(), |bytes| bytes.to_string()),
                ],
            };
            line(&mut text, &cells);
        }
        text
    }

    fn eager_loading(&self) -> String {
        if self.include.is_empty() {
            return String::new();
        }
        let mut text = title(
            "Eager loading, milliseconds",
            &["what", "how", "p50", "p95", "same answer"],
        );
        for row in &self.include {
            let same = match row.same_answer {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => NONE,
            };
            let cells = [
                row.case.into(),
                row.way.into(),
                figure(row.p50_ms, 2),
                figure(row.p95_ms, 2),
                same.into(),
            ];
            line(&mut text, &cells);
        }
        text
    }
}

fn throughput(rows: &[Row]) -> String {
    let mut text = title(
        "Throughput, transactions per second",
        &[
            "point",
            "direct",
            "Twinport",
            "PgBouncer",
            "Odyssey",
            "Twinport ÷ PgBouncer",
            "Twinport ÷ direct",
        ],
    );
    for row in rows {
        let tps = |who| measured(row, who).and_then(|figures| figures.tps);
        let mut cells = vec![row.point.clone()];
        cells.extend(Contender::ALL.map(|who| cell(row, who, |figures| figure(figures.tps, 0))));
        cells.push(ratio(tps(Twinport), tps(Pgbouncer)));
        cells.push(ratio(tps(Twinport), tps(Direct)));
        line(&mut text, &cells);
    }
    text
}

fn latency(rows: &[Row]) -> String {
    let p99 = |row: &Row, who| measured(row, who).and_then(|figures| figures.p99_ms);
    let known = |row: &&Row| Contender::ALL.iter().any(|&who| p99(row, who).is_some());
    let rows: Vec<&Row> = rows.iter().filter(known).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = title(
        "Latency, milliseconds: p50 / p95 / p99",
        &[
            "point",
            "direct",
            "Twinport",
            "PgBouncer",
            "Odyssey",
            "p99: Twinport ÷ PgBouncer",
        ],
    );
    for row in rows {
        let mut cells = vec![row.point.clone()];
        cells.extend(Contender::ALL.map(|who| {
            cell(row, who, |figures| {
                [figures.p50_ms, figures.p95_ms, figures.p99_ms]
                    .map(|ms| figure(ms, 2))
                    .join(" / ")
            })
        }));
        cells.push(ratio(p99(row, Twinport), p99(row, Pgbouncer)));
        line(&mut text, &cells);
    }
    text
}

fn cost(rows: &[Row]) -> String {
    let mut text = title(
        "Cost of the proxy: CPU-µs per transaction, resident MB",
        &[
            "point",
            "Twinport µs",
            "PgBouncer µs",
            "Odyssey µs",
            "Twinport ÷ PgBouncer",
            "Twinport MB",
            "PgBouncer MB",
            "Odyssey MB",
        ],
    );
    for row in rows {
        let cpu = |who| measured(row, who).and_then(|figures| figures.cpu_us);
        let rss = |who| cell(row, who, |figures| megabytes(figures.rss));
        let cells = [
            row.point.clone(),
            cell(row, Twinport, |figures| figure(figures.cpu_us, 1)),
            cell(row, Pgbouncer, |figures| figure(figures.cpu_us, 1)),
            cell(row, Odyssey, |figures| figure(figures.cpu_us, 1)),
            ratio(cpu(Twinport), cpu(Pgbouncer)),
            rss(Twinport),
            rss(Pgbouncer),
            rss(Odyssey),
        ];
        line(&mut text, &cells);
    }
    text
}

/// Why figures are missing.
fn remarks(rows: &[Row]) -> String {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for row in rows {
        for (who, outcome) in &row.outcomes {
            let reason = match outcome {
                Outcome::Measured(_) => continue,
                Outcome::Absent { reason } => format!("{who} not measured ({reason})"),
                Outcome::Failed { reason } => format!("{who} failed ({reason})"),
            };
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, points)) => points.push(&row.point),
                None => reasons.push((reason, vec![&row.point])),
            }
        }
    }
    let mut text = String::new();
    for (reason, points) in reasons {
        // Writing to a string can't fail.
        let _ = write!(text, "\n- {reason}: {}", points.join(", "));
    }
    if text.is_empty() { text } else { text + "\n" }
}

fn measured(row: &Row, who: Contender) -> Option<&crate::throughput::Figures> {
    match row.of(who)? {
        Outcome::Measured(figures) => Some(figures),
        Outcome::Absent { .. } | Outcome::Failed { .. } => None,
    }
}

fn cell(
    row: &Row,
    who: Contender,
    show: impl FnOnce(&crate::throughput::Figures) -> String,
) -> String {
    match row.of(who) {
        Some(Outcome::Measured(figures)) => show(figures),
        Some(Outcome::Failed { .. }) => "failed".into(),
        Some(Outcome::Absent { .. }) | None => NONE.into(),
    }
}

fn title(name: &str, columns: &[&str]) -> String {
    let mut text = format!("\n### {name}\n\n");
    line(&mut text, columns);
    line(&mut text, &vec!["---"; columns.len()]);
    text
}

fn line(text: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        text.push_str("| ");
        text.push_str(cell.as_ref());
        text.push(' ');
    }
    text.push_str("|\n");
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or(NONE.into(), |value| format!("{value:.digits$}"))
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> String {
    let theirs = theirs.filter(|&value| value > 0.0);
    figure(ours.zip(theirs).map(|(ours, theirs)| ours / theirs), 2)
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn megabytes(bytes: Option<u64>) -> String {
    figure(bytes.map(|bytes| bytes as f64 / 1e6), 1)
}

#[cfg(test)]
mod tests {
    use super::{cost, remarks, throughput};
    use crate::{
        rival::Contender,
        throughput::{Figures, Outcome, Row},
    };

    fn row() -> Row {
        let figures = |tps, cpu_us| {
            Outcome::Measured(Figures {
                tps: Some(tps),
                cpu_us,
                rss: Some(5_000_000),
                ..Figures::default()
            })
        };
        let absent = Outcome::Absent {
            reason: "not supported".into(),
        };
        Row {
            point: "prepared/10".into(),
            outcomes: vec![
                (Contender::Direct, figures(20_000.0, None)),
                (Contender::Twinport, figures(15_000.4, Some(20.0))),
                (Contender::Pgbouncer, absent),
            ],
        }
    }

    #[test]
    fn ratios_are_given_where_both_figures_are() {
        let table = throughput(&[row()]);
        let last = table.lines().last().unwrap();
        assert_eq!(last, "| prepared/10 | 20000 | 15000 | – | – | – | 0.75 |");
        let table = cost(&[row()]);
        let last = table.lines().last().unwrap();
        assert_eq!(last, "| prepared/10 | 20.0 | – | – | – | 5.0 | – | – |");
    }

    #[test]
    fn reasons_are_told_once() {
        assert_eq!(
            remarks(&[row(), row()]),
            "\n- PgBouncer not measured (not supported): prepared/10, prepared/10\n"
        );
    }
}
