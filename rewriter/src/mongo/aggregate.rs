//! Where in an `aggregate` the stages of `@include` go.
//!
//! The look-ups go to the end of the pipeline: behind a `$limit` they are done for the few documents that are left.
//! They go before the first stage that takes a key away; projections behind them are told to keep the relations.
//! A pipeline whose documents are not the collection's own any more (`$group`) is refused.

use bson::raw::{RawArray, RawBsonRef, RawDocument, RawDocumentBuf};

use super::clash::{self, taken, too_early};
use super::include::Loads;
use super::projection::{self, Origin, removed};
use super::raw::{array, elements, get, key, malformed, one};
use super::relations::head;
use crate::error::{Error, ErrorKind};

/// Stages behind which every document is still one of the collection's.
const KEEPING: &[&str] = &[
    "$match",
    "$sort",
    "$limit",
    "$skip",
    "$sample",
    "$unwind",
    "$lookup",
    "$graphLookup",
    "$geoNear",
    "$search",
    "$vectorSearch",
    "$set",
    "$addFields",
    "$unset",
    "$project",
];

/// The command, rewritten.
pub(super) fn rewrite(command: &RawDocument, loads: &Loads<'_>) -> Result<RawDocumentBuf, Error> {
    let mut out = RawDocumentBuf::new();
    if get(command, "pipeline")?.is_none() {
        return Err(Error::new(
            ErrorKind::Syntax,
            "the aggregate has no \"pipeline\"",
        ));
    }
    for element in elements(command) {
        let (name, value) = element?;
        match value {
            RawBsonRef::Array(pipeline) if name.as_str() == "pipeline" => {
                out.append(key("pipeline")?, array(&with_loads(pipeline, loads)?));
            }
            _ if name.as_str() == "pipeline" => {
                return Err(Error::new(
                    ErrorKind::TypeMismatch,
                    "the field \"pipeline\" must be an array",
                ));
            }
            other => out.append(name, other),
        }
    }
    Ok(out)
}

fn with_loads(pipeline: &RawArray, loads: &Loads<'_>) -> Result<Vec<RawDocumentBuf>, Error> {
    let mut out = Vec::new();
    let mut loaded = false;
    for stage in pipeline {
        let stage = stage.map_err(|error| malformed(&error))?;
        let stage = Stage::of(stage)?;
        if !KEEPING.contains(&stage.name) {
            let message = format!("@include can't be used on a pipeline with {}", stage.name);
            return Err(Error::new(ErrorKind::NotSupported, message).hinted(
                "Behind that stage there are no documents of the collection that a related one could belong to.",
            ));
        }
        if !loaded {
            stage.check_before(loads)?;
        }
        if !loaded && (stage.removes_key(loads)? || stage.uses(loads)?) {
            out.extend(loads.stages()?);
            loaded = true;
        }
        out.push(if loaded {
            stage.behind(loads)?
        } else {
            stage.whole.to_owned()
        });
    }
    if !loaded {
        out.extend(loads.stages()?);
    }
    Ok(out)
}

/// One stage of a pipeline.
struct Stage<'a> {
    whole: &'a RawDocument,
    name: &'a str,
    value: RawBsonRef<'a>,
}

impl<'a> Stage<'a> {
    fn of(stage: RawBsonRef<'a>) -> Result<Self, Error> {
        let message = "every stage of a pipeline is a document of one field";
        let wrong = || Error::new(ErrorKind::Syntax, message);
        let whole = stage.as_document().ok_or_else(wrong)?;
        let mut fields = elements(whole);
        match (fields.next().transpose()?, fields.next()) {
            (Some((name, value)), None) => Ok(Self {
                whole,
                name: name.as_str(),
                value,
            }),
            _ => Err(wrong()),
        }
    }

    /// Refuses a stage that uses a relation's name before the relation is there.
    fn check_before(&self, loads: &Loads<'_>) -> Result<(), Error> {
        let place = self.name;
        match (place, self.value) {
            ("$match", RawBsonRef::Document(filter)) => clash::filter(filter, loads),
            ("$sort", RawBsonRef::Document(sort)) => clash::sort(sort, loads),
            ("$unwind", value) => {
                let path = match value {
                    RawBsonRef::Document(document) => get(document, "path")?,
                    other => Some(other),
                };
                let path = path.and_then(RawBsonRef::as_str).unwrap_or_default();
                match path.strip_prefix('$') {
                    Some(path) if loads.adds(path) => Err(too_early(place, path)),
                    _ => Ok(()),
                }
            }
            ("$project", RawBsonRef::Document(projection)) => {
                // Only its clashes are wanted here.
                projection::with_relations(projection, loads, Origin::Stage).map(drop)
            }
            _ => match self.made()?.into_iter().find(|path| loads.adds(path)) {
                Some(path) => Err(taken(place, path)),
                None => Ok(()),
            },
        }
    }

    /// The fields that the stage makes or overwrites.
    fn made(&self) -> Result<Vec<&'a str>, Error> {
        match (self.name, self.value) {
            ("$set" | "$addFields", RawBsonRef::Document(fields)) => elements(fields)
                .map(|field| field.map(|(name, _)| name.as_str()))
                .collect(),
            ("$lookup" | "$graphLookup", RawBsonRef::Document(lookup)) => Ok(get(lookup, "as")?
                .and_then(RawBsonRef::as_str)
                .into_iter()
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// The fields that an `$unset` takes away.
    fn unset(&self) -> Vec<&'a str> {
        match self.value {
            RawBsonRef::String(path) if self.name == "$unset" => vec![path],
            RawBsonRef::Array(list) if self.name == "$unset" => list
                .into_iter()
                .flatten()
                .filter_map(RawBsonRef::as_str)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a key that a relation needs is not there any more behind this stage, or is another.
    fn removes_key(&self, loads: &Loads<'_>) -> Result<bool, Error> {
        if let ("$project", RawBsonRef::Document(fields)) = (self.name, self.value) {
            for path in loads.keys() {
                if !projection::keeps(fields, path)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let changed: Vec<&str> = self.made()?.into_iter().chain(self.unset()).collect();
        Ok(loads
            .keys()
            .any(|path| changed.iter().any(|changed| head(changed) == head(path))))
    }

    /// Whether the stage computes something of what a relation adds.
    fn uses(&self, loads: &Loads<'_>) -> Result<bool, Error> {
        let expressions = match (self.name, self.value) {
            ("$set" | "$addFields" | "$project", value) => vec![value],
            ("$graphLookup", RawBsonRef::Document(lookup)) => {
                get(lookup, "startWith")?.into_iter().collect()
            }
            ("$lookup", RawBsonRef::Document(lookup)) => {
                let local = get(lookup, "localField")?.and_then(RawBsonRef::as_str);
                if local.is_some_and(|path| loads.adds(path)) {
                    return Ok(true);
                }
                get(lookup, "let")?.into_iter().collect()
            }
            _ => Vec::new(),
        };
        for expression in expressions {
            if clash::used(expression, loads, 0)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The stage as it stands behind the look-ups.
    fn behind(&self, loads: &Loads<'_>) -> Result<RawDocumentBuf, Error> {
        for path in self.made()? {
            if loads.names().any(|name| name == head(path)) {
                return Err(taken(self.name, path));
            }
        }
        for path in self.unset() {
            if loads.names().any(|name| name == path) {
                return Err(removed(path));
            }
        }
        if let ("$project", RawBsonRef::Document(fields)) = (self.name, self.value)
            && let Some(fields) = projection::with_relations(fields, loads, Origin::Stage)?
        {
            return one("$project", fields);
        }
        Ok(self.whole.to_owned())
    }
}
