//! The outline of a SELECT: where its list ends, what its FROM begins with, and what else it has.

use super::cursor::Cursor;
use super::from::{TableRef, base, tables};
use super::label::{self, Label};
use super::main_clause::Main;
use crate::error::{Error, ErrorKind};

/// What the include rule needs to know of a SELECT.
#[derive(Debug)]
pub(crate) struct Select {
    /// The byte at which another output column can be added.
    pub(crate) list_end: usize,
    /// Whether the list is empty, so that no comma is needed.
    pub(crate) list_is_empty: bool,
    /// What each item of the list is called, and the byte at which it begins.
    pub(crate) labels: Vec<(Label, usize)>,
    /// The first table of FROM.
    pub(crate) base: TableRef,
    /// Every table that FROM names, the first one among them.
    pub(crate) tables: Vec<TableRef>,
    /// What stands around the base table.
    pub(crate) shape: Shape,
    /// Whether it has ORDER BY.
    pub(crate) is_ordered: bool,
    /// The plain names in ORDER BY and DISTINCT ON, which an output column of that name would take over.
    pub(crate) sorted_by: Vec<String>,
}

/// How much of its tables a SELECT reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One table, whole.
    Whole,
    /// One table, filtered by WHERE.
    Filtered,
    /// Anything else: joins, LIMIT, locks, DISTINCT ON, …
    Other,
}

/// Keywords that end the select list or follow FROM. All are reserved on the server.
pub(crate) const CLAUSES: &[&str] = &[
    "from",
    "where",
    "group",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "into",
];

/// Aggregates of the server; used without OVER they turn rows into groups.
const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "every",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "json_arrayagg",
    "json_objectagg",
    "xmlagg",
    "range_agg",
    "range_intersect_agg",
    "any_value",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "corr",
    "covar_pop",
    "covar_samp",
    "regr_count",
    "regr_slope",
    "regr_intercept",
];

/// An error about a statement that nothing can be included in.
pub(crate) fn refused(message: &str, hint: &str, at: usize) -> Error {
    Error::new(
        ErrorKind::NotSupported,
        format!("@include can't be used {message}"),
    )
    .at(at)
    .hinted(hint)
}

/// Reads the outline.
///
/// # Errors
///
/// If the statement is one to whose rows nothing can be attached.
pub(crate) fn outline(cursor: &Cursor<'_>, main: &Main) -> Result<Select, Error> {
    check_verb(cursor, main.verb)?;
    let list = list_start(cursor, main.verb)?;
    let clauses = clauses(cursor, list);
    for (word, index) in &clauses {
        check_clause(word, cursor.start_of(*index))?;
    }
    check_aggregates(cursor, list)?;
    let Some((_, from)) = clauses.iter().find(|(word, _)| *word == "from") else {
        return Err(refused(
            "without FROM",
            "The rows must come from a table with relations.",
            cursor.start_of(main.verb),
        ));
    };
    let list_stop = clauses
        .first()
        .map_or(cursor.tokens.len(), |(_, index)| *index);
    let labels = cursor
        .items(list, list_stop)
        .into_iter()
        .map(|(start, end)| Ok((label::of(cursor, start, end)?, cursor.start_of(start))))
        .collect::<Result<Vec<_>, Error>>()?;
    let from_stop = clauses
        .iter()
        .find(|(word, _)| *word != "from")
        .map_or(cursor.tokens.len(), |(_, index)| *index);
    let base = base(cursor, from + 1)?;
    if base.schema.is_none() && main.ctes.contains(&base.name) {
        return Err(refused(
            &format!(
                "on \"{}\", which is a common table expression here",
                base.name
            ),
            "Put the table itself first in FROM and join the common table expression to it.",
            base.start,
        ));
    }
    Ok(Select {
        list_end: cursor.end_of(list_stop.saturating_sub(1)),
        list_is_empty: list == list_stop,
        labels,
        shape: match cursor.is(main.verb + 1, "distinct") {
            true => Shape::Other,
            false => shape(&clauses, base.next == from_stop),
        },
        sorted_by: sorted_by(cursor, main.verb, list, &clauses)?,
        is_ordered: clauses.iter().any(|(word, _)| *word == "order"),
        tables: tables(cursor, from + 1, from_stop),
        base,
    })
}

fn shape(clauses: &[(&'static str, usize)], one_table: bool) -> Shape {
    let has = |word: &str| clauses.iter().any(|(found, _)| *found == word);
    if !one_table
        || ["limit", "offset", "fetch", "for", "window"]
            .into_iter()
            .any(has)
    {
        Shape::Other
    } else if has("where") {
        Shape::Filtered
    } else {
        Shape::Whole
    }
}

fn check_verb(cursor: &Cursor<'_>, verb: usize) -> Result<(), Error> {
    let at = cursor.start_of(verb);
    if cursor.is(verb, "select") {
        Ok(())
    } else if cursor.is(verb, "table") {
        Err(refused(
            "with TABLE",
            "Write SELECT * FROM and the table's name.",
            at,
        ))
    } else if cursor.is_sign(verb, b'(') {
        Err(refused(
            "on a statement in parentheses",
            "Take the parentheses away.",
            at,
        ))
    } else {
        Err(refused("on this statement", "It applies to SELECT.", at))
    }
}

/// The index at which the select list begins.
fn list_start(cursor: &Cursor<'_>, verb: usize) -> Result<usize, Error> {
    let next = verb + 1;
    if cursor.is(next, "all") {
        return Ok(next + 1);
    }
    if !cursor.is(next, "distinct") {
        return Ok(next);
    }
    // DISTINCT ON compares its own expressions only, so that a column more changes nothing.
    match cursor
        .is(next + 1, "on")
        .then(|| cursor.closing(next + 2))
        .flatten()
    {
        Some(close) => Ok(close + 1),
        None => Err(refused(
            "with DISTINCT",
            "Rows that were merged have no related rows of their own; use a WHERE EXISTS (…) instead of a \
             join with DISTINCT, or DISTINCT ON.",
            cursor.start_of(next),
        )),
    }
}

/// The clauses of the outermost query in their order, each with its index.
fn clauses(cursor: &Cursor<'_>, list: usize) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    for index in list..cursor.tokens.len() {
        if !cursor.is_outside(index) || !cursor.is_keyword_place(index) {
            continue;
        }
        let Some(word) = CLAUSES.iter().find(|word| cursor.is(index, word)) else {
            continue;
        };
        let follows = |before: &str| index.checked_sub(1).is_some_and(|at| cursor.is(at, before));
        // IS DISTINCT FROM and WITHIN GROUP are no clauses.
        if !(*word == "from" && follows("distinct") || *word == "group" && follows("within")) {
            found.push((*word, index));
        }
    }
    found
}

fn check_clause(word: &str, at: usize) -> Result<(), Error> {
    match word {
        "group" | "having" => Err(refused(
            "with GROUP BY or HAVING",
            "A group has no related rows of its own; include from the table itself.",
            at,
        )),
        "union" | "intersect" | "except" => Err(refused(
            "with UNION, INTERSECT or EXCEPT",
            "Send one statement for each part.",
            at,
        )),
        "into" => Err(refused(
            "with SELECT INTO",
            "Its rows don't come back to the client.",
            at,
        )),
        _ => Ok(()),
    }
}

/// Refuses aggregates of the outermost query: without GROUP BY they make one row of all.
fn check_aggregates(cursor: &Cursor<'_>, list: usize) -> Result<(), Error> {
    let mut index = list;
    while index < cursor.tokens.len() {
        let open = index + 1;
        if cursor.is_sign(index, b'(')
            && cursor.is_any(open, &["select", "with", "values", "table"])
        {
            index = cursor.closing(index).unwrap_or(index);
        } else if cursor.is_any(index, AGGREGATES) && cursor.is_sign(open, b'(') {
            let mut after = cursor.closing(open).map_or(open, |close| close + 1);
            if cursor.is(after, "filter") {
                after = cursor.closing(after + 1).map_or(after, |close| close + 1);
            }
            if !cursor.is(after, "over") {
                return Err(refused(
                    "with an aggregate",
                    "An aggregate's row stands for many; include from the table itself.",
                    cursor.start_of(index),
                ));
            }
        }
        index += 1;
    }
    Ok(())
}

/// The names in ORDER BY and DISTINCT ON that stand alone: neither qualified nor a function's.
fn sorted_by(
    cursor: &Cursor<'_>,
    verb: usize,
    list: usize,
    clauses: &[(&'static str, usize)],
) -> Result<Vec<String>, Error> {
    let order = clauses
        .iter()
        .find(|(word, _)| *word == "order")
        .map_or(0..0, |(_, start)| {
            let later = clauses
                .iter()
                .map(|(_, index)| *index)
                .find(|index| index > start);
            *start..later.unwrap_or(cursor.tokens.len())
        });
    let mut names = Vec::new();
    for index in (verb + 1..list).chain(order) {
        let qualified = cursor.is_sign(index.saturating_sub(1), b'.');
        if !qualified && !cursor.is_sign(index + 1, b'.') && !cursor.is_sign(index + 1, b'(') {
            names.extend(cursor.name(index)?);
        }
    }
    Ok(names)
}
