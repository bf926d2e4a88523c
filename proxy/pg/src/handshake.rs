//! From an accepted connection to somebody who may talk to a database.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use twinport_core::stream::Stream;
use twinport_core::tls::{ServerTls, TlsError};
use twinport_wire::pg::backend::{Report, build};
use twinport_wire::pg::startup::{self, Version};

use crate::auth::{self, Credentials, Denied, Keyring, Policy, Secrets, Who};
use channel::{Broken, Channel};

pub(crate) mod channel;
mod opening;

use opening::{Opened, Opening};

/// How long a client that has failed waits for the answer: guessing is slow.
const PENALTY: Duration = Duration::from_millis(250);

/// How long we try to tell a client why it has to go.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection has to pass.
#[derive(Debug, Clone)]
pub struct Gate {
    /// TLS, if it is offered.
    pub tls: Option<Arc<ServerTls>>,
    /// Are plain TCP connections turned away?
    pub tls_required: bool,
    /// To the first byte, and from there to the end of authentication.
    pub timeout: Duration,
    /// So many may log in at a time. Who says nothing yet doesn't count.
    pub logins: Arc<Semaphore>,
    /// How clients are authenticated.
    pub policy: Policy,
    /// Derived keys; share one among all gates.
    pub keyring: Keyring,
}

/// How an accepted connection began.
#[derive(Debug)]
pub enum Accepted {
    /// Somebody who is who it says it is. Owed to it are [`Login::owed`], AuthenticationOk and
    /// what follows, or an error.
    Session(Box<Login>),
    /// Somebody asks to cancel. No answer is owed, but the connection is to be closed in order once the cancel
    /// was forwarded: clients wait for that.
    Cancel(CancelKey, Option<Box<Stream>>),
    /// Nobody any more: it has been told why, where that was possible.
    Gone(Gone),
}

/// Whom a CancelRequest means.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// As in our BackendKeyData.
    pub pid: i32,
    /// As in our BackendKeyData, if the client tells the truth: compare it in
    /// constant time.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey({}, secret)", self.pid)
    }
}

/// Why a connection came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gone {
    /// It left, or broke.
    Left,
    /// It was silent for too long.
    TimedOut,
    /// It did not keep to the protocol, or asked for what we don't have.
    Refused,
    /// There was no TLS where there had to be, or its handshake failed.
    Tls,
    /// Its proof was wrong, or its way of logging in is not open to it.
    Denied,
    /// Its secret could not be looked up.
    Unavailable,
}

/// What kind of replication connection is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replication {
    /// Of the whole server.
    Physical,
    /// Of one database.
    Logical,
}

/// A client that has been let in.
#[derive(Debug)]
pub struct Login {
    /// Its connection.
    pub stream: Stream,
    /// The database it asks for; its user's name if it asks for none.
    pub database: String,
    /// Who it is.
    pub user: String,
    /// Settings it brings, those of `options` first; a later one overrides an
    /// earlier one of the same name. Names are as the client wrote them.
    pub parameters: Vec<(String, String)>,
    /// Is it a replication connection?
    pub replication: Option<Replication>,
    /// What it speaks: 3.0 to 3.2. Long cancel keys are for 3.2.
    pub protocol: Version,
    /// What we can log in upstream with, in its name.
    pub credentials: Credentials,
    /// What it has sent already beyond its login.
    pub leftover: Vec<u8>,
    /// The end of its authentication, which goes out before anything else.
    pub owed: Vec<u8>,
}

/// Leads a connection through startup and authentication.
///
/// Every failure is logged and told to the client before this returns. Its
/// time and its memory are bounded, whatever the client sends.
pub async fn accept<S: Secrets>(stream: Stream, gate: &Gate, secrets: &S) -> Accepted {
    let peer = stream.peer();
    let spoken = tokio::time::timeout(gate.timeout, stream.arrived()).await;
    let mut channel = Channel::new(stream);
    let entered = match spoken {
        Ok(()) => {
            let _permit = gate.logins.acquire().await;
            tokio::time::timeout(gate.timeout, enter(&mut channel, gate, secrets)).await
        }
        Err(silent) => Err(silent),
    };
    let refusal = match entered {
        Ok(Ok(Entered::Cancel(key))) => {
            let stream = channel
                .into_parts()
                .ok()
                .map(|(stream, _)| Box::new(stream));
            return Accepted::Cancel(key, stream);
        }
        Ok(Ok(Entered::Session(opening, credentials))) => {
            let owed = std::mem::take(&mut channel.out);
            let Ok((stream, leftover)) = channel.into_parts() else {
                return Accepted::Gone(Gone::Left);
            };
            let login = opening.login(stream, credentials, leftover, owed);
            return Accepted::Session(Box::new(login));
        }
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::timed_out(),
    };
    if refusal.gone == Gone::Left {
        tracing::debug!(%peer, reason = refusal.reason, "client left before it was logged in");
    } else {
        tracing::info!(%peer, code = refusal.code, reason = refusal.reason, "login refused");
    }
    if refusal.gone == Gone::Denied {
        tokio::time::sleep(PENALTY).await;
    }
    if refusal.gone != Gone::Left {
        drop(tokio::time::timeout(FAREWELL, tell(channel, &refusal)).await);
    }
    Accepted::Gone(refusal.gone)
}

async fn tell(mut channel: Channel, refusal: &Refusal) -> Result<(), Broken> {
    build::error_response(
        &mut channel.out,
        &Report {
            severity: "FATAL",
            code: refusal.code,
            message: &refusal.message,
            hint: refusal.hint,
            ..Report::default()
        },
    );
    channel.flush().await?;
    let (mut stream, _) = channel.into_parts()?;
    Ok(stream.shutdown().await?)
}

enum Entered {
    Cancel(CancelKey),
    Session(Opening, Credentials),
}

async fn enter<S: Secrets>(
    channel: &mut Channel,
    gate: &Gate,
    secrets: &S,
) -> Result<Entered, Refusal> {
    let (opening, end_point) = match opening::open(channel, gate).await? {
        Opened::Cancel(key) => return Ok(Entered::Cancel(key)),
        Opened::Start(opening, end_point) => (opening, end_point),
    };
    let who = Who {
        user: &opening.user,
        database: &opening.database,
        end_point: end_point.as_deref(),
    };
    let verdict = auth::authenticate(channel, who, &gate.policy, secrets, &gate.keyring).await;
    let credentials = verdict.map_err(|denied| Refusal::denied(denied, &opening.user, gate))?;
    Ok(Entered::Session(opening, credentials))
}

/// Why a client is turned away: for itself, and for the log.
#[derive(Debug)]
pub(crate) struct Refusal {
    gone: Gone,
    code: &'static str,
    message: String,
    hint: Option<&'static str>,
    reason: String,
}

impl Refusal {
    fn new(gone: Gone, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            gone,
            code,
            reason: message.clone(),
            message,
            hint: None,
        }
    }

    fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    fn timed_out() -> Self {
        Self::new(
            Gone::TimedOut,
            "57014",
            "canceling authentication due to timeout",
        )
    }

    fn denied(denied: Denied, user: &str, gate: &Gate) -> Self {
        match denied {
            Denied::Broken(broken) => broken.into(),
            Denied::Violation(error) => error.into(),
            Denied::Unavailable(unavailable) => {
                Self::new(Gone::Unavailable, unavailable.code, unavailable.message)
                    .because(unavailable.reason)
            }
            Denied::Forbidden(why) => {
                Self::new(Gone::Denied, "28000", why).because(format!("user \"{user}\": {why}"))
            }
            Denied::Proof(why) => {
                let (code, method) = match gate.policy.method {
                    auth::Method::Cert => ("28000", "certificate"),
                    _ => ("28P01", "password"),
                };
                let message = format!("{method} authentication failed for user \"{user}\"");
                let reason = format!("{message}: {why}");
                Self::new(Gone::Denied, code, message).because(reason)
            }
        }
    }
}

impl From<twinport_wire::Error> for Refusal {
    fn from(error: twinport_wire::Error) -> Self {
        Self::new(Gone::Refused, error.sqlstate(), error.to_string())
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Wire(error) => error.into(),
            Broken::Tls(error) => error.into(),
            broken => Self::new(Gone::Left, "08006", broken.to_string()),
        }
    }
}

impl From<TlsError> for Refusal {
    fn from(error: TlsError) -> Self {
        // There is no common language left in which the client could be told.
        Self::new(Gone::Tls, "08P01", error.to_string())
    }
}

impl From<startup::CancelKey<'_>> for CancelKey {
    fn from(key: startup::CancelKey<'_>) -> Self {
        Self {
            pid: key.pid,
            secret: key.secret.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
