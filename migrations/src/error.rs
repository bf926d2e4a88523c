//! Why a schema could not be read.

/// Why a schema could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the schema: {0}")]
pub struct Error(#[from] tokio_postgres::Error);

impl Error {
    /// The connection is gone; another one may do.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// What the server said, if it was the server.
    pub fn code(&self) -> Option<&tokio_postgres::error::SqlState> {
        self.0.code()
    }
}
