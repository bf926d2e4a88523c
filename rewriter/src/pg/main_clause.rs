//! Where the statement proper begins, behind `EXPLAIN`, `DECLARE … FOR`, `PREPARE … AS` and `WITH`.

use std::collections::HashSet;

use super::cursor::Cursor;
use crate::error::Error;

/// The first words of a statement, skipped.
#[derive(Debug)]
pub(crate) struct Main {
    /// The index of `SELECT`, `INSERT`, or whatever the statement is.
    pub(crate) verb: usize,
    /// The names of its common table expressions.
    pub(crate) ctes: HashSet<String>,
    /// Whether it stands inside another statement that decides what comes back.
    pub(crate) wrapped: bool,
}

const VERBS: &[&str] = &[
    "select", "insert", "update", "delete", "merge", "values", "table",
];

/// Finds the main clause.
pub(crate) fn find(cursor: &Cursor<'_>) -> Result<Main, Error> {
    let start = after_wrapper(cursor);
    let mut main = Main {
        verb: start,
        ctes: HashSet::new(),
        wrapped: start > 0,
    };
    if !cursor.is(start, "with") {
        return Ok(main);
    }
    let verb = cursor.find(start + 1, VERBS).unwrap_or(cursor.tokens.len());
    let first = start + 1 + usize::from(cursor.is(start + 1, "recursive"));
    let mut begins_cte = true;
    for index in first..verb {
        if begins_cte {
            main.ctes.extend(cursor.name(index)?);
        }
        begins_cte = cursor.is_outside(index) && cursor.is_sign(index, b',');
    }
    main.verb = verb;
    Ok(main)
}

fn after_wrapper(cursor: &Cursor<'_>) -> usize {
    let found = if cursor.is(0, "explain") {
        let options = match cursor.is_sign(1, b'(') {
            true => cursor.closing(1).map(|close| close + 1),
            false => (1..).find(|index| !cursor.is_any(*index, &["analyze", "analyse", "verbose"])),
        };
        // What is explained may itself be wrapped, but then the server refuses it.
        options
    } else if cursor.is(0, "declare") {
        cursor.find(2, &["for"]).map(|index| index + 1)
    } else if cursor.is(0, "prepare") {
        let types = if cursor.is_sign(2, b'(') {
            cursor.closing(2)
        } else {
            Some(1)
        };
        types
            .map(|index| index + 2)
            .filter(|index| cursor.is(index - 1, "as"))
    } else {
        None
    };
    found.unwrap_or(0)
}
