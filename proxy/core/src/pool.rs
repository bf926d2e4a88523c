//! A pool of upstream connections for one (database, user): first come, first served, never more than its size.
//!
//! The pool knows nothing of a protocol. A wing says how to connect and check by implementing [`Connect`], and
//! which idle connection fits a session best by [`Connection::fits`].

mod lease;
mod quota;
mod state;

pub use lease::Lease;
pub use quota::Quota;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;
use twinport_config::PoolSettings;

use crate::stats::PoolStats;
use state::{Idle, State, Waiter};

/// An upstream connection as the pool sees it.
pub trait Connection: Send + 'static {
    /// What a session wants of a connection, so that the fittest idle one is chosen.
    type Affinity: ?Sized;

    /// Whether the connection needs no change to serve a session that wants `wanted`.
    fn fits(&self, wanted: &Self::Affinity) -> bool;

    /// Whether an idle connection can still be used. MUST NOT block and SHOULD NOT cost a system call.
    fn is_alive(&mut self) -> bool;

    /// When the connection was opened.
    fn opened(&self) -> Instant;
}

/// How a pool makes its connections.
pub trait Connect: Send + Sync + Sized + 'static {
    /// What is pooled.
    type Connection: Connection;
    /// Why a connection could not be made. Cloned to every client that waits for one.
    type Error: Clone + Send + std::fmt::Display;

    /// Opens a connection. MUST end within the connect timeout.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Asks the server whether an idle connection still works; gives it back if so.
    fn check(
        &self,
        connection: Self::Connection,
    ) -> impl Future<Output = Option<Self::Connection>> + Send;
}

/// Why no connection could be had.
#[derive(Debug, Error, Clone)]
pub enum AcquireError<E> {
    /// The wait queue's timeout passed.
    #[error("no upstream connection became free within {0:?}")]
    Timeout(Duration),
    /// The upstream can't be reached, or refused.
    #[error("{0}")]
    Connect(E),
    /// The pool was closed: its database was removed from the settings, or the server is going down.
    #[error("the pool is closed")]
    Closed,
}

/// The pool of one (database, user).
pub struct Pool<C: Connect> {
    connect: C,
    settings: ArcSwap<PoolSettings>,
    state: Mutex<State<C>>,
    quota: Arc<Quota>,
    stats: Arc<PoolStats>,
}

/// How many connections a pool has, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Connections that a session holds.
    pub leased: usize,
    /// Connections that wait for one.
    pub idle: usize,
    /// Connections that are being opened or checked.
    pub opening: usize,
    /// Clients in the wait queue.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub longest_wait: Duration,
}

impl Census {
    /// Whether there is neither a connection nor anybody who waits for one.
    pub fn is_empty(&self) -> bool {
        self.leased + self.idle + self.opening + self.waiting == 0
    }
}

/// What an acquire found without waiting.
enum Found<C: Connect> {
    Lease(Lease<C>),
    Wait(oneshot::Receiver<Handed<C>>),
}

/// Which idle connections will do.
#[derive(Clone, Copy)]
enum Choice {
    /// Those that need no change.
    Fitting,
    /// Those first, but any will do.
    Any,
}

type Handed<C> = Result<Lease<C>, AcquireError<<C as Connect>::Error>>;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(2);

impl<C: Connect> Pool<C> {
    /// A pool with no connection yet.
    pub fn new(
        connect: C,
        settings: PoolSettings,
        quota: Arc<Quota>,
        stats: Arc<PoolStats>,
    ) -> Arc<Self> {
        let pool = Arc::new(Self {
            connect,
            settings: ArcSwap::from_pointee(settings),
            state: Mutex::new(State::new()),
            quota,
            stats,
        });
        let weak: std::sync::Weak<Self> = Arc::downgrade(&pool);
        pool.quota.join(weak);
        pool
    }

    /// The connector, for what a wing keeps there.
    pub fn connector(&self) -> &C {
        &self.connect
    }

    /// The pool's settings as they are now.
    pub fn settings(&self) -> Arc<PoolSettings> {
        self.settings.load_full()
    }

    /// Counters of this pool.
    pub fn stats(&self) -> &Arc<PoolStats> {
        &self.stats
    }

    /// Takes an idle connection if one is there and nobody waits before us.
    pub fn try_acquire(
        self: &Arc<Self>,
        wanted: &<C::Connection as Connection>::Affinity,
    ) -> Option<Lease<C>> {
        self.take_now(wanted, Choice::Any)
    }

    /// Takes an idle connection that needs no change, if one is there and nobody waits before us.
    pub fn try_acquire_fitting(
        self: &Arc<Self>,
        wanted: &<C::Connection as Connection>::Affinity,
    ) -> Option<Lease<C>> {
        self.take_now(wanted, Choice::Fitting)
    }

    fn take_now(
        self: &Arc<Self>,
        wanted: &<C::Connection as Connection>::Affinity,
        choice: Choice,
    ) -> Option<Lease<C>> {
        let mut state = self.state.lock();
        if !state.waiters.is_empty() {
            return None;
        }
        self.take_idle(&mut state, wanted, choice)
    }

    /// Takes an idle connection, opens one, or waits for one.
    ///
    /// # Errors
    /// When the wait queue's timeout passes, the upstream can't be reached, or the pool is closed.
    pub async fn acquire(
        self: &Arc<Self>,
        wanted: &<C::Connection as Connection>::Affinity,
    ) -> Result<Lease<C>, AcquireError<C::Error>> {
        let receiver = match self.find(wanted)? {
            Found::Lease(lease) => return Ok(lease),
            Found::Wait(receiver) => receiver,
        };
        let began = Instant::now();
        let result = receiver.await.unwrap_or(Err(AcquireError::Closed));
        self.stats.waited(began.elapsed());
        result
    }

    fn find(
        self: &Arc<Self>,
        wanted: &<C::Connection as Connection>::Affinity,
    ) -> Result<Found<C>, AcquireError<C::Error>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(AcquireError::Closed);
        }
        if state.waiters.is_empty()
            && let Some(lease) = self.take_idle(&mut state, wanted, Choice::Any)
        {
            return Ok(Found::Lease(lease));
        }
        if let Some(error) = state.still_failing(Instant::now()) {
            return Err(AcquireError::Connect(error));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiters.push_back(Waiter {
            sender,
            since: Instant::now(),
        });
        let watched = std::mem::replace(&mut state.watched, true);
        drop(state);
        if !watched {
            tokio::spawn(Arc::clone(self).watch_queue());
        }
        self.open_if_wanted();
        Ok(Found::Wait(receiver))
    }

    fn take_idle(
        self: &Arc<Self>,
        state: &mut State<C>,
        wanted: &<C::Connection as Connection>::Affinity,
        choice: Choice,
    ) -> Option<Lease<C>> {
        // The newest few are tried for equal settings; the newest at all is the warmest otherwise.
        const LOOK_AT: usize = 16;
        loop {
            let newest = state.idle.len().checked_sub(1)?;
            let oldest = newest.saturating_sub(LOOK_AT - 1);
            let mut newest_first = (oldest..=newest).rev();
            let fitting = newest_first.find(|&i| {
                let idle = state.idle.get(i);
                idle.is_some_and(|idle| idle.connection.fits(wanted))
            });
            let at = match (fitting, choice) {
                (Some(at), _) => at,
                (None, Choice::Any) => newest,
                (None, Choice::Fitting) => return None,
            };
            let mut idle = state.idle.remove(at);
            if idle.connection.is_alive() {
                return Some(Lease::new(
                    Arc::clone(self),
                    idle.connection,
                    state.generation,
                ));
            }
            state.total -= 1;
            self.quota.give_back_quietly();
        }
    }

    /// Opens connections for those who wait, as far as size and quota let it.
    pub(crate) fn open_if_wanted(self: &Arc<Self>) {
        let size = self.settings.load().size;
        loop {
            let mut state = self.state.lock();
            // Whoever joins the queue of a full pool comes by here, so nobody is counted before it is known that
            // another connection may be opened.
            if state.total >= size || state.closed || state.backs_off(Instant::now()) {
                return;
            }
            state.waiters.retain(|waiter| !waiter.sender.is_closed());
            if state.waiters.len() <= state.opening {
                return;
            }
            if !self.quota.take() {
                drop(state);
                if self.quota.make_room() {
                    continue;
                }
                return;
            }
            state.total += 1;
            state.opening += 1;
            drop(state);
            self.spawn_open();
        }
    }

    fn spawn_open(self: &Arc<Self>) {
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            match pool.connect.connect().await {
                Ok(connection) => pool.opened(connection),
                Err(error) => pool.open_failed(&error),
            }
        });
    }

    fn opened(self: &Arc<Self>, connection: C::Connection) {
        let mut state = self.state.lock();
        state.opening -= 1;
        state.failure = None;
        let generation = state.generation;
        drop(state);
        let lease = Lease::new(Arc::clone(self), Box::new(connection), generation);
        self.hand_over(lease, usize::MAX, Instant::now());
    }

    fn open_failed(self: &Arc<Self>, error: &C::Error) {
        tracing::warn!(%error, "cannot open an upstream connection");
        let mut state = self.state.lock();
        state.opening -= 1;
        state.total -= 1;
        state.note_failure(error.clone(), Instant::now(), FIRST_BACKOFF, LAST_BACKOFF);
        // With no connection alive, nothing will ever be handed over: tell everybody now. Otherwise those who wait
        // still may get one that comes back.
        let gone = if state.total == state.opening {
            std::mem::take(&mut state.waiters)
        } else {
            VecDeque::new()
        };
        drop(state);
        self.quota.give_back();
        for waiter in gone {
            drop(
                waiter
                    .sender
                    .send(Err(AcquireError::Connect(error.clone()))),
            );
        }
    }

    /// Gives a connection to who waits longest, or lays it among the idle; closes it if there are more than `size`,
    /// if it is of before a [`Pool::recycle`], or if somebody in another pool has waited much longer for the quota.
    fn hand_over(self: &Arc<Self>, lease: Lease<C>, size: usize, now: Instant) {
        let mut lease = lease;
        loop {
            let mut state = self.state.lock();
            let stale = state.closed || lease.generation() != state.generation;
            if state.total > size || stale {
                drop(state);
                lease.close();
                return;
            }
            if self.quota.is_wanted() {
                let first = state.waiters.front().map(|waiter| waiter.since);
                drop(state);
                if self.quota.is_owed(first, now) {
                    lease.close();
                    return;
                }
                state = self.state.lock();
            }
            let Some(waiter) = state.waiters.pop_front() else {
                if let Some(connection) = lease.take() {
                    state.idle.push(Idle {
                        connection,
                        since: now,
                    });
                }
                return;
            };
            drop(state);
            match waiter.sender.send(Ok(lease)) {
                Ok(()) => return,
                Err(Ok(back)) => lease = back,
                Err(Err(_)) => return,
            }
        }
    }

    fn lost(self: &Arc<Self>) {
        self.state.lock().total -= 1;
        self.quota.give_back();
        self.open_if_wanted();
    }

    /// Whether somebody waits for a connection.
    pub fn is_waited_for(&self) -> bool {
        let state = self.state.lock();
        let mut waiters = state.waiters.iter();
        waiters.any(|waiter| !waiter.sender.is_closed())
    }

    /// Counts what is there.
    pub fn census(&self) -> Census {
        let mut state = self.state.lock();
        state.waiters.retain(|waiter| !waiter.sender.is_closed());
        Census {
            leased: state.total - state.idle.len() - state.opening,
            idle: state.idle.len(),
            opening: state.opening,
            waiting: state.waiters.len(),
            longest_wait: state
                .waiters
                .front()
                .map_or(Duration::ZERO, |first| first.since.elapsed()),
        }
    }

    /// Takes new settings; a smaller size is reached as connections come back.
    pub fn resize(self: &Arc<Self>, settings: PoolSettings) {
        self.settings.store(Arc::new(settings));
        self.open_if_wanted();
    }

    /// Closes every idle connection now and every leased one when it comes back.
    pub fn recycle(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        let idle = std::mem::take(&mut state.idle);
        state.total -= idle.len();
        drop(state);
        for _ in &idle {
            self.quota.give_back();
        }
    }

    /// Forgets that connections could not be opened: who knows that the upstream is back need not wait.
    pub fn forgive(&self) {
        self.state.lock().failure = None;
    }

    /// Refuses whoever comes and closes what is idle; leases end by themselves.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        for waiter in waiters {
            drop(waiter.sender.send(Err(AcquireError::Closed)));
        }
        self.recycle();
    }
}

#[cfg(test)]
mod tests;
