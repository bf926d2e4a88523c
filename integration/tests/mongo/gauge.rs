//! A TCP proxy that counts what leads through it, and cuts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use twinport_integration::relay::{Relay, Watch};

/// A greeting, by which a monitor is known: it sends nothing else.
const GREETING: &[u8] = b"isMaster\0";

/// The proxy; it ends when dropped.
pub(crate) struct Gauge {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    counts: Arc<Counts>,
    relay: Relay,
}

#[derive(Default)]
struct Counts {
    working: AtomicUsize,
    most: AtomicUsize,
    monitors: AtomicUsize,
}

impl Gauge {
    /// Leads to this port of the machine.
    pub(crate) async fn before(port: u16) -> Result<Self> {
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        let relay = Relay::before(port, move || Counted::new(Arc::clone(&shared))).await?;
        Ok(Self {
            port: relay.port,
            counts,
            relay,
        })
    }

    /// How many connections are open that have sent more than greetings.
    pub(crate) fn working(&self) -> usize {
        self.counts.working.load(Ordering::SeqCst)
    }

    /// The most there were at one time.
    pub(crate) fn most(&self) -> usize {
        self.counts.most.load(Ordering::SeqCst)
    }

    /// How many connections are open that have sent nothing but greetings.
    pub(crate) fn monitors(&self) -> usize {
        self.counts.monitors.load(Ordering::SeqCst)
    }

    /// Cuts all that are open.
    pub(crate) fn cut(&self) {
        self.relay.cut();
    }
}

/// A connection, as it is counted while it is open.
struct Counted {
    counts: Arc<Counts>,
    works: bool,
}

impl Counted {
    fn new(counts: Arc<Counts>) -> Self {
        counts.monitors.fetch_add(1, Ordering::SeqCst);
        Self {
            counts,
            works: false,
        }
    }
}

impl Watch for Counted {
    fn asked(&mut self, bytes: &[u8]) -> bool {
        let greets = bytes.windows(GREETING.len()).any(|part| part == GREETING);
        if !self.works && !greets {
            self.works = true;
            self.counts.monitors.fetch_sub(1, Ordering::SeqCst);
            let now = self.counts.working.fetch_add(1, Ordering::SeqCst) + 1;
            self.counts.most.fetch_max(now, Ordering::SeqCst);
        }
        true
    }

    fn answered(&mut self, _: &[u8]) -> bool {
        true
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = match self.works {
            true => &self.counts.working,
            false => &self.counts.monitors,
        };
        count.fetch_sub(1, Ordering::SeqCst);
    }
}
