//! Users and roles of the database behind the port.
//!
//! Who may log in here is said by the settings; these commands change what the database knows.

use twinport_wire::mongo::bson::raw::{CStr, RawArrayBuf, cstr};

use super::schema::alone;
use super::{Context, Outcome};
use crate::reply::Reply;
use crate::upstream as sql;

pub(super) async fn create_user(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::CREATE_USER).await
}

pub(super) async fn update_user(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::UPDATE_USER).await
}

pub(super) async fn drop_user(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::DROP_USER).await
}

pub(super) async fn users_info(context: &mut Context<'_>) -> Outcome {
    let reply = alone(context, sql::USERS_INFO).await?;
    with_list(reply, cstr!("users"))
}

pub(super) async fn roles_info(context: &mut Context<'_>) -> Outcome {
    let reply = alone(context, sql::ROLES_INFO).await?;
    with_list(reply, cstr!("roles"))
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

/// The extension leaves a list out that has nothing in it; MongoDB doesn't.
fn with_list(reply: Reply, name: &CStr) -> Outcome {
    let document = reply.document()?;
    if matches!(document.get(name), Ok(Some(_))) {
        return Ok(reply);
    }
    let mut document = document.to_owned();
    document.append(name, RawArrayBuf::new());
    Ok(Reply::Document(document))
}
