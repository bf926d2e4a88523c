//! An upstream connection: what it carries.

mod exchange;

pub use exchange::{ExchangeError, Row};

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use lru::LruCache;
use tokio::io::{AsyncRead, ReadBuf};
use twinport_core::pool::Connection;
use twinport_core::stream::Stream;
use twinport_wire::pg::backend;
use twinport_wire::pg::frame::Frames;

use crate::admin::registry::Registered;
use crate::buffers::Buffers;
use crate::cancel::Target;
use crate::parameters::{Overrides, Reported};
use crate::reading::decides_reading;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// More bytes than this nobody sends unasked while a connection is idle.
const UNASKED: usize = 64 * 1024;

/// So much room for answers an idle connection keeps, in bytes.
const KEPT: usize = 4 * 1024;

/// What a statement is prepared under: its entry, and what its names mean.
pub type PreparedKey = (u64, u64);

/// A connection to the server.
pub struct Upstream {
    /// A number of its own, for the admin console.
    pub id: u64,
    /// The socket.
    pub stream: Stream,
    /// The socket holds something back that was written to it.
    pub holds: bool,
    /// How to cancel what runs on it.
    pub target: Arc<Target>,
    /// What the server has reported.
    pub reported: Arc<Reported>,
    /// The server has reported a setting by which literals are read, since this was last looked at.
    pub rereads: bool,
    /// The search path that it began with, where the server doesn't report it.
    pub search_path: Option<Box<str>>,
    /// What was last applied to it.
    pub settings: Arc<Overrides>,
    /// Prepared statements by entry, with the number in their upstream name; the least used first to go.
    pub prepared: LruCache<PreparedKey, u32>,
    /// Bytes read and not yet handled: half a frame, or what came behind the last answer.
    pub inbound: Vec<u8>,
    /// Notifications that came while we asked something of our own: they are the session's.
    pub aside: Vec<u8>,
    /// Numbers of statements that we gave up and that are still to be closed on the server.
    pub unclosed: Vec<u32>,
    /// The entry in the unnamed statement's place.
    pub unnamed: Option<PreparedKey>,
    /// What the session that holds the connection works with.
    pub buffers: Buffers,
    next_name: u32,
    opened: Instant,
    /// Its place among the open connections.
    pub(crate) registered: Option<Registered>,
}

impl Upstream {
    /// A fresh connection that has just said ReadyForQuery.
    pub fn new(stream: Stream, reported: Reported, target: Target) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            stream,
            holds: false,
            target: Arc::new(target),
            reported: Arc::new(reported),
            rereads: false,
            search_path: None,
            settings: Arc::default(),
            prepared: LruCache::unbounded(),
            inbound: Vec::new(),
            aside: Vec::new(),
            unclosed: Vec::new(),
            unnamed: None,
            buffers: Buffers::default(),
            next_name: 0,
            opened: Instant::now(),
            registered: None,
        }
    }

    /// A number for the next statement's upstream name.
    pub fn next_name(&mut self) -> u32 {
        self.next_name = self.next_name.wrapping_add(1);
        if let Some(registered) = &self.registered {
            registered.set_prepared(self.prepared.len() + 1);
        }
        self.next_name
    }

    /// Counts on no prepared statement any more: they may be gone any moment. Names are never used twice, and
    /// what is not gone will be closed.
    pub fn forget_prepared(&mut self) {
        let numbers = self.prepared.iter().map(|(_, number)| *number);
        self.unclosed.extend(numbers);
        self.prepared.clear();
        self.unnamed = None;
    }

    /// Counts no more on a statement that was sent to be prepared and is not there.
    pub fn missing(&mut self, key: PreparedKey, number: u32) {
        if number == 0 {
            if self.unnamed == Some(key) {
                self.unnamed = None;
            }
        } else if self.prepared.peek(&key) == Some(&number) {
            self.prepared.pop(&key);
        }
    }

    /// Counts no more on a statement that was sent to be prepared and may be there or not.
    pub fn doubt(&mut self, key: PreparedKey, number: u32) {
        self.missing(key, number);
        if number > 0 {
            self.unclosed.push(number);
        }
    }

    /// Forgets the named statements, which the server has dropped.
    pub fn dropped_all(&mut self) {
        self.prepared.clear();
        self.unclosed.clear();
        if let Some(registered) = &self.registered {
            registered.set_prepared(0);
        }
    }

    /// Forgets what `DISCARD ALL` took.
    pub fn discarded(&mut self) {
        self.dropped_all();
        self.unnamed = None;
        self.settings = Arc::default();
    }

    /// Takes a ParameterStatus.
    pub fn note_parameter(&mut self, body: &[u8]) {
        if let Ok((name, value)) = backend::parameter_status(body) {
            self.rereads |= decides_reading(name);
            Arc::make_mut(&mut self.reported).set(
                &String::from_utf8_lossy(name),
                &String::from_utf8_lossy(value),
            );
        }
    }
}

impl Connection for Upstream {
    type Affinity = Arc<Overrides>;

    fn fits(&self, wanted: &Arc<Overrides>) -> bool {
        Arc::ptr_eq(&self.settings, wanted) || self.settings == *wanted
    }

    fn is_alive(&mut self) -> bool {
        // Idle and in step, the server has nothing to say but what it may say at any time, or that it goes. A read
        // that finds nothing costs no system call: the last one left the socket marked as not readable.
        let mut cx = Context::from_waker(Waker::noop());
        while self.inbound.len() < UNASKED {
            let mut room = [const { MaybeUninit::uninit() }; 512];
            let mut buffer = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => return is_unasked(&self.inbound),
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return false,
                // It is read with what comes next.
                Poll::Ready(Ok(())) => self.inbound.extend_from_slice(buffer.filled()),
            }
        }
        false
    }

    fn opened(&self) -> Instant {
        self.opened
    }
}

/// Whether bytes are whole messages that a server sends without being asked: notices, parameters that were
/// reloaded, notifications. Anything else is an answer that nobody waits for any more, or the server's last word.
fn is_unasked(bytes: &[u8]) -> bool {
    let mut frames = Frames::new(bytes);
    let unasked = frames.by_ref().all(|frame| {
        frame.is_ok_and(|frame| {
            matches!(
                frame.tag,
                backend::NOTICE_RESPONSE
                    | backend::PARAMETER_STATUS
                    | backend::NOTIFICATION_RESPONSE
            )
        })
    });
    unasked && frames.rest().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &[u8] = b"N\0\0\0\x05\0";
    const PARAMETER: &[u8] = b"S\0\0\0\x08a\0b\0";
    const READY: &[u8] = b"Z\0\0\0\x05I";

    #[test]
    fn only_what_a_server_says_unasked_may_wait_on_an_idle_connection() {
        assert!(is_unasked(b""));
        assert!(is_unasked(NOTICE));
        assert!(is_unasked(&[PARAMETER, NOTICE].concat()));
        assert!(!is_unasked(READY));
        assert!(!is_unasked(&[NOTICE, READY].concat()));
        assert!(!is_unasked(b"C\0\0\0\x0dROLLBACK\0"));
        assert!(!is_unasked(b"E\0\0\0\x05\0"));
        // Half of a message may be half of anything.
        assert!(!is_unasked(NOTICE.get(..3).unwrap_or_default()));
        assert!(!is_unasked(NOTICE.get(..5).unwrap_or_default()));
        assert!(!is_unasked(b"N\0\0\0\0"));
    }
}
