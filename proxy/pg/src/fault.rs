//! Errors of our own: the one gate for text that a client may see, with SQLSTATE and what to do.

use std::fmt::Display;
use std::sync::Arc;

use twinport_core::pool::AcquireError;
use twinport_wire::pg::backend::{Fields, Report, build};
use twinport_wire::pg::frame::HEADER;

use crate::connect::ConnectError;
use crate::upstream::ExchangeError;

/// An error that a client gets from us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether the connection ends with it.
    pub fatal: bool,
    /// SQLSTATE.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// More about it.
    pub detail: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
    /// Whether it is the server's check of a plan that would report it: drivers know it by that, and prepare anew.
    pub revalidates: bool,
}

impl Fault {
    /// An error after which the session goes on.
    pub fn error(code: &str, message: impl Display) -> Self {
        Self {
            fatal: false,
            code: code.to_owned(),
            message: message.to_string(),
            hint: None,
            detail: None,
            position: None,
            revalidates: false,
        }
    }

    /// No statement has this name.
    pub fn no_statement(name: &[u8]) -> Self {
        if name.is_empty() {
            return Self::error("26000", "unnamed prepared statement does not exist");
        }
        let name = String::from_utf8_lossy(name);
        Self::error(
            "26000",
            format_args!("prepared statement \"{name}\" does not exist"),
        )
    }

    /// An error that ends the connection.
    pub fn fatal(code: &str, message: impl Display) -> Self {
        Self {
            fatal: true,
            ..Self::error(code, message)
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Says that a statement has to be prepared anew.
    #[must_use]
    pub fn revalidating(mut self) -> Self {
        self.revalidates = true;
        self
    }

    /// Ends the connection.
    #[must_use]
    pub fn ending(mut self) -> Self {
        self.fatal = true;
        self
    }

    /// Bytes from the client that are no protocol.
    pub fn protocol(error: &twinport_wire::Error) -> Self {
        Self::fatal("08P01", error)
    }

    /// The server goes down.
    pub fn going_down() -> Self {
        Self::fatal("57P01", "the proxy is shutting down").hint("Connect again in a moment.")
    }

    /// The upstream connection broke while the client's request was on it.
    pub fn upstream_lost(why: impl Display) -> Self {
        Self::error(
            "08006",
            format_args!("the connection to the database was lost: {why}"),
        )
        .hint("Whether the last statement took effect is not known; check before running it again.")
    }

    /// No upstream connection could be had.
    pub fn no_upstream(error: &AcquireError<Arc<ConnectError>>) -> Self {
        match error {
            AcquireError::Timeout(after) => Self::error(
                "53300",
                format_args!("no database connection became free within {after:?}"),
            )
            .hint("All connections of the pool are busy: raise pool.size or pool.wait_timeout, or shorten transactions."),
            AcquireError::Closed => Self::error("57P01", "the pool of this database was closed"),
            AcquireError::Connect(error) => Self::connect(error),
        }
    }

    /// The upstream refused or could not be reached.
    pub fn connect(error: &ConnectError) -> Self {
        let code = error.sqlstate();
        let fault = Self::error(
            code,
            format_args!("cannot connect to the database: {error}"),
        );
        match code {
            "08006" | "08001" => {
                fault.hint("The database can't be reached at the moment; try again.")
            }
            _ => fault,
        }
    }

    /// The client took back what it waited for.
    pub fn cancelled() -> Self {
        Self::error("57014", "canceling statement due to user request")
    }

    /// The statement's own time, given by `@timeout`, is over.
    pub fn timed_out(after: std::time::Duration) -> Self {
        Self::error(
            "57014",
            format_args!("canceling statement due to @timeout({after:?})"),
        )
    }

    /// The server's FATAL, a whole ErrorResponse, as the client gets it.
    pub fn last_word(frame: &[u8]) -> Self {
        let fields = Fields::new(frame.get(HEADER..).unwrap_or_default());
        let text = |letter| {
            fields
                .get(letter)
                .map(|text| String::from_utf8_lossy(text).into_owned())
        };
        Self {
            hint: text(b'H'),
            detail: text(b'D'),
            ..Self::error(
                fields.code().unwrap_or("08006"),
                text(b'M').unwrap_or_else(|| "the server closed the connection".to_owned()),
            )
        }
    }

    /// A row of an `@include` that can't be held; the statement is sent otherwise from now on.
    pub fn row_too_large() -> Self {
        Self::fatal("54000", "a row with its included relations is over 64 MiB").hint(
            "Send the statement again: from now on the server puts its rows together. \
             Or include less, by limit or columns.",
        )
    }

    /// The whole ErrorResponse.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        build::error_response(
            &mut out,
            &Report {
                severity: if self.fatal { "FATAL" } else { "ERROR" },
                code: &self.code,
                message: &self.message,
                detail: self.detail.as_deref(),
                hint: self.hint.as_deref(),
                position: self.position,
                routine: self.revalidates.then_some("RevalidateCachedQuery"),
            },
        );
        out
    }
}

impl From<&ExchangeError> for Fault {
    fn from(error: &ExchangeError) -> Self {
        match error {
            ExchangeError::Server { code, message, .. } => Self::error(code, message),
            error => Self::upstream_lost(error),
        }
    }
}

impl From<&twinport_rewriter::Error> for Fault {
    fn from(error: &twinport_rewriter::Error) -> Self {
        Self {
            fatal: false,
            code: error.sqlstate().to_owned(),
            message: error.message().to_string(),
            hint: error.hint().map(ToOwned::to_owned),
            detail: None,
            position: error.position(),
            revalidates: false,
        }
    }
}
