//! Cancel keys of our own, and the way of a cancel to the right upstream connection and no other.
//!
//! A cancel is forwarded only while the client it names holds a lease, and the connection isn't given to anybody
//! else until the server has taken the cancel: otherwise it would hit the next client's query. While the client waits
//! for a lease, a cancel ends its wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;
use twinport_core::stats::ServerStats;

use crate::server::Server;

/// How to cancel what runs on an upstream connection.
#[derive(Debug)]
pub struct Target {
    /// Where the server is.
    pub server: Arc<Server>,
    /// The backend's process.
    pub pid: i32,
    /// The backend's secret.
    pub secret: Vec<u8>,
    /// The client that was last given it: the number of its key.
    pub holder: Arc<AtomicI32>,
}

/// What a session's cancel key leads to.
#[derive(Debug, Default)]
pub struct Slot {
    state: Mutex<SlotState>,
    done: Notify,
}

#[derive(Debug, Default)]
struct SlotState {
    leads: Leads,
    in_flight: usize,
}

/// Where a cancel leads.
#[derive(Debug, Default)]
enum Leads {
    /// Nothing runs for the session.
    #[default]
    Nowhere,
    /// The session waits for an upstream connection.
    ToQueue,
    /// It waited and was cancelled.
    Cancelled,
    /// It holds a lease.
    To(Arc<Target>),
}

impl Slot {
    /// The session holds a lease on `target`.
    pub fn arm(&self, target: Arc<Target>) {
        self.state.lock().leads = Leads::To(target);
    }

    /// The session's lease is over; whether a cancel is on its way and must be waited for.
    #[must_use]
    pub fn disarm(&self) -> bool {
        let mut state = self.state.lock();
        state.leads = Leads::Nowhere;
        state.in_flight > 0
    }

    /// The session waits for a lease from now on; ready when that is cancelled. The wait ends with [`Self::disarm`].
    pub async fn cancelled(&self) {
        self.state.lock().leads = Leads::ToQueue;
        loop {
            let done = self.done.notified();
            if matches!(self.state.lock().leads, Leads::Cancelled) {
                return;
            }
            done.await;
        }
    }

    /// Waits until no cancel is on its way.
    pub async fn settled(&self) {
        loop {
            let done = self.done.notified();
            if self.state.lock().in_flight == 0 {
                return;
            }
            done.await;
        }
    }

    /// Forwards a cancel if the session holds a lease, and ends its wait if it wants one; whether there was anything
    /// to cancel.
    pub async fn cancel(&self) -> bool {
        let target = {
            let mut state = self.state.lock();
            match &state.leads {
                Leads::Nowhere => return false,
                Leads::ToQueue | Leads::Cancelled => {
                    state.leads = Leads::Cancelled;
                    self.done.notify_waiters();
                    return true;
                }
                Leads::To(target) => {
                    let target = Arc::clone(target);
                    state.in_flight += 1;
                    target
                }
            }
        };
        let landing = Landing(self);
        if let Err(error) = target.server.cancel(target.pid, &target.secret).await {
            tracing::warn!(%error, "cannot forward a cancel request");
        }
        drop(landing);
        true
    }
}

/// Counts a cancel as landed, even if its task is dropped.
struct Landing<'a>(&'a Slot);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.state.lock().in_flight -= 1;
        self.0.done.notify_waiters();
    }
}

/// A key's secret and what it leads to.
type Issued = (Box<[u8]>, Arc<Slot>);

/// All cancel keys in use.
#[derive(Debug, Default)]
pub struct Keys {
    next: AtomicI32,
    keys: Mutex<HashMap<i32, Issued>>,
}

impl Keys {
    /// Makes a key with a secret of `len` bytes (4 up to protocol 3.1, up to 256 from 3.2 on).
    pub fn issue(self: &Arc<Self>, len: usize) -> Key {
        let secret: Box<[u8]> = (0..len).map(|_| rand::random::<u8>()).collect();
        let slot = Arc::new(Slot::default());
        let mut keys = self.keys.lock();
        let pid = loop {
            let pid = self.next.fetch_add(1, Ordering::Relaxed) & i32::MAX;
            if pid != 0 && !keys.contains_key(&pid) {
                break pid;
            }
        };
        keys.insert(pid, (secret.clone(), Arc::clone(&slot)));
        drop(keys);
        Key {
            pid,
            secret,
            slot,
            keys: Arc::clone(self),
        }
    }

    /// Serves a CancelRequest. A key of nobody is ignored in silence, as Postgres does.
    pub async fn cancel(&self, pid: i32, secret: &[u8], stats: &ServerStats) {
        let slot = self
            .keys
            .lock()
            .get(&pid)
            .filter(|(known, _)| bool::from(known.as_ref().ct_eq(secret)))
            .map(|(_, slot)| Arc::clone(slot));
        let forwarded = match slot {
            Some(slot) => slot.cancel().await,
            None => false,
        };
        if forwarded {
            stats.cancels.add(1);
        } else {
            stats.cancels_ignored.add(1);
        }
    }
}

/// A session's key; it dies with it.
#[derive(Debug)]
pub struct Key {
    /// What stands for the backend's process.
    pub pid: i32,
    /// The secret.
    pub secret: Box<[u8]>,
    /// What the key leads to.
    pub slot: Arc<Slot>,
    keys: Arc<Keys>,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.keys.keys.lock().remove(&self.pid);
    }
}
