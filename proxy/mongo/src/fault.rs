//! Errors of our own and those that we translate: the one gate for text that a client may see, with code,
//! codeName, labels and what to do.

use std::fmt::Display;

use twinport_core::sql::SqlError;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;

pub(crate) mod codes;

pub(crate) use codes::known;

/// The write can be sent again: it is applied once.
pub(crate) const RETRYABLE_WRITE: &str = "RetryableWriteError";
/// The whole transaction can be run again.
pub(crate) const TRANSIENT_TRANSACTION: &str = "TransientTransactionError";
/// Nobody knows whether the transaction was committed.
pub(crate) const UNKNOWN_COMMIT: &str = "UnknownTransactionCommitResult";
const OVERLOADED: &str = "SystemOverloadedError";
const RETRYABLE: &str = "RetryableError";

/// An error that a client gets from us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// MongoDB's code.
    pub code: i32,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// What a driver may do about it.
    pub labels: Vec<&'static str>,
    /// Whether it is known that the command was not run, or not whole.
    pub unknown: bool,
}

impl Fault {
    /// An error after which the session goes on.
    pub fn new(code: i32, message: impl Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            labels: Vec::new(),
            unknown: false,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.message = format!("{}. {hint}", self.message.trim_end_matches('.'));
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, label: &'static str) -> Self {
        if !self.labels.contains(&label) {
            self.labels.push(label);
        }
        self
    }

    /// Whether another try may go better.
    pub fn may_pass(&self) -> bool {
        self.unknown || codes::may_pass(self.code)
    }

    /// The same, of a command inside a transaction: whether the whole may be run again.
    #[must_use]
    pub fn in_transaction(self) -> Self {
        if self.may_pass() || codes::ends_transaction(self.code) {
            self.label(TRANSIENT_TRANSACTION)
        } else {
            self
        }
    }

    /// The same, of a commit: whether nothing of the transaction is left, so that it may be run again.
    #[must_use]
    pub fn at_commit(self) -> Self {
        if codes::ends_transaction(self.code) {
            self.label(TRANSIENT_TRANSACTION)
        } else {
            self
        }
    }

    /// Bytes from the client that are no protocol.
    pub fn protocol(error: &twinport_wire::Error) -> Self {
        let code = if error.is_repeated() || error.is_field() {
            error.mongo_code().0
        } else if error.is_bson() {
            known::FAILED_TO_PARSE
        } else {
            known::PROTOCOL_ERROR
        };
        Self::new(code, error)
    }

    /// Too many ask at once; drivers wait a little and ask again.
    pub fn overloaded(message: impl Display) -> Self {
        Self::new(known::OVERLOAD, message)
            .label(OVERLOADED)
            .label(RETRYABLE)
    }

    /// The server goes down.
    pub fn going_down() -> Self {
        Self::new(known::SHUTDOWN_IN_PROGRESS, "the proxy is shutting down")
            .hint("Connect again in a moment")
    }

    /// Who has not logged in asks for what is not for everybody.
    pub fn unauthorized(command: &str) -> Self {
        Self::new(
            known::UNAUTHORIZED,
            format_args!("command {command} requires authentication"),
        )
    }

    /// The proof is wrong, or there is none; the log says more.
    pub fn authentication() -> Self {
        Self::new(known::AUTHENTICATION_FAILED, "Authentication failed.")
    }

    /// Somebody has ended the command.
    pub fn interrupted() -> Self {
        Self::new(known::INTERRUPTED, "operation was interrupted")
    }

    /// The time that the command allowed itself is over.
    pub fn timed_out() -> Self {
        Self::new(
            known::MAX_TIME_MS_EXPIRED,
            "operation exceeded time limit (maxTimeMS)",
        )
    }

    /// A field is missing or of the wrong type.
    pub fn field(command: &str, field: &str, what: &str) -> Self {
        Self::new(
            known::TYPE_MISMATCH,
            format_args!("BSON field '{command}.{field}' {what}"),
        )
    }

    /// The error document.
    pub fn to_document(&self) -> RawDocumentBuf {
        let mut document = rawdoc! {
            "ok": 0.0,
            "errmsg": self.message.as_str(),
            "code": self.code,
            "codeName": codes::name(self.code),
        };
        if !self.labels.is_empty() {
            let mut labels = RawArrayBuf::new();
            for label in &self.labels {
                labels.push(*label);
            }
            document.append(
                twinport_wire::mongo::bson::raw::cstr!("errorLabels"),
                labels,
            );
        }
        document
    }
}

impl From<SqlError> for Fault {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Unavailable {
                message,
                hint,
                overload,
                code,
            } => unavailable(&code, message, hint, overload),
            SqlError::Lost(why) => Self {
                unknown: true,
                ..Self::new(
                    known::HOST_UNREACHABLE,
                    format_args!("the connection to the database was lost: {why}"),
                )
            },
            SqlError::Server {
                code,
                message,
                detail,
                fatal,
            } => refused(&code, message, detail.as_deref(), fatal),
        }
    }
}

fn unavailable(state: &str, message: String, hint: Option<String>, overload: bool) -> Fault {
    let fault = if overload {
        Fault::overloaded(message)
    } else if state.starts_with("28") {
        Fault::new(known::UNAUTHORIZED, message)
    } else {
        Fault::new(known::HOST_UNREACHABLE, message)
    };
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// An error of the server.
fn refused(state: &str, message: String, detail: Option<&str>, fatal: bool) -> Fault {
    if state == "42883" || state == "3F000" && message.contains("documentdb") {
        return Fault::new(known::COMMAND_NOT_SUPPORTED, message).hint(
            "The database behind mongo.upstream needs the DocumentDB extension: \
             CREATE EXTENSION documentdb CASCADE",
        );
    }
    let code = codes::of_sqlstate(state).unwrap_or(known::INTERNAL_ERROR);
    let mut fault = Fault::new(code, duplicate(code, message, detail));
    fault.unknown = fatal;
    fault
}

/// Drivers and people look for `E11000`.
pub(crate) fn duplicate(code: i32, message: String, detail: Option<&str>) -> String {
    if code != known::DUPLICATE_KEY || message.starts_with("E11000") {
        return message;
    }
    match detail {
        Some(detail) => format!("E11000 duplicate key error: {message} ({detail})"),
        None => format!("E11000 duplicate key error: {message}"),
    }
}

impl From<&twinport_rewriter::Error> for Fault {
    fn from(error: &twinport_rewriter::Error) -> Self {
        let message = error.message();
        let fault = match error.position() {
            Some(at) => Self::new(
                error.mongo_code(),
                format_args!("{message}, at character {at} of the comment"),
            ),
            None => Self::new(error.mongo_code(), message),
        };
        match error.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}
