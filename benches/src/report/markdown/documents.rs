//! The table of the MongoDB port.

use super::{NONE, figure, line, megabytes, ratio, title};
use crate::documents::{Contender, Row};

/// One row for every contender of every work; nothing if nothing was measured.
pub(super) fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = title(
        "MongoDB: operations, milliseconds, CPU-µs of the server's process per operation, resident MB",
        &[
            "work",
            "server",
            "per second",
            "÷ FerretDB",
            "p50 / p95 / p99",
            "CPU µs",
            "MB",
        ],
    );
    for row in rows {
        let peer = rows
            .iter()
            .find(|other| other.work == row.work && other.contender == Contender::FerretDb);
        let (per_second, times) = match &row.failure {
            Some(failure) => (failure.clone(), NONE.into()),
            None => (
                figure(row.per_second, 0),
                [row.p50_ms, row.p95_ms, row.p99_ms]
                    .map(|time| figure(time, 2))
                    .join(" / "),
            ),
        };
        let cells = [
            row.work.to_string(),
            row.contender.to_string(),
            per_second,
            ratio(row.per_second, peer.and_then(|peer| peer.per_second)),
            times,
            figure(row.cpu_us, 1),
            megabytes(row.rss),
        ];
        line(&mut text, &cells);
    }
    text
}
