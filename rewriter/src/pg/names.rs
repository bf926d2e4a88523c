//! Finding relations and columns by the names that a directive gives.
//!
//! A name matches exactly. If nothing does and it was not quoted, it matches without regard to case, if only
//! one thing does.

use orm_schema::{Catalog, Column, Relation, Table};

use crate::directive::Name;
use crate::error::{Error, ErrorKind};
use crate::nearest::suggestion;

/// The relation of this name that starts at `table`.
pub(crate) fn relation<'c>(
    catalog: &'c Catalog,
    table: &Table,
    name: &Name,
) -> Result<&'c Relation, Error> {
    if let Some(found) = catalog.relation(table.id, &name.text) {
        return Ok(found);
    }
    let relations = catalog.relations_of(table.id);
    unquoted(
        name,
        relations
            .iter()
            .map(|relation| (relation.name.as_str(), relation)),
    )
    .ok_or_else(|| {
        let message = format!("table \"{}\" has no relation \"{}\"", table.name, name.text);
        let known = relations.iter().map(|relation| relation.name.as_str());
        Error::new(ErrorKind::UndefinedRelation, message)
            .at(name.at)
            .hinted(suggestion(
                &name.text,
                &format!("relations of \"{}\"", table.name),
                known,
            ))
    })
}

/// The column of this name.
pub(crate) fn column<'t>(table: &'t Table, name: &Name) -> Result<&'t Column, Error> {
    if let Some(found) = table.column(&name.text) {
        return Ok(found);
    }
    unquoted(
        name,
        table
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column)),
    )
    .ok_or_else(|| no_column(&name.text, table, name.at))
}

/// The error for a column that does not exist.
pub(crate) fn no_column(name: &str, table: &Table, at: usize) -> Error {
    let known = table.columns.iter().map(|column| column.name.as_str());
    Error::new(
        ErrorKind::UndefinedColumn,
        format!("table \"{}\" has no column \"{name}\"", table.name),
    )
    .at(at)
    .hinted(suggestion(
        name,
        &format!("columns of \"{}\"", table.name),
        known,
    ))
}

fn unquoted<'a, T>(name: &Name, known: impl Iterator<Item = (&'a str, &'a T)>) -> Option<&'a T> {
    if name.quoted {
        return None;
    }
    let mut same = known.filter(|(other, _)| other.eq_ignore_ascii_case(&name.text));
    match (same.next(), same.next()) {
        (Some((_, only)), None) => Some(only),
        _ => None,
    }
}
