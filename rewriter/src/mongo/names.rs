//! Finding relations by the names that a directive gives, and judging names of fields.
//!
//! A relation's name matches exactly. If nothing does and it was not quoted, it matches without regard to case, if
//! only one thing does. Fields are not known beforehand; their names are taken as they are.

use super::relations::{Relation, Relations, is_path};
use crate::directive::Name;
use crate::error::{Error, ErrorKind};
use crate::nearest::suggestion;

/// The relation of this name that starts at `collection`.
pub(super) fn relation<'c>(
    relations: &'c Relations,
    collection: &str,
    name: &Name,
) -> Result<&'c Relation, Error> {
    let known = relations.of(collection);
    if let Some(found) = known.iter().find(|relation| relation.name == name.text) {
        return Ok(found);
    }
    if let Some(found) = unquoted(known, name) {
        return Ok(found);
    }
    let message = format!(
        "collection \"{collection}\" has no relation \"{}\"",
        name.text
    );
    let error = Error::new(ErrorKind::UndefinedRelation, message).at(name.at);
    if let Some(fault) = relations.fault_of(collection) {
        return Err(error.hinted(format!(
            "What the database says of relations is left out: {fault}."
        )));
    }
    if known.is_empty() {
        return Err(error.hinted(format!(
            "No relation of this collection is known; declare it in the settings, [mongo.relations.{collection}.{}], in \
             the database's collection twinport.models, or in the collection's $jsonSchema.",
            name.text
        )));
    }
    let what = format!("relations of \"{collection}\"");
    let names = known.iter().map(|relation| relation.name.as_str());
    Err(error.hinted(suggestion(&name.text, &what, names)))
}

/// A field's path as a directive names it.
pub(super) fn field(name: &Name) -> Result<&str, Error> {
    match is_path(&name.text) {
        true => Ok(&name.text),
        false => Err(Error::new(
            ErrorKind::InvalidValue,
            format!(
                "\"{}\" is not the path of a field",
                name.text.escape_debug()
            ),
        )
        .at(name.at)
        .hinted(
            "A path is made of names with \".\" between, none empty, none with \"$\" before it.",
        )),
    }
}

fn unquoted<'c>(known: &'c [Relation], name: &Name) -> Option<&'c Relation> {
    if name.quoted {
        return None;
    }
    let mut same = known
        .iter()
        .filter(|relation| relation.name.eq_ignore_ascii_case(&name.text));
    match (same.next(), same.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}
