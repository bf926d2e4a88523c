//! Buffers of a lease: they live with the upstream connection, so that a transaction allocates nothing and an
//! idle client holds nothing.

use std::collections::VecDeque;

use crate::reply::Expect;
use crate::session::Session;

/// A buffer that has grown over so many bytes is not kept.
const KEEP: usize = 32 * 1024;

/// So many messages of one batch are kept for a second try at most, in bytes.
const BATCH: usize = 32 * 1024;

/// What a session borrows with its lease.
#[derive(Debug, Default)]
pub struct Buffers {
    to_upstream: Vec<u8>,
    batch: Vec<u8>,
    expected: VecDeque<Expect>,
}

/// The current batch as the client sent it, for a second try.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    kept: bool,
}

impl Batch {
    /// Whether the batch is kept whole.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Keeps a batch from here on.
    pub(crate) fn begin(&mut self) {
        self.bytes.clear();
        self.kept = true;
    }

    /// Adds a message to a batch that is kept; one that becomes too large is not.
    pub(crate) fn add(&mut self, message: &[u8]) {
        if self.kept {
            if self.bytes.len() + message.len() > BATCH {
                self.forget();
            } else {
                self.bytes.extend_from_slice(message);
            }
        }
    }

    /// Takes the last `len` bytes off.
    pub(crate) fn drop_last(&mut self, len: usize) {
        self.bytes.truncate(self.bytes.len().saturating_sub(len));
    }

    /// The batch is not kept any more.
    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
        self.kept = false;
    }

    /// The batch, which is not kept any more.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.kept = false;
        std::mem::take(&mut self.bytes)
    }
}

impl Session {
    /// Takes the buffers of the connection that the session holds from now on.
    pub(crate) fn borrow_buffers(&mut self, buffers: &mut Buffers) {
        std::mem::swap(&mut self.to_upstream, &mut buffers.to_upstream);
        self.batch.bytes = std::mem::take(&mut buffers.batch);
        self.replies.begin(std::mem::take(&mut buffers.expected));
    }

    /// Gives them back, empty.
    pub(crate) fn return_buffers(&mut self, buffers: &mut Buffers) {
        buffers.to_upstream = emptied(std::mem::take(&mut self.to_upstream));
        buffers.batch = emptied(self.batch.take());
        buffers.expected = self.replies.end();
    }
}

fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > KEEP {
        return Vec::new();
    }
    buffer.clear();
    buffer
}
