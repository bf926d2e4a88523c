//! The stages of an aggregation that load relations.

use bson::raw::{BindRawBsonRef, RawArrayBuf, RawDocumentBuf};
use bson::{RawBson, rawdoc};

use super::plan::Load;
use crate::error::Error;
use crate::mongo::raw::{array, key, one};
use crate::mongo::relations::{DBREF_KEY, dbref, head};

/// More than any list has: a `$limit` that takes nothing away.
const ALL: i32 = i32::MAX;

/// Adds the stages that load one relation of the documents that come along.
pub(super) fn stages(load: &Load<'_>, out: &mut Vec<RawDocumentBuf>) -> Result<(), Error> {
    let relation = load.relation;
    let name = relation.name.as_str();
    if load.limit == Some(0) {
        // `$limit: 0` is an error.
        out.push(set(name, RawArrayBuf::new())?);
        return Ok(());
    }
    let mut local = relation.local.clone();
    if let Some(field) = dbref(&local) {
        out.push(set(
            name,
            links_to(&relation.target, field, relation.many)?,
        )?);
        local = format!("{name}.{DBREF_KEY}");
    }
    if let Some(through) = &relation.through {
        let mut inner = Vec::new();
        if local != "_id" {
            inner.push(not_null(&through.local)?);
        }
        out.push(lookup(
            &through.collection,
            &local,
            &through.local,
            &inner,
            name,
        )?);
        local = format!("{name}.{}", through.foreign);
    }
    let inner = pipeline(load, &local)?;
    out.push(lookup(
        &relation.target,
        &local,
        &relation.foreign,
        &inner,
        name,
    )?);
    if !relation.many {
        let first = rawdoc! { "$ifNull": [{ "$first": format!("${name}") }, RawBson::Null] };
        out.push(set(name, first)?);
    }
    if leaves_id(load) {
        out.push(one("$unset", format!("{name}._id"))?);
    }
    Ok(())
}

fn lookup(
    from: &str,
    local: &str,
    foreign: &str,
    pipeline: &[RawDocumentBuf],
    name: &str,
) -> Result<RawDocumentBuf, Error> {
    let mut lookup = rawdoc! { "from": from, "localField": local, "foreignField": foreign };
    if !pipeline.is_empty() {
        lookup.append(key("pipeline")?, array(pipeline));
    }
    lookup.append(key("as")?, name);
    one("$lookup", lookup)
}

/// What is done with the documents that a relation leads to.
fn pipeline(load: &Load<'_>, local: &str) -> Result<Vec<RawDocumentBuf>, Error> {
    let foreign = load.relation.foreign.as_str();
    let mut conditions = Vec::new();
    // To `$lookup`, missing is equal to null and to missing; keys that are not there lead nowhere.
    if local != "_id" && foreign != "_id" {
        conditions.push(one(foreign, rawdoc! { "$ne": RawBson::Null })?);
    }
    if let Some(field) = dbref(foreign) {
        conditions.push(one(&format!("{field}.$ref"), load.owner)?);
    }
    conditions.extend(load.filter.clone());
    let mut stages = Vec::new();
    match conditions.as_slice() {
        [] => {}
        [only] => stages.push(one("$match", only.clone())?),
        several => stages.push(one("$match", one("$and", array(several))?)?),
    }
    if !load.order.is_empty() {
        let mut sort = RawDocumentBuf::new();
        for (path, descending) in &load.order {
            sort.append(key(path)?, if *descending { -1 } else { 1 });
        }
        stages.push(one("$sort", sort)?);
    }
    if let Some(limit) = load.limit {
        stages.push(one("$limit", i64::try_from(limit).unwrap_or(i64::MAX))?);
    } else if !load.children.is_empty() {
        // Keeps DocumentDB from planning the deeper look-ups before it has found the few documents they are for.
        stages.push(one("$limit", ALL)?);
    }
    for child in &load.children {
        self::stages(child, &mut stages)?;
    }
    stages.extend(projection(load)?);
    Ok(stages)
}

fn projection(load: &Load<'_>) -> Result<Option<RawDocumentBuf>, Error> {
    let Some(columns) = &load.columns else {
        return Ok(None);
    };
    let mut fields = RawDocumentBuf::new();
    if leaves_id(load) {
        fields.append(key("_id")?, 1);
    } else if !columns.iter().any(|path| head(path) == "_id") {
        fields.append(key("_id")?, 0);
    }
    let children = load.children.iter().map(|child| &child.relation.name);
    for path in columns.iter().chain(children) {
        fields.append(key(path)?, 1);
    }
    one("$project", fields).map(Some)
}

/// Whether `_id` stays although it is not wanted, to be taken away behind the look-up: DocumentDB drops a document
/// that comes out of a look-up's pipeline with no field at all.
fn leaves_id(load: &Load<'_>) -> bool {
    let unwanted = |columns: &Vec<String>| !columns.iter().any(|path| head(path) == "_id");
    load.children.is_empty() && load.columns.as_ref().is_some_and(unwanted)
}

/// The DBRefs in a field that lead to a collection: a list of them, or one or null.
fn links_to(target: &str, field: &str, many: bool) -> Result<RawDocumentBuf, Error> {
    let value = format!("${field}");
    let single = rawdoc! { "$cond": [
        { "$eq": [format!("{value}.$ref"), { "$literal": target }] },
        value.as_str(),
        RawBson::Null,
    ] };
    if !many {
        return Ok(single);
    }
    let list = rawdoc! { "$filter": {
        "input": value.as_str(),
        "as": "link",
        "cond": { "$eq": ["$$link.$ref", { "$literal": target }] },
    } };
    Ok(rawdoc! { "$cond": [{ "$isArray": [value.as_str()] }, list, single] })
}

fn not_null(path: &str) -> Result<RawDocumentBuf, Error> {
    one("$match", one(path, rawdoc! { "$ne": RawBson::Null })?)
}

fn set(name: &str, value: impl BindRawBsonRef) -> Result<RawDocumentBuf, Error> {
    one("$set", one(name, value)?)
}
