//! Projections: what they keep, and the included relations put into them.

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::clash;
use super::include::Loads;
use super::raw::{elements, get, key, truth};
use super::relations::head;
use crate::error::{Error, ErrorKind};

/// Where a projection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// In a `find`, which has operators of its own.
    Find,
    /// In a `$project`.
    Stage,
}

/// What a projection does with fields that it doesn't name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Keeps,
    Drops,
}

/// The projection as a `$project` that keeps the relations; `None` if there is nothing to do.
pub(super) fn with_relations(
    projection: &RawDocument,
    loads: &Loads<'_>,
    origin: Origin,
) -> Result<Option<RawDocumentBuf>, Error> {
    if projection.is_empty() {
        return Ok(None);
    }
    if origin == Origin::Find {
        check_operators(projection)?;
        check_meta(projection)?;
    }
    let mode = mode(projection)?;
    let mut out = projection.to_owned();
    for name in loads.names() {
        let mut named = false;
        for element in elements(projection) {
            let (path, value) = element?;
            if head(path.as_str()) != name {
                continue;
            }
            named = true;
            let whole = path.as_str() == name;
            match truth(value) {
                Some(true) => {}
                Some(false) if whole => return Err(removed(name)),
                None if whole && value.as_document().is_none() => {
                    return Err(clash::taken("the projection", name));
                }
                _ => {}
            }
        }
        if mode == Mode::Drops && !named {
            out.append(key(name)?, 1);
        }
    }
    Ok(Some(out))
}

/// Refuses a find's `$meta` beside which no field is kept: there it drops no field, and in a `$project` all others.
fn check_meta(projection: &RawDocument) -> Result<(), Error> {
    let (mut others, mut found) = (RawDocumentBuf::new(), None);
    for element in elements(projection) {
        let (name, value) = element?;
        match value.as_document().map(|value| get(value, "$meta")) {
            Some(Ok(Some(_))) => found = Some(name.as_str()),
            _ => others.append(name, value),
        }
    }
    let Some(name) = found else {
        return Ok(());
    };
    if !others.is_empty() && mode(&others)? == Mode::Drops {
        return Ok(());
    }
    let message = format!(
        "@include can't be used on a find whose projection has \"$meta\" at \"{name}\" and keeps no field by name"
    );
    Err(Error::new(ErrorKind::NotSupported, message)
        .hinted("Name the fields that are wanted beside it."))
}

/// Whether a document still has the field `path` after this projection, as it was.
pub(super) fn keeps(projection: &RawDocument, path: &str) -> Result<bool, Error> {
    let mode = mode(projection)?;
    let mut kept = mode == Mode::Keeps || head(path) == "_id";
    for element in elements(projection) {
        let (name, value) = element?;
        let name = name.as_str();
        if head(name) == head(path) {
            // A part of the field may be all that is needed, but which one is not worth the telling.
            kept = name == head(path) && truth(value) == Some(true);
        }
    }
    Ok(kept)
}

/// The error for a relation that is taken away again.
pub(super) fn removed(name: &str) -> Error {
    let message = format!("\"{name}\" is included and then removed by a projection");
    Error::new(ErrorKind::NotSupported, message).hinted("Leave it out of one of them.")
}

/// A projection drops all else if it names one field to keep or to make, `_id` not counted unless it is the only one.
fn mode(projection: &RawDocument) -> Result<Mode, Error> {
    let mut mode = Mode::Keeps;
    for element in elements(projection) {
        let (name, value) = element?;
        let this = mode_of(value, 0)?;
        if name.as_str() != "_id" {
            return Ok(this);
        }
        mode = this;
    }
    Ok(mode)
}

fn mode_of(value: RawBsonRef<'_>, depth: usize) -> Result<Mode, Error> {
    if depth > clash::DEEPEST {
        return Err(clash::too_deep());
    }
    if let RawBsonRef::Document(document) = value {
        return match elements(document).next().transpose()? {
            // find's `$slice` alone keeps the rest; it is refused before it gets here.
            Some((name, _)) if name.as_str().starts_with('$') => Ok(Mode::Drops),
            Some((_, inner)) => mode_of(inner, depth + 1),
            None => Ok(Mode::Drops),
        };
    }
    match truth(value) {
        Some(false) => Ok(Mode::Keeps),
        _ => Ok(Mode::Drops),
    }
}

/// Refuses operators that a projection has in `find` only.
fn check_operators(projection: &RawDocument) -> Result<(), Error> {
    for element in elements(projection) {
        let (name, value) = element?;
        let operator = if name.as_str().ends_with(".$") {
            Some("$")
        } else {
            find_operator(value)?
        };
        if let Some(operator) = operator {
            let message = format!(
                "@include can't be used on a find whose projection has \"{operator}\" at \"{name}\": it has no like \
                 in an aggregate"
            );
            return Err(Error::new(ErrorKind::NotSupported, message).hinted(
                "Write it as an expression, such as { $slice: [\"$list\", 3] } or { $filter: … }.",
            ));
        }
    }
    Ok(())
}

fn find_operator(value: RawBsonRef<'_>) -> Result<Option<&'static str>, Error> {
    let Some(document) = value.as_document() else {
        return Ok(None);
    };
    let Some((name, value)) = elements(document).next().transpose()? else {
        return Ok(None);
    };
    let is_number = |value: RawBsonRef<'_>| truth(value).is_some();
    Ok(match name.as_str() {
        "$elemMatch" => Some("$elemMatch"),
        "$slice" => {
            let list = value.as_array();
            let first = list.and_then(|list| list.into_iter().flatten().next());
            (is_number(value) || first.is_some_and(is_number)).then_some("$slice")
        }
        _ => None,
    })
}
