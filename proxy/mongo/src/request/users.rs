//! Users and roles of the database behind the port.
//!
//! Who may log in here is said by the settings; these commands change what the database knows.

use super::schema::alone;
use super::{Context, Outcome};
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
    alone(context, sql::USERS_INFO).await
}

pub(super) async fn roles_info(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::ROLES_INFO).await
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
