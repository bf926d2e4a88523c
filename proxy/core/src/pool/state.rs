//! What a pool's lock protects, and its upkeep.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Connect, Connection, Handed, Lease, Pool};

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
    pub(super) waiters: VecDeque<Waiter<C>>,
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
            total: 0,
            opening: 0,
            failure: None,
            generation: 0,
            closed: false,
        }
    }

    /// The last failure, as long as trying again would only hammer an upstream that is down.
    pub(super) fn still_failing(&self, now: Instant) -> Option<C::Error> {
        let failure = self.failure.as_ref()?;
        (self.total == 0 && now < failure.retry_at).then(|| failure.error.clone())
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

impl<C: Connect> Pool<C> {
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
