//! Directives on SQL for Postgres.
//!
//! [`rewrite`] lists the stages; each rule is a file: `include` and `upsert`. The rules read the statement
//! by its tokens and change it by insertions, so that what they don't know of stays as it was written.

mod cursor;
pub mod fold;
mod from;
mod include;
mod insert;
mod label;
mod main_clause;
mod names;
mod select;
mod statement;
mod token;
mod upsert;

use std::ops::Range;
use std::time::Duration;

use crate::directive::{Located, Wanted, is_annotation, parse_at};
use crate::error::Error;
use crate::{Context, Rewrite};
use cursor::{Cursor, depths};
use statement::Statement;

/// How columns of JSON are to come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonColumns {
    /// With type `json`: for whoever sends the statement to a server and hands the answer on as it is.
    Cast,
    /// With type `text`, which spares the server the parsing of its own output: for whoever changes the
    /// description of the answer's last [`Rewrite::text_as_json`] columns from `text` (oid 25) to `json` (oid 114).
    /// Text and binary format of the two types are the same bytes.
    Text,
    /// As `bytea` that holds the related rows' values, which [`Rewrite::folds`] make JSON of: the least work for the
    /// server. For whoever changes the answer's rows, and its description from `bytea` (oid 17) to `json`.
    Packed,
}

/// Carries out the directives in a statement's annotations, or in those of several statements with
/// semicolons between.
///
/// Statements without an annotation, and those with none but `@timeout`, keep their text byte for byte. In a
/// text of several statements the shortest `@timeout` is reported, as the server runs them in one go.
///
/// # Errors
///
/// If an annotation is malformed, names something that doesn't exist, or can't be carried out on its
/// statement. Positions count the characters of `sql`.
pub fn rewrite(sql: &str, cx: &Context<'_>) -> Result<Rewrite, Error> {
    rewrite_with(sql, cx, JsonColumns::Cast)
}

/// [`rewrite`], with a choice of how columns of JSON come out.
///
/// # Errors
///
/// As for [`rewrite`].
pub fn rewrite_with(sql: &str, cx: &Context<'_>, json: JsonColumns) -> Result<Rewrite, Error> {
    run(sql, cx, json).map_err(|error| error.within(sql))
}

/// The places of all annotations in a text: what stands between their comments' marks, in bytes.
///
/// # Errors
///
/// If a string, quoted name or comment is not closed.
pub fn annotations(
    sql: &str,
    standard_conforming_strings: bool,
) -> Result<Vec<Range<usize>>, Error> {
    let tokens =
        token::tokens(sql, standard_conforming_strings).map_err(|error| error.within(sql))?;
    let bodies = tokens.iter().filter_map(token::Token::comment_body);
    Ok(bodies
        .filter(|body| is_annotation(sql.get(body.clone()).unwrap_or_default()))
        .collect())
}

/// The stages: tokens, statements with their annotations, directives, edits, text.
fn run(sql: &str, cx: &Context<'_>, json: JsonColumns) -> Result<Rewrite, Error> {
    let tokens = token::tokens(sql, cx.standard_conforming_strings)?;
    let statements = statement::split(sql, &tokens)?;
    // With several answers to one text, nobody could say which one's columns to relabel.
    let json = if statements.len() == 1 {
        json
    } else {
        JsonColumns::Cast
    };
    let mut work = Work {
        edits: Vec::new(),
        timeout: None,
        text_as_json: 0,
        folds: Vec::new(),
    };
    for statement in statements {
        let wanted = Wanted::of(directives_of(sql, &statement)?, "statement")?;
        work.apply(sql, &statement, wanted, json, cx)?;
    }
    Ok(Rewrite {
        sql: splice(sql, work.edits),
        timeout: work.timeout,
        text_as_json: work.text_as_json,
        folds: work.folds,
    })
}

/// An insertion at a byte of the original text.
struct Edit {
    at: usize,
    text: String,
}

/// What came out so far.
struct Work {
    edits: Vec<Edit>,
    timeout: Option<Duration>,
    text_as_json: usize,
    folds: Vec<fold::Fold>,
}

fn directives_of(sql: &str, statement: &Statement<'_>) -> Result<Vec<Located>, Error> {
    let mut directives = Vec::new();
    for comment in &statement.annotations {
        let text = sql.get(comment.clone()).unwrap_or_default();
        directives.extend(parse_at(text, comment.start)?);
    }
    Ok(directives)
}

impl Work {
    fn apply(
        &mut self,
        sql: &str,
        statement: &Statement<'_>,
        wanted: Wanted,
        json: JsonColumns,
        cx: &Context<'_>,
    ) -> Result<(), Error> {
        if let Some(limit) = wanted.timeout {
            self.timeout = Some(self.timeout.map_or(limit, |other| other.min(limit)));
        }
        if wanted.include.is_none() && wanted.upsert.is_none() {
            return Ok(());
        }
        let depths = depths(&statement.tokens);
        let cursor = Cursor::new(sql, &statement.tokens, &depths);
        let main = main_clause::find(&cursor)?;
        if let Some((upsert, at)) = &wanted.upsert {
            upsert::apply(&cursor, &main, upsert, *at, cx, &mut self.edits)?;
        }
        if let Some((include, _)) = &wanted.include {
            let json = if main.wrapped {
                JsonColumns::Cast
            } else {
                json
            };
            let added = include::apply(&cursor, &main, include, json, cx, &mut self.edits)?;
            if json == JsonColumns::Text {
                self.text_as_json = added.columns;
            }
            self.folds = added.folds;
        }
        Ok(())
    }
}

/// The text with all edits made; edits at one place keep their order.
fn splice(sql: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| edit.at);
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = String::with_capacity(sql.len() + added);
    let mut done = 0;
    for edit in edits {
        out.push_str(sql.get(done..edit.at).unwrap_or_default());
        out.push_str(&edit.text);
        done = edit.at;
    }
    out.push_str(sql.get(done..).unwrap_or_default());
    out
}
