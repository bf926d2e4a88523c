//! The outline of an INSERT: its table, its columns, where its source ends, what it returns.

use super::cursor::Cursor;
use super::label::{self, Label};
use super::main_clause::Main;
use super::select::CLAUSES;
use crate::error::{Error, ErrorKind};

/// What the upsert rule needs to know of an INSERT.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    /// The byte at which the table's name begins.
    pub(crate) at: usize,
    pub(crate) columns: Columns,
    /// The places, counted from 0, of the columns that are DEFAULT in every row.
    pub(crate) defaulted: Vec<usize>,
    /// The byte at which ON CONFLICT goes.
    pub(crate) source_end: usize,
    /// RETURNING's items, and the byte at which another can be added.
    pub(crate) returning: Option<Returning>,
}

/// Which columns are inserted.
#[derive(Debug)]
pub(crate) enum Columns {
    /// These, each with the byte at which it stands.
    Named(Vec<(String, usize)>),
    /// The table's first so many.
    First(usize),
}

/// `RETURNING …`.
#[derive(Debug)]
pub(crate) struct Returning {
    pub(crate) labels: Vec<Label>,
    pub(crate) end: usize,
}

fn refused(message: &str, hint: &str, at: usize) -> Error {
    Error::new(
        ErrorKind::NotSupported,
        format!("@upsert can't be used {message}"),
    )
    .at(at)
    .hinted(hint)
}

/// Reads the outline.
///
/// # Errors
///
/// If the statement is no INSERT, has ON CONFLICT already, or does not tell which columns it inserts.
pub(crate) fn outline(cursor: &Cursor<'_>, main: &Main) -> Result<Insert, Error> {
    let start = cursor.start_of(main.verb);
    if !cursor.is(main.verb, "insert") || !cursor.is(main.verb + 1, "into") {
        return Err(refused("on this statement", "It applies to INSERT.", start));
    }
    let mut index = main.verb + 2;
    let at = cursor.start_of(index);
    let no_table = || {
        refused(
            "on this statement",
            "INSERT INTO must be followed by a table.",
            at,
        )
    };
    let mut name = cursor.name(index)?.ok_or_else(no_table)?;
    let mut schema = None;
    index += 1;
    while cursor.is_sign(index, b'.') {
        let next = cursor.name(index + 1)?.ok_or_else(no_table)?;
        schema = Some(std::mem::replace(&mut name, next));
        index += 2;
    }
    if cursor.is(index, "as") {
        index += 2;
    }
    let returning = cursor.find(index, &["returning"]);
    let stop = returning.unwrap_or(cursor.tokens.len());
    check_conflict(cursor, index, stop)?;
    let columns = columns(cursor, index, stop)?;
    let values = cursor.find(index, &["values"]).filter(|at| *at < stop);
    Ok(Insert {
        schema,
        name,
        at,
        columns,
        defaulted: values.map_or_else(Vec::new, |index| defaulted(cursor, index + 1)),
        source_end: cursor.end_of(stop.saturating_sub(1)),
        returning: returning
            .map(|index| read_returning(cursor, index))
            .transpose()?,
    })
}

/// Refuses a statement that says already what to do on conflict.
fn check_conflict(cursor: &Cursor<'_>, start: usize, stop: usize) -> Result<(), Error> {
    let conflict = (start..stop).find(|index| {
        cursor.is_outside(*index)
            && cursor.is(*index, "on")
            && cursor.is(index + 1, "conflict")
            && (cursor.is_sign(index + 2, b'(') || cursor.is_any(index + 2, &["on", "do"]))
    });
    match conflict {
        Some(index) => Err(refused(
            "on a statement that has ON CONFLICT already",
            "Take away either the directive or ON CONFLICT.",
            cursor.start_of(index),
        )),
        None => Ok(()),
    }
}

fn columns(cursor: &Cursor<'_>, start: usize, stop: usize) -> Result<Columns, Error> {
    let mut index = start;
    let queries = ["select", "with", "values", "table"];
    let is_list = cursor.is_sign(index, b'(')
        && !cursor.is_any(index + 1, &queries)
        && !cursor.is_sign(index + 1, b'(');
    if is_list {
        let close = cursor.closing(index).unwrap_or(stop);
        return named(cursor, index + 1, close).map(Columns::Named);
    }
    if cursor.is(index, "overriding") {
        index += 3;
    }
    let place = cursor.start_of(index);
    if cursor.is(index, "default") {
        return Err(refused(
            "with DEFAULT VALUES",
            "Name the columns and give them values.",
            place,
        ));
    }
    let end = match cursor.is(index, "values") {
        true => {
            let close = cursor.closing(index + 1).unwrap_or(stop);
            return Ok(Columns::First(cursor.items(index + 2, close).len()));
        }
        false => cursor
            .is(index, "select")
            .then(|| select_list(cursor, index + 1, stop))
            .transpose()?,
    };
    end.flatten().map(Columns::First).ok_or_else(|| {
        refused(
            "where the inserted columns can't be told",
            "Name them: INSERT INTO the_table (column, …) …",
            place,
        )
    })
}

/// The places that are DEFAULT in each of the rows, the first of which begins at an index.
fn defaulted(cursor: &Cursor<'_>, first: usize) -> Vec<usize> {
    let mut places = None;
    let mut open = first;
    while cursor.is_sign(open, b'(') {
        let Some(close) = cursor.closing(open) else {
            break;
        };
        let items = cursor.items(open + 1, close);
        let is_default = |place: &usize| {
            let item = items.get(*place);
            item.is_some_and(|(from, to)| *to == from + 1 && cursor.is(*from, "default"))
        };
        let left: Vec<usize> = match places {
            None => (0..items.len()).filter(is_default).collect(),
            Some(earlier) => Vec::into_iter(earlier).filter(is_default).collect(),
        };
        if left.is_empty() || !cursor.is_sign(close + 1, b',') {
            return left;
        }
        places = Some(left);
        open = close + 2;
    }
    places.unwrap_or_default()
}

/// The number of columns of a SELECT, if its list tells it.
fn select_list(cursor: &Cursor<'_>, start: usize, stop: usize) -> Result<Option<usize>, Error> {
    if cursor.is_any(start, &["distinct", "all"]) {
        return Ok(None);
    }
    let ends = [CLAUSES, &["returning"]].concat();
    let end = cursor.find(start, &ends).unwrap_or(stop);
    let items = cursor.items(start, end);
    for (from, to) in &items {
        if let Label::Star | Label::QualifiedStar(_) = label::of(cursor, *from, *to)? {
            return Ok(None);
        }
    }
    Ok(Some(items.len()))
}

fn named(cursor: &Cursor<'_>, start: usize, close: usize) -> Result<Vec<(String, usize)>, Error> {
    cursor
        .items(start, close)
        .into_iter()
        .map(|(from, to)| match cursor.name(from)? {
            Some(name) if to == from + 1 => Ok((name, cursor.start_of(from))),
            _ => Err(refused(
                "where part of a column is inserted",
                "Insert whole columns.",
                cursor.start_of(from),
            )),
        })
        .collect()
}

fn read_returning(cursor: &Cursor<'_>, index: usize) -> Result<Returning, Error> {
    let stop = cursor.tokens.len();
    let mut first = index + 1;
    // RETURNING WITH (OLD AS o, NEW AS n) …, from version 18 on.
    if cursor.is(first, "with") && cursor.is_sign(first + 1, b'(') {
        first = cursor.closing(first + 1).map_or(first, |close| close + 1);
    }
    let labels = cursor
        .items(first, stop)
        .into_iter()
        .map(|(start, end)| label::of(cursor, start, end))
        .collect::<Result<_, _>>()?;
    Ok(Returning {
        labels,
        end: cursor.end_of(stop.saturating_sub(1)),
    })
}
