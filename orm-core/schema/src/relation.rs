//! Relations between tables: what they are; how they follow from foreign keys is in `derive`.

mod derive;

pub use derive::derive_relations;

use crate::table::TableId;

/// A named way from a row of one table to rows of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The name, unique among the relations and columns of its table.
    pub name: String,
    /// How many rows it leads to, and by what way.
    pub kind: RelationKind,
    /// The table it leads to.
    pub target: TableId,
    /// The columns that are equal: here and in the target or, for many-to-many, here and in the
    /// join table.
    pub pairs: Vec<ColumnPair>,
}

/// How a relation leads to its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationKind {
    /// The foreign key is here: at most one row.
    BelongsTo,
    /// The foreign key is there: any number of rows.
    HasMany,
    /// The foreign key is there, and unique: at most one row.
    HasOne,
    /// Through a join table: any number of rows.
    ManyToMany(Via),
}

/// The second half of a many-to-many relation; [`Relation::pairs`] is the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// The join table.
    pub table: TableId,
    /// The columns that are equal in the join table (`local`) and in the target (`remote`).
    pub pairs: Vec<ColumnPair>,
}

/// Two columns that are equal in related rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnPair {
    /// The column on the near side.
    pub local: String,
    /// The column on the far side.
    pub remote: String,
}

impl Relation {
    /// Whether it leads to any number of rows, so that its value is a list.
    pub fn is_to_many(&self) -> bool {
        match self.kind {
            RelationKind::BelongsTo | RelationKind::HasOne => false,
            RelationKind::HasMany | RelationKind::ManyToMany(_) => true,
        }
    }
}
