//! Statements that one wing has run on another's connections.
//!
//! The Mongo wing stores in Postgres, by the Postgres wing's pools, and neither knows the other: a wing that has
//! pools implements [`Gateway`], a wing that wants them takes one.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use thiserror::Error;

/// What an implementation gives for an `async fn`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whose connection is wanted.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The client's user. Where the database's URL names one, that one is used instead.
    pub user: Arc<str>,
    /// What can be shown upstream in its name.
    pub proof: Proof,
}

/// What a client has proven to know, good for a login in its name.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing that could be passed on.
    None,
    /// The password.
    Password(Arc<str>),
    /// SCRAM-SHA-256's client key and server key.
    ScramKeys([u8; 32], [u8; 32]),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(secret)",
            Self::ScramKeys(..) => "ScramKeys(secret)",
        })
    }
}

/// A statement that was made while the program runs, such as one that names a table.
///
/// Connections know it by its identity, and not by its text: it is to be kept as long as it is of use.
#[derive(Debug)]
pub struct Made {
    text: String,
    number: OnceLock<u64>,
}

impl Made {
    /// A statement of this text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self {
            text,
            number: OnceLock::new(),
        }
    }

    /// The SQL.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number that a gateway has given it; `first` gives it one.
    pub fn number(&self, first: impl FnOnce() -> u64) -> u64 {
        *self.number.get_or_init(first)
    }
}

/// Where connections come from.
pub trait Gateway: Send + Sync + 'static {
    /// A connection of a database to run statements on, outside of any transaction.
    ///
    /// MUST be fair to the other users of the pool, and MUST be bounded in time.
    fn lease<'a>(
        &'a self,
        database: &'a str,
        identity: &'a Identity,
    ) -> Pending<'a, Result<Box<dyn Connection>, SqlError>>;
}

/// A connection while somebody holds it.
///
/// Dropped without [`Connection::release`], what runs on it is cancelled and whatever transaction is open is
/// rolled back; it MUST NOT serve anybody else before that.
pub trait Connection: Send {
    /// Runs one statement with binary parameters; the rows' values are binary, too.
    ///
    /// An implementation SHOULD prepare a statement once for each connection and take one round trip after
    /// that. If the future is dropped, the connection is good for nothing but being dropped.
    fn run<'a>(
        &'a mut self,
        statement: &'static str,
        parameters: &'a [Option<&'a [u8]>],
    ) -> Pending<'a, Result<Rows, SqlError>>;

    /// As [`Connection::run`], for a statement that is not part of the program.
    fn run_made<'a>(
        &'a mut self,
        statement: &'a Made,
        parameters: &'a [Option<&'a [u8]>],
    ) -> Pending<'a, Result<Rows, SqlError>>;

    /// Runs SQL that has no parameters and no rows, such as `BEGIN`.
    fn command<'a>(&'a mut self, sql: &'a str) -> Pending<'a, Result<(), SqlError>>;

    /// The number that the admin console knows it by.
    fn number(&self) -> u64;

    /// Gives the connection back. One with a transaction open is treated as if it was dropped.
    fn release(self: Box<Self>);
}

/// Why a statement was not run, or failed.
#[derive(Clone, Debug, Error)]
pub enum SqlError {
    /// No connection could be had; nothing was run.
    #[error("{message}")]
    Unavailable {
        /// SQLSTATE as the Postgres wing tells its own clients.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// Whether the queue was too long, not the server gone.
        overload: bool,
    },
    /// The connection broke: nobody knows whether the statement took effect.
    #[error("the connection to the database was lost: {0}")]
    Lost(String),
    /// The server refused.
    #[error("{code}: {message}")]
    Server {
        /// SQLSTATE.
        code: String,
        /// The server's words.
        message: String,
        /// More about it.
        detail: Option<String>,
        /// Whether the server ends the connection with it.
        fatal: bool,
    },
}

impl SqlError {
    /// The same error as the last thing that the server said.
    #[must_use]
    pub fn into_fatal(mut self) -> Self {
        if let Self::Server { fatal, .. } = &mut self {
            *fatal = true;
        }
        self
    }

    /// SQLSTATE, if the server said one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// Rows as they came, without a copy for each value.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    values: Vec<Option<Range<usize>>>,
    width: usize,
}

impl Rows {
    /// Adds a row.
    pub fn push<'a>(&mut self, row: impl IntoIterator<Item = Option<&'a [u8]>>) {
        let before = self.values.len();
        for value in row {
            let place = value.map(|value| {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value);
                start..self.bytes.len()
            });
            self.values.push(place);
        }
        self.width = self.values.len() - before;
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value; `None` is NULL, or no such row or column.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> Option<&[u8]> {
        if column >= self.width {
            return None;
        }
        let place = self.values.get(row * self.width + column)?.clone()?;
        self.bytes.get(place)
    }

    /// A boolean; `None` if it is NULL or absent.
    #[must_use]
    pub fn boolean(&self, row: usize, column: usize) -> Option<bool> {
        self.get(row, column).map(|value| value == [1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_give_back_what_was_pushed() {
        let mut rows = Rows::default();
        assert!(rows.is_empty() && rows.get(0, 0).is_none());
        rows.push([Some(&b"ab"[..]), None]);
        rows.push([Some(&b""[..]), Some(&[1][..])]);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.get(0, 0), Some(&b"ab"[..]));
        assert_eq!(rows.get(0, 1), None);
        assert_eq!(rows.get(1, 0), Some(&b""[..]));
        assert_eq!(rows.boolean(1, 1), Some(true));
        assert_eq!(rows.get(0, 2), None);
        assert_eq!(rows.get(2, 0), None);
    }
}
