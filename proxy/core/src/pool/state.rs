//! What a pool's lock protects, and its upkeep.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{AcquireError, Connect, Connection, Handed, Lease, Pool};
use crate::clock;

pub(super) struct Idle<T> {
    pub(super) connection: Box<T>,
    pub(super) since: Instant,
}

pub(super) struct Waiter<C: Connect> {
    pub(super) sender: oneshot::Sender<Handed<C>>,
    pub(super) since: Instant,
}

pub(super) struct Failure<E> {
    error: E,
    retry_at: Instant,
    backoff: Duration,
}

pub(super) struct State<C: Connect> {
    pub(super) idle: Vec<Idle<C::Connection>>,
    /// First come, first served.
    pub(super) waiters: VecDeque<Waiter<C>>,
    /// Whether [`Pool::watch_queue`] runs.
    pub(super) watched: bool,
    /// Idle, leased and opening.
    pub(super) total: usize,
    pub(super) opening: usize,
    pub(super) failure: Option<Failure<C::Error>>,
    pub(super) generation: u64,
    pub(super) closed: bool,
}

impl<C: Connect> State<C> {
    pub(super) fn new() -> Self {
        Self {
            idle: Vec::new(),
            waiters: VecDeque::new(),
            watched: false,
            total: 0,
            opening: 0,
            failure: None,
            generation: 0,
            closed: false,
        }
    }

    /// Takes those out of the queue who have waited for `timeout`. They stand in front.
    fn late(&mut self, timeout: Duration, now: Instant) -> Vec<Waiter<C>> {
        let in_time = |waiter: &Waiter<C>| now.saturating_duration_since(waiter.since) < timeout;
        let late = self.waiters.iter().position(in_time);
        let late = late.unwrap_or(self.waiters.len());
        self.waiters.drain(..late).collect()
    }

    /// The last failure, as long as trying again would only hammer an upstream that is down.
    pub(super) fn still_failing(&self, now: Instant) -> Option<C::Error> {
        let failure = self.failure.as_ref()?;
        (self.total == 0 && now < failure.retry_at).then(|| failure.error.clone())
    }

    /// Whether the last attempt to open one more connection failed so lately that those who wait had better wait
    /// for one of the present ones.
    pub(super) fn backs_off(&self, now: Instant) -> bool {
        let failed = self.failure.as_ref();
        self.total > 0 && failed.is_some_and(|failure| now < failure.retry_at)
    }

    /// Since when somebody waits for whom a connection would have to be opened.
    pub(super) fn wants_since(&self, size: usize) -> Option<Instant> {
        let may_open = self.total < size && !self.closed && self.waiters.len() > self.opening;
        let mut waiting = self.waiters.iter().filter(|_| may_open);
        let first = waiting.find(|waiter| !waiter.sender.is_closed())?;
        Some(first.since)
    }

    pub(super) fn note_failure(
        &mut self,
        error: C::Error,
        now: Instant,
        first: Duration,
        last: Duration,
    ) {
        let backoff = match &self.failure {
            Some(failure) => (failure.backoff * 2).min(last),
            None => first,
        };
        self.failure = Some(Failure {
            error,
            retry_at: now + backoff,
            backoff,
        });
    }
}

/// How often at least a queue is looked at: what a shorter timeout, set while somebody waits, may be late by.
const LOOK: Duration = Duration::from_secs(1);

impl<C: Connect> Pool<C> {
    /// Tells those who wait for too long that they do, until nobody waits. One watch for the whole queue: a timer for
    /// each of those in it would be set and taken back in every transaction of a busy pool.
    pub(super) async fn watch_queue(self: Arc<Self>) {
        while let Some(left) = self.dismiss_late() {
            clock::sleep(left.min(LOOK)).await;
            // An attempt to open a connection may have failed, and none come back since.
            self.open_if_wanted();
        }
    }

    /// How long the first of those who are left may still wait; `None` if nobody is, and the watch is over.
    fn dismiss_late(&self) -> Option<Duration> {
        let timeout = self.settings.load().wait_timeout;
        let now = Instant::now();
        let mut state = self.state.lock();
        let late = state.late(timeout, now);
        let first = state.waiters.front().map(|waiter| waiter.since);
        state.watched = first.is_some();
        drop(state);
        for waiter in late {
            drop(waiter.sender.send(Err(AcquireError::Timeout(timeout))));
        }
        first.map(|first| timeout.saturating_sub(now.saturating_duration_since(first)))
    }

    /// Upkeep, to be called about once a second: retires what is old or long idle, keeps the least number
    /// open, and asks connections that were idle for long whether they still work.
    pub fn maintain(self: &Arc<Self>) {
        self.retire();
        self.keep_least();
        self.check_idle();
    }

    fn retire(self: &Arc<Self>) {
        let settings = self.settings();
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut spare = state.total.saturating_sub(settings.min_idle);
        let mut retired = Vec::new();
        let mut at = 0;
        while let Some(idle) = state.idle.get(at) {
            let too_old = settings
                .max_age
                .is_some_and(|max| now.saturating_duration_since(idle.connection.opened()) > max);
            let unused = spare > 0
                && settings
                    .idle_timeout
                    .is_some_and(|max| now.saturating_duration_since(idle.since) > max);
            if too_old || unused || state.total > settings.size {
                retired.push(state.idle.remove(at));
                state.total -= 1;
                spare = spare.saturating_sub(1);
            } else {
                at += 1;
            }
        }
        drop(state);
        for _ in &retired {
            self.quota.give_back();
        }
    }

    fn keep_least(self: &Arc<Self>) {
        let settings = self.settings();
        loop {
            let mut state = self.state.lock();
            let enough = state.total >= settings.min_idle.min(settings.size);
            if enough
                || state.closed
                || state.still_failing(Instant::now()).is_some()
                || !self.quota.take()
            {
                return;
            }
            state.total += 1;
            state.opening += 1;
            drop(state);
            self.spawn_open();
        }
    }

    fn check_idle(self: &Arc<Self>) {
        let Some(interval) = self.settings.load().health_check_interval else {
            return;
        };
        let mut state = self.state.lock();
        // The longest idle stand first.
        while state
            .idle
            .first()
            .is_some_and(|idle| idle.since.elapsed() > interval)
        {
            let idle = state.idle.remove(0);
            state.opening += 1;
            let generation = state.generation;
            let pool = Arc::clone(self);
            tokio::spawn(async move {
                let checked = pool.connect.check(*idle.connection).await;
                pool.state.lock().opening -= 1;
                match checked {
                    Some(connection) => {
                        let lease = Lease::new(Arc::clone(&pool), Box::new(connection), generation);
                        pool.hand_over(lease, usize::MAX, Instant::now());
                    }
                    None => pool.lost(),
                }
            });
        }
    }
}
