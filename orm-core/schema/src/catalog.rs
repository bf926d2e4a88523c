//! All that is known of one database's schema, with fast look-ups.

use std::collections::HashMap;

use crate::relation::{Relation, derive_relations};
use crate::table::{Table, TableId};
use crate::types::{TypeDef, TypeId};

/// The schema of one database at one moment.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    version: u64,
    tables: HashMap<TableId, Table>,
    /// Schema → name → table.
    names: HashMap<String, HashMap<String, TableId>>,
    types: HashMap<TypeId, TypeDef>,
    relations: HashMap<TableId, Relations>,
}

#[derive(Debug, Clone, Default)]
struct Relations {
    list: Vec<Relation>,
    by_name: HashMap<String, usize>,
}

/// Why a relation could not be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationError {
    /// One of the tables it names is not in the catalog.
    NoSuchTable,
    /// A column that it names does not exist.
    NoSuchColumn(String),
    /// Its name is a column of the table already.
    NameTaken(String),
}

impl std::fmt::Display for RelationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchTable => f.write_str("the relation names a table that does not exist"),
            Self::NoSuchColumn(name) => {
                write!(
                    f,
                    "the relation names column \"{name}\", which does not exist"
                )
            }
            Self::NameTaken(name) => {
                write!(
                    f,
                    "the relation \"{name}\" has the name of a column of its table"
                )
            }
        }
    }
}

impl std::error::Error for RelationError {}

impl Catalog {
    /// A catalog of these tables and types, with relations derived from the foreign keys.
    ///
    /// `version` is any number that differs whenever the schema differs; caches of rewritten
    /// statements use it as a key.
    pub fn new(version: u64, tables: Vec<Table>, types: Vec<TypeDef>) -> Self {
        let mut names: HashMap<String, HashMap<String, TableId>> = HashMap::new();
        for table in &tables {
            names
                .entry(table.schema.clone())
                .or_default()
                .insert(table.name.clone(), table.id);
        }
        let relations = derive_relations(&tables)
            .into_iter()
            .map(|(id, list)| (id, Relations::of(list)))
            .collect();
        Self {
            version,
            tables: tables.into_iter().map(|table| (table.id, table)).collect(),
            names,
            types: types.into_iter().map(|def| (def.id, def)).collect(),
            relations,
        }
    }

    /// The version given at the start.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The table a statement means by `schema.name`, or by `name` alone under this search path.
    ///
    /// The path's entries are resolved (`$user` replaced). As on the server, `pg_catalog` comes
    /// first unless the path names it.
    pub fn resolve(
        &self,
        schema: Option<&str>,
        name: &str,
        search_path: &[String],
    ) -> Option<&Table> {
        let lookup = |schema: &str| self.tables.get(self.names.get(schema)?.get(name)?);
        if let Some(schema) = schema {
            return lookup(schema);
        }
        let implicit = (!search_path.iter().any(|entry| entry == "pg_catalog"))
            .then_some("pg_catalog")
            .and_then(lookup);
        implicit.or_else(|| search_path.iter().find_map(|schema| lookup(schema)))
    }

    /// The table with this oid.
    pub fn table(&self, id: TableId) -> Option<&Table> {
        self.tables.get(&id)
    }

    /// All tables, in no order.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// The definition of a type, for types that are in the catalog.
    pub fn type_def(&self, id: TypeId) -> Option<&TypeDef> {
        self.types.get(&id)
    }

    /// All types in the catalog, in no order.
    pub fn types(&self) -> impl Iterator<Item = &TypeDef> {
        self.types.values()
    }

    /// The relations that start at a table.
    pub fn relations_of(&self, id: TableId) -> &[Relation] {
        self.relations
            .get(&id)
            .map_or(&[], |relations| &relations.list)
    }

    /// The relation of this name that starts at a table, compared exactly.
    pub fn relation(&self, id: TableId, name: &str) -> Option<&Relation> {
        let relations = self.relations.get(&id)?;
        relations.list.get(*relations.by_name.get(name)?)
    }

    /// Adds a relation to a table, as the settings or a model ask for it; it replaces a derived one
    /// of the same name.
    ///
    /// # Errors
    ///
    /// If its tables or columns don't exist, or if its name is a column's.
    pub fn add_relation(&mut self, id: TableId, relation: Relation) -> Result<(), RelationError> {
        self.check(id, &relation)?;
        self.relations.entry(id).or_default().put(relation);
        Ok(())
    }

    fn check(&self, id: TableId, relation: &Relation) -> Result<(), RelationError> {
        use crate::relation::RelationKind;
        let from = self.tables.get(&id).ok_or(RelationError::NoSuchTable)?;
        let target = self
            .tables
            .get(&relation.target)
            .ok_or(RelationError::NoSuchTable)?;
        let has = |table: &Table, name: &String| match table.column(name) {
            Some(_) => Ok(()),
            None => Err(RelationError::NoSuchColumn(name.clone())),
        };
        let middle = match &relation.kind {
            RelationKind::ManyToMany(via) => {
                let middle = self
                    .tables
                    .get(&via.table)
                    .ok_or(RelationError::NoSuchTable)?;
                for pair in &via.pairs {
                    has(middle, &pair.local)?;
                    has(target, &pair.remote)?;
                }
                middle
            }
            _ => target,
        };
        for pair in &relation.pairs {
            has(from, &pair.local)?;
            has(middle, &pair.remote)?;
        }
        match from.column(&relation.name) {
            Some(_) => Err(RelationError::NameTaken(relation.name.clone())),
            None => Ok(()),
        }
    }
}

impl Relations {
    fn of(list: Vec<Relation>) -> Self {
        let mut relations = Self::default();
        for relation in list {
            relations.put(relation);
        }
        relations
    }

    fn put(&mut self, relation: Relation) {
        let known = self
            .by_name
            .get(&relation.name)
            .and_then(|at| self.list.get_mut(*at));
        match known {
            Some(slot) => *slot = relation,
            None => {
                self.by_name.insert(relation.name.clone(), self.list.len());
                self.list.push(relation);
            }
        }
    }
}
