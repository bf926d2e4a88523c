//! `find`, `aggregate`, `count`, `distinct`.

use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::bson::raw::{RawDocument, cstr};

use super::{Context, Outcome, Place, cursor, local_sessions, point};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::upstream as sql;

/// What the extension takes without a word, and does not do.
const IGNORED: [&str; 3] = ["min", "max", "tailable"];

pub(super) async fn find(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    for field in context.request.command.fields() {
        if IGNORED.contains(&field.name()) && field.value().is_ok_and(asks) {
            return Err(Fault::new(
                known::COMMAND_NOT_SUPPORTED,
                format_args!("The key {} is currently not supported", field.name()),
            ));
        }
    }
    if let Some(reply) = point::read(context).await? {
        return Ok(reply);
    }
    let page = cursor::first_page(context, sql::FIND).await;
    page.map_err(|fault| unknown_field(fault, "find"))
}

pub(super) async fn aggregate(context: &mut Context<'_>) -> Outcome {
    let body = context.request.command.body;
    if matches!(context.place, Place::Within(_)) && writes(body) {
        return Err(Fault::new(
            known::OPERATION_NOT_SUPPORTED_IN_TRANSACTION,
            "$out and $merge cannot be used in a transaction",
        ));
    }
    if context.request.read_concern() == Some("linearizable") && writes(body) {
        return Err(Fault::new(
            known::INVALID_OPTIONS,
            "$out and $merge can't be used with read concern linearizable",
        ));
    }
    let page = match local_sessions::listed(context)? {
        Some(body) => cursor::first_page_of(context, sql::AGGREGATE, body.as_bytes()).await,
        None => cursor::first_page(context, sql::AGGREGATE).await,
    };
    page.map_err(|fault| unknown_field(fault, "aggregate"))
}

/// What the extension says of a field that a command has not, as MongoDB says it.
fn unknown_field(fault: Fault, command: &str) -> Fault {
    let ends = [" is an unknown field", " is not a recognized field"];
    let text = fault.message.as_str();
    match ends.iter().find_map(|end| text.strip_suffix(end)) {
        Some(field) if fault.code == known::BAD_VALUE && !field.contains(' ') => Fault::new(
            known::UNKNOWN_FIELD,
            format_args!("BSON field '{command}.{field}' is an unknown field."),
        ),
        _ => fault,
    }
}

/// Below so many documents a count of all of them is exact.
const EXACT: i32 = 100_000;

/// The extension answers a count of all documents from Postgres's statistics, which lag behind: good for large
/// collections, where counting takes long.
pub(super) async fn count(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    let estimate = single(context, sql::COUNT).await?;
    let counted = estimate.document()?.get_i32("n");
    if !counts_all(context.request.command.body) || !matches!(counted, Ok(..EXACT)) {
        return Ok(estimate);
    }
    let request = context.request;
    let mut body = request.command.body.to_owned();
    body.append(cstr!("limit"), EXACT);
    let parameters = [Some(request.database.as_bytes()), Some(body.as_bytes())];
    let rows = context.call(sql::COUNT, &parameters).await?;
    Reply::row(rows, 0)
}

/// Whether no condition and no bound is given.
fn counts_all(body: &RawDocument) -> bool {
    let query = match body.get("query") {
        Ok(Some(RawBsonRef::Document(query))) => query.into_iter().next().is_none(),
        Ok(Some(RawBsonRef::Null) | None) => true,
        _ => false,
    };
    query
        && ["limit", "skip"]
            .into_iter()
            .all(|name| matches!(body.get(name), Ok(None)))
}

pub(super) async fn distinct(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    if !context.request.command.has("key") {
        return Err(Fault::new(
            known::MISSING_FIELD,
            "BSON field 'distinct.key' is missing but a required field",
        ));
    }
    single(context, sql::DISTINCT).await
}

/// Runs a function of database and command whose result is the answer.
pub(super) async fn single(context: &mut Context<'_>, statement: &'static str) -> Outcome {
    let request = context.request;
    let parameters = [Some(request.database.as_bytes()), Some(request.body())];
    let rows = context.call(statement, &parameters).await?;
    Reply::row(rows, 0)
}

/// Whether a pipeline's last stage writes.
pub(super) fn writes(body: &RawDocument) -> bool {
    stages(body).last().is_some_and(is_writing)
}

/// The names of a pipeline's stages.
pub(super) fn stages(body: &RawDocument) -> impl Iterator<Item = &str> {
    let pipeline = body.get_array("pipeline").ok();
    let stages = pipeline.into_iter().flatten().flatten();
    stages.filter_map(|stage| Some(stage.as_document()?.into_iter().next()?.ok()?.0.as_str()))
}

/// Whether a stage writes.
pub(super) fn is_writing(stage: &str) -> bool {
    matches!(stage, "$out" | "$merge")
}

/// Whether an option is there to be heeded.
fn asks(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Boolean(yes) => yes,
        RawBsonRef::Document(bounds) => !bounds.is_empty(),
        _ => false,
    }
}
