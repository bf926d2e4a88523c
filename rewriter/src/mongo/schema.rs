//! What validators say of relations: a `$jsonSchema` is read for the fields that are keys of other documents.
//!
//! Two shapes tell of a relation. Everything else in a schema is passed over.
//!
//! - A DBRef whose `$ref` can be one collection only:
//!   `author: { properties: { $ref: { enum: ["authors"] }, $id: {} } }`.
//! - A field whose `description` is an annotation: `author_id: { description: "@ref(authors)" }`. A description
//!   whose first character other than blanks isn't `@` is a description.
//!
//! In arrays, and below arrays, a key leads to many documents. From each key follow a relation and one back; their
//! names are found in `derive`.

mod derive;

use std::collections::BTreeMap;

use bson::raw::{RawBsonRef, RawDocument};

use super::raw::elements;
use super::relations::{DBREF_KEY, is_path};
use crate::directive::{Reference, is_annotation};
use crate::error::Error;

/// More nesting than a server takes in one document.
const DEEPEST: usize = 100;

/// The most keys of one collection that are looked at.
const MOST: usize = 256;

/// The validators of one database's collections.
#[derive(Debug, Clone, Default)]
pub struct Schemas {
    by_collection: BTreeMap<String, Shape>,
}

impl Schemas {
    /// Reads the `validator` of a collection, as `listCollections` tells it under `options`: its `$jsonSchema`, and
    /// those in a `$and`.
    pub fn read(&mut self, database: &str, collection: &str, validator: &RawDocument) {
        let shape = self.by_collection.entry(collection.to_owned()).or_default();
        for element in elements(validator) {
            match element {
                Ok((name, RawBsonRef::Document(schema))) if name.as_str() == "$jsonSchema" => {
                    shape.read(database, schema);
                }
                Ok((name, RawBsonRef::Array(parts))) if name.as_str() == "$and" => {
                    for part in parts.into_iter().flatten() {
                        let part = part.as_document();
                        let schema = part.and_then(|part| part.get_document("$jsonSchema").ok());
                        schema
                            .into_iter()
                            .for_each(|schema| shape.read(database, schema));
                    }
                }
                _ => {}
            }
        }
    }
}

/// What is read of one collection's schema.
#[derive(Debug, Clone, Default)]
struct Shape {
    /// The fields of its documents.
    fields: Vec<String>,
    keys: Vec<Key>,
    /// Annotations that can't be used, with the field.
    faults: Vec<String>,
}

/// A field that is the key of other documents.
#[derive(Debug, Clone)]
struct Key {
    /// Its path, with `$id` at the end of a DBRef's.
    path: String,
    target: String,
    /// The field there.
    foreign: String,
    many: bool,
    /// The relation's name, if one is given.
    name: Option<String>,
    /// The name of the relation back, if one is given.
    inverse: Option<String>,
}

/// A place in a schema.
#[derive(Clone, Copy)]
struct At<'a> {
    database: &'a str,
    /// The path of the field.
    path: &'a str,
    /// In an array, or below one.
    many: bool,
    /// It is what an array holds.
    item: bool,
    depth: usize,
}

/// What the properties of a field say of a DBRef in it.
enum Link<'a> {
    /// It leads to this collection.
    To(&'a str),
    /// It leads anywhere, or to another database.
    Anywhere,
}

impl Shape {
    fn read(&mut self, database: &str, schema: &RawDocument) {
        if let Some(text) = annotation(schema) {
            self.faults.push(format!(
                "\"{text}\" belongs to a field, not to the whole schema"
            ));
        }
        let at = At {
            database,
            path: "",
            many: false,
            item: false,
            depth: 0,
        };
        self.object(schema, at);
    }

    /// The fields of a document.
    fn object(&mut self, schema: &RawDocument, at: At<'_>) {
        let Ok(properties) = schema.get_document("properties") else {
            return;
        };
        for element in elements(properties) {
            let Ok((name, value)) = element else {
                return;
            };
            let name = name.as_str();
            let top = at.path.is_empty();
            if top && !self.fields.iter().any(|field| field == name) {
                self.fields.push(name.to_owned());
            }
            let RawBsonRef::Document(field) = value else {
                continue;
            };
            if !is_path(name) || name.contains('.') || at.depth >= DEEPEST {
                continue;
            }
            let path = match top {
                true => name.to_owned(),
                false => format!("{}.{name}", at.path),
            };
            let at = At {
                path: &path,
                item: false,
                depth: at.depth + 1,
                ..at
            };
            self.field(field, at);
        }
    }

    /// One field, or what an array in it holds.
    fn field(&mut self, schema: &RawDocument, at: At<'_>) {
        // An array in an array is nothing that a look-up sees into.
        let items = schema.get_document("items").ok().filter(|_| !at.item);
        let at = At {
            many: at.many || items.is_some() || is_of(schema, "array"),
            ..at
        };
        let link =
            link(schema, at.database).or_else(|| items.and_then(|items| link(items, at.database)));
        if let Some(text) = annotation(schema) {
            let found = annotated(schema, text, at, link);
            match found {
                Ok(key) => self.add(key),
                Err(fault) => self.faults.push(format!("{}: {fault}", at.path)),
            }
            return;
        }
        let within = items.and_then(annotation).is_some();
        if let (Some(Link::To(target)), false) = (&link, within) {
            self.add(Key {
                path: format!("{}.{DBREF_KEY}", at.path),
                target: (*target).to_owned(),
                foreign: "_id".to_owned(),
                many: at.many,
                name: None,
                inverse: None,
            });
            return;
        }
        match items {
            Some(items) => self.field(items, At { item: true, ..at }),
            None => self.object(schema, at),
        }
    }

    fn add(&mut self, key: Key) {
        // Several schemas of one validator may say the same.
        if self.keys.iter().any(|known| known.path == key.path) {
            return;
        }
        match self.keys.len() < MOST {
            true => self.keys.push(key),
            false if self.keys.len() == MOST && self.faults.len() < MOST => {
                self.faults
                    .push(format!("{}: more than {MOST} fields are keys", key.path));
            }
            false => {}
        }
    }
}

/// The key that an annotation makes of a field.
fn annotated(
    schema: &RawDocument,
    text: &str,
    at: At<'_>,
    link: Option<Link<'_>>,
) -> Result<Key, String> {
    let reference = Reference::parse(text).map_err(|error| told(&error))?;
    let path = match link {
        Some(Link::To(target)) if target != reference.target => {
            return Err(format!(
                "\"{text}\" names another collection than its $ref, \"{target}\""
            ));
        }
        Some(_) => format!("{}.{DBREF_KEY}", at.path),
        None if is_of(schema, "object") || schema.get_document("properties").is_ok() => {
            return Err(format!(
                "\"{text}\" belongs to the field that holds the key, or to a DBRef with the properties $ref and $id"
            ));
        }
        None => at.path.to_owned(),
    };
    Ok(Key {
        path,
        target: reference.target,
        foreign: reference.field.unwrap_or_else(|| "_id".to_owned()),
        many: at.many,
        name: reference.name.map(|name| name.text),
        inverse: reference.inverse.map(|name| name.text),
    })
}

/// An error in one line.
fn told(error: &Error) -> String {
    let mut told = error.message().to_owned();
    if let Some(at) = error.position() {
        told.push_str(&format!(", at character {at} of the description"));
    }
    if let Some(hint) = error.hint() {
        told.push_str(". ");
        told.push_str(hint.trim_end_matches('.'));
    }
    told
}

/// The description of a field, if it is an annotation.
fn annotation(schema: &RawDocument) -> Option<&str> {
    let text = schema.get_str("description").ok()?;
    is_annotation(text).then_some(text)
}

fn link<'a>(schema: &'a RawDocument, database: &str) -> Option<Link<'a>> {
    let properties = schema.get_document("properties").ok()?;
    let collection = properties.get_document("$ref").ok()?;
    properties.get("$id").ok()??;
    let elsewhere = properties.get_document("$db").is_ok_and(|other| {
        let mut names = choices(other).peekable();
        names.peek().is_some() && !names.any(|name| name == database)
    });
    let mut names = choices(collection);
    match (names.next(), names.next()) {
        (Some(only), None) if !elsewhere => Some(Link::To(only)),
        _ => Some(Link::Anywhere),
    }
}

/// The texts of an `enum`.
fn choices(schema: &RawDocument) -> impl Iterator<Item = &str> {
    let list = schema.get_array("enum").ok();
    let values = list.into_iter().flatten().flatten();
    values.filter_map(RawBsonRef::as_str)
}

/// Whether a field may be of this type.
fn is_of(schema: &RawDocument, wanted: &str) -> bool {
    ["bsonType", "type"]
        .into_iter()
        .any(|keyword| match schema.get(keyword) {
            Ok(Some(RawBsonRef::String(name))) => name == wanted,
            Ok(Some(RawBsonRef::Array(names))) => {
                let mut names = names.into_iter().flatten();
                names.any(|name| name.as_str() == Some(wanted))
            }
            _ => false,
        })
}
