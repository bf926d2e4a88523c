//! The SQL of a planned load: a subquery for each row, or one grouped subquery joined.

use std::collections::HashMap;

use orm_schema::{Catalog, ColumnPair, RelationKind, Table};

use super::encode;
use super::pack::{self, END, MARK, NOTHING};
use super::plan::{Aliases, Load, reference};
use crate::Context;
use crate::pg::cursor::{literal, quoted};

/// What the server makes of related rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON text.
    Json,
    /// Bytes for a [`Fold`](crate::pg::fold::Fold).
    Packed,
}

/// Writes loads as SQL.
pub(super) struct Emitter<'c> {
    catalog: &'c Catalog,
    version: u32,
    form: Form,
    aliases: Aliases,
}

/// A subquery to join, and the value that it gives each parent.
pub(super) struct Joined {
    /// `LEFT JOIN (…) AS … ON …`.
    pub(super) join: String,
    /// The related rows: of a to-one relation with none, NULL.
    pub(super) value: String,
}

/// A row in scope, by which its columns can be named.
struct Row {
    alias: String,
    /// The columns' names where they are not their own.
    names: HashMap<String, String>,
}

impl Row {
    fn of(alias: &str) -> Self {
        Self {
            alias: alias.to_owned(),
            names: HashMap::new(),
        }
    }

    fn column(&self, name: &str) -> String {
        match self.names.get(name) {
            Some(other) => format!("{}.{other}", self.alias),
            None => reference(&self.alias, name),
        }
    }
}

impl<'c> Emitter<'c> {
    pub(super) fn new(cx: Context<'c>, aliases: Aliases, form: Form) -> Self {
        Self {
            catalog: cx.catalog,
            version: cx.server_version,
            form,
            aliases,
        }
    }

    /// The value of a load for one parent row, as a subquery that gives an array, or an object or NULL.
    pub(super) fn correlated(&mut self, load: &Load<'c>, parent: &str) -> String {
        self.correlated_to(load, &Row::of(parent), Place::Column)
    }

    fn correlated_to(&mut self, load: &Load<'c>, parent: &Row, place: Place) -> String {
        let object = self.object(load, &Row::of(&load.alias));
        let (from, keys) = self.source(load);
        let matches = keys
            .iter()
            .zip(&load.relation.pairs)
            .map(|(key, pair)| format!("{key} = {}", parent.column(&pair.local)));
        let condition = conjunction(matches, load);
        if !load.relation.is_to_many() {
            let row = self.row(object);
            return format!("(SELECT {row} FROM {from} WHERE {condition})");
        }
        let order = order_by(load);
        let comma = self.comma();
        match load.limit {
            None => format!(
                "(SELECT {} FROM {from} WHERE {condition})",
                self.list(&format!("string_agg({object}, {comma}{order})"), place)
            ),
            Some(limit) => {
                let (rows, value) = (self.aliases.fresh(), self.aliases.fresh());
                format!(
                    "(SELECT {} FROM (SELECT {object} AS {value} FROM {from} WHERE {condition}{order} \
                     LIMIT {limit}) AS {rows})",
                    self.list(&format!("string_agg({rows}.{value}, {comma})"), place)
                )
            }
        }
    }

    /// The values of a to-many load without a limit, for all parents at once.
    pub(super) fn grouped(&mut self, load: &Load<'c>, parent: &str) -> Joined {
        let object = self.object(load, &Row::of(&load.alias));
        let (from, keys) = self.source(load);
        let (group, value) = (self.aliases.fresh(), self.aliases.fresh());
        let named: Vec<(String, &String)> =
            keys.iter().map(|key| (self.aliases.fresh(), key)).collect();
        let selected: Vec<String> = named
            .iter()
            .map(|(name, key)| format!("{key} AS {name}"))
            .collect();
        let on: Vec<String> = named
            .iter()
            .zip(&load.relation.pairs)
            .map(|((name, _), pair)| format!("{group}.{name} = {}", reference(parent, &pair.local)))
            .collect();
        let condition = match &load.filter {
            Some(filter) => format!(" WHERE ({filter})"),
            None => String::new(),
        };
        Joined {
            join: format!(
                " LEFT JOIN (SELECT {}, string_agg({object}, {}{}) AS {value} FROM {from}{condition} \
                 GROUP BY {}) AS {group} ON {}",
                selected.join(", "),
                self.comma(),
                order_by(load),
                keys.join(", "),
                on.join(" AND "),
            ),
            value: self.list(&format!("{group}.{value}"), Place::Column),
        }
    }

    /// The value of a to-one load whose key is unique, joined. The subquery only renames the columns, so that none
    /// is taken for one of the statement's own; the planner dissolves it.
    pub(super) fn joined(&mut self, load: &Load<'c>, parent: &str) -> Joined {
        let group = self.aliases.fresh();
        let keys = load.relation.pairs.iter().map(|pair| &pair.remote);
        let below = load.children.iter().flat_map(|child| &child.relation.pairs);
        let needed = keys
            .chain(load.columns.iter().map(|c| &c.name))
            .chain(below.map(|pair| &pair.local));
        let mut row = Row {
            alias: group.clone(),
            names: HashMap::new(),
        };
        let mut selected = Vec::new();
        for column in needed {
            if !row.names.contains_key(column) {
                let name = self.aliases.fresh();
                selected.push(format!("{} AS {name}", reference(&load.alias, column)));
                row.names.insert(column.clone(), name);
            }
        }
        let object = self.object(load, &row);
        let (from, _) = self.source(load);
        let condition = match &load.filter {
            Some(filter) => format!(" WHERE ({filter})"),
            None => String::new(),
        };
        let pairs = &load.relation.pairs;
        let on: Vec<String> = pairs
            .iter()
            .map(|p| {
                format!(
                    "{} = {}",
                    row.column(&p.remote),
                    reference(parent, &p.local)
                )
            })
            .collect();
        let found = pairs
            .first()
            .map(|pair| row.column(&pair.remote))
            .unwrap_or_default();
        Joined {
            join: format!(
                " LEFT JOIN (SELECT {} FROM {from}{condition}) AS {group} ON {}",
                selected.join(", "),
                on.join(" AND ")
            ),
            value: format!(
                "(CASE WHEN {found} IS NOT NULL THEN {} END)",
                self.row(object)
            ),
        }
    }

    /// The FROM of a load, and the columns in it that are equal to the parent's.
    fn source(&mut self, load: &Load<'c>) -> (String, Vec<String>) {
        let target = format!("{} AS {}", table_name(load.target), quoted(&load.alias));
        let keys = |alias: &str, pairs: &[ColumnPair]| {
            pairs
                .iter()
                .map(|pair| reference(alias, &pair.remote))
                .collect::<Vec<_>>()
        };
        match &load.relation.kind {
            RelationKind::ManyToMany(via) => {
                let middle = self.aliases.fresh();
                let on: Vec<String> = via
                    .pairs
                    .iter()
                    .map(|pair| {
                        format!(
                            "{} = {}",
                            reference(&load.alias, &pair.remote),
                            reference(&middle, &pair.local)
                        )
                    })
                    .collect();
                let join = self
                    .catalog
                    .table(via.table)
                    .map(table_name)
                    .unwrap_or_default();
                (
                    format!(
                        "{join} AS {} JOIN {target} ON {}",
                        quoted(&middle),
                        on.join(" AND ")
                    ),
                    keys(&middle, &load.relation.pairs),
                )
            }
            _ => (target, keys(&load.alias, &load.relation.pairs)),
        }
    }

    /// One row with the relations nested in it.
    fn object(&mut self, load: &Load<'c>, row: &Row) -> String {
        match self.form {
            Form::Json => self.json_object(load, row),
            Form::Packed => self.packed_object(load, row),
        }
    }

    fn json_object(&mut self, load: &Load<'c>, row: &Row) -> String {
        let mut parts: Vec<(String, String)> = load
            .columns
            .iter()
            .map(|column| {
                let place = row.column(&column.name);
                let value = encode::column(&place, column.data_type.id, self.catalog, self.version);
                (column.name.clone(), value)
            })
            .collect();
        for child in &load.children {
            let value = self.correlated_to(child, row, Place::Row);
            let value = match child.relation.is_to_many() {
                true => value,
                false => format!("coalesce({value}, 'null')"),
            };
            parts.push((child.relation.name.clone(), value));
        }
        let mut out = String::new();
        for (index, (key, value)) in parts.iter().enumerate() {
            let before = if index == 0 { "{" } else { "," };
            let key = literal(&format!("{before}{}:", encode::string(key)));
            let glue = if index == 0 { "" } else { " || " };
            out.push_str(&format!("{glue}{key} || {value}"));
        }
        match parts.is_empty() {
            true => "'{}'".to_owned(),
            false => format!("{out} || '}}'"),
        }
    }

    fn packed_object(&mut self, load: &Load<'c>, row: &Row) -> String {
        let mut parts: Vec<String> = load
            .columns
            .iter()
            .map(|column| {
                let place = row.column(&column.name);
                pack::column(&place, column.data_type.id, self.catalog)
            })
            .collect();
        for child in &load.children {
            let value = self.correlated_to(child, row, Place::Row);
            parts.push(match child.relation.is_to_many() {
                true => value,
                false => format!("coalesce({value}, {END})"),
            });
        }
        match parts.is_empty() {
            true => NOTHING.to_owned(),
            false => parts.join(" || "),
        }
    }

    /// What stands between the rows of a list.
    fn comma(&self) -> &'static str {
        match self.form {
            Form::Json => "','",
            Form::Packed => MARK,
        }
    }

    /// A list of rows that are joined already, or NULL if there are none.
    fn list(&self, rows: &str, place: Place) -> String {
        match (self.form, place) {
            (Form::Json, _) => format!("coalesce('[' || {rows} || ']', '[]')"),
            (Form::Packed, Place::Column) => format!("{MARK} || {rows}"),
            (Form::Packed, Place::Row) => format!("coalesce({MARK} || {rows} || {END}, {END})"),
        }
    }

    /// The row of a to-one relation, if there is one.
    fn row(&self, object: String) -> String {
        match self.form {
            Form::Json => object,
            Form::Packed => format!("{MARK} || {object}"),
        }
    }
}

/// Where a value stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It is a column of the answer.
    Column,
    /// It is a member of another relation's row.
    Row,
}

fn table_name(table: &Table) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

fn order_by(load: &Load<'_>) -> String {
    match load.order.is_empty() {
        true => String::new(),
        false => format!(" ORDER BY {}", load.order.join(", ")),
    }
}

fn conjunction(matches: impl Iterator<Item = String>, load: &Load<'_>) -> String {
    let filter = load.filter.iter().map(|filter| format!("({filter})"));
    matches.chain(filter).collect::<Vec<_>>().join(" AND ")
}
