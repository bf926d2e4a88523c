//! Directives on commands for MongoDB.
//!
//! [`read`] finds a command's directives, [`Request::rewrite`] lists the stages; each rule is a file: `include` and
//! `upsert`. Commands are raw BSON and stay so: what a rule doesn't know of is copied as it was sent, and the
//! `comment` stays where it is, for profilers to see.
//!
//! ```
//! use bson::rawdoc;
//! use twinport_rewriter::mongo::{self, Context, Relation, Relations};
//!
//! let mut relations = Relations::new();
//! relations.add("books", Relation {
//!     name: "author".into(), target: "authors".into(), local: "author_id".into(), foreign: "_id".into(),
//!     many: false, through: None,
//! }).unwrap();
//! let find = rawdoc! { "find": "books", "comment": "@include(author)" };
//! let request = mongo::read(&find, &[]).unwrap().expect("it has directives");
//! let rewrite = request.rewrite(&Context { relations: &relations, unique_indexes: &[] }).unwrap();
//! assert_eq!(rewrite.body.get_str("aggregate").unwrap(), "books");
//! ```

mod aggregate;
mod answer;
mod clash;
mod command;
mod find;
mod include;
mod insert;
mod names;
mod projection;
mod raw;
mod relations;
mod schema;
mod unique;
mod upsert;

use std::time::Duration;

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};

pub use answer::{Answer, insert_answer};
pub use command::annotation;
pub use include::Lookup;
pub use relations::{Relation, RelationError, Relations, Through};
pub use schema::Schemas;
pub use unique::UniqueIndex;

use crate::directive::{Include, Wanted, parse_at};
use crate::error::{Error, ErrorKind};
use command::Head;
use include::Loads;
use raw::{elements, get, integer, key};

/// A section of kind 1: documents one behind the other, under the name of the field that they stand for.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// The field's name.
    pub identifier: &'a str,
    /// The documents.
    pub documents: &'a [u8],
}

/// What a command's meaning depends on besides its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The relations of the database.
    pub relations: &'a Relations,
    /// The unique indexes of the collection that [`Request::upserts_into`] names; none if it names none.
    pub unique_indexes: &'a [UniqueIndex],
}

/// A command after its directives were carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// The body to send.
    pub body: RawDocumentBuf,
    /// The sections of kind 1 to send.
    pub sections: Sections,
    /// How the answer reaches the client.
    pub answer: Answer,
    /// The `@timeout`. It is in the body too, as `maxTimeMS`, unless that is shorter.
    pub timeout: Option<Duration>,
    /// The fields that look-ups search by, each of which ought to have an index.
    pub lookups: Vec<Lookup>,
}

/// The sections of kind 1 of a rewritten command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sections {
    /// Those that came with the command.
    Unchanged,
    /// One, named `updates`, in place of one named `documents`, if there was one.
    Updates(Vec<u8>),
}

/// A command with directives, understood but not carried out.
#[derive(Debug)]
pub struct Request<'a> {
    body: &'a RawDocument,
    sequences: &'a [Sequence<'a>],
    head: Head<'a>,
    comment: &'a str,
    wanted: Wanted,
}

/// Reads a command's directives; `None` if it has none.
///
/// # Errors
///
/// If the annotation is malformed, or a directive is unknown, not built yet, or has no meaning for the command.
/// Positions count the characters of the `comment`.
pub fn read<'a>(
    body: &'a RawDocument,
    sequences: &'a [Sequence<'a>],
) -> Result<Option<Request<'a>>, Error> {
    let Some(comment) = annotation(body) else {
        return Ok(None);
    };
    let understood = || {
        let wanted = Wanted::of(parse_at(comment, 0)?, "command")?;
        let head = Head::of(body)?;
        head.check(&wanted)?;
        Ok(Request {
            body,
            sequences,
            head,
            comment,
            wanted,
        })
    };
    understood()
        .map(Some)
        .map_err(|error: Error| error.within(comment))
}

impl<'a> Request<'a> {
    /// The collection whose unique indexes [`Context`] must have, if any.
    pub fn upserts_into(&self) -> Option<&'a str> {
        self.wanted.upsert.as_ref()?;
        self.head.collection().ok()
    }

    /// The `@timeout`.
    pub fn timeout(&self) -> Option<Duration> {
        self.wanted.timeout
    }

    /// Carries out the directives.
    ///
    /// # Errors
    ///
    /// If a directive names something that doesn't exist, or can't be carried out on this command. Positions count
    /// the characters of the `comment`.
    pub fn rewrite(&self, cx: &Context<'_>) -> Result<Rewrite, Error> {
        self.run(cx).map_err(|error| error.within(self.comment))
    }

    fn run(&self, cx: &Context<'_>) -> Result<Rewrite, Error> {
        let mut out = Rewrite {
            body: RawDocumentBuf::new(),
            sections: Sections::Unchanged,
            answer: Answer::AsItIs,
            timeout: self.wanted.timeout,
            lookups: Vec::new(),
        };
        out.body = if let Some((upsert, at)) = &self.wanted.upsert {
            let collection = self.head.collection()?;
            let updates = upsert::rewrite(
                self.body,
                self.sequences,
                collection,
                upsert,
                *at,
                cx.unique_indexes,
            )?;
            out.sections = Sections::Updates(updates.section);
            out.answer = Answer::Insert;
            updates.body
        } else if let Some((include, at)) = &self.wanted.include {
            let (body, lookups) = self.included(include, cx).map_err(|error| error.at(*at))?;
            out.lookups = lookups;
            body
        } else {
            self.body.to_owned()
        };
        if let Some(limit) = self.wanted.timeout {
            out.body = limited(&out.body, limit)?;
        }
        Ok(out)
    }

    /// The database that the command is for, if it says so.
    fn database(&self) -> Result<Option<&'a str>, Error> {
        Ok(get(self.body, "$db")?.and_then(RawBsonRef::as_str))
    }

    /// The command with the relations of an `@include`, or the `explain` of that.
    fn included(
        &self,
        include: &Include,
        cx: &Context<'_>,
    ) -> Result<(RawDocumentBuf, Vec<Lookup>), Error> {
        let RawBsonRef::Document(inner) = self.head.value else {
            return included(self.body, &self.head, include, self.database()?, cx);
        };
        let database = self.database()?;
        let (body, lookups) = included(inner, &Head::of(inner)?, include, database, cx)?;
        let mut out = RawDocumentBuf::new();
        out.append(key(self.head.name)?, body);
        for element in elements(self.body).skip(1) {
            let (name, value) = element?;
            out.append(name, value);
        }
        Ok((out, lookups))
    }
}

fn included(
    body: &RawDocument,
    head: &Head<'_>,
    include: &Include,
    database: Option<&str>,
    cx: &Context<'_>,
) -> Result<(RawDocumentBuf, Vec<Lookup>), Error> {
    let collection = head.collection()?;
    check_collation(body)?;
    let loads = Loads::plan(include, collection, database, cx.relations)?;
    let body = match head.name {
        "find" => find::rewrite(body, collection, &loads)?,
        _ => aggregate::rewrite(body, &loads)?,
    };
    Ok((body, loads.lookups()))
}

/// Refuses a collation: a look-up would compare keys by it, too.
fn check_collation(body: &RawDocument) -> Result<(), Error> {
    let Some(RawBsonRef::Document(collation)) = get(body, "collation")? else {
        return Ok(());
    };
    let locale = get(collation, "locale")?.and_then(RawBsonRef::as_str);
    if locale.is_none_or(|locale| locale == "simple") {
        return Ok(());
    }
    let message = "@include can't be used with a \"collation\": the keys of relations would be compared by it";
    Err(Error::new(ErrorKind::NotSupported, message)
        .hinted("Leave out the collation, or write the $lookup yourself."))
}

/// The command with `maxTimeMS` no longer than `limit`. Zero is no limit.
fn limited(body: &RawDocument, limit: Duration) -> Result<RawDocumentBuf, Error> {
    const NAME: &str = "maxTimeMS";
    let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1);
    let own = get(body, NAME)?.and_then(integer).filter(|own| *own > 0);
    let limit = own.map_or(limit, |own| own.min(limit));
    let mut out = RawDocumentBuf::new();
    for element in elements(body) {
        let (name, value) = element?;
        if name.as_str() != NAME {
            out.append(name, value);
        }
    }
    out.append(key(NAME)?, limit);
    Ok(out)
}
