//! Directive grammar and rewriting rules: annotated statement in, one optimized statement out.
//!
//! Nothing here does I/O. [`directive`] reads annotations and is shared by both wings; [`pg`] applies
//! them to SQL, [`mongo`] to MongoDB commands.

mod error;
mod nearest;

pub mod directive;
pub mod mongo;
pub mod pg;
pub mod scan;

use std::time::Duration;

pub use error::{Error, ErrorKind};
use orm_schema::Catalog;

/// What a statement's meaning depends on besides its text.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The schema of the database.
    pub catalog: &'a Catalog,
    /// The session's search path, resolved: `$user` replaced, missing schemas left out.
    pub search_path: &'a [String],
    /// The server's version as `server_version_num` gives it, such as 150004.
    pub server_version: u32,
    /// The session's `standard_conforming_strings`.
    pub standard_conforming_strings: bool,
}

/// A statement after its directives were carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The text to send. Parameters keep their numbers.
    pub sql: String,
    /// The shortest `@timeout` that was given.
    pub timeout: Option<Duration>,
    /// How many of the answer's last columns hold JSON under the type `text`, to be described as `json`; 0 unless
    /// [`pg::JsonColumns::Text`] was asked for.
    pub text_as_json: usize,
    /// What becomes of the answer's last columns, which are packed; none unless [`pg::JsonColumns::Packed`] was asked
    /// for. A text of several statements, and one inside `DECLARE`, `PREPARE` or `EXPLAIN`, has none: its columns
    /// are `json` already.
    pub folds: Vec<pg::fold::Fold>,
}
