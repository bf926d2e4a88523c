//! Why an upstream could not be had.

use std::fmt;
use std::io;

use twinport_core::tls::TlsError;
use twinport_wire::pg::backend::Fields;
use twinport_wire::pg::frame;

use super::Target;
use crate::handshake::channel::Broken;

/// Why an upstream could not be had.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConnectError(Box<Kind>);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("cannot reach {place}: {why}")]
    Unreachable { place: String, why: io::Error },
    #[error("the connection broke before the login was done: {0}")]
    Lost(Broken),
    #[error("no login at {place} within {seconds:.1} s")]
    Timeout { place: String, seconds: f64 },
    #[error(transparent)]
    Tls(TlsError),
    #[error("{0}")]
    NoTls(&'static str),
    #[error(transparent)]
    Server(ServerError),
    #[error("the server does not keep to the protocol: {0}")]
    Wire(twinport_wire::Error),
    #[error("the server does not keep to the protocol: {0}")]
    Violation(&'static str),
    #[error("cannot log in: {0}")]
    Credentials(String),
}

/// An ErrorResponse of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{severity}: {message} ({code})")]
pub struct ServerError {
    /// Not localized, where the server gives it so.
    pub severity: String,
    /// SQLSTATE; `XX000` if the server gives none.
    pub code: String,
    /// Its text.
    pub message: String,
    /// The whole message as it came, tag and length included.
    pub bytes: Vec<u8>,
}

impl ConnectError {
    pub(super) fn unreachable(target: &Target, why: io::Error) -> Self {
        let place = place(target).to_string();
        Kind::Unreachable { place, why }.into()
    }

    pub(super) fn timeout(target: &Target) -> Self {
        Kind::Timeout {
            place: place(target).to_string(),
            seconds: target.timeout.as_secs_f64(),
        }
        .into()
    }

    pub(super) fn no_tls(why: &'static str) -> Self {
        Kind::NoTls(why).into()
    }

    pub(super) fn violation(why: &'static str) -> Self {
        Kind::Violation(why).into()
    }

    pub(super) fn protocol(error: twinport_wire::Error) -> Self {
        Kind::Wire(error).into()
    }

    pub(super) fn credentials(why: impl Into<String>) -> Self {
        Kind::Credentials(why.into()).into()
    }

    /// From a whole ErrorResponse.
    pub(super) fn server(bytes: &[u8]) -> Self {
        let fields = Fields::new(bytes.get(frame::HEADER..).unwrap_or_default());
        let text = |letter| fields.get(letter).map(super::text);
        Kind::Server(ServerError {
            severity: text(b'V')
                .or_else(|| text(b'S'))
                .unwrap_or_else(|| "FATAL".to_owned()),
            code: fields.code().unwrap_or("XX000").to_owned(),
            message: text(b'M').unwrap_or_else(|| "the server gave no reason".to_owned()),
            bytes: bytes.to_vec(),
        })
        .into()
    }

    /// Nobody answers there, or the name is unknown, or the connection broke.
    pub fn is_unreachable(&self) -> bool {
        matches!(*self.0, Kind::Unreachable { .. } | Kind::Lost(_))
    }

    /// The time was over.
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::Timeout { .. })
    }

    /// TLS failed, was refused, or the server is not to be trusted.
    pub fn is_tls(&self) -> bool {
        matches!(*self.0, Kind::Tls(_) | Kind::NoTls(_))
    }

    /// The server said something that no Postgres says.
    pub fn is_protocol(&self) -> bool {
        matches!(*self.0, Kind::Wire(_) | Kind::Violation(_))
    }

    /// What we can log in with does not do for what the server asks.
    pub fn is_credentials(&self) -> bool {
        matches!(*self.0, Kind::Credentials(_))
    }

    /// The server's own error, if it is one.
    pub fn server_error(&self) -> Option<&ServerError> {
        match &*self.0 {
            Kind::Server(error) => Some(error),
            _ => None,
        }
    }

    /// The SQLSTATE for a client whose login or query needed this upstream.
    pub fn sqlstate(&self) -> &str {
        match &*self.0 {
            Kind::Server(error) => &error.code,
            Kind::Wire(_) | Kind::Violation(_) => "08P01",
            Kind::Credentials(_) => "28000",
            Kind::Unreachable { .. }
            | Kind::Lost(_)
            | Kind::Timeout { .. }
            | Kind::Tls(_)
            | Kind::NoTls(_) => "08006",
        }
    }
}

/// Where a target is, for people.
pub(super) fn place(target: &Target) -> impl fmt::Display {
    format!("{}:{}", target.host, target.port)
}

impl From<Kind> for ConnectError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<Broken> for ConnectError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Wire(error) => Kind::Wire(error),
            Broken::Tls(error) => Kind::Tls(error),
            broken => Kind::Lost(broken),
        }
        .into()
    }
}

impl From<TlsError> for ConnectError {
    fn from(error: TlsError) -> Self {
        Kind::Tls(error).into()
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Kind::Lost(Broken::Io(error)).into()
    }
}

impl From<twinport_wire::Error> for ConnectError {
    fn from(error: twinport_wire::Error) -> Self {
        Self::protocol(error)
    }
}
