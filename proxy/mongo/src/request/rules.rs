//! What a command may ask for, and what its errors mean by where it stands.

use std::time::Duration;

use twinport_wire::mongo::Command;

use super::Request;
use crate::fault::{Fault, RETRYABLE_WRITE, known};

/// Whether everything that belongs to a command is where it is looked for.
pub(super) fn whole(request: &Request<'_>) -> Result<(), Fault> {
    let command = &request.command;
    if command.start_transaction == Some(true) && !command.in_transaction() {
        return Err(Fault::new(
            known::INVALID_OPTIONS,
            "'startTransaction' needs 'autocommit: false' beside it",
        ));
    }
    let taken = match command.name {
        "insert" => "documents",
        "update" => "updates",
        "delete" => "deletes",
        _ => "",
    };
    let sections = request
        .message
        .iter()
        .flat_map(|message| message.sequences());
    for section in sections {
        let name = section.identifier;
        if name != taken || command.has(name) {
            return Err(Fault::new(
                known::FAILED_TO_PARSE,
                format_args!(
                    "the section '{name}' of the message is not one that '{}' takes, or is there twice",
                    command.name
                ),
            ));
        }
    }
    Ok(())
}

/// The commands of version 1 of the stable API.
const STABLE: [&str; 32] = [
    "abortTransaction",
    "aggregate",
    "authenticate",
    "bulkWrite",
    "collMod",
    "commitTransaction",
    "count",
    "create",
    "createIndexes",
    "delete",
    "drop",
    "dropDatabase",
    "dropIndexes",
    "endSessions",
    "explain",
    "find",
    "findAndModify",
    "findandmodify",
    "getMore",
    "hello",
    "insert",
    "isMaster",
    "ismaster",
    "killCursors",
    "listCollections",
    "listDatabases",
    "listIndexes",
    "ping",
    "refreshSessions",
    "saslContinue",
    "saslStart",
    "update",
];

/// Whether a command is in the stable API that the client wants.
/// Source: <https://www.mongodb.com/docs/manual/reference/stable-api/>.
pub(super) fn stable(command: &Command<'_>) -> Result<(), Fault> {
    let Some(version) = command.api_version else {
        return Ok(());
    };
    if version != "1" {
        return Err(Fault::new(
            known::API_VERSION_ERROR,
            format_args!("API version must be \"1\", not \"{version}\""),
        ));
    }
    let inside = STABLE.contains(&command.name);
    if command.api_strict == Some(true) && !inside {
        return Err(Fault::new(
            known::API_STRICT_ERROR,
            format_args!(
                "Provided apiStrict:true, but the command {} is not in API Version 1",
                command.name
            ),
        ));
    }
    Ok(())
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

/// Whether the time that a command allows itself is one that there is.
pub(super) fn time(command: &Command<'_>) -> Result<(), Fault> {
    match command.max_time_ms {
        Some(millis) if i32::try_from(millis).map_or(true, i32::is_negative) => Err(Fault::new(
            known::BAD_VALUE,
            format_args!(
                "{millis} value for maxTimeMS is out of range [0, {}]",
                i32::MAX
            ),
        )),
        _ => Ok(()),
    }
}

/// The extension's clock may be ahead of ours by so much.
const AHEAD: Duration = Duration::from_millis(10);

/// The extension watches maxTimeMS too, and may be the first to see that it is over. What ends before that was killed.
pub(super) fn late(fault: Fault, request: &Request<'_>) -> Fault {
    let over = request.bound().is_some_and(|left| left <= AHEAD);
    if over && fault.code == known::INTERRUPTED {
        Fault::timed_out()
    } else {
        fault
    }
}
