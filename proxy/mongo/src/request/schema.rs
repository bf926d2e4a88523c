//! Collections, views, indexes, databases: made, changed, listed, measured.

use twinport_wire::mongo::bson::error::Error as Malformed;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawBson, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, rawdoc};
use twinport_wire::mongo::document;

use super::query::single;
use super::{Context, Outcome, Place, cursor};
use crate::fault::{Fault, known};
use crate::reply::{Reply, code_of};
use crate::upstream as sql;

pub(super) async fn create(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let collection = request.collection()?;
    if matches!(context.place, Place::Within(_)) {
        // Outside of transactions a collection that is there already may be made once more.
        let names = [
            Some(request.database.as_bytes()),
            Some(collection.as_bytes()),
        ];
        if !context.call(sql::EXISTS, &names).await?.is_empty() {
            return Err(Fault::new(
                known::NAMESPACE_EXISTS,
                format_args!(
                    "Collection {}.{collection} already exists.",
                    request.database
                ),
            ));
        }
    }
    single(context, sql::CREATE).await
}

pub(super) async fn drop_collection(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let collection = request.collection()?;
    let names = [
        Some(request.database.as_bytes()),
        Some(collection.as_bytes()),
    ];
    let namespace = format!("{}.{collection}", request.database);
    let wing = std::sync::Arc::clone(&context.session.wing);
    // Those that are opened from here on may read another of that name.
    let reading = wing.cursors.reading(|read| read == namespace);
    let rows = context.call(sql::DROP, &names).await?;
    // Since MongoDB 7.0 it is no error if there was none.
    let mut answer = RawDocumentBuf::new();
    if rows.boolean(0, 0) == Some(true) {
        wing.lose(&reading, dropped(&namespace));
        answer.append(cstr!("ns"), namespace.as_str());
    }
    answer.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(answer))
}

pub(super) async fn drop_database(context: &mut Context<'_>) -> Outcome {
    let database = context.request.database;
    let names = [Some(database.as_bytes())];
    let wing = std::sync::Arc::clone(&context.session.wing);
    let reading = wing.cursors.reading(|read| {
        let read = read.split_once('.');
        read.is_some_and(|(of, name)| of == database && !name.starts_with("$cmd"))
    });
    context.call(sql::DROP_DATABASE, &names).await?;
    let why = format!("collection dropped with its database '{database}'");
    wing.lose(&reading, why);
    Ok(Reply::Document(rawdoc! { "dropped": database, "ok": 1.0 }))
}

pub(super) async fn coll_mod(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let parameters = [
        Some(request.database.as_bytes()),
        Some(request.collection()?.as_bytes()),
        Some(request.body()),
    ];
    let rows = context.call(sql::COLL_MOD, &parameters).await?;
    Reply::row(rows, 0)
}

pub(super) async fn rename(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let from = command.value.as_str().unwrap_or_default();
    let to = command.body.get_str("to").unwrap_or_default();
    let wing = std::sync::Arc::clone(&context.session.wing);
    let reading = [from, to].map(|name| wing.cursors.reading(|read| read == name));
    let reply = alone(context, sql::RENAME).await?;
    let [renamed, replaced] = &reading;
    let why = format!("collection renamed from '{from}' to '{to}'");
    wing.lose(renamed, why);
    wing.lose(replaced, dropped(to));
    Ok(reply)
}

/// Why there is no more of a cursor.
fn dropped(namespace: &str) -> String {
    format!("collection dropped: '{namespace}'")
}

pub(super) async fn compact(context: &mut Context<'_>) -> Outcome {
    alone(context, sql::COMPACT).await
}

pub(super) async fn list_databases(context: &mut Context<'_>) -> Outcome {
    if context.request.database != "admin" {
        return Err(Fault::new(
            known::UNAUTHORIZED,
            "listDatabases may only be run against the admin database.",
        ));
    }
    alone(context, sql::LIST_DATABASES).await
}

/// Runs a function of the command alone whose result is the answer.
pub(super) async fn alone(context: &mut Context<'_>, statement: &'static str) -> Outcome {
    let parameters = [Some(context.request.body())];
    let rows = context.call(statement, &parameters).await?;
    Reply::row(rows, 0)
}

pub(super) async fn list_collections(context: &mut Context<'_>) -> Outcome {
    cursor::first_page(context, sql::LIST_COLLECTIONS).await
}

pub(super) async fn list_indexes(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    // The extension gives all at once, whatever the batch's size.
    let reply = cursor::first_page(context, sql::LIST_INDEXES).await?;
    let answer = without_ordered(reply.document()?);
    let answer = answer.map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
    Ok(Reply::Document(answer))
}

/// An answer to `listIndexes` without the extension's own option, which nobody has asked for: mappers that compare
/// indexes with their models would make each anew.
fn without_ordered(answer: &RawDocument) -> Result<RawDocumentBuf, Malformed> {
    rebuilt(answer, |key, value| match (key, value) {
        ("cursor", RawBsonRef::Document(cursor)) => {
            let cursor = rebuilt(cursor, |key, value| match (key, value) {
                ("firstBatch", RawBsonRef::Array(batch)) => {
                    let mut indexes = RawArrayBuf::new();
                    for index in batch {
                        match index? {
                            RawBsonRef::Document(index) => indexes.push(index_told(index)?),
                            other => indexes.push(other),
                        }
                    }
                    Ok(Some(RawBson::Array(indexes)))
                }
                (_, value) => Ok(Some(value.into())),
            })?;
            Ok(Some(RawBson::Document(cursor)))
        }
        (_, value) => Ok(Some(value.into())),
    })
}

fn index_told(index: &RawDocument) -> Result<RawDocumentBuf, Malformed> {
    rebuilt(index, |key, value| match (key, value) {
        ("storageEngine", RawBsonRef::Document(engine)) => {
            let engine = rebuilt(engine, |key, value| {
                Ok((key != "enableOrderedIndex").then(|| value.into()))
            })?;
            Ok((!engine.is_empty()).then_some(RawBson::Document(engine)))
        }
        (_, value) => Ok(Some(value.into())),
    })
}

/// The fields of a document, each as it becomes.
fn rebuilt(
    document: &RawDocument,
    mut becomes: impl FnMut(&str, RawBsonRef<'_>) -> Result<Option<RawBson>, Malformed>,
) -> Result<RawDocumentBuf, Malformed> {
    let mut out = RawDocumentBuf::new();
    for element in document {
        let (key, value) = element?;
        if let Some(value) = becomes(key.as_str(), value)? {
            out.append(key, value);
        }
    }
    Ok(out)
}

pub(super) async fn coll_stats(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let scale = scale(request.command.body)?.to_be_bytes();
    let parameters = [
        Some(request.database.as_bytes()),
        Some(request.collection()?.as_bytes()),
        Some(&scale[..]),
    ];
    let rows = context.call(sql::COLL_STATS, &parameters).await?;
    Reply::row(rows, 0)
}

pub(super) async fn db_stats(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let scale = scale(request.command.body)?.to_be_bytes();
    let parameters = [Some(request.database.as_bytes()), Some(&scale[..])];
    let rows = context.call(sql::DB_STATS, &parameters).await?;
    Reply::row(rows, 0)
}

/// The unit of sizes, in bytes.
fn scale(body: &RawDocument) -> Result<f64, Fault> {
    Ok(match body.get("scale") {
        Ok(None | Some(RawBsonRef::Null | RawBsonRef::Undefined)) => 1.0,
        Ok(Some(RawBsonRef::Double(scale))) => scale,
        Ok(Some(RawBsonRef::Int32(scale))) => f64::from(scale),
        Ok(Some(RawBsonRef::Int64(scale))) => i32::try_from(scale).map_or(f64::MAX, f64::from),
        _ => return Err(Fault::field("stats", "scale", "must be a number")),
    })
}

pub(super) async fn validate(context: &mut Context<'_>) -> Outcome {
    context.request.collection()?;
    single(context, sql::VALIDATE).await
}

pub(super) async fn drop_indexes(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    request.collection()?;
    let parameters = [Some(request.database.as_bytes()), Some(request.body())];
    let rows = context.call(sql::DROP_INDEXES, &parameters).await?;
    let answer = document::document(rows.get(0, 0).unwrap_or_default());
    let answer = answer.map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
    if answer.get_bool("ok").is_ok_and(|ok| !ok) {
        let code = answer
            .get_i32("code")
            .map_or(known::INTERNAL_ERROR, code_of);
        return Err(Fault::new(
            code,
            answer.get_str("errmsg").unwrap_or_default(),
        ));
    }
    let mut out = RawDocumentBuf::new();
    for element in answer {
        let (key, value) = element.map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
        match (key.as_str(), value) {
            ("ok", _) => {}
            ("nIndexesWas", RawBsonRef::Int64(count)) => {
                out.append(key, i32::try_from(count).unwrap_or(i32::MAX));
            }
            _ => out.append(key, value),
        }
    }
    out.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(out))
}

pub(super) async fn search_index(_: &mut Context<'_>) -> Outcome {
    Err(Fault::new(
        known::SEARCH_NOT_ENABLED,
        "search indexes are a thing of MongoDB Atlas; this database has none",
    ))
}
