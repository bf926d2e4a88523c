//! What is answered of the server itself: mostly asked by shells and tools at their start.

use twinport_wire::mongo::bson::raw::{CString, RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{DateTime, RawBsonRef, rawdoc};
use twinport_wire::mongo::command::Field;
use twinport_wire::mongo::document::integer;

use super::schema::alone;
use super::{Context, Outcome, table};
use crate::fault::{Fault, known};
use crate::handshake;
use crate::reply::Reply;
use crate::upstream as sql;

pub(super) async fn ping(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::ok())
}

pub(super) async fn build_info(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(handshake::build_info()))
}

pub(super) async fn not_atlas(_: &mut Context<'_>) -> Outcome {
    Err(Fault::new(
        known::COMMAND_NOT_FOUND,
        "no such command: 'atlasVersion'",
    ))
}

pub(super) async fn free_monitoring(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! { "state": "disabled", "ok": 1.0 }))
}

pub(super) async fn features(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! { "oidMachine": 0, "ok": 1.0 }))
}

pub(super) async fn command_line(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! {
        "argv": ["twinport"],
        "parsed": {},
        "ok": 1.0,
    }))
}

pub(super) async fn concern(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! {
        "defaultReadConcern": { "level": "local" },
        "defaultWriteConcern": { "w": "majority", "wtimeout": 0 },
        "defaultWriteConcernSource": "implicit",
        "defaultReadConcernSource": "implicit",
        "ok": 1.0,
    }))
}

pub(super) async fn last_error(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! {
        "n": 0,
        "err": RawBsonRef::Null,
        "ok": 1.0,
    }))
}

/// The logs that `getLog` knows; there is nothing in them.
const LOGS: [&str; 2] = ["global", "startupWarnings"];

pub(super) async fn log(context: &mut Context<'_>) -> Outcome {
    let Some(asked) = context.request.command.value.as_str() else {
        let what = "Argument to getLog must be of type String";
        return Err(Fault::new(known::TYPE_MISMATCH, what));
    };
    if asked == "*" {
        let names: RawArrayBuf = LOGS.into_iter().collect();
        return Ok(Reply::Document(rawdoc! { "names": names, "ok": 1.0 }));
    }
    if !LOGS.contains(&asked) {
        return Err(Fault::new(
            known::COMMAND_FAILED,
            format_args!("No log named '{asked}'"),
        ));
    }
    Ok(Reply::Document(rawdoc! {
        "totalLinesWritten": 0,
        "log": [],
        "ok": 1.0,
    }))
}

pub(super) async fn parameter(context: &mut Context<'_>) -> Outcome {
    let [major, minor, ..] = handshake::VERSION;
    let version = rawdoc! { "version": format!("{major}.{minor}") };
    let body = context.request.command.body;
    let all = context.request.command.value.as_str() == Some("*");
    let wants = |name: &str| all || matches!(body.get(name), Ok(Some(_)));
    let mut out = RawDocumentBuf::new();
    if wants("featureCompatibilityVersion") {
        out.append(cstr!("featureCompatibilityVersion"), version);
    }
    if wants("authenticationMechanisms") {
        let mut mechanisms = RawArrayBuf::new();
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509"] {
            mechanisms.push(mechanism);
        }
        out.append(cstr!("authenticationMechanisms"), mechanisms);
    }
    if wants("enableTestCommands") {
        let enabled = context.session.wing.current().mongo.test_commands;
        out.append(cstr!("enableTestCommands"), enabled);
    }
    if out.is_empty() {
        return Err(Fault::new(known::INVALID_OPTIONS, "no option found to get"));
    }
    out.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(out))
}

/// What is set by the settings file, under the names that MongoDB has for it.
const SETTINGS: [(&str, &str); 4] = [
    ("cursorTimeoutMillis", "mongo.cursor_timeout"),
    ("enableTestCommands", "mongo.test_commands"),
    ("maxIncomingConnections", "mongo.max_clients"),
    (
        "transactionLifetimeLimitSeconds",
        "mongo.idle_transaction_timeout",
    ),
];

pub(super) async fn set_parameter(context: &mut Context<'_>) -> Outcome {
    if context.request.database != "admin" {
        return Err(Fault::new(
            known::UNAUTHORIZED,
            "setParameter may only be run against the admin database.",
        ));
    }
    let known = |name: &str| SETTINGS.iter().find(|(known, _)| *known == name);
    let fields = context.request.command.fields().iter();
    let mut names = fields.skip(1).map(Field::name).filter(|name| {
        let generic = ["lsid", "comment", "maxTimeMS", "writeConcern"];
        !name.starts_with('$') && !name.starts_with("api") && !generic.contains(name)
    });
    Err(match names.next() {
        None => Fault::new(known::INVALID_OPTIONS, "no option found to set"),
        Some(name) => match known(name) {
            Some((_, setting)) => Fault::new(
                known::ILLEGAL_OPERATION,
                format_args!("not allowed to change [{name}] at runtime"),
            )
            .hint(format_args!(
                "Set {setting} in Twinport's settings, and reload them (proxyctl reload)"
            )),
            None => Fault::new(
                known::INVALID_OPTIONS,
                format_args!("attempted to set unrecognized parameter [{name}]"),
            )
            .hint("What can be set of the port stands in Twinport's settings, and of the database in Postgres's"),
        },
    })
}

/// As a mongos, which has nowhere to keep a profile, and so can only tell that it keeps none.
pub(super) async fn profile(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let Some(level) = integer(command.value) else {
        return Err(Fault::field(command.name, "profile", "must be a number"));
    };
    let changes = ["slowms", "sampleRate", "filter"];
    if !matches!(level, -1 | 0) || changes.iter().any(|field| command.has(field)) {
        return Err(Fault::new(
            known::BAD_VALUE,
            "Profiling is not permitted on mongoS: the 'profile' field should be 0 or -1, and nothing be set beside it",
        )
        .hint("Have Postgres log what is slow: log_min_duration_statement, auto_explain"));
    }
    Ok(Reply::Document(rawdoc! {
        "was": 0,
        "slowms": 100,
        "sampleRate": 1.0,
        "ok": 1.0,
    }))
}

pub(super) async fn host_info(_: &mut Context<'_>) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Reply::Document(rawdoc! {
        "system": {
            "currentTime": DateTime::now(),
            "hostname": host_name().as_str(),
            "cpuAddrSize": 64,
            "numCores": i32::try_from(cores).unwrap_or(i32::MAX),
            "cpuArch": std::env::consts::ARCH,
        },
        "os": { "type": std::env::consts::OS, "name": std::env::consts::OS, "version": "" },
        "extra": {},
        "ok": 1.0,
    }))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() {
        "twinport".to_owned()
    } else {
        name.trim().to_owned()
    }
}

pub(super) async fn address(context: &mut Context<'_>) -> Outcome {
    let peer = context.session.presence().peer.clone();
    Ok(Reply::Document(rawdoc! { "you": peer.as_str(), "ok": 1.0 }))
}

pub(super) async fn is_grid(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! {
        "isdbgrid": 1,
        "hostname": host_name().as_str(),
        "ok": 1.0,
    }))
}

pub(super) async fn list_commands(_: &mut Context<'_>) -> Outcome {
    let mut commands = RawDocumentBuf::new();
    for name in table::names() {
        if let Ok(key) = CString::try_from(name) {
            commands.append(key, RawDocumentBuf::new());
        }
    }
    Ok(Reply::Document(rawdoc! { "commands": commands, "ok": 1.0 }))
}

pub(super) async fn status(context: &mut Context<'_>) -> Outcome {
    let wing = &context.session.wing;
    let current = i32::try_from(wing.clients.count()).unwrap_or(i32::MAX);
    let most = i32::try_from(wing.current().mongo.max_clients).unwrap_or(i32::MAX);
    let accepted = i64::try_from(wing.stats.accepted.get()).unwrap_or(i64::MAX);
    let cursors = i64::try_from(wing.cursors()).unwrap_or(i64::MAX);
    let transactions = i64::try_from(wing.transactions()).unwrap_or(i64::MAX);
    let uptime = wing.began.elapsed();
    let seconds = i64::try_from(uptime.as_secs()).unwrap_or(i64::MAX);
    let [major, minor, patch, _] = handshake::VERSION;
    Ok(Reply::Document(rawdoc! {
        "host": host_name().as_str(),
        "version": format!("{major}.{minor}.{patch}"),
        "process": "mongos",
        "pid": i64::from(std::process::id()),
        "uptime": uptime.as_secs_f64().floor(),
        "uptimeMillis": i64::try_from(uptime.as_millis()).unwrap_or(i64::MAX),
        "uptimeEstimate": seconds,
        "localTime": DateTime::now(),
        "connections": {
            "current": current,
            "available": most.saturating_sub(current),
            "totalCreated": accepted,
        },
        "metrics": { "cursor": { "open": { "total": cursors } } },
        "transactions": { "currentOpen": transactions },
        "ok": 1.0,
    }))
}

pub(super) async fn top(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! { "totals": {}, "ok": 1.0 }))
}

pub(super) async fn current_op(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::CURRENT_OP).await
}

pub(super) async fn kill_op(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::KILL_OP).await
}
