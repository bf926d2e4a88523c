//! Whether a client is who it says it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;

pub use twinport_config::AuthMethod as Method;
use twinport_wire::md5;
use twinport_wire::scram::{Keys, Verifier};

mod exchange;
pub mod keyring;
pub mod query;

pub(crate) use exchange::{Denied, Who, authenticate};
pub use keyring::Keyring;

/// What a user's proof is checked against.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Plain(String),
    /// What SCRAM-SHA-256 needs to check a proof.
    Scram(Verifier),
    /// `md5` and 32 hexadecimal digits.
    Md5(String),
}

impl Secret {
    /// Tells the three forms apart as Postgres does for `pg_authid`; what has
    /// the shape of neither hash is a plain password.
    pub fn parse(text: &str) -> Self {
        if md5::is_stored(text) {
            return Self::Md5(text.to_owned());
        }
        Verifier::parse(text).map_or_else(|_| Self::Plain(text.to_owned()), Self::Scram)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(secret)",
            Self::Scram(_) => "Scram(secret)",
            Self::Md5(_) => "Md5(secret)",
        })
    }
}

/// What we can log in upstream with, in a user's name.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing: only a server that asks for nothing lets us in.
    None,
    /// The password.
    Password(String),
    /// Keys that work where the very same verifier is stored.
    ScramKeys(Keys),
    /// `md5` and 32 hexadecimal digits; enough for md5 authentication.
    Md5(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(secret)",
            Self::ScramKeys(_) => "ScramKeys(secret)",
            Self::Md5(_) => "Md5(secret)",
        })
    }
}

/// Where users' secrets come from.
pub trait Secrets: Sync {
    /// What `user`'s proof is checked against. `None` if there is no such user,
    /// or none that may log in by password.
    ///
    /// MUST NOT give an expired password. MUST be bounded in time. SHOULD
    /// remember answers for a while: every login asks.
    fn find(
        &self,
        user: &str,
        database: &str,
    ) -> impl Future<Output = Result<Option<Secret>, Unavailable>> + Send;
}

/// Secrets could not be looked up.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// SQLSTATE for the client.
    pub code: &'static str,
    /// What the client is told.
    pub message: String,
    /// What the log is told.
    pub reason: String,
}

/// How clients are authenticated.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The proof asked for.
    pub method: Method,
    /// For certificates: common name to the users it may log in as. A name not
    /// listed may log in as the user of the same name.
    pub cert_map: BTreeMap<String, BTreeSet<String>>,
}
