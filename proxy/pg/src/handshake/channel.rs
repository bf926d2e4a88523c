//! A connection while it is being opened: small bounded reads, whole messages.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use twinport_core::stream::Stream;
use twinport_core::tls::{Secured, TlsError};
use twinport_wire::pg::{frame, startup};

/// Bytes asked of the socket at a time. A whole login fits in one or two, and
/// memory grows with what has come, never with what a length claims.
const CHUNK: usize = 1024;

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The peer is gone; `true` if it had sent a part of a message.
    #[error("the connection was closed{}", if *.0 { " in the middle of a message" } else { "" })]
    Closed(bool),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] twinport_wire::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection with what has been read of it and what waits to be written.
pub(crate) struct Channel<S = Stream> {
    /// `None` during a TLS handshake, and after one that failed.
    stream: Option<S>,
    read: BytesMut,
    /// What [`Self::flush`] will send.
    pub(crate) out: Vec<u8>,
}

/// A whole tagged message.
pub(crate) struct Message {
    pub(crate) tag: u8,
    bytes: BytesMut,
}

impl Message {
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(frame::HEADER..).unwrap_or_default()
    }

    /// With tag and length.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Channel {
    /// Has the peer sent more than has been asked for?
    pub(crate) async fn has_unread(&self) -> Result<bool, Broken> {
        Ok(!self.read.is_empty() || self.stream()?.has_unread().await)
    }

    /// Puts TLS around a plain TCP connection; gives what binds a login to it.
    pub(crate) async fn upgrade<F>(
        &mut self,
        handshake: impl FnOnce(TcpStream) -> F,
    ) -> Result<Option<Vec<u8>>, Broken>
    where
        F: Future<Output = Result<Secured, TlsError>>,
    {
        match self.stream.take() {
            Some(Stream::Tcp(socket)) => {
                let secured = handshake(socket).await?;
                self.stream = Some(secured.stream);
                Ok(secured.end_point)
            }
            other => {
                self.stream = other;
                let what = "a plain TCP connection under TLS";
                Err(Broken::Wire(twinport_wire::Error::expected(what)))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream: Some(stream),
            read: BytesMut::new(),
            out: Vec::new(),
        }
    }

    /// The connection.
    pub(crate) fn stream(&self) -> Result<&S, Broken> {
        self.stream.as_ref().ok_or(Broken::Closed(false))
    }

    /// The untagged packet that opens a connection.
    pub(crate) async fn startup_packet(&mut self) -> Result<BytesMut, Broken> {
        loop {
            if let Some(length) = startup::peek(&self.read)?
                && self.read.len() >= length
            {
                return Ok(self.read.split_to(length));
            }
            self.fill().await?;
        }
    }

    /// The next tagged message; its length field may be at most `limit`.
    pub(crate) async fn message(&mut self, limit: usize) -> Result<Message, Broken> {
        loop {
            if let Some(header) = frame::peek_within(&self.read, limit)?
                && self.read.len() >= header.len
            {
                return Ok(Message {
                    tag: header.tag,
                    bytes: self.read.split_to(header.len),
                });
            }
            self.fill().await?;
        }
    }

    /// As [`Self::message`], for one that must have this tag. Another is refused
    /// by its first byte: what follows may be no message at all, such as a
    /// second startup packet, and have no end.
    pub(crate) async fn message_of(
        &mut self,
        tag: u8,
        what: &'static str,
        limit: usize,
    ) -> Result<Message, Broken> {
        if self.read.is_empty() {
            self.fill().await?;
        }
        if self.read.first() != Some(&tag) {
            return Err(twinport_wire::Error::expected(what).into());
        }
        self.message(limit).await
    }

    /// One byte, as a server answers an SSLRequest.
    pub(crate) async fn byte(&mut self) -> Result<u8, Broken> {
        loop {
            if let Some(byte) = self.read.first().copied() {
                drop(self.read.split_to(1));
                return Ok(byte);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Broken> {
        self.read.reserve(CHUNK);
        let stream = self.stream.as_mut().ok_or(Broken::Closed(false))?;
        match stream.read_buf(&mut self.read).await? {
            0 => Err(Broken::Closed(!self.read.is_empty())),
            _ => Ok(()),
        }
    }

    /// Sends what is in `out`.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        if !self.out.is_empty() {
            let stream = self.stream.as_mut().ok_or(Broken::Closed(false))?;
            stream.write_all(&self.out).await?;
            stream.flush().await?;
            self.out.clear();
        }
        Ok(())
    }

    /// The stream, and what was read beyond the last message.
    pub(crate) fn into_parts(self) -> Result<(S, Vec<u8>), Broken> {
        let stream = self.stream.ok_or(Broken::Closed(false))?;
        Ok((stream, Vec::from(self.read)))
    }
}
