//! The MongoDB port's metrics. Its upstream connections are in the Postgres wing's pools, and told there.

use twinport_core::stats::ServerStats;
use twinport_mongo::wing::Wing;

use super::Count;
use crate::http::exposition::{Exposition, Kind};

pub(super) const COUNTERS: [Count<ServerStats>; 4] = [
    (
        "twinport_mongo_connections_accepted_total",
        "Connections accepted at the MongoDB port.",
        |s| &s.accepted,
    ),
    (
        "twinport_mongo_logins_total",
        "Logins at the MongoDB port that succeeded.",
        |s| &s.logins,
    ),
    (
        "twinport_mongo_logins_failed_total",
        "Logins at the MongoDB port that failed.",
        |s| &s.logins_failed,
    ),
    (
        "twinport_mongo_clients_refused_total",
        "MongoDB clients refused because a limit was reached.",
        |s| &s.refused,
    ),
];

pub(super) fn render(out: &mut Exposition, wing: &Wing) {
    let gauges = [
        (
            "twinport_mongo_clients",
            "MongoDB clients that are connected, drivers' monitors among them.",
            wing.clients().count(),
        ),
        (
            "twinport_mongo_cursors",
            "Cursors of MongoDB clients that are open.",
            wing.cursors(),
        ),
        (
            "twinport_mongo_transactions",
            "Transactions of MongoDB clients that are open; each holds an upstream connection.",
            wing.transactions(),
        ),
    ];
    for (name, help, value) in gauges {
        out.metric(name, Kind::Gauge, help).add(&[], value);
    }
    for (name, help, counter) in COUNTERS {
        out.metric(name, Kind::Counter, help)
            .add(&[], counter(wing.stats()).get());
    }
}
