//! The roles of MongoDB that there are in DocumentDB, who has them, and what they allow.
//!
//! DocumentDB has one role of Postgres for `readAnyDatabase`, and one for `readWriteAnyDatabase` and `clusterAdmin`
//! together.

mod change;

use std::collections::BTreeSet;

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::document::asks;

use super::schema::alone;
use super::{Context, Outcome, Request};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::upstream as sql;

pub(super) use change::{Change, change, grant, revoke};

const READ: &str = "readAnyDatabase";
const WRITE: &str = "readWriteAnyDatabase";
const ADMIN: &str = "clusterAdmin";
const ROOT: &str = "root";

/// A role, and what it allows in all collections, and of the server.
struct Role {
    name: &'static str,
    data: &'static [&'static str],
    server: &'static [&'static str],
}

/// What users may have been given.
const GIVEN: [Role; 3] = [
    Role {
        name: READ,
        data: &[
            "collStats",
            "dbStats",
            "find",
            "killCursors",
            "listCollections",
            "listIndexes",
        ],
        server: &["listDatabases"],
    },
    Role {
        name: WRITE,
        data: &[
            "collStats",
            "createCollection",
            "createIndex",
            "dbStats",
            "dropCollection",
            "dropIndex",
            "find",
            "insert",
            "killCursors",
            "listCollections",
            "listIndexes",
            "remove",
            "renameCollectionSameDB",
            "update",
        ],
        server: &["listDatabases"],
    },
    Role {
        name: ADMIN,
        data: &[
            "collMod",
            "collStats",
            "compact",
            "dbStats",
            "dropDatabase",
            "indexStats",
            "listCollections",
            "listIndexes",
            "validate",
        ],
        server: &[
            "getCmdLineOpts",
            "getDefaultRWConcern",
            "getLog",
            "getParameter",
            "hostInfo",
            "inprog",
            "killop",
            "listDatabases",
            "serverStatus",
            "top",
        ],
    },
];

/// The roles that a database has, as they are told.
fn roles(names: &[&str]) -> RawArrayBuf {
    let roles = names
        .iter()
        .map(|name| rawdoc! { "role": *name, "db": "admin" });
    roles.collect()
}

/// What roles allow together.
fn privileges(names: &[&str]) -> RawArrayBuf {
    if names.contains(&ROOT) {
        let all = rawdoc! { "resource": { "anyResource": true }, "actions": ["anyAction"] };
        return [all].into_iter().collect();
    }
    let given = GIVEN.iter().filter(|role| names.contains(&role.name));
    let (mut data, mut server) = (BTreeSet::<&str>::new(), BTreeSet::<&str>::new());
    for role in given {
        data.extend(role.data);
        server.extend(role.server);
    }
    let mut privileges = RawArrayBuf::new();
    for (resource, actions) in [
        (rawdoc! { "db": "", "collection": "" }, data),
        (rawdoc! { "cluster": true }, server),
    ] {
        if !actions.is_empty() {
            let actions: RawArrayBuf = actions.into_iter().collect();
            privileges.push(rawdoc! { "resource": resource, "actions": actions });
        }
    }
    privileges
}

/// `connectionStatus`: who is logged in, and what for.
pub(super) async fn status(context: &mut Context<'_>) -> Outcome {
    let mut info = RawDocumentBuf::new();
    let mut users = RawArrayBuf::new();
    let mut names = Vec::new();
    if let Some(identity) = context.session.identity() {
        users.push(rawdoc! { "user": &*identity.user, "db": "admin" });
        names = match context.session.wing.cluster() {
            // The server's roles are those of the user by which commands are forwarded.
            Some(_) => vec![WRITE],
            None => {
                let rows = context.call(sql::OWN_ROLES, &[]).await?;
                held(&rows)
            }
        };
    }
    info.append(cstr!("authenticatedUsers"), users);
    info.append(cstr!("authenticatedUserRoles"), roles(&names));
    if asks(context.request.command.body, "showPrivileges") {
        info.append(cstr!("authenticatedUserPrivileges"), privileges(&names));
    }
    Ok(Reply::Document(rawdoc! { "authInfo": info, "ok": 1.0 }))
}

/// The roles of whoever has asked for [`sql::OWN_ROLES`].
fn held(rows: &Rows) -> Vec<&'static str> {
    let is = |column| rows.boolean(0, column) == Some(true);
    if is(0) {
        return vec![ROOT];
    }
    let mut names = Vec::new();
    if is(1) {
        names.extend([WRITE, ADMIN]);
    } else if is(2) {
        names.push(WRITE);
    }
    if is(3) {
        names.push(READ);
    }
    names
}

/// `rolesInfo`: as the extension says, or where it doesn't, its own roles.
pub(super) async fn info(context: &mut Context<'_>) -> Outcome {
    match alone(context, sql::ROLES_INFO).await {
        Err(fault) if fault.code == known::COMMAND_NOT_SUPPORTED => {}
        told => return told,
    }
    let request = context.request;
    let body = request.command.body;
    let wanted: Vec<&str> = match request.command.value {
        RawBsonRef::Array(list) => {
            let names = list.into_iter().map(|each| name(each.ok()?, request));
            let names: Option<Vec<_>> = names.collect();
            names
                .ok_or_else(|| bad_roles("rolesInfo"))?
                .into_iter()
                .flatten()
                .collect()
        }
        RawBsonRef::Int32(_) | RawBsonRef::Int64(_) | RawBsonRef::Double(_) => {
            let shows = asks(body, "showBuiltinRoles") && request.database == "admin";
            let all = GIVEN.iter().map(|role| role.name).chain([ROOT]);
            all.filter(|_| shows).collect()
        }
        one => {
            let name = name(one, request).ok_or_else(|| bad_roles("rolesInfo"))?;
            name.into_iter().collect()
        }
    };
    let shows = asks(body, "showPrivileges");
    let known = GIVEN.iter().map(|role| role.name).chain([ROOT]);
    let told = known.filter(|name| wanted.contains(name)).map(|name| {
        let mut role = rawdoc! {
            "_id": format!("admin.{name}"), "role": name, "db": "admin", "isBuiltin": true,
            "roles": [], "inheritedRoles": [],
        };
        if shows {
            let privileges = privileges(&[name]);
            role.append(cstr!("privileges"), privileges.clone());
            role.append(cstr!("inheritedPrivileges"), privileges);
        }
        role
    });
    let told: RawArrayBuf = told.collect();
    Ok(Reply::Document(rawdoc! { "roles": told, "ok": 1.0 }))
}

/// A role as commands name it: `None` if that is no name, nothing in it if it is one of another database than `admin`,
/// which has all.
fn name<'a>(value: RawBsonRef<'a>, request: &Request<'_>) -> Option<Option<&'a str>> {
    let (name, database) = match value {
        RawBsonRef::String(name) => (name, request.database),
        RawBsonRef::Document(role) => (role.get_str("role").ok()?, role.get_str("db").ok()?),
        _ => return None,
    };
    Some((database == "admin").then_some(name))
}

fn bad_roles(command: &str) -> Fault {
    Fault::new(
        known::BAD_VALUE,
        format_args!("{command} takes roles as texts or as {{ role: <text>, db: <text> }}"),
    )
}

/// Commands about roles of one's own.
pub(super) async fn none_of_ones_own(context: &mut Context<'_>) -> Outcome {
    Err(Fault::new(
        known::COMMAND_NOT_SUPPORTED,
        format_args!(
            "{} is about roles of one's own, which DocumentDB has not",
            context.request.command.name
        ),
    )
    .hint("Make a role in Postgres, and grant it what it needs there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_told_once() {
        let told = privileges(&[WRITE, ADMIN]);
        let told: Vec<_> = told.into_iter().map(|each| each.unwrap()).collect();
        assert_eq!(told.len(), 2);
        let actions = told.first().and_then(|each| each.as_document()).unwrap();
        let actions: Vec<_> = actions
            .get_array("actions")
            .unwrap()
            .into_iter()
            .flatten()
            .collect();
        let stats = actions
            .iter()
            .filter(|each| each.as_str() == Some("collStats"));
        assert_eq!(stats.count(), 1);
        assert!(privileges(&[]).is_empty());
    }
}
