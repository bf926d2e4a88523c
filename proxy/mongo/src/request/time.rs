//! The time that a command allows itself, for the statements and connections that it needs.

use std::time::Duration;

use twinport_core::sql::{Connection, SqlError};

use crate::fault::Fault;

/// Releases a connection whose statement the server has refused; one that broke is dropped.
pub(crate) fn settle<T>(
    result: Result<T, Ended>,
    connection: Box<dyn Connection>,
) -> Result<(T, Box<dyn Connection>), Fault> {
    match result {
        Ok(value) => Ok((value, connection)),
        Err(Ended::Failed(error)) => {
            if matches!(error, SqlError::Server { fatal: false, .. }) {
                connection.release();
            }
            Err(error.into())
        }
        Err(Ended::Late) => Err(Fault::timed_out()),
    }
}

/// Why a statement gave no rows.
pub(crate) enum Ended {
    Failed(SqlError),
    /// The command's time was over; the statement was dropped.
    Late,
}

/// Waits no longer than `bound`.
pub(crate) async fn within_bound_sql<T>(
    bound: Option<Duration>,
    work: impl Future<Output = Result<T, SqlError>>,
) -> Result<T, Ended> {
    match bound {
        None => work.await.map_err(Ended::Failed),
        Some(bound) => match tokio::time::timeout(bound, work).await {
            Ok(result) => result.map_err(Ended::Failed),
            Err(_) => Err(Ended::Late),
        },
    }
}

/// As [`within_bound_sql`], with the fault that the client gets.
pub(super) async fn within_bound<T>(
    bound: Option<Duration>,
    work: impl Future<Output = Result<T, SqlError>>,
) -> Result<T, Fault> {
    match within_bound_sql(bound, work).await {
        Ok(value) => Ok(value),
        Err(Ended::Failed(error)) => Err(error.into()),
        Err(Ended::Late) => Err(Fault::timed_out()),
    }
}

/// Waits no longer than `bound` for a part of what a command needs, such as a connection.
pub(crate) async fn in_time<T>(
    bound: Option<Duration>,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match bound {
        None => work.await,
        Some(bound) => match tokio::time::timeout(bound, work).await {
            Ok(result) => result,
            Err(_) => Err(Fault::timed_out()),
        },
    }
}
