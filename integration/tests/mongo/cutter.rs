//! A TCP proxy that loses answers: what was asked for has happened, and whoever asked isn't told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use twinport_integration::relay::{Relay, Watch};

/// Which answers are lost, and their connection with them.
#[derive(Clone, Copy)]
pub(crate) enum Loses {
    /// That to every other request which holds these bytes, from the first on.
    AnswerToEveryOther(&'static [u8]),
    /// Each that holds these bytes.
    Answer(&'static [u8]),
    /// Not the answer but the request, if it holds these bytes: it never arrives.
    Request(&'static [u8]),
}

/// The proxy; it ends when dropped.
pub(crate) struct Cutter {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    counts: Arc<Counts>,
    _relay: Relay,
}

#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    lost: AtomicUsize,
}

impl Cutter {
    /// Leads to this port of the machine.
    pub(crate) async fn before(port: u16, loses: Loses) -> Result<Self> {
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        let relay = Relay::before(port, move || Cut {
            loses,
            counts: Arc::clone(&shared),
            doomed: false,
        });
        let relay = relay.await?;
        Ok(Self {
            port: relay.port,
            counts,
            _relay: relay,
        })
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> usize {
        self.counts.lost.load(Ordering::SeqCst)
    }
}

/// A connection until an answer has to be lost.
struct Cut {
    loses: Loses,
    counts: Arc<Counts>,
    doomed: bool,
}

impl Watch for Cut {
    fn asked(&mut self, bytes: &[u8]) -> bool {
        if let Loses::AnswerToEveryOther(sign) = self.loses
            && holds(bytes, sign)
        {
            let before = self.counts.asked.fetch_add(1, Ordering::SeqCst);
            self.doomed = before.is_multiple_of(2);
        }
        if let Loses::Request(sign) = self.loses
            && holds(bytes, sign)
        {
            self.counts.lost.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        true
    }

    fn answered(&mut self, bytes: &[u8]) -> bool {
        if let Loses::Answer(sign) = self.loses {
            self.doomed = holds(bytes, sign);
        }
        if self.doomed {
            self.counts.lost.fetch_add(1, Ordering::SeqCst);
        }
        !self.doomed
    }
}

fn holds(bytes: &[u8], sign: &[u8]) -> bool {
    bytes.windows(sign.len()).any(|part| part == sign)
}
