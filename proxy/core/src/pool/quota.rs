//! The bound on upstream connections that several pools of one database share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Connect, Pool};

/// How many connections the pools of one database may have together.
///
/// A pool that needs a connection while the quota is used up first takes the place of an idle connection of
/// another pool; if all are at work, the next one that comes back makes room for whoever has waited longest.
pub struct Quota {
    max: AtomicUsize,
    used: AtomicUsize,
    starving: AtomicBool,
    members: Mutex<Vec<Weak<dyn Member>>>,
}

/// How much longer than the first of a pool's own clients somebody waits elsewhere before the pool gives up a
/// connection. To close one and open another costs some milliseconds: were the first in time always the first
/// served, two busy pools would do little else.
const PATIENCE: Duration = Duration::from_millis(100);

trait Member: Send + Sync {
    fn evict_idle(&self) -> bool;
    fn wants_since(&self) -> Option<Instant>;
    fn kick(self: Arc<Self>);
}

impl Quota {
    /// A quota of `max` connections; `None` is no bound.
    pub fn new(max: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicUsize::new(max.unwrap_or(usize::MAX)),
            used: AtomicUsize::new(0),
            starving: AtomicBool::new(false),
            members: Mutex::new(Vec::new()),
        })
    }

    /// Changes the bound; a lower one is reached as connections come back.
    pub fn set_max(&self, max: Option<usize>) {
        self.max.store(max.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// How many connections are counted now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn join<C: Connect>(&self, pool: Weak<Pool<C>>) {
        let mut members = self.members.lock();
        members.retain(|member| member.strong_count() > 0);
        members.push(pool);
    }

    pub(super) fn take(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                (used < max).then_some(used + 1)
            })
            .is_ok()
    }

    pub(super) fn give_back(&self) {
        self.used.fetch_sub(1, Ordering::AcqRel);
        if self.starving.swap(false, Ordering::AcqRel) {
            let waiting = self.living().into_iter();
            let mut waiting: Vec<_> = waiting
                .filter_map(|member| Some((member.wants_since()?, member)))
                .collect();
            // Who has waited longest takes the place; the others find that there is none and say so again.
            waiting.sort_by_key(|(since, _)| *since);
            for (_, member) in waiting {
                member.kick();
            }
        }
    }

    /// Closes an idle connection of any pool; if there is none, the next that comes back is asked for.
    pub(super) fn make_room(&self) -> bool {
        if self.living().iter().any(|member| member.evict_idle()) {
            return true;
        }
        self.starving.store(true, Ordering::Release);
        false
    }

    /// Whether some pool lacks a connection for want of quota.
    pub(super) fn is_wanted(&self) -> bool {
        self.starving.load(Ordering::Acquire)
    }

    /// Whether somebody has waited for quota for so long that a pool whose own `first` waits since then, if anybody
    /// does, has to give up a connection.
    pub(super) fn is_owed(&self, first: Option<Instant>, now: Instant) -> bool {
        let members = self.living();
        let longest = members.iter().filter_map(|member| member.wants_since());
        match longest.min() {
            Some(since) => first.unwrap_or(now).saturating_duration_since(since) > PATIENCE,
            None => {
                self.starving.store(false, Ordering::Release);
                false
            }
        }
    }

    /// As [`Self::give_back`], for who holds a pool's lock: others learn of it a little later.
    pub(super) fn give_back_quietly(&self) {
        self.used.fetch_sub(1, Ordering::AcqRel);
    }

    fn living(&self) -> Vec<Arc<dyn Member>> {
        self.members
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

impl<C: Connect> Member for Pool<C> {
    fn evict_idle(&self) -> bool {
        let mut state = self.state.lock();
        if state.idle.is_empty() {
            return false;
        }
        let idle = state.idle.remove(0);
        state.total -= 1;
        drop(state);
        drop(idle);
        self.quota.give_back_quietly();
        true
    }

    fn wants_since(&self) -> Option<Instant> {
        let size = self.settings.load().size;
        self.state.lock().wants_since(size)
    }

    fn kick(self: Arc<Self>) {
        self.open_if_wanted();
    }
}
