//! From keys to relations, with names by the rules of foreign keys.
//!
//! The **stem** of a key is its field's name without a tail of `_id`, `Id`, `_ids`, `_fk` and the like, or without
//! `_` and the field that it is equal to; for a DBRef the whole name. Of a path counts the last part, unless that
//! is no more than `id`.
//!
//! - **there**: the name of the annotation, else the stem (in the plural for many). A field without a stem gives
//!   its own name, and the relation takes its place; as does that of a DBRef. At last the target's name.
//! - **back**, to many: the name of the annotation, else the plural of the collection's name; if it has several keys
//!   to the same collection, only for the one whose stem names that. The others put their stem before it.
//! - **collision** with another field or relation: the stem goes before, then `_rel` behind, `_rel2`, …
//!
//! Relations that are there already stay as they are: see [`Relations::add_below`].

use std::collections::HashSet;

use orm_schema::{plural, singular};

use super::{Key, Schemas, Shape};
use crate::mongo::relations::{Relation, Relations, dbref, head, is_path};

/// Ends of names that say that a field is a key: of one document, and of many.
const TAILS: [&str; 9] = [
    "_id", "_ID", "Id", "ID", "_fk", "_uuid", "_ids", "Ids", "IDs",
];

/// The most names that are tried.
const TRIES: usize = 20;

impl Schemas {
    /// Adds the relations that follow, below those that are there. What is wrong is noted in `relations`, and
    /// told: the collection and why.
    ///
    /// ```
    /// use bson::rawdoc;
    /// use twinport_rewriter::mongo::{Relations, Schemas};
    ///
    /// let author = rawdoc! { "bsonType": "objectId", "description": "@ref(authors)" };
    /// let validator = rawdoc! { "$jsonSchema": { "properties": { "author_id": author } } };
    /// let mut schemas = Schemas::default();
    /// schemas.read("shop", "books", &validator);
    /// let mut relations = Relations::new();
    /// assert!(schemas.relate(&mut relations).is_empty());
    /// assert_eq!(relations.of("books")[0].name, "author");
    /// assert_eq!(relations.of("authors")[0].name, "books");
    /// ```
    pub fn relate(&self, relations: &mut Relations) -> Vec<(String, String)> {
        let mut work = Work {
            schemas: self,
            closed: relations.faulty().map(str::to_owned).collect(),
            above: relations.clone(),
            relations,
            faults: Vec::new(),
        };
        for (collection, shape) in &self.by_collection {
            for fault in &shape.faults {
                work.fault(collection, fault);
            }
        }
        for (collection, shape) in &self.by_collection {
            for key in &shape.keys {
                work.there(collection, key);
            }
        }
        for (collection, shape) in &self.by_collection {
            for key in &shape.keys {
                work.back(collection, shape, key);
            }
        }
        work.faults
    }
}

struct Work<'a> {
    schemas: &'a Schemas,
    /// Collections of which something better than a schema was meant to tell, but is wrong.
    closed: HashSet<String>,
    /// The relations that were there before.
    above: Relations,
    relations: &'a mut Relations,
    faults: Vec<(String, String)>,
}

impl Work<'_> {
    fn there(&mut self, collection: &str, key: &Key) {
        let name = match stem(key) {
            Some(stem) if key.many && dbref(&key.path).is_none() => plural(&stem),
            Some(stem) => stem,
            None => last(key).to_owned(),
        };
        let target = plain(&key.target);
        let target = match key.many {
            true => plural(target),
            false => singular(target),
        };
        let names = vec![name, target];
        let relation = Relation {
            name: String::new(),
            target: key.target.clone(),
            local: key.path.clone(),
            foreign: key.foreign.clone(),
            many: key.many,
            through: None,
        };
        self.add(
            collection,
            (collection, key),
            key.name.as_ref(),
            names,
            relation,
        );
    }

    fn back(&mut self, collection: &str, shape: &Shape, key: &Key) {
        let all = plural(plain(collection));
        let stem = stem(key);
        let several = shape
            .keys
            .iter()
            .filter(|other| other.target == key.target)
            .count()
            > 1;
        let mut names = Vec::new();
        if !several
            || stem
                .as_ref()
                .is_some_and(|stem| is_name_of(stem, plain(&key.target)))
        {
            names.push(all.clone());
        }
        let before = stem.unwrap_or_else(|| last(key).to_owned());
        names.push(format!("{}_{all}", singular(&before)));
        let relation = Relation {
            name: String::new(),
            target: collection.to_owned(),
            local: key.foreign.clone(),
            foreign: key.path.clone(),
            many: true,
            through: None,
        };
        let target = key.target.clone();
        self.add(
            &target,
            (collection, key),
            key.inverse.as_ref(),
            names,
            relation,
        );
    }

    /// Adds a relation by the first name that is free; `of` tells the key that it follows from.
    fn add(
        &mut self,
        owner: &str,
        (collection, key): (&str, &Key),
        given: Option<&String>,
        names: Vec<String>,
        relation: Relation,
    ) {
        if self.closed.contains(owner) {
            return;
        }
        let base = names.first().cloned().unwrap_or_default();
        let numbered = (1..).map(|number| match number {
            1 => format!("{base}_rel"),
            _ => format!("{base}_rel{number}"),
        });
        let candidates: Vec<String> = match given {
            Some(name) => vec![name.clone()],
            None => names.into_iter().chain(numbered).take(TRIES).collect(),
        };
        let mut why = "no name is free for its relation".to_owned();
        for name in candidates {
            let known = self.above.of(owner).iter();
            if given.is_some() && known.clone().any(|above| above.name == name) {
                return;
            }
            let relation = Relation {
                name,
                ..relation.clone()
            };
            if self.relations.goes(owner, &relation) {
                return;
            }
            if self.hides(owner, &relation) {
                why = format!(
                    "a relation \"{}\" would hide the field of that name",
                    relation.name
                );
                continue;
            }
            match self.relations.add(owner, relation) {
                Ok(()) => return,
                Err(error) => why = error.to_string(),
            }
        }
        self.fault(collection, &format!("{}: {why}", key.path));
    }

    /// Whether a relation takes the place of a field that is more than its key.
    fn hides(&self, owner: &str, relation: &Relation) -> bool {
        let (name, local) = (&relation.name, &relation.local);
        if head(local) == name {
            return relation.local == "_id" || dbref(local).unwrap_or(local) != name;
        }
        let shape = self.schemas.by_collection.get(owner);
        shape.is_some_and(|shape| shape.fields.contains(name))
    }

    fn fault(&mut self, collection: &str, what: &str) {
        let fault = format!("the $jsonSchema of \"{collection}\": {what}");
        // There and back the same may be wrong.
        if self.faults.iter().any(|(_, known)| *known == fault) {
            return;
        }
        self.relations.note(Some(collection), &fault);
        self.faults.push((collection.to_owned(), fault));
    }
}

/// The name of a key's field, or of the one that holds it, if its own says nothing.
fn last(key: &Key) -> &str {
    let path = dbref(&key.path).unwrap_or(&key.path);
    let mut parts = path.rsplit('.');
    let last = parts.next().unwrap_or(path);
    match parts.next() {
        Some(around) if ["id", "_id", "ids", "ref"].contains(&last) => around,
        _ => last,
    }
}

fn stem(key: &Key) -> Option<String> {
    let last = last(key);
    if dbref(&key.path).is_some() || !key.path.ends_with(last) {
        return Some(last.to_owned());
    }
    let by_field = last
        .strip_suffix(plain(&key.foreign))
        .and_then(|rest| rest.strip_suffix('_'));
    let stem = by_field.or_else(|| TAILS.iter().find_map(|tail| last.strip_suffix(tail)))?;
    is_path(stem).then(|| stem.to_owned())
}

/// The last part of a name with points in it.
fn plain(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether a stem is a collection's name, in singular or plural.
fn is_name_of(stem: &str, collection: &str) -> bool {
    stem.eq_ignore_ascii_case(collection)
        || stem.eq_ignore_ascii_case(&singular(collection))
        || plural(stem).eq_ignore_ascii_case(collection)
}
