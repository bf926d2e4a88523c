//! The rule `@upsert`: insert, or update the row that is there already.
//!
//! # What it does
//!
//! `ON CONFLICT (key) DO UPDATE SET column = EXCLUDED.column, …` is added behind the rows. Updated are the
//! inserted columns without the key, the primary key, generated columns and `GENERATED ALWAYS` identities;
//! `update:` names them itself, `keep:` takes some away, and `nothing` gives DO NOTHING.
//!
//! ```sql
//! /* @upsert(email, inserted: is_new) */ INSERT INTO person (email, name) VALUES ($1, $2) RETURNING id
//! ```
//!
//! becomes
//!
//! ```sql
//! /* … */ INSERT INTO person (email, name) VALUES ($1, $2)
//! ON CONFLICT ("email") DO UPDATE SET "name" = EXCLUDED."name" RETURNING id, (xmax = 0) AS "is_new"
//! ```
//!
//! # Details
//!
//! - The key must be exactly the columns of a unique index that covers every row by plain columns and is not
//!   deferrable: the server would refuse any other, so it is refused before it is sent.
//! - A column that is DEFAULT in every row is not inserted: so some libraries write what was left out.
//! - A row that is there keeps its primary key: other tables refer to it, and libraries make a new one for every
//!   object they insert.
//! - If nothing is left to update, the key's first column is set to its own value, so that the row is locked and
//!   RETURNING has it.
//! - Two rows of one statement with the same key make the server raise 21000; `nothing` takes the first of them.
//! - `inserted` uses the system column `xmax`: 0 for a row that this statement made, this transaction's number for
//!   one that it updated. A partitioned table does not give it away: there it is `old.key IS NULL`, which Postgres
//!   has from 18 on, and refused before.

use orm_schema::{Column, Generated, Identity, Index, Table, TableKind};

use super::cursor::{Cursor, quoted};
use super::insert::{Columns, Insert, outline};
use super::label::Label;
use super::main_clause::Main;
use super::{Edit, names};
use crate::Context;
use crate::directive::{Name, OnConflict, Upsert};
use crate::error::{Error, ErrorKind};
use crate::nearest::suggestion;

/// Plans the edits that carry out an `@upsert` that stands at byte `at`.
pub(super) fn apply(
    cursor: &Cursor<'_>,
    main: &Main,
    upsert: &Upsert,
    at: usize,
    cx: &Context<'_>,
    edits: &mut Vec<Edit>,
) -> Result<(), Error> {
    let insert = outline(cursor, main)?;
    let table = target(&insert, cx)?;
    let inserted = inserted_columns(&insert, table)?;
    let key = key(upsert, table, &inserted, at)?;
    let action = action(upsert, table, &inserted, &key)?;
    let columns: Vec<String> = key.iter().map(|column| quoted(column)).collect();
    let clause = format!(" ON CONFLICT ({}) DO {action}", columns.join(", "));
    edits.push(Edit {
        at: insert.source_end,
        text: clause,
    });
    if let Some(name) = &upsert.inserted {
        let test = inserted_test(table, &key, name, cx.server_version)?;
        edits.push(tell_inserted(&insert, table, name, &test)?);
    }
    Ok(())
}

fn target<'c>(insert: &Insert, cx: &Context<'c>) -> Result<&'c Table, Error> {
    cx.catalog
        .resolve(insert.schema.as_deref(), &insert.name, cx.search_path)
        .ok_or_else(|| {
            let known: Vec<&str> = cx
                .catalog
                .tables()
                .map(|table| table.name.as_str())
                .collect();
            Error::new(
                ErrorKind::UndefinedTable,
                format!("table \"{}\" does not exist", insert.name),
            )
            .at(insert.at)
            .hinted(suggestion(&insert.name, "tables", known))
        })
}

/// The columns that the statement itself gives a value.
fn inserted_columns<'t>(insert: &Insert, table: &'t Table) -> Result<Vec<&'t Column>, Error> {
    let listed: Vec<&Column> = match &insert.columns {
        Columns::First(count) => table.columns.iter().take(*count).collect(),
        Columns::Named(names) => names
            .iter()
            .map(|(name, at)| {
                table
                    .column(name)
                    .ok_or_else(|| names::no_column(name, table, *at))
            })
            .collect::<Result<_, _>>()?,
    };
    let places = listed.into_iter().enumerate();
    Ok(places
        .filter(|(place, _)| !insert.defaulted.contains(place))
        .map(|(_, column)| column)
        .collect())
}

/// The columns of the conflict target.
fn key(
    upsert: &Upsert,
    table: &Table,
    inserted: &[&Column],
    at: usize,
) -> Result<Vec<String>, Error> {
    if upsert.key.is_empty() {
        return found_key(table, inserted, at);
    }
    let mut columns = Vec::new();
    for name in &upsert.key {
        let column = names::column(table, name)?;
        if columns.contains(&column.name) {
            let message = format!("the key names \"{}\" twice", column.name);
            return Err(Error::new(ErrorKind::Syntax, message).at(name.at));
        }
        if !is_given(column, inserted) {
            return Err(Error::new(
                ErrorKind::InvalidConflictTarget,
                format!(
                    "the key column \"{}\" is not inserted and has no default",
                    column.name
                ),
            )
            .at(name.at)
            .hinted("A key that is always NULL never conflicts; insert the column."));
        }
        columns.push(column.name.clone());
    }
    let fits = |index: &&Index| {
        index.columns.len() == columns.len()
            && index.columns.iter().all(|name| columns.contains(name))
    };
    if targets(table).any(|index| fits(&index)) {
        return Ok(columns);
    }
    let message = match table.unique_indexes().find(|index| fits(index)) {
        Some(index) => format!(
            "the unique index \"{}\" on ({}) is partial, deferrable or over expressions and can't be a conflict \
             target",
            index.name,
            columns.join(", ")
        ),
        None => format!(
            "table \"{}\" has no unique index on ({})",
            table.name,
            columns.join(", ")
        ),
    };
    Err(Error::new(ErrorKind::InvalidConflictTarget, message)
        .at(at)
        .hinted(keys_hint(table)))
}

/// The key when none is named: the primary key, or the only unique index, all of whose columns are inserted.
fn found_key(table: &Table, inserted: &[&Column], at: usize) -> Result<Vec<String>, Error> {
    let all_inserted = |columns: &[String]| {
        columns
            .iter()
            .all(|name| inserted.iter().any(|column| column.name == *name))
    };
    let is_target = |key: &Vec<String>| targets(table).any(|index| index.columns == *key);
    if let Some(key) = table
        .primary_key
        .as_ref()
        .filter(|key| all_inserted(key) && is_target(key))
    {
        return Ok(key.clone());
    }
    let mut fitting = targets(table).filter(|index| all_inserted(&index.columns));
    let message = match (fitting.next(), fitting.next()) {
        (Some(only), None) => return Ok(only.columns.clone()),
        (Some(_), Some(_)) => {
            format!(
                "table \"{}\" has several keys that this statement inserts",
                table.name
            )
        }
        (None, _) => format!(
            "this statement inserts no key of table \"{}\" in full",
            table.name
        ),
    };
    Err(Error::new(ErrorKind::InvalidConflictTarget, message)
        .at(at)
        .hinted(keys_hint(table)))
}

/// The indexes that can be a conflict target.
fn targets(table: &Table) -> impl Iterator<Item = &Index> {
    table
        .unique_indexes()
        .filter(|index| index.covers_all_rows() && !index.deferrable)
}

fn keys_hint(table: &Table) -> String {
    let keys: Vec<String> = targets(table)
        .map(|index| format!("({})", index.columns.join(", ")))
        .collect();
    match keys.is_empty() {
        true => "The table has no key that @upsert could use; create a unique index.".to_owned(),
        false => format!("The table's keys are: {}.", keys.join(", ")),
    }
}

/// Whether a column can get a value other than NULL from this statement.
fn is_given(column: &Column, inserted: &[&Column]) -> bool {
    inserted.iter().any(|other| other.name == column.name)
        || column.has_default
        || column.identity.is_some()
        || column.generated.is_some()
}

/// Whether an UPDATE may set the column.
fn is_settable(column: &Column) -> bool {
    let computed = matches!(
        column.generated,
        Some(Generated::Stored | Generated::Virtual)
    );
    !computed && column.identity != Some(Identity::Always)
}

/// What stands behind DO.
fn action(
    upsert: &Upsert,
    table: &Table,
    inserted: &[&Column],
    key: &[String],
) -> Result<String, Error> {
    let is_key = |name: &String| {
        let primary = table.primary_key.as_deref().unwrap_or_default();
        key.contains(name) || primary.contains(name)
    };
    let ordinary = inserted
        .iter()
        .filter(|column| !is_key(&column.name) && is_settable(column))
        .map(|column| column.name.as_str());
    let mut columns: Vec<&str> = match &upsert.on_conflict {
        OnConflict::Nothing => return Ok("NOTHING".to_owned()),
        OnConflict::Update => ordinary.collect(),
        OnConflict::UpdateBut(kept) => {
            let kept = kept
                .iter()
                .map(|name| Ok(names::column(table, name)?.name.as_str()))
                .collect::<Result<Vec<&str>, Error>>()?;
            ordinary.filter(|name| !kept.contains(name)).collect()
        }
        OnConflict::UpdateOnly(only) => only
            .iter()
            .map(|name| updated_column(table, name, inserted))
            .collect::<Result<_, _>>()?,
    };
    if columns.is_empty() {
        columns.extend(key.first().map(String::as_str));
    }
    let set: Vec<String> = columns
        .iter()
        .map(|name| format!("{name} = EXCLUDED.{name}", name = quoted(name)))
        .collect();
    Ok(format!("UPDATE SET {}", set.join(", ")))
}

/// A column that `update:` names.
fn updated_column<'t>(
    table: &'t Table,
    name: &Name,
    inserted: &[&Column],
) -> Result<&'t str, Error> {
    let column = names::column(table, name)?;
    let problem = if !is_settable(column) {
        "is computed by the server and can't be updated"
    } else if !is_given(column, inserted) {
        "is not inserted and has no default: it would be set to NULL"
    } else {
        return Ok(&column.name);
    };
    let message = format!("the column \"{}\" {problem}", column.name);
    Err(Error::new(ErrorKind::InvalidValue, message)
        .at(name.at)
        .hinted("Take it out of \"update\", or insert it."))
}

/// The condition that holds for inserted rows and not for updated ones.
fn inserted_test(
    table: &Table,
    key: &[String],
    name: &Name,
    version: u32,
) -> Result<String, Error> {
    if table.kind != TableKind::PartitionedTable {
        return Ok("xmax = 0".to_owned());
    }
    let never_null = key
        .iter()
        .find(|key| table.column(key).is_some_and(|column| column.not_null));
    match never_null.filter(|_| version >= 180_000) {
        Some(column) => Ok(format!("old.{} IS NULL", quoted(column))),
        None => Err(Error::new(
            ErrorKind::NotSupported,
            format!(
                "\"inserted\" can't be had from \"{}\", which is partitioned",
                table.name
            ),
        )
        .at(name.at)
        .hinted(
            "Leave out \"inserted\"; Postgres tells it for partitioned tables from version 18 on.",
        )),
    }
}

/// The edit that adds the column which tells inserted rows from updated ones.
fn tell_inserted(insert: &Insert, table: &Table, name: &Name, test: &str) -> Result<Edit, Error> {
    let column = format!("({test}) AS {}", quoted(&name.text));
    let Some(returning) = &insert.returning else {
        return Ok(Edit {
            at: insert.source_end,
            text: format!(" RETURNING {column}"),
        });
    };
    let taken = returning.labels.iter().any(|label| match label {
        Label::Named(other) => *other == name.text,
        Label::Star | Label::QualifiedStar(_) => table.column(&name.text).is_some(),
        Label::Other => false,
    });
    match taken {
        true => Err(Error::new(
            ErrorKind::DuplicateColumn,
            format!("the statement returns a column \"{}\" already", name.text),
        )
        .at(name.at)
        .hinted("Give \"inserted\" another name.")),
        false => Ok(Edit {
            at: returning.end,
            text: format!(", {column}"),
        }),
    }
}
