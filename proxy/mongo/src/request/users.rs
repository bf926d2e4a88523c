//! Users and roles of the database behind the port.
//!
//! Who may log in here is said by the settings; these commands change what the database knows.

use twinport_core::sql::SqlError;
use twinport_wire::mongo::bson::raw::{CStr, RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};

use super::crud::without;
use super::roles::{self, Change};
use super::schema::alone;
use super::{Context, Ended, Outcome, Request, settle, within_bound_sql};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::upstream as sql;

pub(super) async fn create_user(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    // Every role is told with its database, as the extension wants it.
    let body = placed(request.command.body, request.database)?;
    changed(context, sql::CREATE_USER, body.as_bytes()).await?;
    Ok(Reply::ok())
}

pub(super) async fn update_user(context: &mut Context<'_>) -> Outcome {
    let body = context.request.command.body;
    if !body.get("roles").is_ok_and(|roles| roles.is_some()) {
        changed(context, sql::UPDATE_USER, body.as_bytes()).await?;
        return Ok(Reply::ok());
    }
    // The extension changes no roles, and nothing but the password of what there is besides.
    let rest = without(body, "roles")?;
    let besides = [
        "pwd",
        "customData",
        "mechanisms",
        "authenticationRestrictions",
    ];
    let besides = besides
        .into_iter()
        .any(|field| matches!(body.get(field), Ok(Some(_))));
    let besides = besides.then_some((sql::UPDATE_USER, &*rest));
    roles::change(context, Change::Set, besides).await
}

pub(super) async fn drop_user(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    changed(context, sql::DROP_USER, request.body()).await?;
    Ok(Reply::ok())
}

pub(super) async fn users_info(context: &mut Context<'_>) -> Outcome {
    let reply = alone(context, sql::USERS_INFO).await?;
    with_list(&reply, cstr!("users"))
}

pub(super) async fn roles_info(context: &mut Context<'_>) -> Outcome {
    let reply = roles::info(context).await?;
    with_list(&reply, cstr!("roles"))
}

pub(super) async fn create_role(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::CREATE_ROLE).await
}

pub(super) async fn update_role(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::UPDATE_ROLE).await
}

pub(super) async fn drop_role(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::DROP_ROLE).await
}

/// Runs a function that changes a user, who may be there already, or not be there.
async fn changed(
    context: &mut Context<'_>,
    statement: &'static str,
    body: &[u8],
) -> Result<(), Fault> {
    let mut connection = context.lease().await?;
    let parameters = [Some(body)];
    let run = connection.run(statement, &parameters);
    let result = within_bound_sql(context.bound(), run).await;
    let told = match &result {
        Err(Ended::Failed(SqlError::Server { code, message, .. })) => {
            about_user(context.request, code, message)
        }
        _ => None,
    };
    let settled = settle(result, connection);
    let (_, connection) = settled.map_err(|fault| told.unwrap_or(fault))?;
    connection.release();
    Ok(())
}

/// What MongoDB says where Postgres says this of the role that is the user.
fn about_user(request: &Request<'_>, state: &str, message: &str) -> Option<Fault> {
    let name = request.command.value.as_str()?;
    if !message.contains(&format!("\"{name}\"")) {
        return None;
    }
    let user = format!("{name}@{}", request.database);
    match (request.command.name, state) {
        ("createUser", "42710") => Some(Fault::new(
            known::USER_EXISTS,
            format_args!("User \"{user}\" already exists"),
        )),
        ("dropUser" | "updateUser", "42704") => Some(Fault::new(
            known::USER_NOT_FOUND,
            format_args!("User '{user}' not found"),
        )),
        _ => None,
    }
}

/// A role that is a text alone is one of the command's database.
fn placed(body: &RawDocument, database: &str) -> Result<RawDocumentBuf, Fault> {
    let mut out = RawDocumentBuf::new();
    for element in body {
        let malformed = |error| Fault::new(known::FAILED_TO_PARSE, error);
        let (key, value) = element.map_err(malformed)?;
        let ("roles", RawBsonRef::Array(roles)) = (key.as_str(), value) else {
            out.append(key, value);
            continue;
        };
        let mut placed = RawArrayBuf::new();
        for role in roles {
            match role.map_err(malformed)? {
                RawBsonRef::String(name) => placed.push(rawdoc! { "role": name, "db": database }),
                other => placed.push(other),
            }
        }
        out.append(key, placed);
    }
    Ok(out)
}

/// The extension leaves a list out that has nothing in it, and has an integer for `ok`; MongoDB doesn't.
fn with_list(reply: &Reply, name: &CStr) -> Outcome {
    let mut out = RawDocumentBuf::new();
    let mut missing = true;
    for (key, value) in reply.document()?.into_iter().flatten() {
        if key.as_str() != "ok" {
            missing &= key != name;
            out.append(key, value);
        }
    }
    if missing {
        out.append(name, RawArrayBuf::new());
    }
    out.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_without_a_database_is_one_of_the_current() {
        let body = rawdoc! { "createUser": "ann", "pwd": "x", "roles": ["readWrite", { "role": "read", "db": "b" }, 7] };
        assert_eq!(
            placed(&body, "a").unwrap(),
            rawdoc! { "createUser": "ann", "pwd": "x", "roles": [
            { "role": "readWrite", "db": "a" }, { "role": "read", "db": "b" }, 7] }
        );
        let without = rawdoc! { "updateUser": "ann", "roles": "readWrite" };
        assert_eq!(placed(&without, "a").unwrap(), without);
    }
}
