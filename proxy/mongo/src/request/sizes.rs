//! `dataSize`: the bytes of a collection's documents, all or a range of a key.

use std::time::Instant;

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawBson, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::document::{self, asks, integer};

use super::{Context, Outcome};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::upstream as sql;

pub(super) async fn data_size(context: &mut Context<'_>) -> Outcome {
    let began = Instant::now();
    let command = &context.request.command;
    let namespace = command.value.as_str().unwrap_or_default();
    let (database, collection) = match namespace.split_once('.') {
        Some((database, collection)) if !database.is_empty() && !collection.is_empty() => {
            (database, collection)
        }
        _ => {
            return Err(Fault::new(
                known::INVALID_NAMESPACE,
                format_args!("Invalid namespace specified '{namespace}'"),
            )
            .hint("Name the collection with its database, as <database>.<collection>"));
        }
    };
    let range = range(command.body)?;
    let estimates = asks(command.body, "estimate");
    let estimates = estimates && range.is_none();
    let names = [Some(database.as_bytes()), Some(collection.as_bytes())];
    let (size, count) = if estimates {
        let scale = 1.0_f64.to_be_bytes();
        let [database, collection] = names;
        let parameters = [database, collection, Some(&scale[..])];
        let rows = context.call(sql::COLL_STATS, &parameters).await?;
        let told = document::document(rows.get(0, 0).unwrap_or_default()).ok();
        (number(told, "size"), number(told, "count"))
    } else {
        let body = measuring(collection, range);
        let parameters = [
            Some(database.as_bytes()),
            Some(body.as_bytes()),
            Some(&sql::ANY_NUMBER[..]),
        ];
        let rows = context.call(sql::AGGREGATE, &parameters).await?;
        let told = first(&rows);
        (number(told, "size"), number(told, "count"))
    };
    Ok(Reply::Document(rawdoc! {
        "estimate": estimates,
        "size": size,
        "numObjects": count,
        "millis": i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
        "ok": 1.0,
    }))
}

/// What the documents are that are measured: none if all are.
fn range(body: &RawDocument) -> Result<Option<RawDocumentBuf>, Fault> {
    for limit in ["maxSize", "maxObjects"] {
        if matches!(body.get(limit), Ok(Some(_))) {
            return Err(Fault::new(
                known::COMMAND_NOT_SUPPORTED,
                format_args!("dataSize with '{limit}' is not supported"),
            )
            .hint("Leave it out: all documents are measured"));
        }
    }
    let bound = |name: &str| match body.get(name) {
        Ok(None | Some(RawBsonRef::Null)) => Ok(None),
        Ok(Some(RawBsonRef::Document(bound))) => Ok(only(bound)),
        _ => Err(Fault::field("dataSize", name, "must be a document")),
    };
    let is_there = |name: &str| match body.get_document(name) {
        Ok(bound) => !bound.is_empty(),
        Err(_) => false,
    };
    if !is_there("min") && !is_there("max") {
        return Ok(None);
    }
    let key = match body.get_document("keyPattern") {
        Ok(key) => only(key).map(|(field, _)| field),
        Err(_) => bound("min")?.map(|(field, _)| field),
    };
    let (Some((from, least)), Some((to, most)), Some(key)) = (bound("min")?, bound("max")?, key)
    else {
        return Err(Fault::new(
            known::BAD_VALUE,
            "dataSize takes both 'min' and 'max' or none, of a key of one field",
        ));
    };
    if from != to || from != key || from.starts_with('$') || from.is_empty() {
        return Err(Fault::new(
            known::BAD_VALUE,
            "'min' and 'max' must be of the field of 'keyPattern'",
        ));
    }
    // In the order of all values, and not of those of a type.
    let field = format!("${from}");
    let compared = |operator: &str, value: RawBsonRef<'_>| {
        let mut literal = RawDocumentBuf::new();
        literal.append(cstr!("$literal"), value);
        let mut sides = RawArrayBuf::new();
        sides.push(field.as_str());
        sides.push(literal);
        let mut out = RawDocumentBuf::new();
        if operator == "$gte" {
            out.append(cstr!("$gte"), sides);
        } else {
            out.append(cstr!("$lt"), sides);
        }
        out
    };
    let both: RawArrayBuf = [compared("$gte", least), compared("$lt", most)]
        .into_iter()
        .collect();
    Ok(Some(rawdoc! { "$expr": { "$and": both } }))
}

/// The only field of a document, and what it holds.
fn only(document: &RawDocument) -> Option<(&str, RawBsonRef<'_>)> {
    let mut fields = document.into_iter();
    let (name, value) = fields.next()?.ok()?;
    fields.next().is_none().then_some((name.as_str(), value))
}

/// The command that measures.
fn measuring(collection: &str, range: Option<RawDocumentBuf>) -> RawDocumentBuf {
    let mut pipeline = RawArrayBuf::new();
    if let Some(range) = range {
        pipeline.push(rawdoc! { "$match": range });
    }
    pipeline.push(rawdoc! { "$group": {
        "_id": RawBson::Null,
        "size": { "$sum": { "$bsonSize": "$$ROOT" } },
        "count": { "$sum": 1 },
    } });
    rawdoc! { "aggregate": collection, "pipeline": pipeline, "cursor": {} }
}

/// The first document of a cursor's page.
fn first(rows: &Rows) -> Option<&RawDocument> {
    let page = document::document(rows.get(0, 0)?).ok()?;
    let batch = page.get_document("cursor").ok()?.get_array("firstBatch");
    batch.ok()?.into_iter().next()?.ok()?.as_document()
}

fn number(told: Option<&RawDocument>, name: &str) -> i64 {
    let value = told.and_then(|told| told.get(name).ok().flatten());
    value.and_then(integer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_of_one_field() {
        for all in [
            rawdoc! { "dataSize": "d.c" },
            rawdoc! { "dataSize": "d.c", "keyPattern": { "_id": 1 }, "min": {}, "max": {} },
        ] {
            assert_eq!(range(&all).unwrap(), None);
        }
        let part = rawdoc! { "dataSize": "d.c", "min": { "a": 1 }, "max": { "a": "x" } };
        assert_eq!(
            range(&part).unwrap().unwrap(),
            rawdoc! { "$expr": { "$and": [
                { "$gte": ["$a", { "$literal": 1 }] }, { "$lt": ["$a", { "$literal": "x" }] },
            ] } }
        );
        for (wrong, code) in [
            (rawdoc! { "min": { "a": 1 } }, 2),
            (rawdoc! { "min": { "a": 1 }, "max": { "b": 1 } }, 2),
            (
                rawdoc! { "min": { "a": 1 }, "max": { "a": 1 }, "keyPattern": { "b": 1 } },
                2,
            ),
            (
                rawdoc! { "min": { "a": 1, "b": 1 }, "max": { "a": 1, "b": 1 } },
                2,
            ),
            (rawdoc! { "maxSize": 1 }, 115),
        ] {
            assert_eq!(range(&wrong).unwrap_err().code, code, "{wrong:?}");
        }
    }
}
