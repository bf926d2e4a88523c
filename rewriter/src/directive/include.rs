//! `@include(path, …)`: eager loading along relations.
//!
//! A path is relations with points between, each with arguments of its own:
//! `books(order: -published, limit: 5, where: "price > 10", columns: [id, title]).publisher`. Paths that begin
//! with the same relation share it; only one of them may give it arguments.

use super::read::{names, once, single, unknown_argument, wrong_value};
use super::syntax::{Argument, Call, Name, Value};
use crate::error::{Error, ErrorKind};

const ARGUMENTS: &[&str] = &["order", "limit", "where", "columns"];

/// The longest chain of relations.
const DEEPEST: usize = 8;

/// `@include(…)`: the relations to load, as a forest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The relations of the statement's own table, in the order they were named.
    pub nodes: Vec<Node>,
}

/// One relation to load, and those to load with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The relation.
    pub relation: Name,
    /// The order of its rows.
    pub order: Vec<Order>,
    /// The most rows for each parent.
    pub limit: Option<u64>,
    /// A condition in the database's own language, and where it stands.
    pub filter: Option<Name>,
    /// Its columns; `None` for all.
    pub columns: Option<Vec<Name>>,
    /// The relations of its own rows.
    pub children: Vec<Node>,
}

/// A column to order by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The column.
    pub column: Name,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl Include {
    /// Takes in another `@include` of the same statement.
    pub(crate) fn add(&mut self, other: Self) -> Result<(), Error> {
        other
            .nodes
            .into_iter()
            .try_for_each(|node| merge(&mut self.nodes, node))
    }
}

impl Node {
    /// Refuses arguments that a relation to one thing can't have; `thing` is what the database calls it.
    pub(crate) fn check_to_one(&self, thing: &str) -> Result<(), Error> {
        let argument = match (self.order.is_empty(), self.limit) {
            (false, _) => "order",
            (true, Some(_)) => "limit",
            (true, None) => return Ok(()),
        };
        let message = format!(
            "\"{argument}\" has no meaning for \"{}\", which leads to one {thing} at most",
            self.relation.text
        );
        Err(Error::new(ErrorKind::NotSupported, message)
            .at(self.relation.at)
            .hinted(format!("Leave out \"{argument}\".")))
    }

    fn has_arguments(&self) -> bool {
        !self.order.is_empty()
            || self.limit.is_some()
            || self.filter.is_some()
            || self.columns.is_some()
    }
}

pub(super) fn understand(call: Call) -> Result<Include, Error> {
    let mut include = Include { nodes: Vec::new() };
    for Argument { label, value, at } in call.arguments {
        let (None, Value::Path { sign: None, steps }) = (label, value) else {
            return Err(wrong_value("@include", "the names of relations", at)
                .hinted("Arguments of a relation stand behind it: @include(books(limit: 5))."));
        };
        if let Some(step) = steps.get(DEEPEST) {
            let message = format!("relations can be nested {DEEPEST} deep at most");
            return Err(Error::new(ErrorKind::TooComplex, message).at(step.name.at));
        }
        let mut chain = None;
        for step in steps.into_iter().rev() {
            let mut node = node(step)?;
            node.children.extend(chain);
            chain = Some(node);
        }
        chain
            .into_iter()
            .try_for_each(|node| merge(&mut include.nodes, node))?;
    }
    match include.nodes.is_empty() {
        true => Err(wrong_value(
            "@include",
            "the name of at least one relation",
            call.name.at,
        )),
        false => Ok(include),
    }
}

/// Puts a relation and those below it into a forest, sharing what is there.
fn merge(level: &mut Vec<Node>, mut node: Node) -> Result<(), Error> {
    let Some(slot) = level
        .iter_mut()
        .find(|other| other.relation.text == node.relation.text)
    else {
        level.push(node);
        return Ok(());
    };
    if slot.has_arguments() && node.has_arguments() {
        let message = format!("\"{}\" is given arguments twice", node.relation.text);
        return Err(Error::new(ErrorKind::Syntax, message)
            .at(node.relation.at)
            .hinted("Paths that share a relation share its arguments; write them once."));
    }
    let children = std::mem::take(&mut node.children);
    if node.has_arguments() {
        let known = std::mem::take(&mut slot.children);
        *slot = Node {
            children: known,
            ..node
        };
    }
    children
        .into_iter()
        .try_for_each(|child| merge(&mut slot.children, child))
}

fn node(step: Call) -> Result<Node, Error> {
    let mut columns = None;
    let mut filter = None;
    let mut limit = None;
    let mut order = None;
    for Argument { label, value, at } in step.arguments {
        let Some(label) = label else {
            return Err(
                wrong_value(&format!("\"{}\"", step.name.text), "named arguments", at)
                    .hinted("The arguments are: order, limit, where, columns."),
            );
        };
        match label.text.as_str() {
            "order" => {
                once(&order, &label)?;
                order = Some(orders(value, at)?);
            }
            "limit" => {
                once(&limit, &label)?;
                limit = Some(count(value, at)?);
            }
            "where" => {
                once(&filter, &label)?;
                filter = Some(text(value, at)?);
            }
            "columns" => {
                once(&columns, &label)?;
                columns = Some(names(value, "\"columns\"", at)?);
            }
            _ => {
                return Err(unknown_argument(
                    &label,
                    &format!("\"{}\"", step.name.text),
                    ARGUMENTS,
                ));
            }
        }
    }
    Ok(Node {
        relation: step.name,
        order: order.unwrap_or_default(),
        limit,
        filter,
        columns,
        children: Vec::new(),
    })
}

fn orders(value: Value, at: usize) -> Result<Vec<Order>, Error> {
    let items = match value {
        Value::List(items) => items,
        other => vec![Argument {
            label: None,
            value: other,
            at,
        }],
    };
    if items.is_empty() {
        return Err(wrong_value("\"order\"", "at least one column", at));
    }
    items
        .into_iter()
        .map(|Argument { value, at, .. }| match single(value) {
            Some((sign, call)) if call.arguments.is_empty() => Ok(Order {
                column: call.name,
                descending: sign == Some('-'),
            }),
            _ => Err(wrong_value(
                "\"order\"",
                "columns, each with - before it to turn it",
                at,
            )),
        })
        .collect()
}

fn count(value: Value, at: usize) -> Result<u64, Error> {
    let wrong = || wrong_value("\"limit\"", "a whole number", at);
    let Value::Number(digits) = value else {
        return Err(wrong());
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse::<u32>().map(u64::from).map_err(|_| {
        Error::new(
            ErrorKind::InvalidValue,
            format!("a limit of {digits} is out of bounds"),
        )
        .at(at)
    })
}

fn text(value: Value, at: usize) -> Result<Name, Error> {
    match single(value) {
        Some((None, call)) if call.name.quoted && call.arguments.is_empty() => Ok(call.name),
        _ => Err(wrong_value("\"where\"", "a condition between quotes", at)
            .hinted("For example: where: \"price > 10\".")),
    }
}
