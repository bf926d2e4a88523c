//! What `createIndexes` asks for that the extension takes otherwise than MongoDB: options of the index of `_id`, and
//! indexes that are hidden from the beginning, which it knows only of those that are there.

use std::collections::HashSet;

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::document::integer;

use super::crud::without;
use super::instead::{self, Next};
use super::{Context, Outcome, hint, indexes};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::upstream as sql;

/// What may be said of the index of `_id`.
/// Source: `index_key_validate.cpp` of MongoDB's server.
const OF_ID: [&str; 7] = ["key", "name", "v", "ns", "collation", "hidden", "clustered"];

pub(super) async fn create_indexes(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    request.collection()?;
    let body = request.command.body;
    let specs: Vec<&RawDocument> = indexes::wanted(body).collect();
    specs.iter().try_for_each(|spec| check(spec))?;
    let create: Next = |context| Box::pin(indexes::create_indexes(context));
    let hidden = hidden(&specs);
    let reply = if hidden.is_empty() {
        create(context).await?
    } else {
        let before = context.call(hint::INDEXES, &names(context)?).await?;
        let shown = shown(body)?;
        let reply = instead::run(context, &shown, None, create).await?;
        hide(context, &hidden, &before).await?;
        reply
    };
    noted(reply, specs.len())
}

/// Refuses what MongoDB refuses of an index of `_id`, and what can't be done of another.
fn check(spec: &RawDocument) -> Result<(), Fault> {
    let Some(direction) = spec.get_document("key").ok().and_then(of_id) else {
        return check_hidden(spec);
    };
    let clustered = matches!(spec.get("clustered"), Ok(Some(_)));
    let mut fields = spec.into_iter().flatten().map(|(name, _)| name.as_str());
    if let Some(field) = fields.find(|field| !clustered && !OF_ID.contains(field)) {
        return Err(Fault::new(
            known::INVALID_INDEX_SPECIFICATION_OPTION,
            format_args!("The field '{field}' is not valid for an _id index specification"),
        )
        .hint("Every collection has an index of _id, which is unique"));
    }
    if direction != 1 {
        return Err(Fault::new(
            known::BAD_VALUE,
            format_args!(
                "The field 'key' for an _id index must be {{_id: 1}}, but got {{ _id: {direction} }}"
            ),
        ));
    }
    if matches!(spec.get("hidden"), Ok(Some(_))) {
        return Err(Fault::new(known::BAD_VALUE, "can't hide _id index"));
    }
    Ok(())
}

/// What is unique the extension doesn't hide.
fn check_hidden(spec: &RawDocument) -> Result<(), Fault> {
    if !(indexes::is_unique(spec) && is_hidden(spec)) {
        return Ok(());
    }
    Err(Fault::new(
        known::COMMAND_NOT_SUPPORTED,
        "a unique index can't be hidden in DocumentDB",
    )
    .hint("Create it without 'hidden'"))
}

/// The direction of an index of nothing but `_id`, which can be read either way.
fn of_id(key: &RawDocument) -> Option<i64> {
    let mut fields = key.into_iter();
    let (name, value) = fields.next()?.ok()?;
    let alone = name.as_str() == "_id" && fields.next().is_none();
    integer(value).filter(|direction| alone && matches!(direction, 1 | -1))
}

/// The names of those that are to be hidden.
fn hidden<'a>(specs: &[&'a RawDocument]) -> Vec<&'a str> {
    let hidden = specs.iter().filter(|spec| is_hidden(spec));
    hidden
        .filter_map(|spec| spec.get_str("name").ok())
        .collect()
}

fn is_hidden(spec: &RawDocument) -> bool {
    matches!(spec.get("hidden"), Ok(Some(RawBsonRef::Boolean(true))))
}

/// The command, by which nothing is hidden.
fn shown(command: &RawDocument) -> Result<RawDocumentBuf, Fault> {
    let malformed = |error| Fault::new(known::FAILED_TO_PARSE, error);
    let mut out = RawDocumentBuf::new();
    for element in command {
        let (key, value) = element.map_err(malformed)?;
        let ("indexes", RawBsonRef::Array(specs)) = (key.as_str(), value) else {
            out.append(key, value);
            continue;
        };
        let mut shown = RawArrayBuf::new();
        for spec in specs {
            match spec.map_err(malformed)? {
                RawBsonRef::Document(spec) if is_hidden(spec) => {
                    shown.push(without(spec, "hidden")?);
                }
                other => shown.push(other),
            }
        }
        out.append(key, shown);
    }
    Ok(out)
}

/// Hides those that were not there before.
async fn hide(context: &mut Context<'_>, hidden: &[&str], before: &Rows) -> Result<(), Fault> {
    let known: HashSet<&[u8]> = (0..before.len())
        .filter_map(|row| before.get(row, 0))
        .collect();
    let collection = context.request.collection()?;
    let [database, name] = names(context)?;
    for index in hidden
        .iter()
        .filter(|name| !known.contains(name.as_bytes()))
    {
        let spec = rawdoc! {
            "collMod": collection,
            "index": { "name": *index, "hidden": true },
        };
        let parameters = [database, name, Some(spec.as_bytes())];
        context.call(sql::COLL_MOD, &parameters).await?;
    }
    Ok(())
}

/// The database and the collection of a command.
fn names<'a>(context: &Context<'a>) -> Result<[Option<&'a [u8]>; 2], Fault> {
    let request = context.request;
    let collection = request.collection()?;
    Ok([
        Some(request.database.as_bytes()),
        Some(collection.as_bytes()),
    ])
}

/// The answer with MongoDB's words on how many of the indexes were there.
fn noted(reply: Reply, wanted: usize) -> Outcome {
    let answer = reply.document()?;
    let count = |name| integer(answer.get(name).ok().flatten()?);
    let (Some(before), Some(after)) = (count("numIndexesBefore"), count("numIndexesAfter")) else {
        return Ok(reply);
    };
    let made = usize::try_from(after - before).unwrap_or_default();
    let note = match made {
        0 => Some("all indexes already exist"),
        some if some < wanted => Some("index already exists"),
        _ => None,
    };
    let mut out = RawDocumentBuf::new();
    for (key, value) in answer.into_iter().flatten() {
        match key.as_str() {
            "note" => {}
            "ok" => {
                if let Some(note) = note {
                    out.append(cstr!("note"), note);
                }
                out.append(key, value);
            }
            _ => out.append(key, value),
        }
    }
    Ok(Reply::Document(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_the_key_is_what_it_is() {
        for fine in [
            rawdoc! { "key": { "_id": 1 }, "name": "any" },
            rawdoc! { "key": { "_id": 1.0 }, "name": "any", "v": 2 },
            rawdoc! { "key": { "_id": "hashed" }, "unique": true },
            rawdoc! { "key": { "_id": 1, "a": 1 }, "unique": true },
            rawdoc! { "key": { "a": -1 }, "unique": true, "hidden": false },
            rawdoc! { "key": { "a": -1 }, "sparse": true, "hidden": true },
            rawdoc! { "key": { "_id": 1 }, "unique": true, "clustered": true },
            rawdoc! { "key": 1 },
            rawdoc! {},
        ] {
            assert!(check(&fine).is_ok(), "{fine:?}");
        }
        for (wrong, code) in [
            (rawdoc! { "key": { "_id": 1 }, "unique": true }, 197),
            (
                rawdoc! { "key": { "_id": 1 }, "expireAfterSeconds": 1 },
                197,
            ),
            (rawdoc! { "key": { "_id": -1 } }, 2),
            (
                rawdoc! { "key": { "a": 1 }, "unique": true, "hidden": true },
                115,
            ),
            (rawdoc! { "key": { "_id": 1 }, "hidden": false }, 2),
        ] {
            assert_eq!(check(&wrong).unwrap_err().code, code, "{wrong:?}");
        }
    }

    #[test]
    fn only_what_is_hidden_is_changed() {
        let command = rawdoc! { "createIndexes": "c", "indexes": [
            { "key": { "a": 1 }, "name": "a", "hidden": true, "sparse": true },
            { "key": { "b": 1 }, "name": "b", "hidden": false },
            7,
        ], "$db": "d" };
        let all: Vec<&RawDocument> = indexes::wanted(&command).collect();
        assert_eq!(hidden(&all), ["a"]);
        assert_eq!(
            shown(&command).unwrap(),
            rawdoc! { "createIndexes": "c", "indexes": [
                { "key": { "a": 1 }, "name": "a", "sparse": true },
                { "key": { "b": 1 }, "name": "b", "hidden": false },
                7,
            ], "$db": "d" }
        );
    }

    #[test]
    fn the_note_says_how_many_were_there() {
        let told = |before: i32, after: i32, wanted| {
            let answer = rawdoc! { "numIndexesBefore": before, "numIndexesAfter": after, "note": "odd", "ok": 1.0 };
            let reply = noted(Reply::Document(answer), wanted).unwrap();
            let note = reply.document().unwrap().get_str("note").ok();
            note.map(str::to_owned)
        };
        assert_eq!(told(1, 1, 2).as_deref(), Some("all indexes already exist"));
        assert_eq!(told(1, 2, 2).as_deref(), Some("index already exists"));
        assert_eq!(told(1, 3, 2), None);
    }
}
