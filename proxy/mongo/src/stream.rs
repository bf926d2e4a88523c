//! Moves bytes: whole messages in, answers out; nothing held while idle.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use twinport_core::scratch;
use twinport_core::stream::Stream;
use twinport_wire::mongo::frame;

/// So many bytes that a client sends while its request runs are kept; then it is no longer read.
const AHEAD: usize = 64 * 1024;

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The client is gone.
    #[error("the connection was closed")]
    Gone,
    /// Bytes that are no protocol.
    #[error(transparent)]
    Wire(#[from] twinport_wire::Error),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A client's connection, with what has been read and not handled.
pub(crate) struct Channel {
    pub(crate) stream: Stream,
    pending: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// The next whole message, of at most `limit` bytes.
    pub(crate) async fn message(&mut self, limit: usize) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(header) = frame::peek_within(&self.pending, limit)? {
                if self.pending.len() >= header.len {
                    return Ok(self.take(header.len));
                }
                // Grows with what has come: a length alone takes no memory.
                let missing = header.len - self.pending.len();
                self.pending.reserve_exact(missing.min(self.pending.len()));
            }
            if self.read().await? == 0 {
                return Err(Broken::Gone);
            }
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.pending.split_off(len);
        std::mem::replace(&mut self.pending, rest)
    }

    /// Reads once, through the thread's buffer; nothing is lost if this is dropped.
    async fn read(&mut self) -> io::Result<usize> {
        let (stream, pending) = (&mut self.stream, &mut self.pending);
        poll_fn(|cx| {
            scratch::with(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
                pending.extend_from_slice(read.filled());
                Poll::Ready(Ok(read.filled().len()))
            })
        })
        .await
    }

    /// Ready when the client is gone. What it sends in the meantime is kept.
    pub(crate) async fn gone(&mut self) {
        while self.pending.len() < AHEAD {
            if !matches!(self.read().await, Ok(1..)) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Sends an answer.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }
}
