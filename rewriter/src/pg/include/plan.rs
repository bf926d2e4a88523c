//! The relations to load, every name found in the catalog and every argument checked.

use orm_schema::{Catalog, Column, Relation, Table};

use super::filter;
use crate::directive::{Name, Node};
use crate::error::{Error, ErrorKind};
use crate::pg::names;
use crate::{Context, pg::cursor::quoted};

/// The most relations that one statement may load.
const MOST: usize = 64;

/// One relation to load.
#[derive(Debug)]
pub(super) struct Load<'c> {
    pub(super) relation: &'c Relation,
    pub(super) target: &'c Table,
    /// The alias of the target in the statement.
    pub(super) alias: String,
    /// The columns of each object, in order.
    pub(super) columns: Vec<&'c Column>,
    /// `ORDER BY`'s items.
    pub(super) order: Vec<String>,
    pub(super) limit: Option<u64>,
    /// The condition, bound to the alias.
    pub(super) filter: Option<String>,
    pub(super) children: Vec<Load<'c>>,
}

/// Plans loads and hands out aliases.
pub(super) struct Planner<'c> {
    cx: Context<'c>,
    aliases: Aliases,
    loads: usize,
}

/// Aliases that occur nowhere in the statement.
#[derive(Debug)]
pub(super) struct Aliases {
    prefix: String,
    next: usize,
}

impl Aliases {
    fn new(sql: &str) -> Self {
        let lower = sql.to_ascii_lowercase();
        let mut prefix = "_i".to_owned();
        while lower.contains(&prefix) {
            prefix.insert(0, '_');
        }
        Self { prefix, next: 0 }
    }

    /// A new alias.
    pub(super) fn fresh(&mut self) -> String {
        self.next += 1;
        format!("{}{}", self.prefix, self.next)
    }
}

impl<'c> Planner<'c> {
    pub(super) fn new(sql: &str, cx: Context<'c>) -> Self {
        Self {
            cx,
            aliases: Aliases::new(sql),
            loads: 0,
        }
    }

    /// The aliases, once everything is planned.
    pub(super) fn into_aliases(self) -> Aliases {
        self.aliases
    }

    /// Plans the loads of a table's relations.
    pub(super) fn plan(&mut self, table: &Table, nodes: &[Node]) -> Result<Vec<Load<'c>>, Error> {
        nodes.iter().map(|node| self.load(table, node)).collect()
    }

    fn load(&mut self, table: &Table, node: &Node) -> Result<Load<'c>, Error> {
        self.loads += 1;
        if self.loads > MOST {
            let message = format!("one statement can include {MOST} relations at most");
            return Err(Error::new(ErrorKind::TooComplex, message).at(node.relation.at));
        }
        let catalog: &'c Catalog = self.cx.catalog;
        let relation = names::relation(catalog, table, &node.relation)?;
        let target = catalog
            .table(relation.target)
            .ok_or_else(|| gone(&node.relation))?;
        if !relation.is_to_many() {
            node.check_to_one("row")?;
        }
        let alias = self.aliases.fresh();
        let columns = match &node.columns {
            None => target.columns.iter().collect(),
            Some(chosen) => chosen
                .iter()
                .map(|name| names::column(target, name))
                .collect::<Result<Vec<_>, Error>>()?,
        };
        let order = node
            .order
            .iter()
            .map(|order| {
                let column = names::column(target, &order.column)?;
                let direction = if order.descending { " DESC" } else { "" };
                Ok(format!("{}{direction}", reference(&alias, &column.name)))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let filter = match &node.filter {
            None => None,
            Some(text) => {
                let standard = self.cx.standard_conforming_strings;
                Some(filter::bind(text, target, &alias, standard)?)
            }
        };
        let children = self.plan(target, &node.children)?;
        Ok(Load {
            relation,
            target,
            alias,
            columns,
            order,
            limit: node.limit,
            filter,
            children,
        })
    }
}

/// `"alias"."column"`.
pub(super) fn reference(alias: &str, column: &str) -> String {
    format!("{}.{}", quoted(alias), quoted(column))
}

fn gone(name: &Name) -> Error {
    let message = format!("the table behind \"{}\" does not exist", name.text);
    Error::new(ErrorKind::UndefinedTable, message).at(name.at)
}
