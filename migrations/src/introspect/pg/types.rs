//! Types: what they are made of, and how columns refer to them.

use std::collections::HashMap;

use orm_schema::{Field, TypeCategory, TypeDef, TypeId, TypeKind, TypeRef};
use tokio_postgres::Row;

use super::{assemble::Attributes, get};
use crate::Error;

const JSON: u32 = 114;
const JSONB: u32 = 3802;
/// How deep domains over domains are followed.
const DEPTH: usize = 32;

/// All types by oid.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<u32, Entry>);

#[derive(Debug)]
struct Entry {
    schema: String,
    name: String,
    category: TypeCategory,
    domain: Option<(u32, bool)>,
}

impl Known {
    /// A column's use of a type. A type that we did not see (made a moment ago) keeps its oid.
    pub(super) fn refer(&self, oid: u32, modifier: i32) -> TypeRef {
        let entry = self.0.get(&oid);
        TypeRef {
            id: TypeId(oid),
            schema: entry.map(|entry| entry.schema.clone()).unwrap_or_default(),
            name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
            category: entry.map_or(TypeCategory::Scalar, |entry| entry.category),
            modifier: (modifier >= 0).then_some(modifier),
        }
    }

    /// Whether the type is a domain that refuses NULL, itself or by a domain below.
    pub(super) fn refuses_null(&self, mut oid: u32) -> bool {
        for _ in 0..DEPTH {
            match self.0.get(&oid).and_then(|entry| entry.domain) {
                Some((_, true)) => return true,
                Some((base, false)) => oid = base,
                None => return false,
            }
        }
        false
    }
}

/// The definitions that a catalog keeps (all but built-in scalars), and the look-up for columns.
pub(super) fn read(rows: &[Row], attributes: &Attributes) -> Result<(Vec<TypeDef>, Known), Error> {
    let raw: Vec<Raw> = rows.iter().map(Raw::read).collect::<Result<_, _>>()?;
    let entries = raw.iter().map(|raw| (raw.oid, raw.entry()));
    let known = Known(entries.collect());
    let defs = raw
        .into_iter()
        .filter_map(|raw| raw.define(attributes, &known))
        .collect();
    Ok((defs, known))
}

struct Raw {
    oid: u32,
    schema: String,
    name: String,
    kind: String,
    array: bool,
    element: u32,
    base: u32,
    not_null: bool,
    labels: Option<Vec<String>>,
    subtype: Option<u32>,
    range: Option<u32>,
    table: u32,
}

impl Raw {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            oid: get(row, 0)?,
            schema: get(row, 1)?,
            name: get(row, 2)?,
            kind: get(row, 3)?,
            array: get(row, 4)?,
            element: get(row, 5)?,
            base: get(row, 6)?,
            not_null: get(row, 7)?,
            labels: get(row, 8)?,
            subtype: get(row, 9)?,
            range: get(row, 10)?,
            table: get(row, 11)?,
        })
    }

    fn entry(&self) -> Entry {
        Entry {
            schema: self.schema.clone(),
            name: self.name.clone(),
            category: self.category(),
            domain: (self.kind == "d").then_some((self.base, self.not_null)),
        }
    }

    fn category(&self) -> TypeCategory {
        match (self.oid, self.kind.as_str()) {
            (JSON, _) => TypeCategory::Json,
            (JSONB, _) => TypeCategory::Jsonb,
            (_, "c") => TypeCategory::Composite,
            (_, "d") => TypeCategory::Domain,
            (_, "e") => TypeCategory::Enum,
            (_, "r" | "m") => TypeCategory::Range,
            (_, "p") => TypeCategory::Pseudo,
            _ if self.array => TypeCategory::Array,
            _ => TypeCategory::Scalar,
        }
    }

    fn define(self, attributes: &Attributes, known: &Known) -> Option<TypeDef> {
        let kind = match self.kind.as_str() {
            "c" => {
                let fields = attributes.of(self.table).iter().map(|attribute| Field {
                    name: attribute.name.clone(),
                    data_type: known.refer(attribute.data_type, attribute.modifier),
                });
                TypeKind::Composite {
                    fields: fields.collect(),
                }
            }
            "d" => TypeKind::Domain {
                base: TypeId(self.base),
                not_null: self.not_null,
            },
            "e" => TypeKind::Enum {
                labels: self.labels?,
            },
            "r" => TypeKind::Range {
                subtype: TypeId(self.subtype?),
            },
            "m" => TypeKind::Multirange {
                range: TypeId(self.range?),
            },
            _ if self.array => TypeKind::Array {
                element: TypeId(self.element),
            },
            _ if self.schema == "pg_catalog" => return None,
            "p" => TypeKind::Pseudo,
            _ => TypeKind::Base,
        };
        Some(TypeDef {
            id: TypeId(self.oid),
            schema: self.schema,
            name: self.name,
            kind,
        })
    }
}
