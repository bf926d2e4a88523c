//! What the proxy reads of a command: in place, in one pass, and nothing else.

use std::fmt;

use bson::raw::RawElement;
use bson::spec::ElementType;
use bson::{RawBsonRef, RawDocument};

use super::document::{bad, integer, truth};
use crate::Error;

/// So many fields of a command are kept at hand; none that MongoDB knows has half of them.
const MOST: usize = 128;

/// Room for those that most commands have.
const USUAL: usize = 12;

/// A command's fields that concern the proxy, borrowed.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// The first field's name: the command.
    pub name: &'a str,
    /// The first field's value: mostly a collection's name; in `getMore` the
    /// cursor's id.
    pub value: RawBsonRef<'a>,
    /// All of it.
    pub body: &'a RawDocument,
    /// `$db`: the database.
    pub database: Option<&'a str>,
    /// `lsid`: the session.
    pub lsid: Option<&'a RawDocument>,
    /// `txnNumber`: of a transaction, or of a write that may be retried.
    pub txn_number: Option<i64>,
    /// `autocommit`; in a transaction it is there, and false.
    pub autocommit: Option<bool>,
    /// `startTransaction`: this command opens one.
    pub start_transaction: Option<bool>,
    /// `comment`, where a directive may stand.
    pub comment: Option<RawBsonRef<'a>>,
    /// `$readPreference`.
    pub read_preference: Option<&'a RawDocument>,
    /// `readConcern`.
    pub read_concern: Option<&'a RawDocument>,
    /// `writeConcern`.
    pub write_concern: Option<&'a RawDocument>,
    /// `maxTimeMS`, in milliseconds.
    pub max_time_ms: Option<i64>,
    /// `$clusterTime`.
    pub cluster_time: Option<&'a RawDocument>,
    /// `apiVersion`: the stable API that the client wants.
    pub api_version: Option<&'a str>,
    /// `apiStrict`: nothing that is not in it.
    pub api_strict: Option<bool>,
    /// `cursors` of `killCursors`, not yet looked into.
    cursors: Option<RawBsonRef<'a>>,
    /// The first of all fields, as many as are kept.
    fields: Vec<Field<'a>>,
    /// Whether there are more.
    more: bool,
}

/// A field of a command. What it holds is not looked at before it is asked for.
#[derive(Clone)]
pub struct Field<'a>(RawElement<'a>);

impl<'a> Field<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.0.key().as_str()
    }

    /// What it holds.
    ///
    /// # Errors
    /// [`Error::is_bson`].
    pub fn value(&self) -> Result<RawBsonRef<'a>, Error> {
        self.0.value().map_err(bad)
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name()).finish()
    }
}

impl<'a> Command<'a> {
    /// Reads a command's fields.
    ///
    /// # Errors
    /// [`Error::is_repeated`]: one of the fields twice. [`Error::is_malformed`]: no field at all,
    /// a field of another type than it has to have, invalid BSON.
    pub fn read(body: &'a RawDocument) -> Result<Self, Error> {
        let mut fields = body.iter_elements();
        let first = fields
            .next()
            .ok_or(Error::malformed("command", "it has no field"))?
            .map_err(bad)?;
        let mut command = Self::new(first.key().as_str(), first.value().map_err(bad)?, body);
        command.fields.push(Field(first));
        for field in fields {
            let field = field.map_err(bad)?;
            let key = field.key().as_str();
            if key == command.name {
                return Err(Error::repeated_field(key));
            }
            // Values of other fields may be large; they are not looked at. As
            // in MongoDB, null means that an optional field isn't there.
            if let Some(name) = known(key)
                && field.element_type() != ElementType::Null
            {
                command.take(name, field.value().map_err(bad)?)?;
            }
            command.keep(field);
        }
        Ok(command)
    }

    fn keep(&mut self, field: RawElement<'a>) {
        if self.fields.len() < MOST {
            self.fields.push(Field(field));
        } else {
            self.more = true;
        }
    }

    fn new(name: &'a str, value: RawBsonRef<'a>, body: &'a RawDocument) -> Self {
        Self {
            name,
            value,
            body,
            database: None,
            lsid: None,
            txn_number: None,
            autocommit: None,
            start_transaction: None,
            comment: None,
            read_preference: None,
            read_concern: None,
            write_concern: None,
            max_time_ms: None,
            cluster_time: None,
            api_version: None,
            api_strict: None,
            cursors: None,
            fields: Vec::with_capacity(USUAL),
            more: false,
        }
    }

    /// All fields in their order, the command itself first; of a command that has passed
    /// [`Command::has_fields_once`].
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// Whether a field stands there, among [`Command::fields`].
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name() == name)
    }

    fn take(&mut self, name: &'static str, value: RawBsonRef<'a>) -> Result<(), Error> {
        match name {
            "$db" => set(&mut self.database, name, text(name, value)?),
            "lsid" => set(&mut self.lsid, name, document(name, value)?),
            "txnNumber" => set(&mut self.txn_number, name, number(name, value)?),
            "autocommit" => set(&mut self.autocommit, name, truth(value)),
            "startTransaction" => set(&mut self.start_transaction, name, truth(value)),
            "comment" => set(&mut self.comment, name, value),
            "$readPreference" => set(&mut self.read_preference, name, document(name, value)?),
            "readConcern" => set(&mut self.read_concern, name, document(name, value)?),
            "writeConcern" => set(&mut self.write_concern, name, document(name, value)?),
            "maxTimeMS" => set(&mut self.max_time_ms, name, number(name, value)?),
            "apiVersion" => set(&mut self.api_version, name, text(name, value)?),
            "apiStrict" => set(&mut self.api_strict, name, truth(value)),
            "$clusterTime" => set(&mut self.cluster_time, name, document(name, value)?),
            _ => set(&mut self.cursors, name, value),
        }
    }

    /// The collection: the first field's value, or in `getMore` the field
    /// `collection`. `None` where it is no text, as in `aggregate: 1`.
    pub fn collection(&self) -> Option<&'a str> {
        if self.name == "getMore" {
            let value = self.body.get("collection").ok().flatten()?;
            return value.as_str();
        }
        self.value.as_str()
    }

    /// Whether every field stands there once: of two of a name, one could be read here and the
    /// other by the server.
    ///
    /// # Errors
    /// [`Error::is_repeated`]; [`Error::is_malformed`] if there are more than 128.
    pub fn has_fields_once(&self) -> Result<(), Error> {
        if self.more {
            return Err(Error::malformed("command", "it has more than 128 fields"));
        }
        let mut rest = self.fields.as_slice();
        while let Some((field, others)) = rest.split_first() {
            if others.iter().any(|other| other.name() == field.name()) {
                return Err(Error::repeated_field(field.name()));
            }
            rest = others;
        }
        Ok(())
    }

    /// `lsid.id`: the sixteen bytes that name the session.
    ///
    /// # Errors
    /// [`Error::is_malformed`] if there is an `lsid` but no UUID in it.
    pub fn session(&self) -> Result<Option<[u8; 16]>, Error> {
        let Some(lsid) = self.lsid else {
            return Ok(None);
        };
        let id = lsid.get("id").map_err(bad)?;
        id.and_then(RawBsonRef::as_binary)
            .and_then(|binary| binary.bytes.try_into().ok())
            .map(Some)
            .ok_or(Error::field("lsid", "must have an `id` that is a UUID"))
    }

    /// Is it part of a transaction?
    pub const fn in_transaction(&self) -> bool {
        matches!(self.autocommit, Some(false))
    }

    /// The id in `getMore`.
    ///
    /// # Errors
    /// [`Error::is_malformed`] if it isn't a whole number.
    pub fn cursor(&self) -> Result<i64, Error> {
        number("getMore", self.value)
    }

    /// The ids in `killCursors`; none if the field is missing.
    ///
    /// # Errors
    /// [`Error::is_malformed`] if it is no array; what it yields, if an element
    /// isn't a whole number.
    pub fn cursors(&self) -> Result<impl Iterator<Item = Result<i64, Error>> + 'a, Error> {
        let array = match self.cursors {
            None => None,
            Some(RawBsonRef::Array(array)) => Some(array),
            Some(_) => return Err(Error::field("cursors", "must be an array")),
        };
        let ids = array.into_iter().flat_map(|array| array.into_iter());
        Ok(ids.map(|id| number("cursors", id.map_err(bad)?)))
    }
}

/// The fields' names, so that they are `'static` in errors.
fn known(key: &str) -> Option<&'static str> {
    Some(match key {
        "$db" => "$db",
        "lsid" => "lsid",
        "txnNumber" => "txnNumber",
        "autocommit" => "autocommit",
        "startTransaction" => "startTransaction",
        "comment" => "comment",
        "$readPreference" => "$readPreference",
        "readConcern" => "readConcern",
        "writeConcern" => "writeConcern",
        "maxTimeMS" => "maxTimeMS",
        "$clusterTime" => "$clusterTime",
        "apiVersion" => "apiVersion",
        "apiStrict" => "apiStrict",
        "cursors" => "cursors",
        _ => return None,
    })
}

/// A field that stands there twice could be read one way here and another way
/// by the server.
fn set<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), Error> {
    if place.replace(value).is_some() {
        return Err(Error::repeated_field(name));
    }
    Ok(())
}

fn text<'a>(name: &'static str, value: RawBsonRef<'a>) -> Result<&'a str, Error> {
    value.as_str().ok_or(Error::field(name, "must be a string"))
}

fn document<'a>(name: &'static str, value: RawBsonRef<'a>) -> Result<&'a RawDocument, Error> {
    value
        .as_document()
        .ok_or(Error::field(name, "must be a document"))
}

fn number(name: &'static str, value: RawBsonRef<'_>) -> Result<i64, Error> {
    integer(value).ok_or(Error::field(name, "must be a whole number"))
}

#[cfg(test)]
mod tests;
