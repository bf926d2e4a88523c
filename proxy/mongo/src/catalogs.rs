//! What directives have to know of a database: relations from the settings, indexes asked from the server.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use twinport_config::MongoRelation;
use twinport_core::sql::Identity;
use twinport_rewriter::mongo::{Lookup, Relation, Relations, Through, UniqueIndex};
use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::document;

use crate::fault::{Fault, known};
use crate::upstream::LIST_INDEXES;
use crate::wing::Wing;

/// How long indexes are believed to be as they were.
const FRESH: Duration = Duration::from_secs(10);

/// Collections whose indexes are kept.
const COLLECTIONS: u64 = 10_000;

/// Fields that were looked at for an index; then no more are.
const FIELDS: usize = 10_000;

/// More indexes than a collection can have.
const ALL: i32 = 1_000;

/// A collection as one user sees it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    user: Arc<str>,
    database: String,
    collection: String,
}

/// What is known of indexes.
pub(crate) struct Catalogs {
    unique: Cache<Place, Arc<Vec<UniqueIndex>>>,
    /// Databases and fields that were looked at, so that a missing index is told once.
    examined: Mutex<HashSet<(String, Lookup)>>,
}

impl Default for Catalogs {
    fn default() -> Self {
        Self {
            unique: Cache::builder()
                .max_capacity(COLLECTIONS)
                .time_to_live(FRESH)
                .build(),
            examined: Mutex::default(),
        }
    }
}

/// Unique indexes, and whether they were remembered rather than asked.
pub(crate) struct Known {
    pub(crate) indexes: Arc<Vec<UniqueIndex>>,
    pub(crate) remembered: bool,
}

/// The relations of the settings, which are checked already: one that can't be is left out, and told.
pub(crate) fn relations(declared: &[MongoRelation]) -> Relations {
    let mut relations = Relations::new();
    for relation in declared {
        let added = relations.add(
            &relation.collection,
            Relation {
                name: relation.name.clone(),
                target: relation.target.clone(),
                local: relation.local.clone(),
                foreign: relation.foreign.clone(),
                many: relation.many,
                through: relation.through.as_ref().map(|through| Through {
                    collection: through.collection.clone(),
                    local: through.local.clone(),
                    foreign: through.foreign.clone(),
                }),
            },
        );
        if let Err(error) = added {
            tracing::warn!(collection = relation.collection, relation = relation.name, %error, "relation left out");
        }
    }
    relations
}

impl Wing {
    /// The unique indexes of a collection; `anew` asks even if they are remembered.
    pub(crate) async fn unique_indexes(
        &self,
        identity: &Identity,
        database: &str,
        collection: &str,
        anew: bool,
    ) -> Result<Known, Fault> {
        let place = Place {
            user: Arc::clone(&identity.user),
            database: database.to_owned(),
            collection: collection.to_owned(),
        };
        if !anew && let Some(indexes) = self.catalogs.unique.get(&place) {
            return Ok(Known {
                indexes,
                remembered: true,
            });
        }
        let mut indexes = Vec::new();
        for index in self.indexes(identity, database, collection).await? {
            let unique = UniqueIndex::read(&index).map_err(|error| Fault::from(&error))?;
            indexes.extend(unique);
        }
        let indexes = Arc::new(indexes);
        self.catalogs.unique.insert(place, Arc::clone(&indexes));
        Ok(Known {
            indexes,
            remembered: false,
        })
    }

    /// All indexes of a collection, as `listIndexes` tells them; none if there is no such collection.
    async fn indexes(
        &self,
        identity: &Identity,
        database: &str,
        collection: &str,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        if let Some(cluster) = self.cluster() {
            return cluster.indexes(database, collection).await;
        }
        let command = rawdoc! { "listIndexes": collection, "cursor": { "batchSize": ALL } };
        let parameters = [Some(database.as_bytes()), Some(command.as_bytes())];
        let mut connection = self.lease(identity).await?;
        let rows = connection.run(LIST_INDEXES, &parameters).await;
        connection.release();
        let rows = match rows.map_err(Fault::from) {
            Err(fault) if fault.code == known::NAMESPACE_NOT_FOUND => return Ok(Vec::new()),
            other => other?,
        };
        let page = document::document(rows.get(0, 0).unwrap_or_default());
        let page = page.map_err(|error| Fault::protocol(&error))?;
        Ok(first_batch(page))
    }

    /// Looks for indexes on the fields that a rewritten command searches by, in a task of its own, and tells once
    /// of each that is missing.
    pub(crate) fn examine(
        self: &Arc<Self>,
        identity: &Identity,
        database: &str,
        lookups: Vec<Lookup>,
    ) {
        let mut examined = self.catalogs.examined.lock();
        let mut new = Vec::new();
        for lookup in lookups {
            if examined.len() < FIELDS && examined.insert((database.to_owned(), lookup.clone())) {
                new.push(lookup);
            }
        }
        drop(examined);
        if new.is_empty() {
            return;
        }
        let (wing, identity, database) = (Arc::clone(self), identity.clone(), database.to_owned());
        tokio::spawn(async move {
            for lookup in new {
                match wing.indexes(&identity, &database, &lookup.collection).await {
                    Ok(indexes) if indexes.iter().any(|index| leads(index, &lookup.field)) => {}
                    Ok(_) => tracing::warn!(
                        database,
                        collection = lookup.collection,
                        field = lookup.field,
                        create = command(&lookup),
                        "@include searches by a field without an index: every document is read each time"
                    ),
                    Err(fault) => {
                        tracing::debug!(reason = fault.message, "can't look for an index")
                    }
                }
            }
        });
    }
}

fn first_batch(page: &RawDocument) -> Vec<RawDocumentBuf> {
    let batch = page
        .get_document("cursor")
        .ok()
        .and_then(|cursor| cursor.get_array("firstBatch").ok());
    let documents = batch.into_iter().flatten().flatten();
    documents
        .filter_map(RawBsonRef::as_document)
        .map(RawDocument::to_owned)
        .collect()
}

/// Whether the index finds documents by this field.
fn leads(index: &RawDocument, field: &str) -> bool {
    let key = index.get_document("key").ok();
    let first = key.and_then(|key| key.iter().next()?.ok());
    first.is_some_and(|(name, _)| name.as_str() == field)
}

/// The command that makes the index, as one types it into mongosh.
fn command(lookup: &Lookup) -> String {
    let (collection, field) = (&lookup.collection, &lookup.field);
    format!(
        "db.runCommand({{ createIndexes: {collection:?}, indexes: [{{ key: {{ {field:?}: 1 }}, name: \"{}_1\" }}] }})",
        field.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    use super::{command, leads};
    use twinport_rewriter::mongo::Lookup;
    use twinport_wire::mongo::bson::rawdoc;

    #[test]
    fn only_the_first_field_of_an_index_counts() {
        let index = rawdoc! { "key": { "author_id": 1, "title": 1 }, "name": "a_t" };
        assert!(leads(&index, "author_id"));
        assert!(!leads(&index, "title"));
        assert!(!leads(&rawdoc! { "name": "odd" }, "title"));
    }

    #[test]
    fn the_command_can_be_typed() {
        let lookup = Lookup {
            collection: "books".to_owned(),
            field: "meta.author".to_owned(),
        };
        assert_eq!(
            command(&lookup),
            "db.runCommand({ createIndexes: \"books\", indexes: [{ key: { \"meta.author\": 1 }, \
             name: \"meta.author_1\" }] })"
        );
    }
}
