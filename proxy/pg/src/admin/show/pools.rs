//! `SHOW POOLS`, `SHOW DATABASES` and `SHOW STATS`: what there is for each database.

use std::collections::BTreeMap;
use std::sync::Arc;

use twinport_config::PoolMode;
use twinport_core::pool::Census;
use twinport_core::stats::{Counter, PoolStats};
use twinport_core::view;

use super::mode;
use crate::admin::count::Counts;
use crate::admin::table::Kind::{Int, Text};
use crate::admin::table::{Cell, Heading, Rows};
use crate::pools::PgPool;
use crate::wing::Wing;

pub(super) const POOLS: &[Heading] = &[
    ("database", Text),
    ("user", Text),
    ("cl_active", Int),
    ("cl_waiting", Int),
    ("sv_active", Int),
    ("sv_idle", Int),
    ("sv_login", Int),
    ("maxwait", Int),
    ("maxwait_us", Int),
    ("pool_mode", Text),
    ("pool_size", Int),
    ("cl_idle", Int),
    ("cl_pinned", Int),
];

pub(super) fn pools(wing: &Wing) -> Rows {
    let tally = wing.tally();
    let own = wing.pools.list().into_iter().map(move |(user, pool)| {
        let counts = tally.pool(pool.connector().database(), pool.connector().sole(&user));
        pool_row(&user, &pool, counts, pool.census())
    });
    let others = wing.views().into_iter().flat_map(|view| view.pools());
    Box::new(own.chain(others.map(|pool| other_row(&pool))))
}

/// A pool of another wing, in which a client has no place but while it waits or holds a connection.
fn other_row(pool: &view::Pool) -> Vec<Cell> {
    let census = pool.census;
    vec![
        pool.server.as_str().into(),
        pool.user.as_str().into(),
        census.leased.into(),
        census.waiting.into(),
        census.leased.into(),
        census.idle.into(),
        census.opening.into(),
        census.longest_wait.as_secs().into(),
        u64::from(census.longest_wait.subsec_micros()).into(),
        mode(PoolMode::Transaction).into(),
        pool.size.into(),
        0_usize.into(),
        0_usize.into(),
    ]
}

fn pool_row(user: &str, pool: &PgPool, counts: Counts, census: Census) -> Vec<Cell> {
    let settings = pool.settings();
    vec![
        pool.connector().database().into(),
        user.into(),
        // PgBouncer counts the idle here.
        (counts.active + counts.idle).into(),
        counts.waiting.into(),
        census.leased.into(),
        census.idle.into(),
        census.opening.into(),
        census.longest_wait.as_secs().into(),
        u64::from(census.longest_wait.subsec_micros()).into(),
        mode(settings.mode).into(),
        settings.size.into(),
        counts.idle.into(),
        counts.pinned.into(),
    ]
}

pub(super) const DATABASES: &[Heading] = &[
    ("name", Text),
    ("host", Text),
    ("port", Int),
    ("database", Text),
    ("force_user", Text),
    ("pool_size", Int),
    ("min_pool_size", Int),
    ("server_lifetime", Int),
    ("pool_mode", Text),
    ("max_connections", Int),
    ("current_connections", Int),
    ("max_client_connections", Int),
    ("current_client_connections", Int),
];

/// The databases of the settings, and those that were asked for through the wildcard.
pub(super) fn databases(wing: &Wing) -> Rows {
    let settings = wing.settings();
    let mut databases: BTreeMap<_, _> = settings.databases.clone();
    for (_, pool) in wing.pools.list() {
        let database = pool.connector().settings();
        databases
            .entry(database.name.clone())
            .or_insert_with(|| Arc::clone(database));
    }
    let tally = wing.tally();
    let connections = wing.pools.connections().list();
    Box::new(databases.into_iter().map(move |(name, database)| {
        let pool = &database.pool;
        let upstream = &database.upstream;
        let open = connections
            .iter()
            .filter(|open| open.database == name)
            .count();
        vec![
            name.as_str().into(),
            upstream.host.to_string().into(),
            upstream.port.into(),
            upstream.database.as_str().into(),
            upstream.user.as_deref().into(),
            pool.size.into(),
            pool.min_idle.into(),
            pool.max_age.map(|age| age.as_secs()).into(),
            mode(pool.mode).into(),
            pool.max_connections.into(),
            open.into(),
            database.max_clients.into(),
            tally.database(&name).into(),
        ]
    }))
}

/// A number of STATS.
type Figure = fn(&PoolStats) -> &Counter;

/// In the order of the columns of STATS. Those that PgBouncer has in STATS_TOTALS stand first.
const FIGURES: [Figure; 12] = [
    |stats| &stats.transactions,
    |stats| &stats.statements,
    |stats| &stats.received,
    |stats| &stats.sent,
    |stats| &stats.leased_us,
    |stats| &stats.waited_us,
    |stats| &stats.prepared,
    |stats| &stats.prepared_reused,
    |stats| &stats.waits,
    |stats| &stats.rewrites,
    |stats| &stats.settings_applied,
    |stats| &stats.opened,
];

pub(super) const STATS: &[Heading] = &[
    ("database", Text),
    ("total_xact_count", Int),
    ("total_query_count", Int),
    ("total_received", Int),
    ("total_sent", Int),
    ("total_xact_time", Int),
    ("total_wait_time", Int),
    ("total_server_parse_count", Int),
    ("total_reused_parse_count", Int),
    ("total_wait_count", Int),
    ("total_rewrite_count", Int),
    ("total_settings_count", Int),
    ("total_opened_count", Int),
];

pub(super) const STATS_TOTALS: &[Heading] = &[
    ("database", Text),
    ("xact_count", Int),
    ("query_count", Int),
    ("bytes_received", Int),
    ("bytes_sent", Int),
    ("xact_time", Int),
    ("wait_time", Int),
    ("server_parse_count", Int),
];

/// The sums of a database's pools, in the order of [`FIGURES`].
fn sums(wing: &Wing) -> BTreeMap<String, [u64; FIGURES.len()]> {
    let mut sums: BTreeMap<_, [u64; FIGURES.len()]> = BTreeMap::new();
    for (_, pool) in wing.pools.list() {
        let name = pool.connector().database().to_owned();
        let sum = sums.entry(name).or_default();
        for (sum, counter) in sum.iter_mut().zip(FIGURES) {
            *sum += counter(pool.stats()).get();
        }
    }
    sums
}

pub(super) fn stats(wing: &Wing) -> Rows {
    figures(wing, STATS)
}

pub(super) fn stats_totals(wing: &Wing) -> Rows {
    figures(wing, STATS_TOTALS)
}

fn figures(wing: &Wing, headings: &[Heading]) -> Rows {
    let columns = headings.len();
    Box::new(sums(wing).into_iter().map(move |(name, sums)| {
        let sums = sums.into_iter().map(Cell::from);
        std::iter::once(name.into())
            .chain(sums)
            .take(columns)
            .collect()
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn another_wings_pool_has_all_columns() {
        let pool = view::Pool {
            server: "db1:27017".into(),
            user: "app".into(),
            size: 20,
            census: Census {
                leased: 3,
                idle: 1,
                opening: 0,
                waiting: 7,
                longest_wait: Duration::from_millis(1500),
            },
            stats: std::sync::Arc::default(),
        };
        let row = other_row(&pool);
        let cell = |name: &str| {
            let at = POOLS.iter().position(|(column, _)| *column == name);
            at.and_then(|at| row.get(at)).cloned()
        };
        assert_eq!(row.len(), POOLS.len());
        assert_eq!(cell("cl_waiting"), Some(Cell::Int(7)));
        assert_eq!(
            (cell("sv_active"), cell("sv_idle")),
            (Some(Cell::Int(3)), Some(Cell::Int(1)))
        );
        assert_eq!(
            (cell("maxwait"), cell("maxwait_us")),
            (Some(Cell::Int(1)), Some(Cell::Int(500_000)))
        );
        assert_eq!(cell("pool_size"), Some(Cell::Int(20)));
    }

    #[test]
    fn every_figure_has_a_column_in_the_same_order() {
        assert_eq!(STATS.len(), FIGURES.len() + 1);
        let stats = PoolStats::default();
        stats.waited_us.add(7);
        let at = STATS
            .iter()
            .position(|(name, _)| *name == "total_wait_time")
            .unwrap();
        assert_eq!(FIGURES[at - 1](&stats).get(), 7);
        let names = STATS.iter().zip(STATS_TOTALS).skip(1);
        assert!(names.into_iter().all(|((long, _), (short, _))| {
            let long = long.trim_start_matches("total_");
            short.trim_start_matches("bytes_") == long
        }));
    }
}
