//! Puts the rows together to tables.

use std::collections::HashMap;

use orm_schema::{
    Column, ForeignKey, Generated, Identity, Index, KeyAction, Table, TableId, TableKind,
};
use tokio_postgres::Row;

use super::{get, types::Known};
use crate::Error;

/// A column of a table or a field of a composite type.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) data_type: u32,
    pub(super) modifier: i32,
    number: i16,
    not_null: bool,
    has_default: bool,
    identity: Option<Identity>,
    generated: Option<Generated>,
}

/// The columns of all tables by the table's oid, in order.
#[derive(Debug, Default)]
pub(super) struct Attributes(HashMap<u32, Vec<Attribute>>);

impl Attributes {
    pub(super) fn of(&self, table: u32) -> &[Attribute] {
        self.0.get(&table).map_or(&[], Vec::as_slice)
    }

    /// The names of columns by their numbers; `None` if one is missing, as the 0 of an expression.
    fn names(&self, table: u32, numbers: &[i16]) -> Option<Vec<String>> {
        numbers
            .iter()
            .map(|&number| self.name(table, number))
            .collect()
    }

    fn name(&self, table: u32, number: i16) -> Option<String> {
        let found = self
            .of(table)
            .iter()
            .find(|attribute| attribute.number == number)?;
        Some(found.name.clone())
    }
}

pub(super) fn columns(rows: &[Row]) -> Result<Attributes, Error> {
    let mut attributes = Attributes::default();
    for row in rows {
        let identity: String = get(row, 7)?;
        let generated: String = get(row, 8)?;
        let default: bool = get(row, 6)?;
        let attribute = Attribute {
            number: get(row, 1)?,
            name: get(row, 2)?,
            data_type: get(row, 3)?,
            modifier: get(row, 4)?,
            not_null: get(row, 5)?,
            has_default: default && generated.is_empty(),
            identity: match identity.as_str() {
                "a" => Some(Identity::Always),
                "d" => Some(Identity::ByDefault),
                _ => None,
            },
            generated: match generated.as_str() {
                "s" => Some(Generated::Stored),
                "v" => Some(Generated::Virtual),
                _ => None,
            },
        };
        attributes
            .0
            .entry(get(row, 0)?)
            .or_default()
            .push(attribute);
    }
    Ok(attributes)
}

pub(super) fn tables(
    rows: &[Row],
    attributes: &Attributes,
    index_rows: &[Row],
    key_rows: &[Row],
    types: &Known,
) -> Result<Vec<Table>, Error> {
    let mut keys = Keys::read(index_rows, attributes)?;
    let mut foreign_keys = foreign_keys(key_rows, attributes)?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        let oid: u32 = get(row, 0)?;
        let kind: String = get(row, 3)?;
        tables.push(Table {
            id: TableId(oid),
            schema: get(row, 1)?,
            name: get(row, 2)?,
            kind: match kind.as_str() {
                "p" => TableKind::PartitionedTable,
                "v" => TableKind::View,
                "m" => TableKind::MaterializedView,
                "f" => TableKind::ForeignTable,
                _ => TableKind::Table,
            },
            columns: attributes
                .of(oid)
                .iter()
                .map(|attribute| column(attribute, types))
                .collect(),
            primary_key: keys.primary.remove(&oid),
            indexes: keys.indexes.remove(&oid).unwrap_or_default(),
            foreign_keys: foreign_keys.remove(&oid).unwrap_or_default(),
            row_security: get(row, 4)?,
        });
    }
    Ok(tables)
}

fn column(attribute: &Attribute, types: &Known) -> Column {
    Column {
        name: attribute.name.clone(),
        data_type: types.refer(attribute.data_type, attribute.modifier),
        not_null: attribute.not_null || types.refuses_null(attribute.data_type),
        has_default: attribute.has_default,
        identity: attribute.identity,
        generated: attribute.generated,
    }
}

type PerTable<T> = HashMap<u32, T>;

/// The indexes of all tables.
#[derive(Default)]
struct Keys {
    indexes: PerTable<Vec<Index>>,
    primary: PerTable<Vec<String>>,
}

impl Keys {
    fn read(rows: &[Row], attributes: &Attributes) -> Result<Self, Error> {
        let mut found = Self::default();
        for row in rows {
            let table: u32 = get(row, 0)?;
            let numbers: Vec<i16> = get(row, 4)?;
            let keys: i16 = get(row, 5)?;
            let keys = numbers
                .get(..usize::try_from(keys).unwrap_or(0))
                .unwrap_or_default();
            let columns: Vec<String> = keys
                .iter()
                .filter_map(|&number| attributes.name(table, number))
                .collect();
            if get(row, 2)? {
                found.primary.insert(table, columns.clone());
            }
            found.indexes.entry(table).or_default().push(Index {
                name: get(row, 1)?,
                unique: get(row, 3)?,
                predicate: get(row, 6)?,
                nulls_not_distinct: get(row, 7)?,
                // Also true for a column that we did not see, not to be relied on either.
                has_expressions: columns.len() < keys.len(),
                deferrable: get(row, 8)?,
                columns,
            });
        }
        Ok(found)
    }
}

fn foreign_keys(rows: &[Row], attributes: &Attributes) -> Result<PerTable<Vec<ForeignKey>>, Error> {
    let mut found = PerTable::<Vec<ForeignKey>>::new();
    for row in rows {
        let table: u32 = get(row, 0)?;
        let references: u32 = get(row, 3)?;
        let columns = attributes.names(table, &get::<Vec<i16>>(row, 2)?);
        let referenced = attributes.names(references, &get::<Vec<i16>>(row, 4)?);
        // One of the tables may be temporary, or gone since.
        let (Some(columns), Some(referenced_columns)) = (columns, referenced) else {
            continue;
        };
        found.entry(table).or_default().push(ForeignKey {
            name: get(row, 1)?,
            columns,
            references: TableId(references),
            referenced_columns,
            on_delete: action(&get::<String>(row, 5)?),
            on_update: action(&get::<String>(row, 6)?),
        });
    }
    Ok(found)
}

fn action(letter: &str) -> KeyAction {
    match letter {
        "r" => KeyAction::Restrict,
        "c" => KeyAction::Cascade,
        "n" => KeyAction::SetNull,
        "d" => KeyAction::SetDefault,
        _ => KeyAction::NoAction,
    }
}
