//! A connection in any of its forms: TCP or Unix socket, plain or TLS.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How long a TCP connection is silent before the kernel probes it.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// The kernel takes no longer times between two probes.
const MOST_KEEPALIVE: Duration = Duration::from_secs(32_767);

/// A connection.
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket; never with TLS.
    Unix(UnixStream),
    /// A pipe inside this process: a client of our own.
    Memory(DuplexStream),
    /// TLS whose server we are.
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// TLS whose client we are.
    TlsClient(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address.
    Tcp(SocketAddr),
    /// A process of this machine, if the kernel names it.
    Unix(Option<i32>),
    /// Gone before we could ask.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(Some(pid)) => write!(f, "unix:{pid}"),
            Self::Unix(None) => f.write_str("unix"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Turns Nagle's delay off and keepalive on.
pub(crate) fn set_up(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_PROBES),
    )
}

impl Stream {
    /// Wraps a TCP connection; turns Nagle's delay off and keepalive on.
    ///
    /// # Errors
    /// What the kernel says, for example if the peer is gone already.
    pub fn tcp(socket: TcpStream) -> io::Result<Self> {
        set_up(SockRef::from(&socket))?;
        Ok(Self::Tcp(socket))
    }

    /// Has the kernel ask a silent peer after `every` whether it is there, and end the connection when it has
    /// acknowledged nothing for `bound`: by itself it goes on sending for a quarter of an hour.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn probe(&self, every: Duration, bound: Duration) -> io::Result<()> {
        let Some(socket) = self.socket() else {
            return Ok(());
        };
        let socket = SockRef::from(socket);
        // It counts whole seconds, and not many.
        let seconds = |time: Duration| time.clamp(Duration::from_secs(1), MOST_KEEPALIVE);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(seconds(every))
                .with_interval(seconds(bound / 2))
                .with_retries(KEEPALIVE_PROBES),
        )?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(bound))?;
        Ok(())
    }

    /// Wraps a connection by Unix socket.
    pub const fn unix(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }

    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Unix(_) | Self::Memory(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::TlsClient(stream) => Some(stream.get_ref().0),
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        if let Self::Unix(socket) = self {
            return Peer::Unix(socket.peer_cred().ok().and_then(|cred| cred.pid()));
        }
        self.socket()
            .and_then(|socket| socket.peer_addr().ok())
            .map_or(Peer::Unknown, Peer::Tcp)
    }

    /// Does the other end run on this machine, by TCP?
    pub fn is_loopback(&self) -> bool {
        matches!(self.peer(), Peer::Tcp(address) if address.ip().to_canonical().is_loopback())
    }

    /// Is it a Unix socket?
    pub const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Can somebody between us and the other end read it? So it is with plain
    /// TCP, which alone can be upgraded to TLS.
    pub const fn is_plain_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Is it encrypted?
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::TlsClient(_))
    }

    /// The protocol that ALPN has agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Self::TlsClient(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The certificate that the other end has shown, verified as configured.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        let chain = match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates(),
            Self::TlsClient(stream) => stream.get_ref().1.peer_certificates(),
        };
        chain.and_then(<[_]>::first)
    }

    /// Waits for the first byte of a plain TCP connection, without taking it:
    /// is it `byte`? No other form of connection is asked, nor waited for.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn starts_with(&self, byte: u8) -> io::Result<bool> {
        let Self::Tcp(socket) = self else {
            return Ok(false);
        };
        let mut first = [0; 1];
        let count = socket.peek(&mut first).await?;
        Ok(count == 1 && first == [byte])
    }

    /// Waits for the first byte, or the end, without taking it.
    pub async fn arrived(&self) {
        // An error will be met again by who reads.
        let _ = match self {
            Self::Tcp(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
            Self::Memory(_) | Self::Tls(_) | Self::TlsClient(_) => Ok(()),
        };
    }

    /// Have bytes arrived on a plain TCP connection that nobody has read?
    ///
    /// Ask before a TLS handshake: whoever sends plain text there and hopes
    /// that it is taken for the other's encrypted words must not succeed.
    pub async fn has_unread(&self) -> bool {
        let Self::Tcp(socket) = self else {
            return false;
        };
        let mut byte = [0; 1];
        poll_fn(|cx| {
            let mut buf = ReadBuf::new(&mut byte);
            let arrived = socket.poll_peek(cx, &mut buf);
            Poll::Ready(matches!(arrived, Poll::Ready(Ok(count)) if count > 0))
        })
        .await
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self {
            Self::Tcp(_) => "tcp",
            Self::Unix(_) => "unix",
            Self::Memory(_) => "memory",
            Self::Tls(_) | Self::TlsClient(_) => "tls",
        };
        write!(f, "Stream({form}, {})", self.peer())
    }
}

/// Calls the same method on whatever form it is.
macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Memory($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
            Stream::TlsClient($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}
