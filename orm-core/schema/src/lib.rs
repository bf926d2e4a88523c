//! Tables, columns, types, keys and relations: the common language of Twinport's crates.
//!
//! Everything here is plain data. Nothing does I/O: whoever reads `pg_catalog` builds [`Table`]s and
//! [`TypeDef`]s and hands them to [`Catalog::new`], which derives the relations and the look-ups.

mod build;
mod catalog;
mod name;
mod relation;
mod table;
mod types;

pub use build::{CatalogBuilder, TableBuilder};
pub use catalog::{Catalog, RelationError};
pub use name::{plural, singular};
pub use relation::{ColumnPair, Relation, RelationKind, Via, derive_relations};
pub use table::{
    Column, ForeignKey, Generated, Identity, Index, KeyAction, Table, TableId, TableKind,
};
pub use types::{Field, TypeCategory, TypeDef, TypeId, TypeKind, TypeRef};
