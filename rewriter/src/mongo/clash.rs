//! Uses of an included relation's name where the relation is not loaded yet.

use bson::raw::{RawBsonRef, RawDocument};

use super::include::Loads;
use super::raw::elements;
use crate::error::{Error, ErrorKind};

/// More nesting than a server takes.
pub(super) const DEEPEST: usize = 200;

/// Refuses a filter that names what a relation adds.
pub(super) fn filter(filter: &RawDocument, loads: &Loads<'_>) -> Result<(), Error> {
    nested(filter, loads, 0)
}

fn nested(filter: &RawDocument, loads: &Loads<'_>, depth: usize) -> Result<(), Error> {
    for element in elements(filter) {
        let (name, value) = element?;
        match value {
            RawBsonRef::Array(list) if ["$and", "$or", "$nor"].contains(&name.as_str()) => {
                if depth >= DEEPEST {
                    return Err(too_deep());
                }
                for part in list
                    .into_iter()
                    .flatten()
                    .filter_map(RawBsonRef::as_document)
                {
                    nested(part, loads, depth + 1)?;
                }
            }
            expression if name.as_str() == "$expr" => {
                if let Some(path) = used(expression, loads, depth)? {
                    return Err(too_early("filter", path));
                }
            }
            _ if loads.adds(name.as_str()) => return Err(too_early("filter", name.as_str())),
            _ => {}
        }
    }
    Ok(())
}

/// The first path in an expression that leads to what a relation adds.
pub(super) fn used<'v>(
    expression: RawBsonRef<'v>,
    loads: &Loads<'_>,
    depth: usize,
) -> Result<Option<&'v str>, Error> {
    if depth >= DEEPEST {
        return Err(too_deep());
    }
    match expression {
        RawBsonRef::String(text) => {
            let whole = ["$$ROOT.", "$$CURRENT."];
            let path = whole.iter().find_map(|whole| text.strip_prefix(whole));
            let path = path.or_else(|| text.strip_prefix('$'));
            Ok(path.filter(|path| loads.adds(path)))
        }
        RawBsonRef::Document(document) => {
            for element in elements(document) {
                let (name, value) = element?;
                if name.as_str() != "$literal"
                    && let Some(path) = used(value, loads, depth + 1)?
                {
                    return Ok(Some(path));
                }
            }
            Ok(None)
        }
        RawBsonRef::Array(list) => {
            for value in list.into_iter().flatten() {
                if let Some(path) = used(value, loads, depth + 1)? {
                    return Ok(Some(path));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Refuses a sort by what a relation adds.
pub(super) fn sort(sort: &RawDocument, loads: &Loads<'_>) -> Result<(), Error> {
    for element in elements(sort) {
        let (name, _) = element?;
        if loads.adds(name.as_str()) {
            return Err(too_early("sort", name.as_str()));
        }
    }
    Ok(())
}

/// The error for a command that uses a relation's field before it is there.
pub(super) fn too_early(place: &str, path: &str) -> Error {
    let message = format!(
        "the {place} uses \"{path}\", which belongs to an included relation and is loaded later"
    );
    Error::new(ErrorKind::NotSupported, message)
        .hinted("Only the collection's own fields can be used there; in an aggregate, write the $lookup yourself.")
}

/// The error for a field that would be there twice.
pub(super) fn taken(place: &str, name: &str) -> Error {
    let message = format!("{place} makes a field \"{name}\", the name of an included relation");
    Error::new(ErrorKind::DuplicateColumn, message).hinted("Give that field another name.")
}

/// The error for more nesting than is looked into.
pub(super) fn too_deep() -> Error {
    Error::new(
        ErrorKind::TooComplex,
        format!("the command is nested more than {DEEPEST} deep"),
    )
}
