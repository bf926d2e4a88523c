//! The SQL of a planned load: a subquery for each row, or one grouped subquery joined.

use orm_schema::{Catalog, ColumnPair, RelationKind, Table};

use super::encode;
use super::plan::{Aliases, Load, reference};
use crate::Context;
use crate::pg::cursor::{literal, quoted};

/// Writes loads as SQL.
pub(super) struct Emitter<'c> {
    catalog: &'c Catalog,
    version: u32,
    aliases: Aliases,
}

/// A grouped subquery to join, and the value that it gives each parent.
pub(super) struct Grouped {
    /// `LEFT JOIN (…) AS … ON …`.
    pub(super) join: String,
    /// The JSON text of the relation's rows.
    pub(super) value: String,
}

impl<'c> Emitter<'c> {
    pub(super) fn new(cx: Context<'c>, aliases: Aliases) -> Self {
        Self {
            catalog: cx.catalog,
            version: cx.server_version,
            aliases,
        }
    }

    /// The value of a load for one parent row, as a subquery that gives JSON text: an array, or an object
    /// or NULL.
    pub(super) fn correlated(&mut self, load: &Load<'c>, parent: &str) -> String {
        let object = self.object(load);
        let (from, keys) = self.source(load);
        let matches = keys
            .iter()
            .zip(&load.relation.pairs)
            .map(|(key, pair)| format!("{key} = {parent}.{}", quoted(&pair.local)));
        let condition = conjunction(matches, load);
        if !load.relation.is_to_many() {
            return format!("(SELECT {object} FROM {from} WHERE {condition})");
        }
        let order = order_by(load);
        match load.limit {
            None => format!(
                "(SELECT {} FROM {from} WHERE {condition})",
                array(&format!("string_agg({object}, ','{order})"))
            ),
            Some(limit) => {
                let (rows, value) = (self.aliases.fresh(), self.aliases.fresh());
                format!(
                    "(SELECT {} FROM (SELECT {object} AS {value} FROM {from} WHERE {condition}{order} \
                     LIMIT {limit}) AS {rows})",
                    array(&format!("string_agg({rows}.{value}, ',')"))
                )
            }
        }
    }

    /// The values of a to-many load without a limit, for all parents at once.
    pub(super) fn grouped(&mut self, load: &Load<'c>, parent: &str) -> Grouped {
        let object = self.object(load);
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
            .map(|((name, _), pair)| format!("{group}.{name} = {parent}.{}", quoted(&pair.local)))
            .collect();
        let condition = match &load.filter {
            Some(filter) => format!(" WHERE ({filter})"),
            None => String::new(),
        };
        Grouped {
            join: format!(
                " LEFT JOIN (SELECT {}, string_agg({object}, ','{}) AS {value} FROM {from}{condition} \
                 GROUP BY {}) AS {group} ON {}",
                selected.join(", "),
                order_by(load),
                keys.join(", "),
                on.join(" AND "),
            ),
            value: array(&format!("{group}.{value}")),
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

    /// The JSON text of one row with the relations nested in it.
    fn object(&mut self, load: &Load<'c>) -> String {
        let mut parts: Vec<(String, String)> = load
            .columns
            .iter()
            .map(|column| {
                let place = reference(&load.alias, &column.name);
                let value = encode::column(&place, column.data_type.id, self.catalog, self.version);
                (column.name.clone(), value)
            })
            .collect();
        let parent = quoted(&load.alias);
        for child in &load.children {
            let value = self.correlated(child, &parent);
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
}

/// JSON text of an array whose elements are joined already, `[]` if there are none.
fn array(elements: &str) -> String {
    format!("coalesce('[' || {elements} || ']', '[]')")
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
