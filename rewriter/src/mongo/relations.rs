//! The relations of a database's collections.
//!
//! [`orm_schema::Catalog`] can't say them: its tables have an oid and a fixed list of typed columns, against which
//! relations are checked, while a collection has a name and documents of any shape, fields lie inside others, keys
//! lie in arrays, and a link may be a DBRef. So collections have a type of their own, with nothing in it that a
//! rule doesn't read.

use std::collections::HashMap;

/// The field of a DBRef that holds the key.
pub(crate) const DBREF_KEY: &str = "$id";

/// Bytes of a note; when it is as long, no more is added.
const LONGEST: usize = 1_000;

/// All relations of one database, by the collection they start at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations {
    by_collection: HashMap<String, Vec<Relation>>,
    /// What is wrong with those that are left out, by collection.
    faults: HashMap<String, String>,
    /// The same, of those of any collection.
    fault: Option<String>,
}

/// A named way from a document to related ones: those whose field [`foreign`](Self::foreign) is equal to this one's
/// field [`local`](Self::local). As everywhere in MongoDB, an array is equal to each of its elements: a list of keys
/// on either side needs no words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The name: the field that `@include` adds. It may be the first part of `local`, which is then replaced.
    pub name: String,
    /// The collection it leads to.
    pub target: String,
    /// The field here, such as `author_id`, `meta.author_id`, or `author.$id` for a DBRef in `author`.
    pub local: String,
    /// The field there, most often `_id`; `author.$id` for a DBRef that points back.
    pub foreign: String,
    /// Whether it leads to any number of documents, so that its value is an array.
    pub many: bool,
    /// The collection in between, for many-to-many relations that have one.
    pub through: Option<Through>,
}

/// A collection whose documents each join two others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Through {
    /// Its name.
    pub collection: String,
    /// Its field that is equal to [`Relation::local`].
    pub local: String,
    /// Its field that is equal to [`Relation::foreign`].
    pub foreign: String,
}

/// Why a relation can't be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// The relation's name can't be a field's.
    #[error(
        "\"{0}\" can't be a relation's name: a name is one field, not empty, not \"_id\", with no \".\" in it and \
         no \"$\" before it"
    )]
    Name(String),
    /// A field's path is malformed.
    #[error("\"{0}\" is not the path of a field")]
    Field(String),
    /// A collection's name is malformed.
    #[error("\"{0}\" is not the name of a collection")]
    Collection(String),
    /// The collection has a relation of this name already.
    #[error("the collection has a relation \"{0}\" already")]
    Taken(String),
    /// Loading one relation would overwrite the key of another one.
    #[error("the relation \"{0}\" would overwrite the key of the relation \"{1}\"")]
    Overwrites(String, String),
}

impl Relation {
    /// Whether it finds the same documents by the same fields.
    fn goes_as(&self, other: &Self) -> bool {
        self.target == other.target
            && self.local == other.local
            && self.foreign == other.foreign
            && self.through == other.through
    }

    /// Whether its field takes the place of the one that holds its key.
    pub(crate) fn replaces_key(&self) -> bool {
        head(&self.local) == self.name
    }
}

impl Relations {
    /// No relations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a relation to a collection.
    ///
    /// # Errors
    ///
    /// If a name in it is malformed, is taken, or would overwrite another relation's key.
    pub fn add(&mut self, collection: &str, relation: Relation) -> Result<(), RelationError> {
        check(collection, &relation)?;
        let list = self.of(collection);
        if list.iter().any(|other| other.name == relation.name) {
            return Err(RelationError::Taken(relation.name));
        }
        for other in list {
            for (one, another) in [(&relation, other), (other, &relation)] {
                if one.name == head(&another.local) {
                    let (one, another) = (one.name.clone(), another.name.clone());
                    return Err(RelationError::Overwrites(one, another));
                }
            }
        }
        let list = self.by_collection.entry(collection.to_owned());
        list.or_default().push(relation);
        Ok(())
    }

    /// Adds a relation that gives way to those that are there: to one of its name, and to one that finds the same
    /// documents by the same fields under another name. Tells whether it was added.
    ///
    /// # Errors
    ///
    /// If a name in it is malformed, or it would overwrite another relation's key.
    pub fn add_below(
        &mut self,
        collection: &str,
        relation: Relation,
    ) -> Result<bool, RelationError> {
        let mut there = self.of(collection).iter();
        if there.any(|other| other.name == relation.name) || self.goes(collection, &relation) {
            return check(collection, &relation).map(|()| false);
        }
        self.add(collection, relation).map(|()| true)
    }

    /// Whether a relation of the collection finds the same documents by the same fields.
    pub(crate) fn goes(&self, collection: &str, relation: &Relation) -> bool {
        self.of(collection)
            .iter()
            .any(|other| other.goes_as(relation))
    }

    /// Notes why relations are left out that start at a collection, or at any if none is named: a directive that
    /// names one that is missing says so.
    pub fn note(&mut self, collection: Option<&str>, fault: &str) {
        let Some(collection) = collection else {
            self.fault.get_or_insert_with(|| fault.to_owned());
            return;
        };
        let known = self.faults.entry(collection.to_owned()).or_default();
        if known.len() >= LONGEST {
            return;
        }
        if !known.is_empty() {
            known.push_str("; ");
        }
        known.push_str(fault);
    }

    /// The collections with such a note.
    pub(crate) fn faulty(&self) -> impl Iterator<Item = &str> {
        self.faults.keys().map(String::as_str)
    }

    /// Why relations that start at a collection may be missing.
    pub fn fault_of(&self, collection: &str) -> Option<&str> {
        let own = self.faults.get(collection).or(self.fault.as_ref());
        own.map(String::as_str)
    }

    /// The relations that start at a collection.
    pub fn of(&self, collection: &str) -> &[Relation] {
        self.by_collection
            .get(collection)
            .map_or(&[], Vec::as_slice)
    }

    /// The collections that have relations, in no order.
    pub fn collections(&self) -> impl Iterator<Item = &str> {
        self.by_collection.keys().map(String::as_str)
    }
}

/// The first part of a path.
pub(crate) fn head(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// The field that holds a DBRef, if the path ends in its key.
pub(crate) fn dbref(path: &str) -> Option<&str> {
    path.strip_suffix(DBREF_KEY)?.strip_suffix('.')
}

/// Whether a text can be the path of a field: parts with points between, none empty, none with a `$` before it.
pub(crate) fn is_path(path: &str) -> bool {
    let good = |part: &str| !part.is_empty() && !part.starts_with('$') && !part.contains('\0');
    path.split('.').all(good)
}

fn check(collection: &str, relation: &Relation) -> Result<(), RelationError> {
    let Relation { name, target, .. } = relation;
    if !is_path(name) || name.contains('.') || name == "_id" {
        return Err(RelationError::Name(name.clone()));
    }
    let through = relation.through.as_ref();
    let collections = [collection, target]
        .into_iter()
        .chain(through.map(|via| via.collection.as_str()));
    for name in collections {
        if name.is_empty() || name.contains(['$', '\0']) || name.starts_with('.') {
            return Err(RelationError::Collection(name.to_owned()));
        }
    }
    for path in [&relation.local, &relation.foreign] {
        // Behind a join collection the keys are plain: there a DBRef has nothing to tell.
        let plain = dbref(path).filter(|_| through.is_none()).unwrap_or(path);
        if !is_path(plain) {
            return Err(RelationError::Field(path.clone()));
        }
    }
    for path in through.iter().flat_map(|via| [&via.local, &via.foreign]) {
        if !is_path(path) {
            return Err(RelationError::Field(path.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Relation, RelationError, Relations};

    fn relation(name: &str, local: &str) -> Relation {
        Relation {
            name: name.to_owned(),
            target: "authors".to_owned(),
            local: local.to_owned(),
            foreign: "_id".to_owned(),
            many: false,
            through: None,
        }
    }

    #[test]
    fn a_relation_may_replace_its_own_key_but_no_other() {
        let mut relations = Relations::new();
        relations
            .add("books", relation("author", "author.$id"))
            .unwrap();
        relations
            .add("books", relation("editor", "editor_id"))
            .unwrap();
        assert_eq!(relations.of("books").len(), 2);
        let over = relations
            .add("books", relation("editor_id", "x"))
            .unwrap_err();
        assert_eq!(
            over,
            RelationError::Overwrites("editor_id".into(), "editor".into())
        );
        let under = relations
            .add("books", relation("writer", "author.key"))
            .unwrap_err();
        assert_eq!(
            under,
            RelationError::Overwrites("author".into(), "writer".into())
        );
        let again = relations.add("books", relation("editor", "y")).unwrap_err();
        assert_eq!(again, RelationError::Taken("editor".into()));
    }

    #[test]
    fn malformed_names_are_refused() {
        let mut relations = Relations::new();
        for name in ["", "a.b", "$a", "_id", "a\0b"] {
            assert!(
                relations.add("books", relation(name, "k")).is_err(),
                "{name:?}"
            );
        }
        for local in ["", "a..b", "$id", "a.$ref", "a.$id.b", ".a", "a."] {
            assert!(
                relations.add("books", relation("author", local)).is_err(),
                "{local:?}"
            );
        }
        for collection in ["", "a$b", ".a"] {
            assert!(relations.add(collection, relation("author", "k")).is_err());
        }
    }
}
