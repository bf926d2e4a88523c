//! Commands put together of parts: further fields, and those of a session's transaction.

use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;

use super::support::session;

/// A command with further fields.
pub(crate) fn with(mut command: RawDocumentBuf, more: &RawDocument) -> RawDocumentBuf {
    for (key, value) in more.iter().flatten() {
        command.append(key, value);
    }
    command
}

/// The command that begins the transaction of this number of a session.
pub(crate) fn begins(command: RawDocumentBuf, byte: u8, number: i64) -> RawDocumentBuf {
    let starts = rawdoc! { "startTransaction": true };
    with(goes_on(command, byte, number), &starts)
}

/// A later command of that transaction.
pub(crate) fn goes_on(command: RawDocumentBuf, byte: u8, number: i64) -> RawDocumentBuf {
    let part = rawdoc! { "lsid": session(byte), "txnNumber": number, "autocommit": false };
    with(command, &part)
}

pub(crate) fn commit(byte: u8, number: i64) -> RawDocumentBuf {
    let commit = rawdoc! { "commitTransaction": 1, "$db": "admin" };
    goes_on(commit, byte, number)
}

pub(crate) fn abort(byte: u8, number: i64) -> RawDocumentBuf {
    let abort = rawdoc! { "abortTransaction": 1, "$db": "admin" };
    goes_on(abort, byte, number)
}
