//! A `find` as the `aggregate` that gives the same cursor.
//!
//! `$match`, `$sort`, `$skip` and `$limit` come before the look-ups, so that these are done for the documents that
//! are asked for and no others; the projection comes last, when no key is needed any more. What `aggregate` can't
//! do as `find` does is refused.

use bson::raw::{CStr, RawBsonRef, RawDocument, RawDocumentBuf};

use super::clash;
use super::include::Loads;
use super::projection::{self, Origin};
use super::raw::{array, elements, get, integer, is_idle, key, one};
use crate::error::{Error, ErrorKind};

/// Options that `aggregate` has not, and that change nothing when they are off.
const ONLY_FIND: &[&str] = &[
    "tailable",
    "awaitData",
    "oplogReplay",
    "noCursorTimeout",
    "allowPartialResults",
    "returnKey",
    "showRecordId",
    "min",
    "max",
    "maxScan",
    "snapshot",
];

/// Options that become stages or the cursor.
const TRANSLATED: &[&str] = &[
    "filter",
    "sort",
    "skip",
    "limit",
    "projection",
    "batchSize",
    "singleBatch",
];

/// The documents of a first batch when none is asked for.
const FIRST_BATCH: i64 = 101;

/// The command, rewritten.
pub(super) fn rewrite(
    command: &RawDocument,
    collection: &str,
    loads: &Loads<'_>,
) -> Result<RawDocumentBuf, Error> {
    let mut out = RawDocumentBuf::new();
    out.append(key("aggregate")?, collection);
    let size = Size::of(command)?;
    out.append(key("pipeline")?, array(&pipeline(command, loads, &size)?));
    out.append(key("cursor")?, size.cursor()?);
    for element in elements(command).skip(1) {
        let (name, value) = element?;
        carry_over(&mut out, name, value)?;
    }
    if let Some(direction) = natural(command)? {
        out.append(key("hint")?, one("$natural", direction)?);
    }
    Ok(out)
}

fn carry_over(out: &mut RawDocumentBuf, name: &CStr, value: RawBsonRef<'_>) -> Result<(), Error> {
    let text = name.as_str();
    if TRANSLATED.contains(&text) {
        return Ok(());
    }
    if !ONLY_FIND.contains(&text) {
        out.append(name, value);
        return Ok(());
    }
    match is_idle(value) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::NotSupported,
            format!(
                "@include can't be used on a find with \"{text}\": aggregate has no such option"
            ),
        )
        .hinted(format!("Leave out \"{text}\", or @include."))),
    }
}

fn pipeline(
    command: &RawDocument,
    loads: &Loads<'_>,
    size: &Size,
) -> Result<Vec<RawDocumentBuf>, Error> {
    let mut stages = Vec::new();
    if let Some(filter) = document(command, "filter")? {
        clash::filter(filter, loads)?;
        only_find_operators(filter, 0)?;
        stages.push(one("$match", filter)?);
    }
    if let Some(sort) = document(command, "sort")?
        && natural(command)?.is_none()
    {
        clash::sort(sort, loads)?;
        stages.push(one("$sort", sort)?);
    }
    if size.skip > 0 {
        stages.push(one("$skip", size.skip)?);
    }
    if let Some(limit) = size.limit {
        stages.push(one("$limit", limit)?);
    }
    stages.extend(loads.stages()?);
    let Some(fields) = document(command, "projection")? else {
        return Ok(stages);
    };
    if let Some(fields) = projection::with_relations(fields, loads, Origin::Find)? {
        stages.push(one("$project", fields)?);
    }
    Ok(stages)
}

/// A field that holds a document with something in it.
fn document<'a>(command: &'a RawDocument, name: &str) -> Result<Option<&'a RawDocument>, Error> {
    match get(command, name)? {
        None | Some(RawBsonRef::Null) => Ok(None),
        Some(RawBsonRef::Document(document)) => {
            Ok(Some(document).filter(|document| !document.is_empty()))
        }
        Some(_) => Err(wrong_type(name, "a document")),
    }
}

fn wrong_type(name: &str, wanted: &str) -> Error {
    Error::new(
        ErrorKind::TypeMismatch,
        format!("the field \"{name}\" must be {wanted}"),
    )
}

/// The direction of `sort: { $natural: 1 }`, which `aggregate` takes as a hint.
fn natural(command: &RawDocument) -> Result<Option<i32>, Error> {
    let Some(sort) = document(command, "sort")? else {
        return Ok(None);
    };
    let Some(direction) = get(sort, "$natural")?.and_then(integer) else {
        return Ok(None);
    };
    if get(command, "hint")?.is_some_and(|hint| !is_idle(hint)) || elements(sort).nth(1).is_some() {
        let message = "@include can't be used on a find that sorts by \"$natural\" beside a hint or another field";
        return Err(Error::new(ErrorKind::NotSupported, message).hinted("Leave out one of them."));
    }
    if direction < 0 {
        // DocumentDB passes over the hint, and the first would come first.
        let message = "@include can't be used on a find that sorts by \"$natural\" backwards";
        return Err(Error::new(ErrorKind::NotSupported, message).hinted("Sort by a field."));
    }
    Ok(Some(1))
}

/// Refuses what a filter may hold and `$match` may not.
fn only_find_operators(filter: &RawDocument, depth: usize) -> Result<(), Error> {
    for element in elements(filter) {
        let (name, value) = element?;
        if ["$where", "$near", "$nearSphere"].contains(&name.as_str()) {
            let message = format!(
                "@include can't be used on a find with \"{name}\": $match does not take it"
            );
            return Err(Error::new(ErrorKind::NotSupported, message)
                .hinted("Use $expr in place of $where, and $geoWithin or a $geoNear stage in place of $near."));
        }
        let inner: Vec<&RawDocument> = match value {
            RawBsonRef::Document(document) => vec![document],
            RawBsonRef::Array(list) => list
                .into_iter()
                .flatten()
                .filter_map(RawBsonRef::as_document)
                .collect(),
            _ => continue,
        };
        if depth >= clash::DEEPEST {
            return Err(clash::too_deep());
        }
        for document in inner {
            only_find_operators(document, depth + 1)?;
        }
    }
    Ok(())
}

/// How many documents, and in what batches.
struct Size {
    skip: i64,
    limit: Option<i64>,
    batch: Option<i64>,
}

impl Size {
    fn of(command: &RawDocument) -> Result<Self, Error> {
        let number = |name: &str| match get(command, name)? {
            None | Some(RawBsonRef::Null) => Ok(None),
            Some(value) => integer(value)
                .map(Some)
                .ok_or_else(|| wrong_type(name, "a whole number")),
        };
        let (skip, limit, batch) = (
            number("skip")?.unwrap_or(0),
            number("limit")?,
            number("batchSize")?,
        );
        for (name, value) in [("skip", Some(skip)), ("batchSize", batch)] {
            if value.is_some_and(|value| value < 0) {
                let message = format!("the field \"{name}\" must not be negative");
                return Err(Error::new(ErrorKind::InvalidValue, message));
            }
        }
        // A negative limit is that of old drivers: so many, in a single batch.
        let mut single = limit.is_some_and(|limit| limit < 0);
        if let Some(value) = get(command, "singleBatch")? {
            single |= !is_idle(value);
        }
        let mut limit = limit.filter(|limit| *limit != 0).map(i64::saturating_abs);
        if single {
            let most = batch.filter(|batch| *batch > 0);
            limit = match (limit, most) {
                (Some(limit), Some(most)) => Some(limit.min(most)),
                (None, None) => Some(FIRST_BATCH),
                (one, other) => one.or(other),
            };
        }
        // One more than there will be ends the cursor with its first batch, as find does.
        let whole = limit.filter(|limit| {
            single || batch.is_none_or(|batch| batch != 0) && *limit <= batch.unwrap_or(FIRST_BATCH)
        });
        let batch = whole.map(|limit| limit.saturating_add(1)).or(batch);
        Ok(Self { skip, limit, batch })
    }

    fn cursor(&self) -> Result<RawDocumentBuf, Error> {
        match self.batch {
            Some(batch) => one("batchSize", batch),
            None => Ok(RawDocumentBuf::new()),
        }
    }
}
