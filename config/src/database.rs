//! A database that clients can ask for, and its pool.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Upstream;

/// `[databases.NAME]`, with `[pool]` merged in.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// The name that clients ask for.
    pub name: String,
    /// Where its data is.
    pub upstream: Upstream,
    /// Its pools: one per user.
    pub pool: PoolSettings,
    /// Clients at one time.
    pub max_clients: Option<usize>,
    /// Server settings given to every upstream connection; a client's own come on top.
    pub settings: BTreeMap<String, String>,
}

/// `[pool]`: the upstream connections of one (database, user).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// When a connection goes back.
    pub mode: PoolMode,
    /// Upstream connections at most; at least 1.
    pub size: usize,
    /// Connections kept open though idle; at most `size`.
    pub min_idle: usize,
    /// Upstream connections of one database over all users.
    pub max_connections: Option<usize>,
    /// How long a client waits for a connection before it gets an error (53300).
    pub wait_timeout: Duration,
    /// From connect to the upstream's first ReadyForQuery.
    pub connect_timeout: Duration,
    /// A connection idle for longer is closed, down to `min_idle`.
    pub idle_timeout: Option<Duration>,
    /// A connection older than this is closed when it is next free.
    pub max_age: Option<Duration>,
    /// A connection idle for longer is asked if it lives before it is lent; `None`: never.
    pub health_check_interval: Option<Duration>,
    /// Prepared statements kept per upstream connection (LRU); at least 1.
    pub prepared_statements: usize,
    /// After a client left in the middle of a query: how long its connection may take to
    /// become ready again before it is closed.
    pub cancel_drain_timeout: Duration,
}

/// When a client gives its upstream connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolMode {
    /// At the end of every transaction.
    #[default]
    Transaction,
    /// When it disconnects.
    Session,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            mode: PoolMode::Transaction,
            size: 20,
            min_idle: 0,
            max_connections: None,
            wait_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(600)),
            max_age: Some(Duration::from_secs(3600)),
            health_check_interval: Some(Duration::from_secs(30)),
            prepared_statements: 500,
            cancel_drain_timeout: Duration::from_secs(5),
        }
    }
}
