//! Builders that spell a schema in few words, for tests and examples.

use std::collections::HashMap;

use crate::catalog::Catalog;
use crate::table::{
    Column, ForeignKey, Generated, Identity, Index, KeyAction, Table, TableId, TableKind,
};
use crate::types::{TypeCategory, TypeDef, TypeId, TypeKind, TypeRef};

/// Builds a [`Catalog`] by hand.
///
/// ```
/// use orm_schema::{CatalogBuilder, TableBuilder};
///
/// let catalog = CatalogBuilder::new()
///     .table(TableBuilder::new("author").column("id", "int8").column("name", "text").key(&["id"]))
///     .table(
///         TableBuilder::new("book")
///             .column("id", "int8")
///             .column("author_id", "int8")
///             .key(&["id"])
///             .references(&["author_id"], "author", &["id"]),
///     )
///     .build();
/// let path = ["public".to_owned()];
/// let author = catalog.resolve(None, "author", &path).unwrap();
/// assert_eq!(catalog.relation(author.id, "books").unwrap().name, "books");
/// ```
#[derive(Debug, Default)]
pub struct CatalogBuilder {
    tables: Vec<TableBuilder>,
    enums: Vec<(String, Vec<String>)>,
    types: Vec<(TypeDef, TypeCategory)>,
}

/// Builds one table of a [`CatalogBuilder`].
#[derive(Debug)]
pub struct TableBuilder {
    table: Table,
    references: Vec<(Vec<String>, String, Vec<String>)>,
}

/// The first oid given to things that users make.
const FIRST_OID: u32 = 16384;

impl CatalogBuilder {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table.
    #[must_use]
    pub fn table(mut self, table: TableBuilder) -> Self {
        self.tables.push(table);
        self
    }

    /// Adds an enum in schema `public`; columns of that type name come out as enums.
    #[must_use]
    pub fn enumeration(mut self, name: &str, labels: &[&str]) -> Self {
        self.enums.push((name.to_owned(), owned(labels)));
        self
    }

    /// Adds any other type; columns of that type name get its oid and category.
    #[must_use]
    pub fn type_def(mut self, def: TypeDef, category: TypeCategory) -> Self {
        self.types.push((def, category));
        self
    }

    /// The catalog, version 1. References to tables that were not added are dropped.
    pub fn build(self) -> Catalog {
        let mut next = FIRST_OID;
        let mut oid = || {
            next += 1;
            next
        };
        let enums = self.enums.into_iter().map(|(name, labels)| {
            let (id, schema) = (TypeId(oid()), "public".to_owned());
            (
                TypeDef {
                    id,
                    schema,
                    name,
                    kind: TypeKind::Enum { labels },
                },
                TypeCategory::Enum,
            )
        });
        let types: Vec<(TypeDef, TypeCategory)> = enums.chain(self.types).collect();
        let mut builders = self.tables;
        for builder in &mut builders {
            builder.table.id = TableId(oid());
            for column in &mut builder.table.columns {
                let known = types
                    .iter()
                    .find(|(def, _)| def.name == column.data_type.name);
                if let Some((def, category)) = known {
                    column.data_type.id = def.id;
                    column.data_type.schema.clone_from(&def.schema);
                    column.data_type.category = *category;
                }
            }
        }
        let ids: HashMap<String, TableId> = builders
            .iter()
            .map(|builder| {
                (
                    qualified(&builder.table.schema, &builder.table.name),
                    builder.table.id,
                )
            })
            .collect();
        let tables = builders
            .into_iter()
            .map(|builder| builder.finish(&ids))
            .collect();
        Catalog::new(1, tables, types.into_iter().map(|(def, _)| def).collect())
    }
}

impl TableBuilder {
    /// A table, named `name` (in schema `public`) or `schema.name`.
    pub fn new(name: &str) -> Self {
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        Self {
            table: Table {
                id: TableId(0),
                schema: schema.to_owned(),
                name: name.to_owned(),
                kind: TableKind::Table,
                columns: Vec::new(),
                primary_key: None,
                indexes: Vec::new(),
                foreign_keys: Vec::new(),
                row_security: false,
            },
            references: Vec::new(),
        }
    }

    /// Makes it something else than an ordinary table.
    #[must_use]
    pub fn kind(mut self, kind: TableKind) -> Self {
        self.table.kind = kind;
        self
    }

    /// Adds a column; `data_type` is the name in `pg_type`, with `[]` behind for an array.
    #[must_use]
    pub fn column(mut self, name: &str, data_type: &str) -> Self {
        self.table.columns.push(Column {
            name: name.to_owned(),
            data_type: type_ref(data_type),
            not_null: false,
            has_default: false,
            identity: None,
            generated: None,
        });
        self
    }

    /// Makes the last column one that is generated and stored.
    #[must_use]
    pub fn generated(mut self) -> Self {
        if let Some(column) = self.table.columns.last_mut() {
            column.generated = Some(Generated::Stored);
        }
        self
    }

    /// Gives the last column a default.
    #[must_use]
    pub fn with_default(mut self) -> Self {
        if let Some(column) = self.table.columns.last_mut() {
            column.has_default = true;
        }
        self
    }

    /// Makes the last column an identity.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        if let Some(column) = self.table.columns.last_mut() {
            column.identity = Some(identity);
        }
        self
    }

    /// Sets the primary key, with its index.
    #[must_use]
    pub fn key(mut self, columns: &[&str]) -> Self {
        for column in &mut self.table.columns {
            column.not_null |= columns.contains(&column.name.as_str());
        }
        self.table.primary_key = Some(owned(columns));
        self.unique(columns)
    }

    /// Adds a unique index.
    #[must_use]
    pub fn unique(self, columns: &[&str]) -> Self {
        self.add_index(columns, |index| index.unique = true)
    }

    /// Adds a unique index that covers only rows for which `predicate` holds.
    #[must_use]
    pub fn unique_where(self, columns: &[&str], predicate: &str) -> Self {
        self.add_index(columns, |index| {
            index.unique = true;
            index.predicate = Some(predicate.to_owned());
        })
    }

    /// Adds an index that is not unique.
    #[must_use]
    pub fn index(self, columns: &[&str]) -> Self {
        self.add_index(columns, |_| {})
    }

    /// Adds a foreign key to the table `name` or `schema.name`.
    #[must_use]
    pub fn references(mut self, columns: &[&str], table: &str, referenced: &[&str]) -> Self {
        let table = match table.contains('.') {
            true => table.to_owned(),
            false => qualified(&self.table.schema, table),
        };
        self.references
            .push((owned(columns), table, owned(referenced)));
        self
    }

    fn add_index(mut self, columns: &[&str], change: impl FnOnce(&mut Index)) -> Self {
        let mut index = Index {
            name: format!("{}_{}_idx", self.table.name, columns.join("_")),
            columns: owned(columns),
            unique: false,
            predicate: None,
            nulls_not_distinct: false,
            has_expressions: false,
            deferrable: false,
        };
        change(&mut index);
        self.table.indexes.push(index);
        self
    }

    fn finish(mut self, ids: &HashMap<String, TableId>) -> Table {
        let name = self.table.name.clone();
        self.table.foreign_keys = self
            .references
            .into_iter()
            .filter_map(|(columns, table, referenced_columns)| {
                Some(ForeignKey {
                    name: format!("{name}_{}_fkey", columns.join("_")),
                    references: *ids.get(&table)?,
                    columns,
                    referenced_columns,
                    on_delete: KeyAction::default(),
                    on_update: KeyAction::default(),
                })
            })
            .collect();
        self.table
    }
}

/// Built-in types by name and oid, as `pg_type` has them.
const BUILT_IN: &[(&str, u32, u32)] = &[
    ("bool", 16, 1000),
    ("bytea", 17, 1001),
    ("int8", 20, 1016),
    ("int2", 21, 1005),
    ("int4", 23, 1007),
    ("text", 25, 1009),
    ("json", 114, 199),
    ("float4", 700, 1021),
    ("float8", 701, 1022),
    ("bpchar", 1042, 1014),
    ("varchar", 1043, 1015),
    ("date", 1082, 1182),
    ("time", 1083, 1183),
    ("timestamp", 1114, 1115),
    ("timestamptz", 1184, 1185),
    ("interval", 1186, 1187),
    ("numeric", 1700, 1231),
    ("uuid", 2950, 2951),
    ("jsonb", 3802, 3807),
    ("int4range", 3904, 3905),
];

fn type_ref(name: &str) -> TypeRef {
    let (element, array) = match name.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (name, false),
    };
    let known = BUILT_IN.iter().find(|(known, ..)| *known == element);
    let oid = known.map_or(
        0,
        |(_, scalar, array_oid)| if array { *array_oid } else { *scalar },
    );
    let category = match element {
        _ if array => TypeCategory::Array,
        "json" => TypeCategory::Json,
        "jsonb" => TypeCategory::Jsonb,
        "int4range" => TypeCategory::Range,
        _ => TypeCategory::Scalar,
    };
    TypeRef {
        id: TypeId(oid),
        schema: if known.is_some() {
            "pg_catalog"
        } else {
            "public"
        }
        .to_owned(),
        name: if array {
            format!("_{element}")
        } else {
            element.to_owned()
        },
        category,
        modifier: None,
    }
}

fn qualified(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
