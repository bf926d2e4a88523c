//! What a command may ask for, and what its errors mean by where it stands.

use super::Request;
use crate::fault::{Fault, RETRYABLE_WRITE, known};

/// Whether the database behind the port can read as it is asked to; else another result would come silently.
pub(super) fn readable(request: &Request<'_>) -> Result<(), Fault> {
    if request.read_concern() != Some("snapshot") || request.command.in_transaction() {
        return Ok(());
    }
    Err(Fault::new(
        known::INVALID_OPTIONS,
        "read concern snapshot is not supported outside transactions",
    )
    .hint("Read inside a transaction: it sees one snapshot"))
}

/// A write that is known by its number may be sent again: it is applied once.
pub(super) fn retryable(fault: Fault, request: &Request<'_>) -> Fault {
    let command = &request.command;
    let numbered = command.txn_number.is_some() && !command.in_transaction();
    if numbered && fault.may_pass() {
        fault.label(RETRYABLE_WRITE)
    } else {
        fault
    }
}

/// The extension watches maxTimeMS too, and may be the first to see that it is over.
pub(super) fn late(fault: Fault, request: &Request<'_>) -> Fault {
    let bounded = request.command.max_time_ms.is_some_and(|millis| millis > 0);
    if bounded && fault.code == known::INTERRUPTED {
        Fault::timed_out()
    } else {
        fault
    }
}
