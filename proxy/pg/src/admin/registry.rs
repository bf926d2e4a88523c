//! Which upstream connections are open: written when one opens and when it closes, never in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use twinport_core::stream::Peer;

/// What is known of an open upstream connection.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number; clients that hold it refer to it.
    pub(crate) id: u64,
    /// The name that clients ask for.
    pub(crate) database: String,
    /// Whom it is logged in as.
    pub(crate) user: String,
    /// Where the server is, as the settings name it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Where the server really is.
    pub(crate) peer: Peer,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// The server's process.
    pub(crate) pid: i32,
    /// When it was opened.
    pub(crate) since: SystemTime,
    prepared: AtomicUsize,
}

/// What a connection is entered with; see [`Entry`].
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: u64,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) address: (String, u16),
    pub(crate) peer: Peer,
    pub(crate) tls: bool,
    pub(crate) pid: i32,
}

impl Entry {
    /// How many statements are prepared on it.
    pub(crate) fn prepared(&self) -> usize {
        self.prepared.load(Ordering::Relaxed)
    }
}

/// All open upstream connections.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    open: Mutex<HashMap<u64, Arc<Entry>>>,
}

impl Registry {
    /// Enters a connection; it leaves when the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, opened: Opened) -> Registered {
        let (host, port) = opened.address;
        let entry = Arc::new(Entry {
            id: opened.id,
            database: opened.database,
            user: opened.user,
            host,
            port,
            peer: opened.peer,
            tls: opened.tls,
            pid: opened.pid,
            since: SystemTime::now(),
            prepared: AtomicUsize::new(0),
        });
        self.open.lock().insert(entry.id, Arc::clone(&entry));
        Registered {
            entry,
            registry: Arc::clone(self),
        }
    }

    /// All, in the order in which they were opened.
    pub(crate) fn list(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.open.lock().values().cloned().collect();
        all.sort_by_key(|entry| entry.id);
        all
    }
}

/// A connection's place in the registry, as long as it is open.
#[derive(Debug)]
pub(crate) struct Registered {
    entry: Arc<Entry>,
    registry: Arc<Registry>,
}

impl Registered {
    /// Notes how many statements are prepared now.
    pub(crate) fn set_prepared(&self, count: usize) {
        self.entry.prepared.store(count, Ordering::Relaxed);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.open.lock().remove(&self.entry.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(id: u64) -> Opened {
        Opened {
            id,
            database: "app".into(),
            user: "alice".into(),
            address: ("db.internal".into(), 5432),
            peer: Peer::Unknown,
            tls: false,
            pid: 7,
        }
    }

    #[test]
    fn a_connection_is_listed_while_it_is_open() {
        let registry = Arc::new(Registry::default());
        let second = registry.enter(opened(2));
        let first = registry.enter(opened(1));
        first.set_prepared(3);
        let listed: Vec<_> = registry
            .list()
            .iter()
            .map(|e| (e.id, e.prepared()))
            .collect();
        assert_eq!(listed, [(1, 3), (2, 0)]);
        drop(first);
        drop(second);
        assert!(registry.list().is_empty());
    }
}
