//! The rule `@include`: related rows as JSON, in a column behind the statement's own.
//!
//! # What it does
//!
//! For every relation that is named, a column is added whose value is a JSON array (to-many, `[]` if there are no
//! rows) or a JSON object (to-one, NULL if there is no row). The statement's own text stays as it is; its rows,
//! their number and their order don't change. Keys are taken from the base table, the first in FROM, whether or
//! not they are in the select list.
//!
//! ```sql
//! /* @include(books(columns: [title])) */ SELECT name FROM author a WHERE id = $1
//! ```
//!
//! becomes
//!
//! ```sql
//! /* … */ SELECT name, (SELECT coalesce('[' || string_agg('{"title":' || coalesce(to_json("_i1"."title")::text,
//! 'null') || '}', ',') || ']', '[]') FROM "public"."book" AS "_i1" WHERE "_i1"."author_id" = "a"."id")::json
//! AS "books" FROM author a WHERE id = $1
//! ```
//!
//! # Why this form
//!
//! A subquery in the select list can't change the base rows, however they are made, and siblings don't multiply
//! one another. JSON text is put together by concatenation, which costs the server less than `row_to_json` (see
//! [`encode`]). Where the statement reads a single table without LIMIT, a join can be cheaper: with the one related
//! row of a to-one relation, or with all parents' rows gathered in one grouped subquery (see [`Way`]). If such a
//! statement has no ORDER BY, one by the rows' place in the table keeps the order that it had.

mod emit;
mod encode;
mod filter;
mod pack;
mod plan;

use orm_schema::{RelationKind, Table, TableKind};

use super::cursor::{Cursor, quoted};
use super::fold::Fold;
use super::from::TableRef;
use super::label::Label;
use super::main_clause::Main;
use super::select::{Select, Shape, outline};
use super::{Edit, JsonColumns, names};
use crate::Context;
use crate::directive::Include;
use crate::error::{Error, ErrorKind};
use crate::nearest::suggestion;
use emit::{Emitter, Form};
use plan::{Load, Planner};

/// The columns that an `@include` adds.
pub(super) struct Added {
    pub(super) columns: usize,
    /// How each is read, if they are packed.
    pub(super) folds: Vec<Fold>,
}

/// Plans the edits that carry out an `@include`.
pub(super) fn apply(
    cursor: &Cursor<'_>,
    main: &Main,
    include: &Include,
    json: JsonColumns,
    cx: &Context<'_>,
    edits: &mut Vec<Edit>,
) -> Result<Added, Error> {
    let select = outline(cursor, main)?;
    let table = base_table(&select, cx)?;
    let mut planner = Planner::new(cursor.sql, *cx);
    check_first(&select, table, include, cx)?;
    let loads = planner.plan(table, &include.nodes)?;
    for (load, node) in loads.iter().zip(&include.nodes) {
        check_label(&select, load, node.relation.at, cx)?;
    }
    let form = match json {
        JsonColumns::Packed => Form::Packed,
        JsonColumns::Cast | JsonColumns::Text => Form::Json,
    };
    let mut emitter = Emitter::new(*cx, planner.into_aliases(), form);
    let parent = select.base.handle_name();
    let mut columns = Vec::new();
    let mut joins = String::new();
    for load in &loads {
        let joined = match way(load, &select, table, cx) {
            Way::Correlated => None,
            Way::Joined => Some(emitter.joined(load, parent)),
            Way::Grouped => Some(emitter.grouped(load, parent)),
        };
        let value = match joined {
            Some(joined) => {
                joins.push_str(&joined.join);
                joined.value
            }
            None => emitter.correlated(load, parent),
        };
        let value = match json {
            JsonColumns::Cast => format!("{value}::json"),
            JsonColumns::Text | JsonColumns::Packed => value,
        };
        columns.push(format!("{value} AS {}", quoted(&load.relation.name)));
    }
    if !joins.is_empty() {
        edits.extend(join_edits(cursor, &select, joins));
    }
    let comma = if select.list_is_empty { " " } else { ", " };
    edits.push(Edit {
        at: select.list_end,
        text: format!("{comma}{}", columns.join(", ")),
    });
    let folds = match form {
        Form::Json => Vec::new(),
        Form::Packed => loads
            .iter()
            .map(|load| pack::fold(load, cx.catalog))
            .collect(),
    };
    Ok(Added {
        columns: columns.len(),
        folds,
    })
}

fn base_table<'c>(select: &Select, cx: &Context<'c>) -> Result<&'c Table, Error> {
    let TableRef {
        schema,
        name,
        start,
        ..
    } = &select.base;
    if let Some(table) = cx.catalog.resolve(schema.as_deref(), name, cx.search_path) {
        return Ok(table);
    }
    let visible = |table: &&Table| match schema {
        Some(schema) => table.schema == *schema,
        None => cx.search_path.contains(&table.schema),
    };
    let known: Vec<&str> = cx
        .catalog
        .tables()
        .filter(visible)
        .map(|table| table.name.as_str())
        .collect();
    Err(Error::new(
        ErrorKind::UndefinedTable,
        format!("table \"{name}\" does not exist"),
    )
    .at(*start)
    .hinted(suggestion(name, "tables", known)))
}

/// Refuses a relation that is not the first table's but another one's, and says so.
fn check_first(
    select: &Select,
    table: &Table,
    include: &Include,
    cx: &Context<'_>,
) -> Result<(), Error> {
    for node in &include.nodes {
        let name = &node.relation;
        if names::relation(cx.catalog, table, name).is_ok() {
            continue;
        }
        let owner = select.tables.iter().skip(1).find(|other| {
            cx.catalog
                .resolve(other.schema.as_deref(), &other.name, cx.search_path)
                .is_some_and(|other| names::relation(cx.catalog, other, name).is_ok())
        });
        if let Some(owner) = owner {
            let (name, first, owner) = (&name.text, &table.name, &owner.name);
            let message =
                format!("table \"{first}\", the first in FROM, has no relation \"{name}\"");
            return Err(Error::new(ErrorKind::UndefinedRelation, message)
                .at(node.relation.at)
                .hinted(format!(
                    "\"{owner}\" has one: put that table first in FROM."
                )));
        }
    }
    Ok(())
}

/// Refuses a relation whose name the result has already as a column.
fn check_label(select: &Select, load: &Load<'_>, at: usize, cx: &Context<'_>) -> Result<(), Error> {
    let name = load.relation.name.as_str();
    if select.sorted_by.iter().any(|sorted| sorted == name) {
        return Err(Error::new(
            ErrorKind::DuplicateColumn,
            format!("the statement sorts by \"{name}\", which would become the relation's column"),
        )
        .at(at)
        .hinted("Write the name of its table before it."));
    }
    let has = |table: &TableRef| {
        cx.catalog
            .resolve(table.schema.as_deref(), &table.name, cx.search_path)
            .is_some_and(|table| table.column(name).is_some())
    };
    let taken = select.labels.iter().any(|(label, _)| match label {
        Label::Named(other) => other == name,
        Label::Star => select.tables.iter().any(has),
        Label::QualifiedStar(owner) => select
            .tables
            .iter()
            .any(|table| table.handle_name() == owner && has(table)),
        Label::Other => false,
    });
    match taken {
        true => Err(Error::new(
            ErrorKind::DuplicateColumn,
            format!("the statement has a column \"{name}\" already"),
        )
        .at(at)
        .hinted("Give that column another name with AS.")),
        false => Ok(()),
    }
}

/// The edits that a join needs.
fn join_edits(cursor: &Cursor<'_>, select: &Select, joins: String) -> Vec<Edit> {
    let parent = select.base.handle();
    // A bare star would take in the joined columns too.
    let stars = select
        .labels
        .iter()
        .filter(|(label, _)| *label == Label::Star);
    let mut edits: Vec<Edit> = stars
        .map(|(_, at)| Edit {
            at: *at,
            text: format!("{parent}."),
        })
        .collect();
    edits.push(Edit {
        at: select.base.end,
        text: joins,
    });
    if !select.is_ordered {
        // A hash join may turn the rows about; reading the table alone gives them as they lie.
        let text = format!(" ORDER BY {parent}.ctid");
        edits.push(Edit {
            at: cursor.end_of(cursor.tokens.len().saturating_sub(1)),
            text,
        });
    }
    edits
}

/// How a relation's rows are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By a subquery for each row.
    Correlated,
    /// By a join with the one related row.
    Joined,
    /// By a join with all parents' rows, gathered at once.
    Grouped,
}

/// The cheapest way that gives the same rows in the same order.
///
/// A join needs a statement over a single base table without LIMIT, where nothing else can be disturbed by it.
/// To-one: a join with a unique key. To-many: gathering is worth it if every parent is wanted, or if finding one
/// parent's rows means reading the whole table.
fn way(load: &Load<'_>, select: &Select, base: &Table, cx: &Context<'_>) -> Way {
    let is_single = select.shape != Shape::Other;
    let can_join = match base.kind {
        TableKind::Table => is_single,
        // Its rows' order is the partitions', which no column tells.
        TableKind::PartitionedTable => is_single && select.is_ordered,
        _ => false,
    };
    if !can_join {
        Way::Correlated
    } else if !load.relation.is_to_many() {
        let remote: Vec<String> = load
            .relation
            .pairs
            .iter()
            .map(|pair| pair.remote.clone())
            .collect();
        if load.target.unique_over(&remote) {
            Way::Joined
        } else {
            Way::Correlated
        }
    } else if load.limit.is_some() {
        Way::Correlated
    } else if select.shape == Shape::Whole || !has_index(load, cx) {
        Way::Grouped
    } else {
        Way::Correlated
    }
}

/// Whether an index finds one parent's rows.
fn has_index(load: &Load<'_>, cx: &Context<'_>) -> bool {
    let keys: Vec<&str> = load
        .relation
        .pairs
        .iter()
        .map(|pair| pair.remote.as_str())
        .collect();
    match &load.relation.kind {
        RelationKind::ManyToMany(via) => cx
            .catalog
            .table(via.table)
            .is_some_and(|table| table.finds_by(&keys)),
        _ => load.target.finds_by(&keys),
    }
}
