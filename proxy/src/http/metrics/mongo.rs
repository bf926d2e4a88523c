//! The MongoDB port's metrics. Before Postgres its upstream connections are in that wing's pools, and told there; those
//! to MongoDB are its own.

use twinport_core::stats::{PoolStats, RequestStats, ServerStats};
use twinport_core::view::{Pool, View};
use twinport_mongo::wing::Wing;

use super::{Count, seconds};
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

pub(super) const REQUESTS: [Count<RequestStats>; 2] = [
    (
        "twinport_mongo_commands_total",
        "Commands of MongoDB clients.",
        |s| &s.commands,
    ),
    (
        "twinport_mongo_rewrites_total",
        "Commands of MongoDB clients that a directive rewrote.",
        |s| &s.rewrites,
    ),
];

pub(super) const POOLS: [Count<PoolStats>; 2] = [
    (
        "twinport_mongo_pool_opened_total",
        "Connections opened to a server that commands are forwarded to.",
        |s| &s.opened,
    ),
    (
        "twinport_mongo_pool_waits_total",
        "How often a command had to wait for a connection to such a server.",
        |s| &s.waits,
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
    for (name, help, counter) in REQUESTS {
        out.metric(name, Kind::Counter, help)
            .add(&[], counter(wing.asked()).get());
    }
    pools(out, &wing.pools());
}

/// The pools of the servers that commands are forwarded to.
fn pools(out: &mut Exposition, pools: &[Pool]) {
    let help = "Connections to such a server by what they do.";
    let mut samples = out.metric("twinport_mongo_pool_servers", Kind::Gauge, help);
    for pool in pools {
        let census = &pool.census;
        let states = [
            ("leased", census.leased),
            ("idle", census.idle),
            ("opening", census.opening),
        ];
        for (state, count) in states {
            let [server, user] = labels(pool);
            samples.add(&[server, user, ("state", state)], count);
        }
    }
    let mut each = |name, kind, help, value: &dyn Fn(&Pool) -> String| {
        let mut samples = out.metric(name, kind, help);
        for pool in pools {
            samples.add(&labels(pool), value(pool));
        }
    };
    each(
        "twinport_mongo_pool_size",
        Kind::Gauge,
        "The most connections to such a server.",
        &|pool| pool.size.to_string(),
    );
    each(
        "twinport_mongo_pool_longest_wait_seconds",
        Kind::Gauge,
        "How long the first command in the wait queue has waited.",
        &|pool| pool.census.longest_wait.as_secs_f64().to_string(),
    );
    for (name, help, counter) in POOLS {
        each(name, Kind::Counter, help, &|pool| {
            counter(&pool.stats).get().to_string()
        });
    }
    each(
        "twinport_mongo_pool_wait_seconds_total",
        Kind::Counter,
        "Time that commands waited for a connection to such a server.",
        &|pool| seconds(pool.stats.waited_us.get()),
    );
}

fn labels(pool: &Pool) -> [(&str, &str); 2] {
    [("server", &pool.server), ("user", &pool.user)]
}
