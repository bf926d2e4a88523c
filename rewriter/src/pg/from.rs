//! What FROM names: its first table, which must be a plain one, and all others.

use super::cursor::{Cursor, quoted};
use super::select::{CLAUSES, refused};
use crate::error::Error;

/// A table named in FROM.
#[derive(Debug, Clone)]
pub(crate) struct TableRef {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    /// Where its name begins and where the whole item ends, in bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The index behind it.
    pub(crate) next: usize,
}

impl TableRef {
    /// The name by which the statement's expressions call it, quoted.
    pub(crate) fn handle(&self) -> String {
        quoted(self.handle_name())
    }

    /// The name by which the statement's expressions call it.
    pub(crate) fn handle_name(&self) -> &str {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}

/// Reserved words that, besides clauses, can stand behind a table's name and are no alias.
const JOINS: &[&str] = &[
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "on",
    "using",
    "tablesample",
];

/// The first table of FROM, which must be a plain table.
pub(crate) fn base(cursor: &Cursor<'_>, at: usize) -> Result<TableRef, Error> {
    let place = cursor.start_of(at);
    let hint = "The first item of FROM must be a table with relations; put it first.";
    if cursor.is_sign(at, b'(') || cursor.is(at, "lateral") {
        return Err(refused(
            "where FROM begins with a subquery or a join in parentheses",
            hint,
            place,
        ));
    }
    let Some(table) = table_ref(cursor, at)? else {
        return Err(refused("where FROM begins with no table", hint, place));
    };
    if cursor.is_sign(table.next, b'(') {
        return Err(match table.alias {
            None => refused("where FROM begins with a function", hint, place),
            Some(_) => refused(
                "where the table's columns are renamed in FROM",
                "Rename them in the select list.",
                cursor.start_of(table.next),
            ),
        });
    }
    Ok(table)
}

/// Reads `[ONLY] [schema.]name [*] [[AS] alias]` at an index.
fn table_ref(cursor: &Cursor<'_>, at: usize) -> Result<Option<TableRef>, Error> {
    let only = cursor.is(at, "only") && !cursor.is_sign(at + 1, b'.');
    let mut index = at + usize::from(only);
    let start = cursor.start_of(index);
    let Some(mut name) = cursor.name(index)? else {
        return Ok(None);
    };
    let mut schema = None;
    index += 1;
    while cursor.is_sign(index, b'.') {
        let Some(next) = cursor.name(index + 1)? else {
            return Ok(None);
        };
        schema = Some(std::mem::replace(&mut name, next));
        index += 2;
    }
    index += usize::from(cursor.is_sign(index, b'*'));
    let keyword = usize::from(cursor.is(index, "as"));
    let has_alias = keyword == 1 || !(cursor.is_any(index, CLAUSES) || cursor.is_any(index, JOINS));
    let alias = if has_alias {
        cursor.name(index + keyword)?
    } else {
        None
    };
    if alias.is_some() {
        index += keyword + 1;
    }
    let end = cursor.end_of(index.saturating_sub(1));
    Ok(Some(TableRef {
        schema,
        name,
        alias,
        start,
        end,
        next: index,
    }))
}

/// All tables that FROM names outside brackets: at its start, behind commas and behind JOIN.
pub(crate) fn tables(cursor: &Cursor<'_>, from: usize, stop: usize) -> Vec<TableRef> {
    (from..stop)
        .filter(|index| {
            *index == from
                || cursor.is_outside(*index)
                    && (cursor.is_sign(index - 1, b',') || cursor.is(index - 1, "join"))
        })
        .filter_map(|index| {
            let lateral = usize::from(cursor.is(index, "lateral"));
            table_ref(cursor, index + lateral).ok().flatten()
        })
        .collect()
}
