//! To the server by TCP or Unix socket, with TLS as asked.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::Instant;
use twinport_config::{Host, SslMode};
use twinport_core::stream::Stream;
use twinport_core::tls::{ALPN_POSTGRES, ClientTls};
use twinport_wire::pg::startup;

use super::{ConnectError, Target};
use crate::handshake::channel::Channel;

/// A connection on which nothing has been said but what TLS needs, with what
/// binds a login to it.
pub(super) async fn reach(target: &Target) -> Result<(Channel, Option<Vec<u8>>), ConnectError> {
    let host = match &target.host {
        Host::Unix(dir) => {
            let path = dir.join(format!(".s.PGSQL.{}", target.port));
            let socket = UnixStream::connect(path)
                .await
                .map_err(|why| ConnectError::unreachable(target, why))?;
            return Ok((Channel::new(Stream::unix(socket)), None));
        }
        Host::Tcp(host) => host,
    };
    let Some(tls) = target
        .tls
        .as_ref()
        .filter(|tls| tls.mode() != SslMode::Disable)
    else {
        return Ok((tcp(target, host).await?, None));
    };
    let mut channel = tcp(target, host).await?;
    match secure(&mut channel, target, tls, host).await {
        Ok(Some(end_point)) => Ok((channel, end_point)),
        Ok(None) if tls.mode() == SslMode::Prefer => Ok((channel, None)),
        Ok(None) => Err(ConnectError::no_tls(
            "the server does not offer TLS, but sslmode asks for it",
        )),
        // As libpq: whoever prefers TLS takes plain text where TLS fails.
        Err(error) if tls.mode() == SslMode::Prefer && error.is_tls() => {
            tracing::debug!(%error, "TLS failed; sslmode=prefer goes on without");
            Ok((tcp(target, host).await?, None))
        }
        Err(error) => Err(error),
    }
}

/// Does what leads to TLS. `None` if the server has none; inside `Some`, what
/// binds a login.
async fn secure(
    channel: &mut Channel,
    target: &Target,
    tls: &ClientTls,
    host: &str,
) -> Result<Option<Option<Vec<u8>>>, ConnectError> {
    if !target.direct {
        startup::ssl_request(&mut channel.out);
        channel.flush().await?;
        match channel.byte().await? {
            b'S' => {}
            b'N' => return Ok(None),
            // An error from somebody who has not proven to be the server: its
            // text is not to be shown to anybody.
            b'E' => {
                return Err(ConnectError::violation(
                    "it answers an SSLRequest with an error",
                ));
            }
            _ => return Err(ConnectError::violation("it does not answer an SSLRequest")),
        }
        if channel.has_unread().await? {
            return Err(ConnectError::violation(
                "received unencrypted data after its answer to an SSLRequest",
            ));
        }
    }
    let end_point = channel.upgrade(|socket| tls.connect(host, socket)).await?;
    if target.direct && channel.stream()?.alpn() != Some(ALPN_POSTGRES) {
        return Err(ConnectError::no_tls(
            "the server does not know direct TLS; set sslnegotiation=postgres",
        ));
    }
    Ok(Some(end_point))
}

async fn tcp(target: &Target, host: &str) -> Result<Channel, ConnectError> {
    let deadline = Instant::now() + target.timeout;
    let failed = |why| ConnectError::unreachable(target, why);
    let found = lookup_host((host, target.port)).await.map_err(failed)?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.dedup();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        // Every address gets its share of the time that is left, so that one
        // that swallows packets doesn't hide the others.
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        let connected = tokio::time::timeout(share, TcpStream::connect(address)).await;
        match connected {
            Ok(Ok(socket)) => return Ok(Channel::new(Stream::tcp(socket)?)),
            Ok(Err(why)) => last = why,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed(last))
}
