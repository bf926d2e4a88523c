//! Why a transaction does not begin, go on or end as it is asked to.

use super::MOST;
use crate::fault::{Fault, RETRYABLE_WRITE, TRANSIENT_TRANSACTION, UNKNOWN_COMMIT, known};

/// The error for a transaction that is not there, or not any more.
pub(crate) fn none(number: i64) -> Fault {
    Fault::new(
        known::NO_SUCH_TRANSACTION,
        format_args!(
            "Given transaction number {number} does not match any in-progress transactions"
        ),
    )
    .label(TRANSIENT_TRANSACTION)
}

/// The error where there is no room for one more.
pub(crate) fn too_many() -> Fault {
    Fault::new(
        known::TOO_MANY_LOGICAL_SESSIONS,
        format_args!("too many sessions: {MOST} have had a transaction a moment ago"),
    )
    .hint("Use fewer sessions, and end them")
}

/// The error for a number that the session has used for a write.
pub(super) fn used(number: i64) -> Fault {
    Fault::new(
        known::ILLEGAL_OPERATION,
        format_args!("the session has used the number {number} already, for something else"),
    )
}

/// The error for a number below the session's latest.
pub(super) fn too_old(number: i64, newest: i64) -> Fault {
    Fault::new(
        known::TRANSACTION_TOO_OLD,
        format_args!("Cannot use transaction {number}: the session has begun {newest}"),
    )
}

/// The outcome of a commit that nobody knows.
pub(super) fn unknown(fault: Fault) -> Fault {
    fault.label(UNKNOWN_COMMIT).label(RETRYABLE_WRITE)
}
