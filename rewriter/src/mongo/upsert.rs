//! The rule `@upsert`: insert, or update the document that is there already.
//!
//! # What it does
//!
//! An `insert` becomes an `update` with one statement for each document, in the same order. Its key is the query;
//! its other fields are set, or set on insert only (`_id`, `keep:`, all of them with `nothing`, and those that
//! `update:` doesn't name).
//!
//! ```text
//! { insert: "people", documents: [{ _id: 7, email: "ann@x", name: "Ann" }], comment: "@upsert(email)" }
//! ```
//!
//! becomes
//!
//! ```text
//! { update: "people", comment: … } with the section "updates":
//!     { q: { email: "ann@x" }, u: { $set: { name: "Ann" }, $setOnInsert: { _id: 7 } }, upsert: true }
//! ```
//!
//! # Details
//!
//! - A document that is there keeps its `_id`: drivers make one for every document they insert, so it says nothing.
//! - The key must be exactly the fields of a unique index that covers all documents: else two clients at once
//!   would insert twice. The index's collation decides what is equal.
//! - A document whose key has a field that is missing, null or an array is refused with its index: the query
//!   would find others.
//! - A field whose name holds a `.`, begins with `$` or is empty can't be set by an update, and is refused.
//! - Of two documents with the same key, the later one updates the earlier.

use std::borrow::Cow;

use bson::raw::{CStr, RawBsonRef, RawDocument, RawDocumentBuf};
use bson::{RawBson, Timestamp, rawdoc};

use super::raw::{elements, get, key, one};
use super::unique::UniqueIndex;
use super::{Sequence, insert, names};
use crate::directive::{Name, OnConflict, Upsert};
use crate::error::{Error, ErrorKind};

const ID: &str = "_id";

/// An insert as an update: its body and the section `updates`.
pub(super) struct Updates {
    pub(super) body: RawDocumentBuf,
    pub(super) section: Vec<u8>,
}

/// Carries out an `@upsert` that stands at byte `at` of the annotation.
pub(super) fn rewrite(
    body: &RawDocument,
    sequences: &[Sequence<'_>],
    collection: &str,
    upsert: &Upsert,
    at: usize,
    indexes: &[UniqueIndex],
) -> Result<Updates, Error> {
    if let Some(name) = &upsert.inserted {
        let message = "\"inserted\" names a column, which the answer to an insert has not";
        return Err(Error::new(ErrorKind::NotSupported, message)
            .at(name.at)
            .hinted("Leave it out: the answer's field \"upsert\" tells inserted documents from updated ones."));
    }
    let target = target(upsert, at, collection, indexes)?;
    let rule = Rule::of(upsert, &target)?;
    let mut section = Vec::new();
    let documents = insert::documents(body, sequences).map_err(|error| error.at(at))?;
    for (index, document) in documents.into_iter().enumerate() {
        let statement = rule
            .statement(document)
            .map_err(|error| error.at(at).within_part(&format!("document {index}")))?;
        section.extend_from_slice(statement.as_bytes());
    }
    let mut out = RawDocumentBuf::new();
    for element in elements(body) {
        let (name, value) = element?;
        match name.as_str() {
            "insert" => out.append(key("update")?, collection),
            insert::DOCUMENTS => {}
            _ => out.append(name, value),
        }
    }
    Ok(Updates { body: out, section })
}

/// The fields of the key, and the collation by which they are compared.
struct Target<'a> {
    paths: Vec<&'a str>,
    collation: Option<&'a RawDocument>,
}

fn target<'a>(
    upsert: &'a Upsert,
    at: usize,
    collection: &str,
    indexes: &'a [UniqueIndex],
) -> Result<Target<'a>, Error> {
    let mut paths = upsert
        .key
        .iter()
        .map(names::field)
        .collect::<Result<Vec<_>, Error>>()?;
    let usable = |index: &&UniqueIndex| !index.partial;
    if paths.is_empty() {
        if let Some(index) = indexes.iter().find(usable) {
            let message = format!(
                "the key is not clear: it could be \"_id\" or the unique index \"{}\"",
                index.name
            );
            return Err(Error::new(ErrorKind::InvalidConflictTarget, message)
                .at(at)
                .hinted(keys_hint(indexes)));
        }
        paths.push(ID);
    }
    if paths == [ID] {
        return Ok(Target {
            paths,
            collation: None,
        });
    }
    if let Some(index) = indexes
        .iter()
        .filter(usable)
        .find(|index| index.is_over(&paths))
    {
        return Ok(Target {
            paths,
            collation: index.collation.as_deref(),
        });
    }
    let list = paths.join(", ");
    let message = match indexes.iter().find(|index| index.is_over(&paths)) {
        Some(index) => format!(
            "the unique index \"{}\" on ({list}) is partial and can't be a key",
            index.name
        ),
        None => format!("collection \"{collection}\" has no unique index on ({list})"),
    };
    let hint = format!(
        "{} Or create one: {}",
        keys_hint(indexes),
        create_index(collection, &paths)
    );
    Err(Error::new(ErrorKind::InvalidConflictTarget, message)
        .at(at)
        .hinted(hint))
}

fn keys_hint(indexes: &[UniqueIndex]) -> String {
    let keys: Vec<String> = indexes
        .iter()
        .filter(|index| !index.partial)
        .map(|index| {
            let fields: Vec<_> = index.fields.iter().map(|field| spelt(field)).collect();
            format!("@upsert({})", fields.join(", "))
        })
        .collect();
    match keys.is_empty() {
        true => "The collection's only key is @upsert(_id).".to_owned(),
        false => format!(
            "The collection's keys are: @upsert(_id), {}.",
            keys.join(", ")
        ),
    }
}

/// A field as a directive has to name it: between quotes, unless it is a plain name that means nothing else.
fn spelt(field: &str) -> Cow<'_, str> {
    let is_plain = field.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && field
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    match is_plain && field != "nothing" {
        true => field.into(),
        false => format!("\"{}\"", field.replace('"', "\"\"")).into(),
    }
}

/// The command that makes a unique index, as one types it into mongosh.
fn create_index(collection: &str, paths: &[&str]) -> String {
    let keys: Vec<String> = paths.iter().map(|path| format!("{path:?}: 1")).collect();
    let name: Vec<String> = paths.iter().map(|path| format!("{path}_1")).collect();
    format!(
        "db.runCommand({{ createIndexes: {collection:?}, indexes: [{{ key: {{ {} }}, name: {:?}, unique: true }}] }})",
        keys.join(", "),
        name.join("_")
    )
}

/// What becomes of a document.
struct Rule<'a> {
    target: &'a Target<'a>,
    on_conflict: &'a OnConflict,
}

impl<'a> Rule<'a> {
    fn of(upsert: &'a Upsert, target: &'a Target<'a>) -> Result<Self, Error> {
        let named: &[Name] = match &upsert.on_conflict {
            OnConflict::UpdateOnly(names) | OnConflict::UpdateBut(names) => names,
            OnConflict::Update | OnConflict::Nothing => &[],
        };
        for name in named {
            if names::field(name)?.contains('.') {
                let message = format!("\"{}\" lies inside another field", name.text);
                return Err(Error::new(ErrorKind::NotSupported, message)
                    .at(name.at)
                    .hinted("\"update\" and \"keep\" take whole fields."));
            }
        }
        if let OnConflict::UpdateOnly(names) = &upsert.on_conflict
            && let Some(name) = names.iter().find(|name| name.text == ID)
        {
            return Err(Error::new(
                ErrorKind::InvalidValue,
                "the _id of a document can't be updated",
            )
            .at(name.at));
        }
        Ok(Self {
            target,
            on_conflict: &upsert.on_conflict,
        })
    }

    /// The statement of an `update` for one document.
    fn statement(&self, document: &RawDocument) -> Result<RawDocumentBuf, Error> {
        let mut query = RawDocumentBuf::new();
        for path in &self.target.paths {
            query.append(key(path)?, key_value(document, path)?);
        }
        let (mut set, mut set_on_insert) = (RawDocumentBuf::new(), RawDocumentBuf::new());
        for element in elements(document) {
            let (name, value) = element?;
            check_settable(name, value)?;
            if self.target.paths.contains(&name.as_str()) {
                continue;
            }
            match self.updates(name.as_str()) {
                true => set.append(name, value),
                false => set_on_insert.append(name, value),
            }
        }
        if set.is_empty() && set_on_insert.is_empty() {
            // An empty update would replace the document; this one changes nothing.
            for path in &self.target.paths {
                if let Some(value) = get(document, path)? {
                    set_on_insert.append(key(path)?, value);
                }
            }
        }
        let mut update = RawDocumentBuf::new();
        for (operator, fields) in [("$set", set), ("$setOnInsert", set_on_insert)] {
            if !fields.is_empty() {
                update.append(key(operator)?, fields);
            }
        }
        let mut statement = rawdoc! { "q": query, "u": update, "upsert": true };
        if let Some(collation) = self.target.collation {
            statement.append(key("collation")?, collation);
        }
        Ok(statement)
    }

    /// Whether a field outside the key is updated on conflict.
    fn updates(&self, name: &str) -> bool {
        let is_in = |names: &[Name]| names.iter().any(|other| other.text == name);
        name != ID
            && match self.on_conflict {
                OnConflict::Update => true,
                OnConflict::UpdateOnly(names) => is_in(names),
                OnConflict::UpdateBut(names) => !is_in(names),
                OnConflict::Nothing => false,
            }
    }
}

/// What a document's key is compared with.
fn key_value(document: &RawDocument, path: &str) -> Result<RawBson, Error> {
    let mut value = Some(RawBsonRef::Document(document));
    for part in path.split('.') {
        value = match value {
            Some(RawBsonRef::Document(inner)) => get(inner, part)?,
            _ => None,
        };
    }
    let problem = match value {
        None => "has no field",
        Some(RawBsonRef::Null | RawBsonRef::Undefined) => "has null in the field",
        Some(RawBsonRef::Array(_)) => "has an array in the field",
        // As they are, they would be read as a pattern or as operators.
        Some(value @ (RawBsonRef::Document(_) | RawBsonRef::RegularExpression(_))) => {
            return one("$eq", value).map(RawBson::Document);
        }
        Some(value) => return Ok(value.into()),
    };
    let message = format!("it {problem} \"{path}\" of the key");
    Err(Error::new(ErrorKind::InvalidValue, message)
        .hinted("Every document of an upsert needs a value in each field of the key."))
}

/// Refuses a field that an update can't set as an insert does.
fn check_settable(name: &CStr, value: RawBsonRef<'_>) -> Result<(), Error> {
    let text = name.as_str();
    let problem = match value {
        _ if text.is_empty() => "an empty name",
        _ if text.contains('.') => "a \".\" in its name",
        _ if text.starts_with('$') => "a \"$\" before its name",
        RawBsonRef::Timestamp(Timestamp {
            time: 0,
            increment: 0,
        }) => "a timestamp of zero, which an insert fills in",
        _ => return Ok(()),
    };
    let message =
        format!("the field \"{text}\" has {problem}: an update can't set it as an insert does");
    Err(Error::new(ErrorKind::NotSupported, message).hinted("Insert the document without @upsert."))
}
