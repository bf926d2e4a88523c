//! What `/metrics` tells: the counters as they are, read once for each request.

mod mongo;

use std::sync::Arc;

use twinport_core::drain::Drain;
use twinport_core::pool::Census;
use twinport_core::stats::{Counter, PoolStats, ServerStats};
use twinport_pg::admin::count::Counts;
use twinport_pg::pools::PgPool;
use twinport_pg::wing::Wing;

use super::exposition::{Exposition, Kind};
use crate::running::Wings;

/// A pool as it is at this moment.
struct Seen {
    user: String,
    pool: Arc<PgPool>,
    clients: Counts,
    servers: Census,
}

impl Seen {
    fn labels(&self) -> [(&str, &str); 2] {
        [
            ("database", self.pool.connector().database()),
            ("user", &self.user),
        ]
    }
}

/// Everything, as text.
pub(super) fn render(wings: &Wings, drain: &Drain) -> String {
    let wing = &*wings.postgres;
    let tally = wing.tally();
    let pools: Vec<_> = wing
        .pools()
        .list()
        .into_iter()
        .map(|(user, pool)| Seen {
            clients: tally.pool(pool.connector().database(), pool.connector().sole(&user)),
            servers: pool.census(),
            user,
            pool,
        })
        .collect();
    let mut out = Exposition::default();
    server(&mut out, wing, drain);
    states(&mut out, &pools);
    for (name, help, counter) in COUNTERS {
        let mut samples = out.metric(name, Kind::Counter, help);
        for seen in &pools {
            samples.add(&seen.labels(), counter(seen.pool.stats()).get());
        }
    }
    for (name, help, counter) in TIMES {
        let mut samples = out.metric(name, Kind::Counter, help);
        for seen in &pools {
            samples.add(&seen.labels(), seconds(counter(seen.pool.stats()).get()));
        }
    }
    if let Some(wing) = &wings.mongo {
        mongo::render(&mut out, wing);
    }
    out.finish()
}

type Count<S> = (&'static str, &'static str, fn(&S) -> &Counter);

const SERVER: [Count<ServerStats>; 6] = [
    (
        "twinport_connections_accepted_total",
        "Client connections accepted.",
        |s| &s.accepted,
    ),
    ("twinport_logins_total", "Logins that succeeded.", |s| {
        &s.logins
    }),
    ("twinport_logins_failed_total", "Logins that failed.", |s| {
        &s.logins_failed
    }),
    (
        "twinport_clients_refused_total",
        "Clients refused after their login: a limit, an unknown database, no right, no upstream.",
        |s| &s.refused,
    ),
    (
        "twinport_cancels_total",
        "Cancel requests forwarded.",
        |s| &s.cancels,
    ),
    (
        "twinport_cancels_ignored_total",
        "Cancel requests that came too late, or with a key of nobody.",
        |s| &s.cancels_ignored,
    ),
];

const COUNTERS: [Count<PoolStats>; 10] = [
    (
        "twinport_pool_transactions_total",
        "Transactions that ended; a statement outside a block is one.",
        |s| &s.transactions,
    ),
    (
        "twinport_pool_statements_total",
        "Simple queries and executions of portals.",
        |s| &s.statements,
    ),
    (
        "twinport_pool_received_bytes_total",
        "Bytes from clients.",
        |s| &s.received,
    ),
    ("twinport_pool_sent_bytes_total", "Bytes to clients.", |s| {
        &s.sent
    }),
    (
        "twinport_pool_waits_total",
        "How often a client had to wait for an upstream connection.",
        |s| &s.waits,
    ),
    (
        "twinport_pool_rewrites_total",
        "Statements that a directive rewrote.",
        |s| &s.rewrites,
    ),
    (
        "twinport_pool_settings_applied_total",
        "How often settings had to be applied to an upstream connection.",
        |s| &s.settings_applied,
    ),
    (
        "twinport_pool_prepared_total",
        "Statements prepared upstream.",
        |s| &s.prepared,
    ),
    (
        "twinport_pool_prepared_reused_total",
        "Statements that a client prepared and that were prepared upstream already.",
        |s| &s.prepared_reused,
    ),
    (
        "twinport_pool_opened_total",
        "Upstream connections opened.",
        |s| &s.opened,
    ),
];

/// Counted in microseconds, told in seconds.
const TIMES: [Count<PoolStats>; 2] = [
    (
        "twinport_pool_wait_seconds_total",
        "Time that clients waited for an upstream connection.",
        |s| &s.waited_us,
    ),
    (
        "twinport_pool_leased_seconds_total",
        "Time for which upstream connections were leased.",
        |s| &s.leased_us,
    ),
];

fn server(out: &mut Exposition, wing: &Wing, drain: &Drain) {
    let version = env!("CARGO_PKG_VERSION");
    out.metric(
        "twinport_build_info",
        Kind::Gauge,
        "Always 1; the label tells the version.",
    )
    .add(&[("version", version)], 1);
    out.metric(
        "twinport_draining",
        Kind::Gauge,
        "1 while the server goes down.",
    )
    .add(&[], u8::from(drain.is_draining()));
    out.metric(
        "twinport_clients",
        Kind::Gauge,
        "Clients that are logged in.",
    )
    .add(&[], wing.clients().count());
    let max = wing.settings().postgres.max_clients;
    out.metric(
        "twinport_clients_max",
        Kind::Gauge,
        "The bound postgres.max_clients.",
    )
    .add(&[], max);
    out.metric(
        "twinport_statements",
        Kind::Gauge,
        "Distinct statements that sessions have prepared.",
    )
    .add(&[], wing.statements());
    for (name, help, counter) in SERVER {
        out.metric(name, Kind::Counter, help)
            .add(&[], counter(wing.stats()).get());
    }
}

fn states(out: &mut Exposition, pools: &[Seen]) {
    let help = "Clients of a pool by what they do.";
    let mut samples = out.metric("twinport_pool_clients", Kind::Gauge, help);
    for seen in pools {
        let [database, user] = seen.labels();
        let Counts {
            active,
            waiting,
            idle,
            ..
        } = seen.clients;
        for (state, count) in [("active", active), ("waiting", waiting), ("idle", idle)] {
            samples.add(&[database, user, ("state", state)], count);
        }
    }
    let help = "Clients that hold their upstream connection beyond their transactions.";
    let mut samples = out.metric("twinport_pool_clients_pinned", Kind::Gauge, help);
    for seen in pools {
        samples.add(&seen.labels(), seen.clients.pinned);
    }
    let help = "Upstream connections of a pool by what they do.";
    let mut samples = out.metric("twinport_pool_servers", Kind::Gauge, help);
    for seen in pools {
        let [database, user] = seen.labels();
        let Census {
            leased,
            idle,
            opening,
            ..
        } = seen.servers;
        for (state, count) in [("leased", leased), ("idle", idle), ("opening", opening)] {
            samples.add(&[database, user, ("state", state)], count);
        }
    }
    let help = "The bound pool.size.";
    let mut samples = out.metric("twinport_pool_size", Kind::Gauge, help);
    for seen in pools {
        samples.add(&seen.labels(), seen.pool.settings().size);
    }
    let help = "How long the first client in the wait queue has waited.";
    let mut samples = out.metric("twinport_pool_longest_wait_seconds", Kind::Gauge, help);
    for seen in pools {
        samples.add(&seen.labels(), seen.servers.longest_wait.as_secs_f64());
    }
}

/// Microseconds as seconds, exactly.
fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        assert_eq!(seconds(1_000_007), "1.000007");
        assert_eq!(seconds(0), "0.000000");
    }

    #[test]
    fn names_follow_the_conventions() {
        let pools = COUNTERS.iter().chain(&TIMES).chain(&mongo::POOLS);
        let asked = mongo::REQUESTS.iter().map(|(name, ..)| *name);
        let counters = pools.map(|(name, ..)| *name).chain(asked);
        let server = SERVER.iter().chain(&mongo::COUNTERS);
        for name in counters.chain(server.map(|(name, ..)| *name)) {
            assert!(
                name.starts_with("twinport_") && name.ends_with("_total"),
                "{name}"
            );
        }
    }
}
