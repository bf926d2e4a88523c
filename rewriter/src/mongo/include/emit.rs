//! The stages of an aggregation that load relations.

use bson::raw::{BindRawBsonRef, RawArrayBuf, RawDocumentBuf};
use bson::{RawBson, rawdoc};

use super::plan::Load;
use crate::error::Error;
use crate::mongo::raw::{array, key, one};
use crate::mongo::relations::{DBREF_KEY, dbref, head};

/// More than any list has: a `$limit` that takes nothing away.
const ALL: i32 = i32::MAX;

/// The types of values, by their numbers: all but null, undefined and those that stand for no value.
const VALUES: [i32; 13] = [1, 2, 3, 5, 7, 8, 9, 11, 13, 16, 17, 18, 19];

/// Adds the stages that load one relation of the documents that come along.
pub(super) fn stages(
    load: &Load<'_>,
    database: Option<&str>,
    out: &mut Vec<RawDocumentBuf>,
) -> Result<(), Error> {
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
            links_to(&relation.target, database, field, relation.many),
        )?);
        local = format!("{name}.{DBREF_KEY}");
    }
    if let Some(through) = &relation.through {
        let mut inner = Vec::new();
        if local != "_id" {
            inner.push(one("$match", there(&through.local)?)?);
        }
        let keys = (local.as_str(), through.local.as_str());
        out.push(lookup(&through.collection, keys, None, &inner, name)?);
        local = format!("{name}.{}", through.foreign);
    }
    // To `$lookup`, missing is equal to null and to missing; keys that are not there lead nowhere. Where the key
    // is still there behind the look-up it is asked then, else those that are found have to be of no use to it.
    let asked = local == relation.local && local != "_id" && !relation.replaces_key();
    let keys = (local.as_str(), relation.foreign.as_str());
    let inner = pipeline(load, database, &local, asked)?;
    let own = dbref(&relation.foreign).map(|_| local.as_str());
    out.push(lookup(&relation.target, keys, own, &inner, name)?);
    let (found, nothing) = match relation.many {
        true => (
            RawBson::String(format!("${name}")),
            RawBson::Array(RawArrayBuf::new()),
        ),
        false => {
            // `$first` as an operator is younger.
            let first = rawdoc! { "$arrayElemAt": [format!("${name}"), 0] };
            let first = rawdoc! { "$ifNull": [first, RawBson::Null] };
            (RawBson::Document(first), RawBson::Null)
        }
    };
    if asked {
        let present = rawdoc! { "$gt": [format!("${local}"), RawBson::Null] };
        out.push(set(name, rawdoc! { "$cond": [present, found, nothing] })?);
    } else if !relation.many {
        out.push(set(name, found)?);
    }
    if leaves_id(load) {
        out.push(one("$unset", format!("{name}._id"))?);
    }
    Ok(())
}

/// A look-up; `own` is the path of the key that its pipeline knows as `$$key`.
fn lookup(
    from: &str,
    (local, foreign): (&str, &str),
    own: Option<&str>,
    pipeline: &[RawDocumentBuf],
    name: &str,
) -> Result<RawDocumentBuf, Error> {
    let mut lookup = rawdoc! { "from": from, "localField": local, "foreignField": foreign };
    if let Some(own) = own {
        lookup.append(key("let")?, one("key", format!("${own}"))?);
    }
    if !pipeline.is_empty() {
        lookup.append(key("pipeline")?, array(pipeline));
    }
    lookup.append(key("as")?, name);
    one("$lookup", lookup)
}

/// What is done with the documents that a relation leads to; `asked` tells that those without a key are left out
/// behind it.
fn pipeline(
    load: &Load<'_>,
    database: Option<&str>,
    local: &str,
    asked: bool,
) -> Result<Vec<RawDocumentBuf>, Error> {
    let foreign = load.relation.foreign.as_str();
    let mut conditions = Vec::new();
    // Also where they are left out behind it: they may be all the documents of a collection. `_id` is always there,
    // and null at most once.
    match foreign {
        _ if local == "_id" => {}
        "_id" if asked => {}
        "_id" => conditions.push(one("_id", rawdoc! { "$ne": RawBson::Null })?),
        foreign => conditions.push(there(foreign)?),
    }
    if let Some(field) = dbref(foreign) {
        conditions.push(links_back(load.owner, database, field, local != "_id")?);
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
        self::stages(child, database, &mut stages)?;
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
fn links_to(target: &str, database: Option<&str>, field: &str, many: bool) -> RawDocumentBuf {
    let value = format!("${field}");
    let leads = array(&leads_to(target, database, &value));
    let single = rawdoc! { "$cond": [{ "$and": leads }, value.as_str(), RawBson::Null] };
    if !many {
        return single;
    }
    let leads = array(&leads_to(target, database, "$$link"));
    let list = rawdoc! { "$filter": {
        "input": value.as_str(), "as": "link", "cond": { "$and": leads },
    } };
    rawdoc! { "$cond": [{ "$isArray": [value.as_str()] }, list, single] }
}

/// Whether among the DBRefs of a field there is one that leads to a collection and to its document with `$$key`:
/// both in one, which a condition on each of its parts doesn't ask. The key may be a list of them.
fn links_back(
    owner: &str,
    database: Option<&str>,
    field: &str,
    lists: bool,
) -> Result<RawDocumentBuf, Error> {
    let value = format!("${field}");
    let mut conditions = leads_to(owner, database, "$$link");
    let equal = rawdoc! { "$eq": ["$$link.$id", "$$key"] };
    conditions.push(match lists {
        true => {
            let listed = rawdoc! { "$in": ["$$link.$id", "$$key"] };
            rawdoc! { "$cond": [{ "$isArray": ["$$key"] }, listed, equal] }
        }
        false => equal,
    });
    let links = rawdoc! { "$filter": {
        "input": { "$cond": [{ "$isArray": [value.as_str()] }, value.as_str(), [value.as_str()]] },
        "as": "link",
        "cond": { "$and": array(&conditions) },
    } };
    one("$expr", rawdoc! { "$gt": [{ "$size": links }, 0] })
}

/// What says that a DBRef leads to a collection of this database.
fn leads_to(target: &str, database: Option<&str>, link: &str) -> Vec<RawDocumentBuf> {
    let other = format!("{link}.$db");
    let here = match database {
        Some(database) => {
            let database = rawdoc! { "$literal": database };
            rawdoc! { "$eq": [{ "$ifNull": [other, database.clone()] }, database] }
        }
        None => rawdoc! { "$eq": [{ "$ifNull": [other, RawBson::Null] }, RawBson::Null] },
    };
    let target = rawdoc! { "$eq": [format!("{link}.$ref"), { "$literal": target }] };
    vec![target, here]
}

/// The condition that a key is there: some value that is not null, in a list of them, too.
fn there(path: &str) -> Result<RawDocumentBuf, Error> {
    one(
        path,
        rawdoc! { "$type": VALUES.into_iter().collect::<RawArrayBuf>() },
    )
}

/// By its older name: not all compatibles know `$set` as a stage.
fn set(name: &str, value: impl BindRawBsonRef) -> Result<RawDocumentBuf, Error> {
    one("$addFields", one(name, value)?)
}
