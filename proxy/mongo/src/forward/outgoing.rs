//! What is sent upstream for a client's request: its own bytes, unless something has to be added.

use twinport_config::{ReadMode, ReadPreference};
use twinport_wire::mongo::bson::raw::{CString, RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::document::Documents;
use twinport_wire::mongo::message::build::{self, PREFIX};
use twinport_wire::mongo::message::{EXHAUST_ALLOWED, MORE_TO_COME};
use twinport_wire::mongo::{Command, Frame, Message, Sequence};

use super::connection::{Parts, parts};
use super::description::Kind;
use super::select::Want;
use crate::fault::{Fault, known};
use crate::request::{Begun, Request};

/// The message for a request, under this number; what can't be sent as it came is built in `room`.
pub(crate) fn message<'r>(
    request: &'r Request<'_>,
    number: i32,
    preference: Option<&RawDocumentBuf>,
    room: &'r mut Vec<u8>,
) -> Result<Parts<'r>, Fault> {
    if let (Some(frame), Some(message), None) = (&request.frame, &request.message, preference) {
        return Ok(parts(frame, message, number));
    }
    let mut body = request.command.body.to_owned();
    if let Some(preference) = preference {
        body.append(cstr!("$readPreference"), preference.clone());
    }
    let flags = if request.is_silent() { MORE_TO_COME } else { 0 };
    match (&request.sequence, &request.message) {
        (Some((identifier, bytes)), _) => {
            let sequence = Sequence { identifier, bytes };
            build::request(room, number, flags, &body, [sequence]);
        }
        (None, Some(message)) => {
            build::request(room, number, flags, &body, message.sequences());
        }
        (None, None) => build::request(room, number, flags, &body, []),
    }
    whole(room, number)
}

/// As [`message`], as far as the request has come.
pub(crate) fn beginning<'r>(
    begun: &Begun<'r>,
    number: i32,
    preference: Option<&RawDocumentBuf>,
    room: &'r mut Vec<u8>,
) -> Parts<'r> {
    let (opening, body) = (&begun.opening, begun.opening.body.as_bytes());
    let Some(preference) = preference else {
        let prefix = opening.prefix(number, EXHAUST_ALLOWED, body.len());
        return (prefix, begun.bytes.get(PREFIX..).unwrap_or_default());
    };
    let mut body = opening.body.to_owned();
    body.append(cstr!("$readPreference"), preference.clone());
    let follow = begun.bytes.get(opening.end()..).unwrap_or_default();
    room.extend(begun.bytes.get(PREFIX));
    room.extend_from_slice(body.as_bytes());
    room.extend_from_slice(follow);
    let prefix = opening.prefix(number, EXHAUST_ALLOWED, body.as_bytes().len());
    (prefix, room)
}

/// A command that was changed, with nothing beside it.
pub(crate) fn built<'r>(
    body: &RawDocumentBuf,
    number: i32,
    room: &'r mut Vec<u8>,
) -> Result<Parts<'r>, Fault> {
    build::request(room, number, 0, body, []);
    whole(room, number)
}

fn whole(room: &[u8], number: i32) -> Result<Parts<'_>, Fault> {
    let fault = |error: twinport_wire::Error| Fault::protocol(&error);
    let frame = Frame::first(room).map_err(fault)?;
    let frame = frame.ok_or_else(|| Fault::new(known::INTERNAL_ERROR, "half a message"))?;
    let message = Message::decode(&frame).map_err(fault)?;
    Ok(parts(&frame, &message, number))
}

/// The read preference that a request has to carry though its client has set none: the settings', or what makes
/// a secondary answer at all.
pub(crate) fn added_preference(
    command: &Command<'_>,
    want: &Want,
    kind: Kind,
    direct: bool,
) -> Option<RawDocumentBuf> {
    if command.read_preference.is_some() {
        return None;
    }
    match (want, kind) {
        (_, Kind::Standalone) => None,
        (Want::Readable(preference), _) => Some(document(preference)),
        (Want::Writable, Kind::Secondary | Kind::Other) if direct => {
            Some(rawdoc! { "mode": ReadMode::PrimaryPreferred.name() })
        }
        (Want::Writable, _) => None,
    }
}

fn document(preference: &ReadPreference) -> RawDocumentBuf {
    let mut out = rawdoc! { "mode": preference.mode.name() };
    if !preference.tags.is_empty() {
        let mut sets = RawArrayBuf::new();
        for tags in &preference.tags {
            let mut set = RawDocumentBuf::new();
            for (key, value) in tags {
                if let Ok(key) = CString::try_from(key.as_str()) {
                    set.append(key, value.as_str());
                }
            }
            sets.push(set);
        }
        out.append(cstr!("tags"), sets);
    }
    if let Some(staleness) = preference.max_staleness {
        let seconds = i64::try_from(staleness.as_secs()).unwrap_or(i64::MAX);
        out.append(cstr!("maxStalenessSeconds"), seconds);
    }
    out
}

/// Whether a command may be sent again after a server has said that it is not the primary. Of several statements
/// some may have been run before that.
pub(crate) fn may_repeat(request: &Request<'_>, code: i64) -> bool {
    let command = &request.command;
    if command.txn_number.is_some() || code != known::NOT_WRITABLE_PRIMARY {
        return true;
    }
    let statements = match command.name {
        "insert" => "documents",
        "update" => "updates",
        "delete" => "deletes",
        "bulkWrite" => "ops",
        _ => return true,
    };
    let listed = command.body.get_array(statements).into_iter().flatten();
    let sequence = request.sequence(statements).unwrap_or_default();
    listed.count() + Documents::new(sequence).count() < 2
}

/// Whether a command only reads, so that it may go where its read preference says.
pub(crate) fn reads(command: &Command<'_>) -> bool {
    match command.name {
        "aggregate" => !writes(command),
        // What an explained command would do isn't done.
        "find" | "count" | "distinct" | "explain" | "listCollections" | "listIndexes"
        | "listDatabases" | "collStats" | "collstats" | "dbStats" | "dbstats" | "dataSize"
        | "validate" | "ping" | "buildInfo" | "buildinfo" | "serverStatus" | "hostInfo"
        | "connPoolStats" | "getParameter" | "top" => true,
        _ => false,
    }
}

/// Whether a pipeline ends in a collection.
fn writes(command: &Command<'_>) -> bool {
    let Ok(Some(RawBsonRef::Array(stages))) = command.body.get("pipeline") else {
        return false;
    };
    let last = stages.into_iter().flatten().last();
    let last = last.and_then(RawBsonRef::as_document);
    let name = last.and_then(|stage| stage.into_iter().next()?.ok());
    name.is_some_and(|(name, _)| matches!(name.as_str(), "$out" | "$merge"))
}

/// Whether the cursor that a command opens waits for data to come: change streams, and tailable cursors that say
/// so.
pub(crate) fn awaits(command: &Command<'_>) -> bool {
    let yes = |key: &str| {
        let value = command.body.get(key);
        matches!(value, Ok(Some(value)) if twinport_wire::mongo::document::truth(value))
    };
    if command.name == "find" {
        return yes("tailable") && yes("awaitData");
    }
    let Ok(Some(RawBsonRef::Array(stages))) = command.body.get("pipeline") else {
        return false;
    };
    let first = stages.into_iter().flatten().next();
    let first = first.and_then(RawBsonRef::as_document);
    let name = first.and_then(|stage| stage.into_iter().next()?.ok());
    name.is_some_and(|(name, _)| name.as_str() == "$changeStream")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(body: &RawDocumentBuf) -> Command<'_> {
        Command::read(body).unwrap()
    }

    #[test]
    fn an_aggregation_that_writes_goes_to_the_primary() {
        let reading = rawdoc! { "aggregate": "a", "pipeline": [{ "$match": {} }] };
        assert!(reads(&command(&reading)));
        for stage in ["$out", "$merge"] {
            let mut last = RawDocumentBuf::new();
            last.append(CString::try_from(stage).unwrap(), "b");
            let writing = rawdoc! { "aggregate": "a", "pipeline": [{ "$match": {} }, last] };
            assert!(!reads(&command(&writing)), "{stage}");
        }
        assert!(!reads(&command(&rawdoc! { "insert": "a" })));
    }

    #[test]
    fn cursors_that_wait_are_told_from_others() {
        assert!(awaits(&command(
            &rawdoc! { "find": "a", "tailable": true, "awaitData": true }
        )));
        assert!(!awaits(&command(
            &rawdoc! { "find": "a", "tailable": true }
        )));
        let stream = rawdoc! { "aggregate": 1, "pipeline": [{ "$changeStream": {} }] };
        assert!(awaits(&command(&stream)));
        assert!(!awaits(&command(
            &rawdoc! { "aggregate": 1, "pipeline": [] }
        )));
    }

    #[test]
    fn a_preference_is_added_only_where_none_is() {
        let plain = rawdoc! { "find": "a" };
        let preference = ReadPreference {
            mode: ReadMode::Nearest,
            ..ReadPreference::default()
        };
        let want = Want::Readable(preference);
        let added = added_preference(&command(&plain), &want, Kind::Secondary, false);
        assert_eq!(added.unwrap().get_str("mode").unwrap(), "nearest");
        let own = rawdoc! { "find": "a", "$readPreference": { "mode": "primary" } };
        assert_eq!(
            added_preference(&command(&own), &want, Kind::Secondary, false),
            None
        );
        assert_eq!(
            added_preference(&command(&plain), &Want::Writable, Kind::Primary, false),
            None
        );
    }
}
