//! Counters: plain atomics, read by the admin console and by `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one pool has done since it was made.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Transactions that ended (a statement outside a block is one).
    pub transactions: Counter,
    /// Statements: simple queries and executions of portals.
    pub statements: Counter,
    /// Bytes from clients.
    pub received: Counter,
    /// Bytes to clients.
    pub sent: Counter,
    /// Microseconds for which an upstream connection was leased.
    pub leased_us: Counter,
    /// Microseconds that clients waited for an upstream connection.
    pub waited_us: Counter,
    /// How often a client had to wait for an upstream connection.
    pub waits: Counter,
    /// Statements that a directive rewrote.
    pub rewrites: Counter,
    /// How often settings had to be applied to an upstream connection.
    pub settings_applied: Counter,
    /// Statements prepared upstream.
    pub prepared: Counter,
    /// Statements that a session prepared and that were there already.
    pub prepared_reused: Counter,
    /// Upstream connections opened.
    pub opened: Counter,
}

impl PoolStats {
    pub(crate) fn waited(&self, time: Duration) {
        self.waits.add(1);
        self.waited_us.add(micros(time));
    }
}

/// A duration as whole microseconds.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What clients have asked of a port whose requests no pool counts.
#[derive(Debug, Default)]
pub struct RequestStats {
    /// Commands of clients that are logged in or may run without that.
    pub commands: Counter,
    /// Commands that a directive rewrote.
    pub rewrites: Counter,
}

/// What the whole server has done.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Client connections accepted.
    pub accepted: Counter,
    /// Logins that succeeded.
    pub logins: Counter,
    /// Logins that failed.
    pub logins_failed: Counter,
    /// Clients refused because a limit was reached.
    pub refused: Counter,
    /// Cancel requests that were forwarded.
    pub cancels: Counter,
    /// Cancel requests that came too late, or with a key of nobody.
    pub cancels_ignored: Counter,
}
