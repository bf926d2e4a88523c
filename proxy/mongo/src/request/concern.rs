//! Read and write concerns, where the database behind the port is one Postgres.
//!
//! To drivers it is a replica set of one member: what it has done is known to a majority, and nobody else will ever
//! know of it.

use twinport_wire::mongo::Command;
use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::document::integer;

use super::{Request, query};
use crate::fault::{Fault, known};

/// The read concerns that there are.
const LEVELS: [&str; 5] = ["local", "available", "majority", "linearizable", "snapshot"];

/// The most members of a replica set, and so of `w`.
const MEMBERS: i64 = 50;

/// The commands that write, other than aggregations.
const WRITING: [&str; 20] = [
    "abortTransaction",
    "collMod",
    "commitTransaction",
    "create",
    "createIndexes",
    "createRole",
    "createUser",
    "delete",
    "drop",
    "dropDatabase",
    "dropIndexes",
    "dropRole",
    "dropUser",
    "findAndModify",
    "findandmodify",
    "insert",
    "renameCollection",
    "update",
    "updateRole",
    "updateUser",
];

/// Whether there is such a read concern, and the database can read by it; else another result would come silently.
pub(super) fn read(request: &Request<'_>) -> Result<(), Fault> {
    let level = request
        .command
        .read_concern
        .map(|concern| concern.get("level"));
    let level = match level {
        None | Some(Ok(None | Some(RawBsonRef::Null))) => return Ok(()),
        Some(Ok(Some(RawBsonRef::String(level)))) => level,
        Some(_) => {
            return Err(Fault::field("readConcern", "level", "must be a string"));
        }
    };
    if !LEVELS.contains(&level) {
        return Err(Fault::new(
            known::BAD_VALUE,
            format_args!(
                "Enumeration value '{level}' for field 'readConcern.level' is not a valid value"
            ),
        )
        .hint(format_args!("There are {}", LEVELS.join(", "))));
    }
    if level != "snapshot" || request.command.in_transaction() {
        return Ok(());
    }
    Err(Fault::new(
        known::INVALID_OPTIONS,
        "read concern snapshot is not supported outside transactions",
    )
    .hint("Read inside a transaction: it sees one snapshot"))
}

/// What has to be told of a write concern beside the answer of a command that is carried out: that it is not met, and
/// can't be. One that is none refuses the command.
pub(super) fn write(request: &Request<'_>) -> Result<Option<Fault>, Fault> {
    let command = &request.command;
    let Some(concern) = command.write_concern else {
        return Ok(None);
    };
    let ends = matches!(command.name, "commitTransaction" | "abortTransaction");
    if command.in_transaction() && !ends && !concern.is_empty() {
        return Err(Fault::new(
            known::INVALID_OPTIONS,
            "writeConcern is not allowed within a multi-statement transaction",
        )
        .hint("Give it to commitTransaction"));
    }
    let w = concern.get("w").map_err(|_| wrong("w can't be read"))?;
    let unmet = w.map(unmet).transpose()?.flatten();
    Ok(unmet.filter(|_| writes(command)))
}

/// Whether one member can't meet this `w`, and why.
fn unmet(w: RawBsonRef<'_>) -> Result<Option<Fault>, Fault> {
    let unsatisfiable = || {
        Fault::new(
            known::UNSATISFIABLE_WRITE_CONCERN,
            "Not enough data-bearing nodes",
        )
    };
    match w {
        RawBsonRef::Null | RawBsonRef::Undefined => Ok(None),
        RawBsonRef::String("majority") => Ok(None),
        RawBsonRef::String(mode) => Ok(Some(Fault::new(
            known::UNKNOWN_WRITE_CONCERN,
            format_args!("No write concern mode named '{mode}' found in replica set configuration"),
        ))),
        RawBsonRef::Document(tags) if !tags.is_empty() => Ok(Some(unsatisfiable())),
        number => match integer(number) {
            Some(0 | 1) => Ok(None),
            Some(2..=MEMBERS) => Ok(Some(unsatisfiable())),
            Some(_) => Err(wrong(
                "w has to be a non-negative number and not greater than 50",
            )),
            None => Err(wrong("w has to be a number, string, or object")),
        },
    }
}

fn wrong(why: &str) -> Fault {
    Fault::new(known::FAILED_TO_PARSE, why)
}

fn writes(command: &Command<'_>) -> bool {
    WRITING.contains(&command.name) || command.name == "aggregate" && query::writes(command.body)
}
