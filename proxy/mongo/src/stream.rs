//! Moves bytes: messages in, answers out; nothing held while idle.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use twinport_core::scratch;
use twinport_core::stream::Stream;
use twinport_wire::mongo::frame;
use twinport_wire::mongo::message::opening::{Opening, Sections};

/// The most bytes of a message that is held whole though it could go on while it comes.
pub(crate) const WHOLE: usize = 256 * 1024;

/// What longer messages are moved in.
pub(crate) const PIECE: usize = 128 * 1024;

/// How long a client may stop in the middle of a message that goes on while it comes, or take nothing of one: it
/// has a connection to a server for itself.
const STALL: Duration = Duration::from_secs(30);

/// So many bytes that a client sends while its request runs are kept; then it is no longer read.
const AHEAD: usize = 64 * 1024;

/// What a length alone may reserve, in bytes.
const TRUSTED: usize = 128 * 1024;

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

/// A message that has come, or the beginning of one, with what checks the rest of it.
pub(crate) struct Incoming {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rest: Option<Sections>,
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

    /// The next message, of at most `limit` bytes: all of it, unless it has more than `whole` and its beginning
    /// says how it goes on.
    pub(crate) async fn message(&mut self, limit: usize, whole: usize) -> Result<Incoming, Broken> {
        loop {
            let Some(header) = frame::peek_within(&self.pending, limit)? else {
                if self.read().await? == 0 {
                    return Err(Broken::Gone);
                }
                continue;
            };
            if self.pending.len() >= header.len {
                let bytes = self.take(header.len);
                return Ok(Incoming { bytes, rest: None });
            }
            if header.len > whole
                && let Ok(Some(opening)) = Opening::read(&self.pending)
                && let Ok(mut sections) = Sections::after(&opening)
                // What is wrong so soon is told when all of it is there.
                && let follow = self.pending.get(opening.end()..)
                && sections.pass(follow.unwrap_or_default()).is_ok()
            {
                return Ok(Incoming {
                    bytes: std::mem::take(&mut self.pending),
                    rest: Some(sections),
                });
            }
            self.grow(header.len).await?;
        }
    }

    /// Puts back the beginning of a message that can't go on before it is all there.
    pub(crate) fn put_back(&mut self, bytes: Vec<u8>) {
        self.pending = bytes;
    }

    /// Reads on in a message of so many bytes, to the place where it stays.
    async fn grow(&mut self, len: usize) -> Result<(), Broken> {
        let missing = len - self.pending.len();
        if self.pending.spare_capacity_mut().is_empty() {
            // Grows with what has come: a length alone takes little memory.
            let room = missing.min(self.pending.len().max(TRUSTED));
            self.pending.reserve_exact(room);
        }
        let mut stream = (&mut self.stream).take(missing as u64);
        match stream.read_buf(&mut self.pending).await? {
            0 => Err(Broken::Gone),
            _ => Ok(()),
        }
    }

    /// The next whole message of what has been read already.
    pub(crate) fn buffered(&mut self, limit: usize) -> Option<Vec<u8>> {
        let header = frame::peek_within(&self.pending, limit).ok().flatten()?;
        (self.pending.len() >= header.len).then(|| self.take(header.len))
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.pending.split_off(len);
        std::mem::replace(&mut self.pending, rest)
    }

    /// Reads once, through the thread's buffer; nothing is lost if this is dropped.
    async fn read(&mut self) -> io::Result<usize> {
        scratch::read(&mut self.stream, &mut self.pending).await
    }

    /// Hands on the rest of a message that has begun, if there is one, piece by piece. Then it is ready when the
    /// client is gone, or has sent what is no message.
    pub(crate) async fn attend(&mut self, rest: Option<(&mut Sections, mpsc::Sender<Vec<u8>>)>) {
        if let Some((sections, taker)) = rest {
            while sections.left() > 0 {
                let Ok(place) = taker.reserve().await else {
                    // Nobody wants it: it is answered already.
                    return std::future::pending().await;
                };
                match self.piece(sections).await {
                    Ok(piece) => place.send(piece),
                    Err(error) => return tracing::info!(%error, "a message broke off"),
                }
            }
        }
        self.gone().await;
    }

    /// Throws away the rest of a message that was answered before its end.
    pub(crate) async fn skip(&mut self, sections: &mut Sections) -> Result<(), Broken> {
        while sections.left() > 0 {
            self.piece(sections).await?;
        }
        Ok(())
    }

    /// The next piece of a message, checked.
    async fn piece(&mut self, sections: &mut Sections) -> Result<Vec<u8>, Broken> {
        let mut piece = Vec::with_capacity(PIECE.min(sections.left()));
        let mut stream = (&mut self.stream).take(sections.left() as u64);
        match timeout(STALL, stream.read_buf(&mut piece)).await {
            Ok(Ok(1..)) => {}
            Ok(_) | Err(_) => return Err(Broken::Gone),
        }
        sections.pass(&piece)?;
        Ok(piece)
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

    /// Sends a part of an answer, to a client that keeps taking it.
    pub(crate) async fn send_piece(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(sent) = timeout(STALL, self.stream.write(rest)).await else {
                return Err(Broken::Gone);
            };
            rest = match sent? {
                0 => return Err(Broken::Gone),
                sent => rest.get(sent..).unwrap_or_default(),
            };
        }
        match timeout(STALL, self.stream.flush()).await {
            Ok(flushed) => Ok(flushed?),
            Err(_) => Err(Broken::Gone),
        }
    }
}
