//! What directives have to know of a database: relations from the settings and from the database itself, indexes.

mod told;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use twinport_config::MongoRelation;
use twinport_core::sql::{Connection, Identity, Rows, SqlError};
use twinport_rewriter::mongo::{Lookup, Relation, Relations, Through, UniqueIndex};
use twinport_wire::mongo::Command;
use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::document;

use crate::fault::{Fault, known};
use crate::request::{Ended, settle};
use crate::transaction::{self, Owner};
use crate::upstream::{ANY_NUMBER, FIND, GET_MORE, LIST_COLLECTIONS, LIST_INDEXES};
use crate::wing::Wing;

pub(crate) use told::Told;

/// How long indexes are believed to be as they were.
const FRESH: Duration = Duration::from_secs(10);

/// Collections whose indexes are kept.
const COLLECTIONS: u64 = 10_000;

/// Fields that were looked at for an index; then no more are.
const FIELDS: usize = 10_000;

/// Documents of one page of a list, and of a list at most.
const PAGE: i32 = 1_000;
const MOST: usize = 10_000;

/// A collection as one user sees it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) user: Arc<str>,
    pub(crate) database: String,
    pub(crate) collection: String,
}

/// What is known of indexes.
pub(crate) struct Catalogs {
    unique: Cache<Place, Arc<Vec<UniqueIndex>>>,
    /// Databases and fields that were looked at, so that a missing index is told once.
    examined: Mutex<HashSet<(String, Lookup)>>,
    /// Relations that databases tell of.
    pub(crate) told: Told,
}

impl Default for Catalogs {
    fn default() -> Self {
        Self {
            unique: Cache::builder()
                .max_capacity(COLLECTIONS)
                .time_to_live(FRESH)
                .build(),
            examined: Mutex::default(),
            told: Told::default(),
        }
    }
}

impl Catalogs {
    /// Forgets what a command may have changed.
    pub(crate) fn observe(&self, command: &Command<'_>, database: &str) {
        if matches!(
            command.name,
            "create"
                | "createIndexes"
                | "dropIndexes"
                | "drop"
                | "dropDatabase"
                | "renameCollection"
                | "collMod"
                | "commitTransaction"
        ) {
            self.unique.invalidate_all();
        }
        self.told.observe(command, database);
    }
}

/// A command whose answer is a list of documents.
#[derive(Clone, Copy)]
enum Listing {
    Indexes,
    Collections,
    Documents,
}

impl Listing {
    fn statement(self) -> &'static str {
        match self {
            Self::Indexes => LIST_INDEXES,
            Self::Collections => LIST_COLLECTIONS,
            Self::Documents => FIND,
        }
    }
}

/// Who asks a database what it is like. Inside a transaction that holds a connection it is asked there: transactions
/// that hold all connections would wait for one another.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) within: Option<&'a (Owner, i64)>,
}

impl<'a> Asker<'a> {
    /// Outside of transactions.
    pub(crate) fn of(identity: &'a Identity) -> Self {
        Self {
            identity,
            within: None,
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
        let added = relations.add(&relation.collection, followed(relation));
        if let Err(error) = added {
            tracing::warn!(collection = relation.collection, relation = relation.name, %error, "relation left out");
        }
    }
    relations
}

/// A relation as the rewriter follows it.
fn followed(relation: &MongoRelation) -> Relation {
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
    }
}

impl Wing {
    /// The unique indexes of a collection; `anew` asks even if they are remembered.
    pub(crate) async fn unique_indexes(
        &self,
        asker: Asker<'_>,
        database: &str,
        collection: &str,
        anew: bool,
    ) -> Result<Known, Fault> {
        let place = Place {
            user: Arc::clone(&asker.identity.user),
            database: database.to_owned(),
            collection: collection.to_owned(),
        };
        if !anew && let Some(indexes) = self.catalogs.unique.get(&place) {
            return Ok(Known {
                indexes,
                remembered: true,
            });
        }
        let listed = self.indexes(asker, database, collection).await?;
        let mut indexes = Vec::new();
        for index in listed {
            let unique = UniqueIndex::read(&index).map_err(|error| Fault::from(&error))?;
            indexes.extend(unique);
        }
        let indexes = Arc::new(indexes);
        if self.may_keep(asker) {
            self.catalogs.unique.insert(place, Arc::clone(&indexes));
        }
        Ok(Known {
            indexes,
            remembered: false,
        })
    }

    /// Whether others may be told the same: what a transaction sees may come to nothing.
    fn may_keep(&self, asker: Asker<'_>) -> bool {
        // Where commands are forwarded they ask beside the transaction.
        asker.within.is_none() || self.cluster().is_some()
    }

    /// All indexes of a collection, as `listIndexes` tells them; none if there is no such collection.
    async fn indexes(
        &self,
        asker: Asker<'_>,
        database: &str,
        collection: &str,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        let command = rawdoc! { "listIndexes": collection, "cursor": { "batchSize": PAGE } };
        match self.list(asker, database, Listing::Indexes, &command).await {
            Err(fault) if fault.code == known::NAMESPACE_NOT_FOUND => Ok(Vec::new()),
            other => other,
        }
    }

    /// All documents that a command lists; an error if they are more than anybody wants to know.
    async fn list(
        &self,
        asker: Asker<'_>,
        database: &str,
        listing: Listing,
        command: &RawDocument,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        if let Some(cluster) = self.cluster() {
            return cluster.list(asker.within, database, command, MOST).await;
        }
        if let Some(within) = asker.within {
            return self.list_within(within, database, listing, command).await;
        }
        let mut connection = self.lease(asker.identity).await?;
        let listed = pages(&mut connection, database, listing, command).await;
        let (listed, mut connection) = settle(listed.map_err(Ended::Failed), connection)?;
        let (all, persists) = listed?;
        if !persists || connection.command("CLOSE ALL").await.is_ok() {
            connection.release();
        }
        Ok(all)
    }

    /// As [`Wing::list`], as an open transaction sees it, which goes on whatever comes of it.
    async fn list_within(
        &self,
        (owner, number): &(Owner, i64),
        database: &str,
        listing: Listing,
        command: &RawDocument,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        let mut within = self.transactions.join(owner, *number).await?;
        let Some(connection) = within.connection() else {
            return Err(transaction::none(*number));
        };
        connection.command("SAVEPOINT twinport").await?;
        let listed = pages(connection, database, listing, command).await;
        // It has only read; cursors that were opened for it end with it, and the transaction's own don't.
        connection
            .command("ROLLBACK TO SAVEPOINT twinport; RELEASE SAVEPOINT twinport")
            .await?;
        within.keep();
        let (all, _) = listed??;
        Ok(all)
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
                match wing
                    .indexes(Asker::of(&identity), &database, &lookup.collection)
                    .await
                {
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

/// What a command lists, and whether the connection keeps something of it.
type Listed = Result<(Vec<RawDocumentBuf>, bool), Fault>;

/// Reads a list page by page; the outer error is the database's.
async fn pages(
    connection: &mut Box<dyn Connection>,
    database: &str,
    listing: Listing,
    command: &RawDocument,
) -> Result<Listed, SqlError> {
    let parameters = [
        Some(database.as_bytes()),
        Some(command.as_bytes()),
        Some(&ANY_NUMBER[..]),
    ];
    let mut rows = connection.run(listing.statement(), &parameters).await?;
    let persists = rows.boolean(0, 2) == Some(true);
    let mut all = Vec::new();
    loop {
        let more = match next(&rows, &mut all) {
            Ok(Some(more)) if all.len() <= MOST => more,
            Ok(Some(_)) => return Ok(Err(too_many(database, MOST))),
            Ok(None) => return Ok(Ok((all, persists))),
            Err(fault) => return Ok(Err(fault)),
        };
        let parameters = [
            Some(database.as_bytes()),
            Some(more.as_bytes()),
            rows.get(0, 1),
        ];
        rows = connection.run(GET_MORE, &parameters).await?;
    }
}

/// Takes a page, and gives the command that asks for the next one, if there is one.
fn next(rows: &Rows, all: &mut Vec<RawDocumentBuf>) -> Result<Option<RawDocumentBuf>, Fault> {
    let page = document::document(rows.get(0, 0).unwrap_or_default());
    let page = page.map_err(|error| Fault::protocol(&error))?;
    let (cursor, collection) = take_page(page, all)?;
    let goes_on = cursor != 0 && rows.get(0, 1).is_some();
    let more = || rawdoc! { "getMore": cursor, "collection": collection, "batchSize": PAGE };
    Ok(goes_on.then(more))
}

/// Takes the documents of a cursor's page; tells the cursor, 0 at its end, and its collection.
pub(crate) fn take_page<'a>(
    answer: &'a RawDocument,
    all: &mut Vec<RawDocumentBuf>,
) -> Result<(i64, &'a str), Fault> {
    let malformed = || Fault::new(known::INTERNAL_ERROR, "the upstream's list is malformed");
    let cursor = answer.get_document("cursor").map_err(|_| malformed())?;
    let batch = cursor
        .get_array("firstBatch")
        .or_else(|_| cursor.get_array("nextBatch"))
        .map_err(|_| malformed())?;
    let documents = batch.into_iter().flatten();
    all.extend(
        documents
            .filter_map(RawBsonRef::as_document)
            .map(RawDocument::to_owned),
    );
    let id = cursor.get("id").ok().flatten().and_then(document::integer);
    let namespace = cursor.get_str("ns").unwrap_or_default();
    let collection = namespace.split_once('.').map_or("", |(_, name)| name);
    Ok((id.unwrap_or_default(), collection))
}

/// The error for a list that is too long.
pub(crate) fn too_many(database: &str, most: usize) -> Fault {
    Fault::new(
        known::EXCEEDED_MEMORY_LIMIT,
        format_args!(
            "the database \"{database}\" lists more than {most} of what a directive has to know"
        ),
    )
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
