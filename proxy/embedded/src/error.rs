//! What can go wrong with a private server, told so that the reader knows what to do.

use std::{io, path::Path};

/// Why a private server could not be found, made, started or reached.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] Kind);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error("{0}")]
    NotFound(String),
    #[error("{action}: {source}")]
    Io { action: String, source: io::Error },
    #[error("`{program}` failed: {output}")]
    Command { program: String, output: String },
    #[error("Postgres did not start: {log}")]
    Start { log: String },
    #[error("Postgres did not become ready within {seconds} s; its log ends with: {log}")]
    Slow { seconds: u64, log: String },
    #[error(
        "cannot enter {folder} as user {user}, whom Postgres runs as: choose a folder that this user can reach"
    )]
    Unreachable { folder: String, user: String },
    #[error("{0} is neither empty nor a Postgres data folder: choose another folder")]
    NotEmpty(String),
    #[error("the server is not running")]
    Stopped,
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot connect to the private server: {0}")]
    Connect(#[from] tokio_postgres::Error),
}

impl Error {
    /// No Postgres (or none of the wanted version) is installed; the message says what to install.
    pub fn is_not_found(&self) -> bool {
        matches!(self.0, Kind::NotFound(_))
    }

    /// The server was told to start and did not.
    pub fn is_start(&self) -> bool {
        matches!(self.0, Kind::Start { .. } | Kind::Slow { .. })
    }

    /// The wanted port belongs to someone else.
    pub fn is_port_taken(&self) -> bool {
        matches!(&self.0, Kind::Start { log } if log.contains("Address already in use"))
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self(Kind::Io { action, source })
    }

    pub(crate) fn unreachable(folder: &Path, user: &str) -> Self {
        Self(Kind::Unreachable {
            folder: folder.display().to_string(),
            user: user.to_owned(),
        })
    }
}

impl From<rcgen::Error> for Error {
    fn from(source: rcgen::Error) -> Self {
        Self(Kind::Certificate(source))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(source: tokio_postgres::Error) -> Self {
        Self(Kind::Connect(source))
    }
}
