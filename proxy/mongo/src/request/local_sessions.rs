//! `$listLocalSessions`: the sessions that are known here, which no database behind the port could list.
//!
//! Known is the session of the command, and those with a cursor or a transaction; others leave nothing behind. Users
//! see their own. The stage becomes `$documents`, so that the database does the rest of the pipeline.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use twinport_wire::mongo::bson::raw::{CStr, RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{DateTime, RawBinaryRef, RawBsonRef, rawdoc};

use super::Context;
use crate::fault::{Fault, known};

const STAGE: &str = "$listLocalSessions";

/// The command with the sessions in the place of the stage; `None` if that is not its first.
pub(super) fn listed(context: &Context<'_>) -> Result<Option<RawDocumentBuf>, Fault> {
    let command = &context.request.command;
    let Some(options) = options(command.body)? else {
        return Ok(None);
    };
    if !matches!(
        command.value,
        RawBsonRef::Int32(_) | RawBsonRef::Int64(_) | RawBsonRef::Double(_)
    ) {
        return Err(Fault::new(
            known::INVALID_NAMESPACE,
            format_args!("{STAGE} must be run against the database with {{aggregate: 1}}"),
        ));
    }
    let user = context.session.known(command.name)?.user.clone();
    check(options, &user)?;
    let wing = &context.session.wing;
    let mut known: BTreeMap<[u8; 16], Duration> = BTreeMap::new();
    let mut add = |session, idle: Duration| {
        let shortest = known.entry(session).or_insert(idle);
        *shortest = idle.min(*shortest);
    };
    let own = command.session().map_err(|error| Fault::protocol(&error))?;
    own.into_iter()
        .for_each(|session| add(session, Duration::ZERO));
    for (session, idle) in wing.transactions.sessions(&user) {
        add(session, idle);
    }
    for (session, idle) in wing.cursors.sessions(&user) {
        add(session, idle);
    }
    let now = SystemTime::now();
    let documents: RawArrayBuf = known
        .into_iter()
        .map(|(session, idle)| {
            let id = RawBinaryRef {
                subtype: BinarySubtype::Uuid,
                bytes: &session,
            };
            let used = now.checked_sub(idle).unwrap_or(now);
            rawdoc! {
                "_id": { "id": RawBsonRef::Binary(id) },
                "lastUse": DateTime::from_system_time(used),
                "user": format!("{user}@admin"),
            }
        })
        .collect();
    replaced(command.body, &documents).map(Some)
}

/// What the stage is given, if it is the first.
fn options(body: &RawDocument) -> Result<Option<&RawDocument>, Fault> {
    let pipeline = body.get_array("pipeline").ok();
    let first = pipeline.and_then(|stages| stages.into_iter().next()?.ok()?.as_document());
    let Some(Ok((name, value))) = first.and_then(|stage| stage.into_iter().next()) else {
        return Ok(None);
    };
    if name.as_str() != STAGE {
        return Ok(None);
    }
    let options = value.as_document();
    let wrong = || {
        Fault::new(
            known::TYPE_MISMATCH,
            format_args!("{STAGE} takes an object"),
        )
    };
    options.map(Some).ok_or_else(wrong)
}

/// Refuses to show others' sessions.
fn check(options: &RawDocument, user: &str) -> Result<(), Fault> {
    for (name, value) in options.into_iter().flatten() {
        let fits = match (name.as_str(), value) {
            ("allUsers", RawBsonRef::Boolean(all)) => !all,
            ("users", RawBsonRef::Array(users)) => users.into_iter().flatten().all(|each| {
                let name = each.as_document().map(|each| each.get_str("user"));
                matches!(name, Some(Ok(name)) if name == user)
            }),
            (other, _) => {
                return Err(Fault::new(
                    known::FAILED_TO_PARSE,
                    format_args!("BSON field '{STAGE}.{other}' is unknown or of the wrong type"),
                ));
            }
        };
        if !fits {
            return Err(Fault::new(
                known::UNAUTHORIZED,
                format_args!("{STAGE} shows users their own sessions only"),
            ));
        }
    }
    Ok(())
}

/// The command, beginning with documents.
fn replaced(body: &RawDocument, documents: &RawArrayBuf) -> Result<RawDocumentBuf, Fault> {
    let malformed = |error| Fault::new(known::FAILED_TO_PARSE, error);
    let mut out = RawDocumentBuf::new();
    for element in body {
        let (key, value): (&CStr, _) = element.map_err(malformed)?;
        let ("pipeline", RawBsonRef::Array(stages)) = (key.as_str(), value) else {
            out.append(key, value);
            continue;
        };
        let mut pipeline = RawArrayBuf::new();
        pipeline.push(rawdoc! { "$documents": documents.clone() });
        for stage in stages.into_iter().skip(1) {
            pipeline.push(stage.map_err(malformed)?);
        }
        out.append(cstr!("pipeline"), pipeline);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_is_replaced_and_the_rest_stays() {
        let body = rawdoc! { "aggregate": 1, "pipeline": [{ "$listLocalSessions": {} }, { "$limit": 1 }], "cursor": {} };
        assert!(options(&body).unwrap().is_some());
        let documents: RawArrayBuf = [rawdoc! { "_id": 1 }].into_iter().collect();
        assert_eq!(
            replaced(&body, &documents).unwrap(),
            rawdoc! { "aggregate": 1, "pipeline": [{ "$documents": [{ "_id": 1 }] }, { "$limit": 1 }], "cursor": {} }
        );
        for other in [
            rawdoc! { "aggregate": 1, "pipeline": [] },
            rawdoc! { "aggregate": 1, "pipeline": [{}] },
            rawdoc! { "aggregate": 1, "pipeline": [{ "$limit": 1 }, { "$listLocalSessions": {} }] },
        ] {
            assert!(options(&other).unwrap().is_none());
        }
        let odd = rawdoc! { "aggregate": 1, "pipeline": [{ "$listLocalSessions": 1 }] };
        assert_eq!(options(&odd).unwrap_err().code, known::TYPE_MISMATCH);
    }

    #[test]
    fn nobody_sees_others_sessions() {
        for mine in [
            rawdoc! {},
            rawdoc! { "allUsers": false },
            rawdoc! { "users": [{ "user": "ann", "db": "admin" }] },
        ] {
            assert!(check(&mine, "ann").is_ok(), "{mine:?}");
        }
        for (others, code) in [
            (rawdoc! { "allUsers": true }, known::UNAUTHORIZED),
            (
                rawdoc! { "users": [{ "user": "ben", "db": "admin" }] },
                known::UNAUTHORIZED,
            ),
            (rawdoc! { "users": ["ann"] }, known::UNAUTHORIZED),
            (rawdoc! { "all": true }, known::FAILED_TO_PARSE),
        ] {
            assert_eq!(check(&others, "ann").unwrap_err().code, code, "{others:?}");
        }
    }
}
