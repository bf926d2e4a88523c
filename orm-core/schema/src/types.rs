//! Data types as the database knows them: an oid, a qualified name, and what kind of thing it is.

/// The oid of a type (`pg_type.oid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

/// The broad kind of a type: all that most rules need to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeCategory {
    /// A base type: `int4`, `text`, `timestamptz`, …
    Scalar,
    /// An array of anything.
    Array,
    /// An enum.
    Enum,
    /// A domain over another type; look it up in the catalog for its base.
    Domain,
    /// A row type.
    Composite,
    /// `json`.
    Json,
    /// `jsonb`.
    Jsonb,
    /// A range or multirange.
    Range,
    /// A pseudo-type.
    Pseudo,
}

/// A use of a type by a column or a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeRef {
    /// The type's oid.
    pub id: TypeId,
    /// The schema it lives in: `pg_catalog` for built-in types.
    pub schema: String,
    /// The name in `pg_type`: `int4`, not `integer`; `_int4` for `integer[]`.
    pub name: String,
    /// What kind of type it is.
    pub category: TypeCategory,
    /// The type modifier (`atttypmod`), such as the length of a `varchar`; `None` where it has none.
    pub modifier: Option<i32>,
}

/// A type that is more than a built-in scalar, with what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeDef {
    /// The type's oid.
    pub id: TypeId,
    /// The schema it lives in.
    pub schema: String,
    /// Its name in `pg_type`.
    pub name: String,
    /// What it is made of.
    pub kind: TypeKind,
}

/// What a type is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeKind {
    /// A base type.
    Base,
    /// An array.
    Array {
        /// The type of its elements.
        element: TypeId,
    },
    /// An enum.
    Enum {
        /// The labels in their order.
        labels: Vec<String>,
    },
    /// A domain.
    Domain {
        /// The type it restricts, which may be a domain again.
        base: TypeId,
        /// Whether the domain refuses NULL.
        not_null: bool,
    },
    /// A row type.
    Composite {
        /// The fields in their order.
        fields: Vec<Field>,
    },
    /// A range.
    Range {
        /// The type of its bounds.
        subtype: TypeId,
    },
    /// A multirange.
    Multirange {
        /// The range it is made of.
        range: TypeId,
    },
    /// A pseudo-type.
    Pseudo,
}

/// One field of a composite type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field's name.
    pub name: String,
    /// The field's type.
    pub data_type: TypeRef,
}
