//! Relations that a database tells of itself: registered models, and `$jsonSchema` validators.
//!
//! They are read when a directive names a relation that the settings don't know, in the name and with the rights of
//! the user who sent it, and kept for that user alone. What is kept is read again when it is old, when a command seen
//! here may have changed it, and before a relation is said not to exist.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use parking_lot::Mutex;
use twinport_config::{Errors, Given, MODELS, Problem, registered};
use twinport_rewriter::mongo::{Relations, Schemas};
use twinport_wire::mongo::Command;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};

use super::{Asker, FRESH, Listing, PAGE, followed};
use crate::fault::{Fault, known};
use crate::wing::Wing;

/// A relation that is missing is not looked for again sooner than this.
const AGAIN: Duration = Duration::from_secs(1);

/// Databases that are kept, counted for each user.
const DATABASES: u64 = 10_000;

/// Faults that were told, so that each is told once; then no more are.
const FAULTS: usize = 10_000;

/// More nesting than the words of a relation have.
const DEEPEST: usize = 3;

/// A database as one user sees it. Where all share one login upstream, they see the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    user: Option<Arc<str>>,
    database: String,
}

/// What is known of one place.
#[derive(Default)]
struct Slot {
    kept: Mutex<Option<(Arc<Relations>, Instant)>>,
    /// Counts the changes that were seen: what was read before one is not kept after it.
    changes: AtomicU64,
    reading: tokio::sync::Mutex<()>,
}

impl Slot {
    fn younger(&self, than: Duration) -> Option<Arc<Relations>> {
        let kept = self.kept.lock();
        let (relations, since) = kept.as_ref()?;
        (since.elapsed() < than).then(|| Arc::clone(relations))
    }

    fn forget(&self) {
        let mut kept = self.kept.lock();
        self.changes.fetch_add(1, Ordering::Relaxed);
        *kept = None;
    }

    /// Keeps what was read, unless a change was seen since the count was `changes`.
    fn keep(&self, relations: &Arc<Relations>, changes: u64) {
        let mut kept = self.kept.lock();
        if self.changes.load(Ordering::Relaxed) == changes {
            *kept = Some((Arc::clone(relations), Instant::now()));
        }
    }
}

/// What databases have told.
pub(crate) struct Told {
    slots: Cache<Place, Arc<Slot>>,
    /// Databases that transactions have changed that may not be committed yet.
    uncommitted: Mutex<HashSet<String>>,
    faults: Mutex<HashSet<(String, String)>>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            slots: Cache::new(DATABASES),
            uncommitted: Mutex::default(),
            faults: Mutex::default(),
        }
    }
}

impl Told {
    /// Looks at a command that was run, whatever came of it.
    pub(crate) fn observe(&self, command: &Command<'_>, database: &str) {
        match command.name {
            "create" | "collMod" | "drop" | "dropDatabase" => self.changed(command, database),
            "insert" | "update" | "delete" | "findAndModify" | "findandmodify"
                if command.collection() == Some(MODELS) =>
            {
                self.changed(command, database);
            }
            "renameCollection" => {
                let names = [command.collection(), command.body.get_str("to").ok()];
                for (database, _) in names
                    .into_iter()
                    .flatten()
                    .filter_map(|name| name.split_once('.'))
                {
                    self.changed(command, database);
                }
            }
            "commitTransaction" => {
                let databases = std::mem::take(&mut *self.uncommitted.lock());
                databases.iter().for_each(|database| self.forget(database));
            }
            _ => {}
        }
    }

    fn changed(&self, command: &Command<'_>, database: &str) {
        if command.in_transaction() {
            self.uncommitted.lock().insert(database.to_owned());
        }
        self.forget(database);
    }

    fn forget(&self, database: &str) {
        let slots = self.slots.iter();
        let of_database = slots.filter(|(place, _)| place.database == database);
        of_database.for_each(|(_, slot)| slot.forget());
    }

    /// Forgets everything: the settings are new.
    pub(crate) fn clear(&self) {
        self.slots.invalidate_all();
    }

    /// Logs a fault of a database, once.
    fn tell(&self, database: &str, fault: &str) {
        let mut faults = self.faults.lock();
        if faults.len() < FAULTS && faults.insert((database.to_owned(), fault.to_owned())) {
            tracing::warn!(database, fault, "relations of a collection are left out");
        }
    }
}

impl Wing {
    /// The relations of a database: those of the settings, then registered models, then `$jsonSchema`. `anew` is for
    /// who has not found one in what was kept.
    pub(crate) async fn relations(
        &self,
        asker: Asker<'_>,
        database: &str,
        anew: bool,
    ) -> Result<Arc<Relations>, Fault> {
        let shared = self.cluster().is_some();
        let place = Place {
            user: (!shared).then(|| Arc::clone(&asker.identity.user)),
            database: database.to_owned(),
        };
        let slot = self.catalogs.told.slots.get_with(place, Arc::default);
        let age = if anew { AGAIN } else { FRESH };
        if let Some(relations) = slot.younger(age) {
            return Ok(relations);
        }
        // Who holds a connection can't wait for somebody who may be waiting for one.
        let _one = match asker.within {
            None => Some(slot.reading.lock().await),
            Some(_) => None,
        };
        if let Some(relations) = slot.younger(age) {
            return Ok(relations);
        }
        // Before the question is asked: a change in the meantime makes the answer stale.
        let changes = slot.changes.load(Ordering::Relaxed);
        let relations = Arc::new(self.read_relations(asker, database).await?);
        if self.may_keep(asker) {
            slot.keep(&relations, changes);
        }
        Ok(relations)
    }

    async fn read_relations(&self, asker: Asker<'_>, database: &str) -> Result<Relations, Fault> {
        let mut relations = self.current().relations.clone();
        let find = rawdoc! { "find": MODELS, "batchSize": PAGE };
        let models = self.list(asker, database, Listing::Documents, &find).await;
        let models = match models {
            Ok(models) => models,
            Err(fault) => {
                // What schemas say might not be what the models say.
                unread(
                    &mut relations,
                    &format!("the collection {MODELS} can't be read"),
                    fault,
                )?;
                return Ok(relations);
            }
        };
        for fault in register(&models, &mut relations) {
            self.catalogs.told.tell(database, &fault);
        }
        let list = rawdoc! {
            "listCollections": 1,
            "filter": { "options.validator": { "$exists": true } },
            "cursor": { "batchSize": PAGE },
        };
        let collections = self
            .list(asker, database, Listing::Collections, &list)
            .await;
        let collections = match collections {
            Ok(collections) => collections,
            Err(fault) => {
                unread(&mut relations, "collections can't be listed", fault)?;
                return Ok(relations);
            }
        };
        for (_, fault) in validated(database, &collections).relate(&mut relations) {
            self.catalogs.told.tell(database, &fault);
        }
        Ok(relations)
    }
}

/// Notes what can't be read, so that the settings' relations go on; an error that passes is the command's.
fn unread(relations: &mut Relations, what: &str, fault: Fault) -> Result<(), Fault> {
    let busy = [
        known::OVERLOAD,
        known::INTERRUPTED,
        known::MAX_TIME_MS_EXPIRED,
    ];
    if fault.may_pass() || busy.contains(&fault.code) {
        return Err(fault);
    }
    let whom = match fault.code {
        known::UNAUTHORIZED => " by this user",
        _ => "",
    };
    relations.note(None, &format!("{what}{whom} ({})", fault.message));
    Ok(())
}

/// Adds the relations of registered models below those of the settings; tells what is wrong.
fn register(models: &[RawDocumentBuf], relations: &mut Relations) -> Vec<String> {
    let mut faults = Vec::new();
    for model in models {
        let (collection, read) = registered(&fields(model, DEEPEST));
        let wrong = match read {
            Ok(found) => {
                let added = found.iter().filter_map(|relation| {
                    let added = relations.add_below(&relation.collection, followed(relation));
                    let error = added.err()?;
                    Some(format!(
                        "{MODELS} {:?}: relations.{}: {error}",
                        relation.collection, relation.name
                    ))
                });
                added.collect()
            }
            Err(errors) => told(&errors),
        };
        for fault in wrong {
            if let Some(collection) = &collection {
                relations.note(Some(collection), &fault);
            }
            faults.push(fault);
        }
    }
    faults
}

fn told(errors: &Errors) -> Vec<String> {
    errors.problems().iter().map(Problem::in_one_line).collect()
}

/// The validators of collections, as `listCollections` tells of them.
fn validated(database: &str, collections: &[RawDocumentBuf]) -> Schemas {
    let mut schemas = Schemas::default();
    for collection in collections {
        let options = collection.get_document("options");
        let validator = options.and_then(|options| options.get_document("validator"));
        if let (Ok(name), Ok(validator)) = (collection.get_str("name"), validator) {
            schemas.read(database, name, validator);
        }
    }
    schemas
}

/// A document's fields, as deep as anything in them has a meaning.
fn fields(document: &RawDocument, depth: usize) -> Vec<(String, Given)> {
    let fields = document.into_iter().flatten();
    fields
        .map(|(name, value)| (name.as_str().to_owned(), given(value, depth)))
        .collect()
}

fn given(value: RawBsonRef<'_>, depth: usize) -> Given {
    match value {
        RawBsonRef::String(text) => Given::Text(text.to_owned()),
        RawBsonRef::Boolean(yes) => Given::Boolean(yes),
        RawBsonRef::Int32(number) => Given::Integer(i64::from(number)),
        RawBsonRef::Int64(number) => Given::Integer(number),
        RawBsonRef::Document(inner) if depth > 0 => Given::Document(fields(inner, depth - 1)),
        RawBsonRef::Document(_) => Given::Document(Vec::new()),
        RawBsonRef::Array(_) => Given::Other("an array"),
        RawBsonRef::Null => Given::Other("null"),
        RawBsonRef::Double(_) | RawBsonRef::Decimal128(_) => Given::Other("a number"),
        RawBsonRef::ObjectId(_) => Given::Other("an ObjectId"),
        _ => Given::Other("a value of another type"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_model_leaves_the_others_alone() {
        let models = [
            rawdoc! { "_id": "books", "relations": {
            "author": { "target": "authors", "kind": "one", "local": "author_id" } } },
            rawdoc! { "_id": "tags", "relations": { "books": { "target": "books", "kind": ["many"] } } },
            rawdoc! { "_id": 7, "relations": {} },
        ];
        let mut relations = Relations::new();
        let faults = register(&models, &mut relations);
        assert_eq!(relations.of("books").len(), 1);
        assert!(relations.fault_of("books").is_none());
        let fault = relations.fault_of("tags").unwrap();
        assert!(
            fault.contains("twinport.models \"tags\": relations.books.kind: is an array"),
            "{fault}"
        );
        assert!(
            faults
                .iter()
                .any(|fault| fault.contains("_id: is not a text"))
        );
        // Schemas don't stand in for a model that is wrong.
        let validator = rawdoc! { "$jsonSchema": { "properties": { "book_ids": {
        "bsonType": "array", "description": "@ref(books)" } } } };
        let listed = rawdoc! { "name": "tags", "options": { "validator": validator } };
        validated("shop", &[listed]).relate(&mut relations);
        assert!(relations.of("tags").is_empty());
        assert_eq!(relations.of("books").len(), 2, "the way back");
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_kept() {
        let slot = Slot::default();
        let (read, before) = (Arc::default(), slot.changes.load(Ordering::Relaxed));
        slot.forget();
        slot.keep(&read, before);
        assert!(slot.younger(FRESH).is_none());
        slot.keep(&read, before + 1);
        assert!(slot.younger(FRESH).is_some());
        assert!(slot.younger(Duration::ZERO).is_none());
    }

    #[test]
    fn commands_that_change_what_is_told_are_seen() {
        let told = Told::default();
        let place = |database: &str| Place {
            user: None,
            database: database.to_owned(),
        };
        let keep = |database: &str| {
            let slot = told.slots.get_with(place(database), Arc::default);
            slot.keep(&Arc::default(), slot.changes.load(Ordering::Relaxed));
        };
        let kept = |database: &str| {
            let slot = told.slots.get(&place(database));
            slot.is_some_and(|slot| slot.younger(FRESH).is_some())
        };
        let within = |mut command: RawDocumentBuf| {
            command.append(twinport_wire::mongo::bson::raw::cstr!("autocommit"), false);
            command.append(twinport_wire::mongo::bson::raw::cstr!("txnNumber"), 1_i64);
            command
        };
        let cases = [
            (rawdoc! { "create": "a" }, true),
            (rawdoc! { "collMod": "a" }, true),
            (rawdoc! { "drop": "a" }, true),
            (rawdoc! { "dropDatabase": 1 }, true),
            (rawdoc! { "renameCollection": "x.a", "to": "shop.b" }, true),
            (rawdoc! { "insert": MODELS }, true),
            (rawdoc! { "update": MODELS }, true),
            (rawdoc! { "findAndModify": MODELS }, true),
            (within(rawdoc! { "delete": MODELS }), true),
            (within(rawdoc! { "commitTransaction": 1 }), true),
            (rawdoc! { "commitTransaction": 1 }, false),
            (rawdoc! { "insert": "books" }, false),
            (rawdoc! { "find": MODELS }, false),
        ];
        for (command, forgets) in cases {
            keep("shop");
            keep("other");
            told.observe(&Command::read(&command).unwrap(), "shop");
            assert_eq!(kept("shop"), !forgets, "{command:?}");
            assert!(kept("other"), "{command:?}");
        }
    }
}
