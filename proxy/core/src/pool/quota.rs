//! The bound on upstream connections that several pools of one database share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Connect, Pool};

/// How many connections the pools of one database may have together.
///
/// A pool that needs a connection while the quota is used up first takes the place of an idle connection of
/// another pool; if all are at work, the next one that comes back makes room.
pub struct Quota {
    max: AtomicUsize,
    used: AtomicUsize,
    starving: AtomicBool,
    members: Mutex<Vec<Weak<dyn Member>>>,
}

trait Member: Send + Sync {
    fn evict_idle(&self) -> bool;
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
            for member in self.living() {
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

    pub(super) fn is_wanted_elsewhere(&self) -> bool {
        self.starving.load(Ordering::Acquire)
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
        self.quota.used.fetch_sub(1, Ordering::AcqRel);
        true
    }

    fn kick(self: Arc<Self>) {
        self.open_if_wanted();
    }
}
