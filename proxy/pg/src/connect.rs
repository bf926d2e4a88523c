//! From an address to an upstream that is ready for queries.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use twinport_config::{ChannelBinding, Host};
use twinport_core::stream::Stream;
use twinport_core::tls::ClientTls;
use twinport_wire::pg::backend::{self, Authentication};
use twinport_wire::pg::startup::{self, Version};

use crate::auth::{Credentials, Keyring};
use crate::handshake::channel::Channel;

mod error;
mod login;
mod reach;

pub use error::{ConnectError, ServerError};

/// The longest message accepted before ReadyForQuery.
const MAX_MESSAGE: usize = 64 * 1024;

/// The most messages accepted before ReadyForQuery: more is a server that
/// keeps us busy.
const MAX_MESSAGES: usize = 1000;

/// How long a server may take to close the connection of a CancelRequest.
const CANCEL_LINGER: Duration = Duration::from_secs(5);

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server's place.
    pub host: Host,
    /// Its TCP port, or the number in its socket's name.
    pub port: u16,
    /// TLS as its `sslmode` asks; `None` for none. Not used on Unix sockets.
    pub tls: Option<Arc<ClientTls>>,
    /// Does TLS begin with the first byte, without an SSLRequest?
    pub direct: bool,
    /// May, must or must not a login be bound to the TLS channel?
    pub channel_binding: ChannelBinding,
    /// Whom to log in as.
    pub user: String,
    /// The database to open.
    pub database: String,
    /// More for the startup message: settings, `options`, `replication`.
    pub parameters: Vec<(String, String)>,
    /// What to log in with.
    pub credentials: Credentials,
    /// 3.0, or 3.2 for long cancel keys; a server that knows less says so and
    /// goes on with what it knows.
    pub protocol: Version,
    /// From the look-up of the name to ReadyForQuery.
    pub timeout: Duration,
    /// The most PBKDF2 rounds that the server may ask of us; see
    /// [`twinport_wire::scram::client::MAX_ITERATIONS`].
    pub max_iterations: u32,
}

/// An upstream that is ready for queries.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: Stream,
    /// What its ParameterStatus messages said, in their order.
    pub parameters: Vec<(String, String)>,
    /// For a cancel: its process.
    pub pid: i32,
    /// For a cancel: its secret.
    pub secret: Vec<u8>,
    /// What it has sent beyond ReadyForQuery.
    pub leftover: Vec<u8>,
}

/// Connects and logs in.
///
/// # Errors
/// [`ConnectError`] tells a server that can't be reached from one that refuses
/// (its own error is kept), from TLS that fails, and from time that is over.
pub async fn connect(target: &Target, keyring: &Keyring) -> Result<Connected, ConnectError> {
    tokio::time::timeout(target.timeout, async {
        let (mut channel, end_point) = reach::reach(target).await?;
        start(&mut channel, target)?;
        login::login(&mut channel, target, end_point, keyring).await?;
        settle(channel).await
    })
    .await
    .unwrap_or_else(|_| Err(ConnectError::timeout(target)))
}

fn start(channel: &mut Channel, target: &Target) -> Result<(), ConnectError> {
    let identity = [
        ("user", target.user.as_str()),
        ("database", target.database.as_str()),
    ];
    let more = target.parameters.iter();
    let parameters = identity
        .into_iter()
        .chain(more.map(|(name, value)| (name.as_str(), value.as_str())));
    startup::startup_message(&mut channel.out, target.protocol, parameters)
        .map_err(ConnectError::protocol)
}

/// Reads what a server tells between AuthenticationOk and ReadyForQuery.
async fn settle(mut channel: Channel) -> Result<Connected, ConnectError> {
    let mut parameters = Vec::new();
    let mut key = (0, Vec::new());
    for _ in 0..MAX_MESSAGES {
        let message = channel.message(MAX_MESSAGE).await?;
        let body = message.body();
        match message.tag {
            backend::PARAMETER_STATUS => {
                let (name, value) = backend::parameter_status(body)?;
                parameters.push((text(name), text(value)));
            }
            backend::BACKEND_KEY_DATA => {
                let sent = backend::backend_key_data(body)?;
                key = (sent.pid, sent.secret.to_vec());
            }
            backend::READY_FOR_QUERY => {
                backend::ready_for_query(body)?;
                let (stream, leftover) = channel.into_parts()?;
                let (pid, secret) = key;
                return Ok(Connected {
                    stream,
                    parameters,
                    pid,
                    secret,
                    leftover,
                });
            }
            _ => common(&message)?,
        }
    }
    Err(ConnectError::violation(
        "more messages before ReadyForQuery than any server sends",
    ))
}

/// What may come at any time before ReadyForQuery.
fn common(message: &crate::handshake::channel::Message) -> Result<(), ConnectError> {
    match message.tag {
        backend::ERROR_RESPONSE => Err(ConnectError::server(message.bytes())),
        backend::NOTICE_RESPONSE => Ok(()),
        backend::NEGOTIATE => Ok(backend::negotiate(message.body()).map(|_| ())?),
        _ => Err(ConnectError::violation(
            "a message that does not belong into a login",
        )),
    }
}

/// The next authentication request.
async fn request<T>(
    channel: &mut Channel,
    read: impl FnOnce(Authentication<'_>) -> Result<T, ConnectError>,
) -> Result<T, ConnectError> {
    channel.flush().await?;
    for _ in 0..MAX_MESSAGES {
        let message = channel.message(MAX_MESSAGE).await?;
        if message.tag == backend::AUTHENTICATION {
            return read(Authentication::decode(message.body())?);
        }
        common(&message)?;
    }
    Err(ConnectError::violation("no authentication request"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks the server to cancel what the process `pid` runs, over a connection of
/// its own with the same TLS as [`connect`]. When this returns well, the server
/// has dealt with the request; whether it found something to cancel it never
/// says.
///
/// # Errors
/// As [`connect`], though no error of the server itself.
pub async fn send_cancel(target: &Target, pid: i32, secret: &[u8]) -> Result<(), ConnectError> {
    tokio::time::timeout(target.timeout, async {
        let (mut channel, _) = reach::reach(target).await?;
        startup::cancel_request(&mut channel.out, pid, secret);
        channel.flush().await?;
        let (mut stream, _) = channel.into_parts()?;
        if let Stream::TlsClient(_) = stream {
            stream.shutdown().await?;
        }
        // The server closes when the signal is sent. Its bytes, if any, and the
        // way it closes don't matter.
        let mut rest = [0; 64];
        let closed = stream.read(&mut rest);
        drop(tokio::time::timeout(CANCEL_LINGER, closed).await);
        Ok(())
    })
    .await
    .unwrap_or_else(|_| Err(ConnectError::timeout(target)))
}

#[cfg(test)]
mod tests;
