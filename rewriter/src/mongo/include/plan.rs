//! From the names of an `@include` to relations, paths and conditions.

use bson::RawDocumentBuf;

use super::filter;
use crate::directive::{Name, Node};
use crate::error::{Error, ErrorKind};
use crate::mongo::names;
use crate::mongo::relations::{Relation, Relations, head};

/// The most relations one command may include.
const MOST: usize = 64;

/// One relation to load, with all names resolved.
pub(super) struct Load<'c> {
    pub(super) relation: &'c Relation,
    /// The collection that the relation starts at.
    pub(super) owner: &'c str,
    /// Fields to sort by, and whether the greatest comes first.
    pub(super) order: Vec<(String, bool)>,
    pub(super) limit: Option<u64>,
    pub(super) filter: Option<RawDocumentBuf>,
    pub(super) columns: Option<Vec<String>>,
    pub(super) children: Vec<Load<'c>>,
}

/// Resolves the relations of one command.
pub(super) struct Planner<'c> {
    relations: &'c Relations,
    loads: usize,
}

impl<'c> Planner<'c> {
    pub(super) fn new(relations: &'c Relations) -> Self {
        Self {
            relations,
            loads: 0,
        }
    }

    /// The relations of one collection.
    pub(super) fn plan(&mut self, owner: &'c str, nodes: &[Node]) -> Result<Vec<Load<'c>>, Error> {
        let mut loads = nodes
            .iter()
            .map(|node| self.load(owner, node))
            .collect::<Result<Vec<_>, Error>>()?;
        // One that replaces its key goes behind those that need the same key.
        loads.sort_by_key(|load| load.relation.replaces_key());
        Ok(loads)
    }

    fn load(&mut self, owner: &'c str, node: &Node) -> Result<Load<'c>, Error> {
        self.loads += 1;
        if self.loads > MOST {
            let message = format!("one command can include {MOST} relations at most");
            return Err(Error::new(ErrorKind::TooComplex, message).at(node.relation.at));
        }
        let relation = names::relation(self.relations, owner, &node.relation)?;
        if !relation.many {
            node.check_to_one("document")?;
        }
        let children = self.plan(&relation.target, &node.children)?;
        let mut order: Vec<(String, bool)> = Vec::new();
        for entry in &node.order {
            let path = own_field(&entry.column, &children)?;
            if order.iter().any(|(earlier, _)| earlier == path) {
                let message = format!("\"order\" names \"{path}\" twice");
                return Err(Error::new(ErrorKind::Syntax, message).at(entry.column.at));
            }
            order.push((path.to_owned(), entry.descending));
        }
        let filter = node
            .filter
            .as_ref()
            .map(|text| condition(text, &children))
            .transpose()?;
        let columns = node
            .columns
            .as_ref()
            .map(|list| columns(list, &children))
            .transpose()?;
        Ok(Load {
            relation,
            owner,
            order,
            limit: node.limit,
            filter,
            columns,
            children,
        })
    }
}

/// Whether a path lies in what one of these relations adds, and so is not there before they are loaded.
pub(super) fn is_added(path: &str, loads: &[Load<'_>]) -> bool {
    loads
        .iter()
        .any(|load| load.relation.name == head(path) && !load.relation.replaces_key())
}

fn own_field<'n>(name: &'n Name, children: &[Load<'_>]) -> Result<&'n str, Error> {
    let path = names::field(name)?;
    match is_added(path, children) {
        true => Err(not_there_yet(path).at(name.at)),
        false => Ok(path),
    }
}

fn condition(text: &Name, children: &[Load<'_>]) -> Result<RawDocumentBuf, Error> {
    let condition = filter::translate(text)?;
    match condition
        .fields
        .iter()
        .find(|path| is_added(path, children))
    {
        Some(path) => Err(not_there_yet(path).at(text.at)),
        None => Ok(condition.document),
    }
}

fn not_there_yet(path: &str) -> Error {
    let message = format!("\"{path}\" belongs to an included relation, which is loaded later");
    Error::new(ErrorKind::NotSupported, message)
        .hinted("Only a document's own fields can be used here.")
}

fn columns(list: &[Name], children: &[Load<'_>]) -> Result<Vec<String>, Error> {
    let mut columns: Vec<String> = Vec::new();
    for name in list {
        let path = names::field(name)?;
        let within = |one: &str, other: &str| {
            one == other
                || one
                    .strip_prefix(other)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        if let Some(other) = columns
            .iter()
            .find(|other| within(path, other) || within(other, path))
        {
            let message = format!("\"columns\" names \"{path}\" beside \"{other}\"");
            return Err(Error::new(ErrorKind::Syntax, message)
                .at(name.at)
                .hinted("Name a field once."));
        }
        match children
            .iter()
            .find(|load| load.relation.name == head(path))
        {
            // Included relations are there anyway.
            Some(load) if load.relation.name == path => {}
            Some(_) => {
                let message = format!("\"{path}\" belongs to an included relation");
                return Err(Error::new(ErrorKind::Syntax, message)
                    .at(name.at)
                    .hinted("Give that relation \"columns\" of its own."));
            }
            None => columns.push(path.to_owned()),
        }
    }
    Ok(columns)
}
