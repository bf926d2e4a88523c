//! `find`, `aggregate`, `count`, `distinct`.

use super::{Context, Outcome, cursor};
use crate::reply::Reply;
use crate::upstream as sql;

pub(super) async fn find(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    cursor::first_page(context, sql::FIND).await
}

pub(super) async fn aggregate(context: &mut Context<'_>) -> Outcome {
    cursor::first_page(context, sql::AGGREGATE).await
}

pub(super) async fn count(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    single(context, sql::COUNT).await
}

pub(super) async fn distinct(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    single(context, sql::DISTINCT).await
}

/// Runs a function of database and command whose result is the answer.
pub(super) async fn single(context: &mut Context<'_>, statement: &'static str) -> Outcome {
    let request = context.request;
    let parameters = [Some(request.database.as_bytes()), Some(request.body())];
    let rows = context.call(statement, &parameters).await?;
    Reply::row(rows, 0)
}
