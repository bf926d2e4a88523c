//! Relations from foreign keys, with names that are unique and easy to guess.
//!
//! # Rules
//!
//! The **stem** of a foreign key is its column's name without a tail of `_id`, `_fk`, `_uuid`, `Id`
//! or `_` and the referenced column's name: `author_id` has the stem `author`. A key over several
//! columns has as stem the one that names the target table (`order_id` → `orders`), or none.
//!
//! - **belongs-to**, on the table with the key: the stem, else the target table's name.
//! - **has-many**, on the referenced table: the plural of the referencing table's name. **has-one**,
//!   if the key's columns are unique: the singular.
//! - **several keys between the same two tables**: the key whose stem names the target keeps the
//!   plain name on the far side, the others put their stem before it: with `book.author_id` and
//!   `book.editor_id`, both → `author`, the author has `books` and `editor_books`.
//! - **self-reference**: the same rules; `employee.manager_id` gives `manager` and `employees` (those
//!   whose manager this is).
//! - **many-to-many**: a table with a unique index or primary key over exactly the columns of two of
//!   its foreign keys is a join table; each end gets the plural of the other's name, or, if it joins a
//!   table to itself, the plural of the far key's stem. Several join tables between the same two
//!   tables put their own names before. The relations to the join table itself stay.
//! - **collision** with a column or an earlier relation: the stem goes before the name, then the
//!   referencing table's schema; at last `_rel` goes behind, then `_rel2`, `_rel3`, …
//!
//! Names are given in the order belongs-to, has-one and has-many, many-to-many, and within each by the
//! referencing table's schema (the own one first), its name and the key's name, so they don't depend on
//! the order in which tables are given.

use std::collections::{HashMap, HashSet};

use super::{ColumnPair, Relation, RelationKind, Via};
use crate::name::{plural, singular};
use crate::table::{ForeignKey, Table, TableId};

/// The relations of every table, by the rules at the top of this file.
///
/// Foreign keys to tables that are not in `tables` are skipped.
pub fn derive_relations(tables: &[Table]) -> HashMap<TableId, Vec<Relation>> {
    let by_id: HashMap<TableId, &Table> = tables.iter().map(|table| (table.id, table)).collect();
    let mut order: Vec<&Table> = tables.iter().collect();
    order.sort_by_key(|table| (&table.schema, &table.name));
    let keys: Vec<Key<'_>> = order
        .iter()
        .flat_map(|table| keys_of(table, &by_id))
        .collect();
    let joins: Vec<Join<'_>> = order
        .iter()
        .flat_map(|table| joins_of(table, &keys))
        .collect();

    let mut relations = HashMap::new();
    for table in order {
        let mut names = Names::of(table);
        for key in keys.iter().filter(|key| key.from.id == table.id) {
            names.add(belongs_to(key));
        }
        let mut inverse: Vec<&Key<'_>> = keys.iter().filter(|key| key.to.id == table.id).collect();
        inverse.sort_by_key(|key| key.from.schema != table.schema);
        for key in inverse {
            names.add(has(key, &keys));
        }
        for join in joins.iter().filter(|join| join.near.to.id == table.id) {
            names.add(many_to_many(join, &joins));
        }
        relations.insert(table.id, names.relations);
    }
    relations
}

/// A foreign key with its two tables at hand.
#[derive(Clone, Copy)]
struct Key<'a> {
    from: &'a Table,
    to: &'a Table,
    key: &'a ForeignKey,
}

/// A join table seen from one of its ends.
struct Join<'a> {
    near: Key<'a>,
    far: Key<'a>,
}

/// A relation before it has its name, and the names it would like, best first.
struct Proposal {
    names: Vec<String>,
    kind: RelationKind,
    target: TableId,
    pairs: Vec<ColumnPair>,
}

fn keys_of<'a>(table: &'a Table, by_id: &HashMap<TableId, &'a Table>) -> Vec<Key<'a>> {
    let mut keys: Vec<Key<'a>> = table
        .foreign_keys
        .iter()
        .filter(|key| key.columns.len() == key.referenced_columns.len())
        .filter_map(|key| {
            Some(Key {
                from: table,
                to: by_id.get(&key.references)?,
                key,
            })
        })
        .collect();
    keys.sort_by_key(|key| (&key.key.name, &key.key.columns));
    keys
}

/// Both views of a join table, or nothing if the table is none.
fn joins_of<'a>(table: &Table, keys: &[Key<'a>]) -> Vec<Join<'a>> {
    let own: Vec<&Key<'a>> = keys.iter().filter(|key| key.from.id == table.id).collect();
    for (at, first) in own.iter().enumerate() {
        for second in own.iter().skip(at + 1) {
            if is_join_key(table, first.key, second.key) {
                return vec![
                    Join {
                        near: **first,
                        far: **second,
                    },
                    Join {
                        near: **second,
                        far: **first,
                    },
                ];
            }
        }
    }
    Vec::new()
}

/// Whether two keys together are exactly a key of the table, and neither alone covers it.
fn is_join_key(table: &Table, first: &ForeignKey, second: &ForeignKey) -> bool {
    let set = |key: &ForeignKey| key.columns.iter().cloned().collect::<HashSet<_>>();
    let (first, second) = (set(first), set(second));
    let both: HashSet<String> = first.union(&second).cloned().collect();
    first != both
        && second != both
        && table.unique_indexes().any(|index| {
            index.covers_all_rows() && index.columns.iter().cloned().collect::<HashSet<_>>() == both
        })
}

fn belongs_to(key: &Key<'_>) -> Proposal {
    let mut names: Vec<String> = stem(key).into_iter().collect();
    names.push(key.to.name.clone());
    Proposal {
        names,
        kind: RelationKind::BelongsTo,
        target: key.to.id,
        pairs: pairs(&key.key.columns, &key.key.referenced_columns),
    }
}

fn has(key: &Key<'_>, keys: &[Key<'_>]) -> Proposal {
    let one = key.from.unique_over(&key.key.columns);
    let plain = if one {
        singular(&key.from.name)
    } else {
        plural(&key.from.name)
    };
    let several = keys
        .iter()
        .filter(|other| other.from.id == key.from.id && other.to.id == key.to.id)
        .count()
        > 1;
    let stem = stem(key);
    let stemmed = stem.as_ref().map(|stem| format!("{stem}_{plain}"));
    let mut names = Vec::new();
    if !several || stem.is_some_and(|stem| names_table(&stem, key.to)) {
        names.push(plain.clone());
    }
    names.extend(stemmed);
    names.push(format!("{}_{plain}", key.from.schema));
    names.push(plain);
    Proposal {
        names,
        kind: if one {
            RelationKind::HasOne
        } else {
            RelationKind::HasMany
        },
        target: key.from.id,
        pairs: pairs(&key.key.referenced_columns, &key.key.columns),
    }
}

fn many_to_many(join: &Join<'_>, joins: &[Join<'_>]) -> Proposal {
    let (near, far) = (&join.near, &join.far);
    let to_itself = near.to.id == far.to.id;
    let plain = match stem(far) {
        Some(stem) if to_itself => plural(&stem),
        _ => plural(&far.to.name),
    };
    let several = joins
        .iter()
        .filter(|other| other.near.to.id == near.to.id && other.far.to.id == far.to.id)
        .filter(|other| !to_itself || other.far.key.columns == far.key.columns)
        .count()
        > 1;
    let prefixed = format!("{}_{plain}", near.from.name);
    Proposal {
        names: if several {
            vec![prefixed]
        } else {
            vec![plain, prefixed]
        },
        kind: RelationKind::ManyToMany(Via {
            table: near.from.id,
            pairs: pairs(&far.key.columns, &far.key.referenced_columns),
        }),
        target: far.to.id,
        pairs: pairs(&near.key.referenced_columns, &near.key.columns),
    }
}

/// The key's stem: its column without the tail that says that it is a key.
fn stem(key: &Key<'_>) -> Option<String> {
    let stems = key
        .key
        .columns
        .iter()
        .zip(&key.key.referenced_columns)
        .filter_map(|(column, referenced)| stem_of(column, referenced));
    match key.key.columns.len() {
        1 => stems.into_iter().next(),
        _ => stems.into_iter().find(|stem| names_table(stem, key.to)),
    }
}

fn stem_of(column: &str, referenced: &str) -> Option<String> {
    let by_reference = column
        .strip_suffix(referenced)
        .and_then(|rest| rest.strip_suffix('_'));
    let stem = by_reference.or_else(|| {
        ["_id", "_ID", "_fk", "_uuid", "Id", "ID"]
            .iter()
            .find_map(|tail| column.strip_suffix(tail))
    })?;
    (!stem.is_empty()).then(|| stem.to_owned())
}

/// Whether a stem is the table's name, in singular or plural.
fn names_table(stem: &str, table: &Table) -> bool {
    stem.eq_ignore_ascii_case(&table.name)
        || stem.eq_ignore_ascii_case(&singular(&table.name))
        || plural(stem).eq_ignore_ascii_case(&table.name)
}

fn pairs(local: &[String], remote: &[String]) -> Vec<ColumnPair> {
    local
        .iter()
        .zip(remote)
        .map(|(local, remote)| ColumnPair {
            local: local.clone(),
            remote: remote.clone(),
        })
        .collect()
}

/// The names that one table's relations have taken so far.
struct Names {
    taken: HashSet<String>,
    relations: Vec<Relation>,
}

impl Names {
    fn of(table: &Table) -> Self {
        let taken = table
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        Self {
            taken,
            relations: Vec::new(),
        }
    }

    fn add(&mut self, proposal: Proposal) {
        let base = proposal.names.first().cloned().unwrap_or_default();
        let numbered = (1..).map(|number| match number {
            1 => format!("{base}_rel"),
            _ => format!("{base}_rel{number}"),
        });
        let free = proposal.names.iter().cloned().chain(numbered);
        for name in free {
            if self.taken.insert(name.clone()) {
                let Proposal {
                    kind,
                    target,
                    pairs,
                    ..
                } = proposal;
                self.relations.push(Relation {
                    name,
                    kind,
                    target,
                    pairs,
                });
                return;
            }
        }
    }
}
