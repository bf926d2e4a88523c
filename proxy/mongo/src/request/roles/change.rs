//! What becomes of users' roles. DocumentDB gives them when it makes a user, and doesn't change them after that: here
//! Postgres is asked to.

use std::collections::BTreeSet;

use twinport_core::sql::{Connection, Rows};
use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::bson::raw::RawDocument;

use super::{ADMIN, GIVEN, READ, WRITE, bad_roles, name};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::request::{Context, Outcome, Request, in_time};
use crate::upstream as sql;

/// What becomes of a user's roles.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// More of them.
    Granted,
    /// Fewer.
    Revoked,
    /// These.
    Set,
}

pub(crate) async fn grant(context: &mut Context<'_>) -> Outcome {
    change(context, Change::Granted, None).await
}

pub(crate) async fn revoke(context: &mut Context<'_>) -> Outcome {
    change(context, Change::Revoked, None).await
}

/// Which of the two roles of Postgres a user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    admin: bool,
    reader: bool,
}

impl Held {
    fn read(rows: &Rows) -> Option<Self> {
        let held = Self {
            admin: rows.boolean(0, 0)?,
            reader: rows.boolean(0, 1)?,
        };
        // Others are users of Postgres alone.
        (held.admin || held.reader).then_some(held)
    }

    /// The same, changed by the roles that a command names.
    fn changed(self, change: Change, named: &BTreeSet<&str>) -> Result<Self, Fault> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        if !matches!(change, Change::Set) {
            names.extend([WRITE, ADMIN].iter().filter(|_| self.admin));
            names.extend([READ].iter().filter(|_| self.reader));
        }
        match change {
            Change::Revoked => names.retain(|name| !named.contains(name)),
            Change::Granted | Change::Set => names.extend(named),
        }
        let refused = |what: &str| Err(Fault::new(known::BAD_VALUE, what));
        if names.is_empty() {
            return refused(
                "a user of DocumentDB has at least one role. Use dropUser for one who may do nothing any more",
            );
        }
        if names.contains(WRITE) != names.contains(ADMIN) {
            return refused(
                "DocumentDB has readWriteAnyDatabase and clusterAdmin as one role only. Name both, or neither",
            );
        }
        Ok(Self {
            admin: names.contains(ADMIN),
            reader: names.contains(READ),
        })
    }

    /// The statements that make of this what is wanted.
    fn statements(self, wanted: Self, user: &str) -> Vec<String> {
        let user = format!("\"{}\"", user.replace('"', "\"\""));
        let mut statements = Vec::new();
        for (had, has, roles) in [
            (self.admin, wanted.admin, "documentdb_admin_role"),
            // As the extension gives it.
            (
                self.reader,
                wanted.reader,
                "documentdb_readonly_role, pg_read_all_data",
            ),
        ] {
            match (had, has) {
                (false, true) => statements.push(format!("GRANT {roles} TO {user}")),
                (true, false) => statements.push(format!("REVOKE {roles} FROM {user}")),
                _ => {}
            }
        }
        statements
    }
}

/// Changes a user's roles, and with them what the extension changes of a user itself.
pub(crate) async fn change(
    context: &mut Context<'_>,
    change: Change,
    besides: Option<(&'static str, &RawDocument)>,
) -> Outcome {
    let request = context.request;
    let user = user(request)?;
    let named = named(request)?;
    let mut connection = context.lease().await?;
    // Dropped in the middle, the connection goes, and with it what was begun.
    let work = async {
        connection.command("BEGIN").await?;
        let changed = changed(&mut connection, user, &named, change, besides, request).await;
        connection
            .command(if changed.is_ok() {
                "COMMIT"
            } else {
                "ROLLBACK"
            })
            .await?;
        changed
    };
    in_time(request.bound(), work).await?;
    connection.release();
    Ok(Reply::ok())
}

async fn changed(
    connection: &mut Box<dyn Connection>,
    user: &str,
    named: &BTreeSet<&str>,
    change: Change,
    besides: Option<(&'static str, &RawDocument)>,
    request: &Request<'_>,
) -> Result<(), Fault> {
    let parameters = [Some(user.as_bytes())];
    let rows = connection.run(sql::ROLES_OF, &parameters).await?;
    let held = Held::read(&rows).ok_or_else(|| {
        Fault::new(
            known::USER_NOT_FOUND,
            format_args!(
                "Could not find user \"{user}\" for db \"{}\"",
                request.database
            ),
        )
    })?;
    let wanted = held.changed(change, named)?;
    if let Some((statement, body)) = besides {
        connection.run(statement, &[Some(body.as_bytes())]).await?;
    }
    let statements = held.statements(wanted, user);
    if statements.is_empty() {
        return Ok(());
    }
    connection.command(&statements.join("; ")).await?;
    // Postgres only warns of a role that somebody else has given.
    let rows = connection.run(sql::ROLES_OF, &parameters).await?;
    if Held::read(&rows) != Some(wanted) {
        return Err(Fault::new(
            known::UNAUTHORIZED,
            format_args!("the roles of \"{user}\" are not yours to change"),
        )
        .hint("Ask whoever has given them in Postgres, or a superuser"));
    }
    Ok(())
}

/// The user that a command is about.
fn user<'a>(request: &Request<'a>) -> Result<&'a str, Fault> {
    let command = &request.command;
    if request.database != "admin" {
        return Err(Fault::new(
            known::BAD_VALUE,
            format_args!("{} must be called from 'admin' database.", command.name),
        ));
    }
    let user = command.value.as_str().filter(|user| !user.is_empty());
    user.ok_or_else(|| Fault::field(command.name, command.name, "must be a user's name"))
}

/// The roles that a command names, each of which must be there.
fn named<'a>(request: &Request<'a>) -> Result<BTreeSet<&'a str>, Fault> {
    let command = &request.command;
    let Ok(Some(RawBsonRef::Array(list))) = command.body.get("roles") else {
        return Err(Fault::field(command.name, "roles", "must be an array"));
    };
    let mut named = BTreeSet::new();
    for each in list {
        let each = each.map_err(|error| Fault::new(known::FAILED_TO_PARSE, error))?;
        let name = name(each, request).ok_or_else(|| bad_roles(command.name))?;
        let given = name.filter(|name| GIVEN.iter().any(|role| role.name == *name));
        named.insert(given.ok_or_else(|| {
            Fault::new(known::ROLE_NOT_FOUND, "there is no such role")
                .hint("DocumentDB has, in the database admin, readAnyDatabase, and readWriteAnyDatabase with clusterAdmin")
        })?);
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMINS: Held = Held {
        admin: true,
        reader: false,
    };
    const READERS: Held = Held {
        admin: false,
        reader: true,
    };
    const BOTH: Held = Held {
        admin: true,
        reader: true,
    };

    #[test]
    fn roles_are_changed_as_far_as_there_are_some() {
        for (held, change, named, expected) in [
            (READERS, Change::Granted, vec![WRITE, ADMIN], Some(BOTH)),
            (READERS, Change::Granted, vec![READ], Some(READERS)),
            (READERS, Change::Granted, vec![WRITE], None),
            (BOTH, Change::Revoked, vec![READ], Some(ADMINS)),
            (BOTH, Change::Revoked, vec![WRITE, ADMIN], Some(READERS)),
            (BOTH, Change::Revoked, vec![ADMIN], None),
            (READERS, Change::Revoked, vec![READ], None),
            (READERS, Change::Set, vec![ADMIN, WRITE], Some(ADMINS)),
            (ADMINS, Change::Set, vec![READ], Some(READERS)),
            (ADMINS, Change::Set, vec![], None),
        ] {
            let named: BTreeSet<&str> = named.into_iter().collect();
            assert_eq!(
                held.changed(change, &named).ok(),
                expected,
                "{held:?} {named:?}"
            );
        }
    }

    #[test]
    fn a_user_is_named_as_it_is() {
        assert_eq!(
            READERS.statements(ADMINS, "a\"; DROP ROLE b"),
            [
                "GRANT documentdb_admin_role TO \"a\"\"; DROP ROLE b\"",
                "REVOKE documentdb_readonly_role, pg_read_all_data FROM \"a\"\"; DROP ROLE b\"",
            ]
        );
        assert!(BOTH.statements(BOTH, "a").is_empty());
    }
}
