//! Collections whose documents can be read by `_id` straight from their tables, and the statements that do so.
//!
//! What is known is checked by the statement itself each time, against the extension's catalog: a collection that
//! was dropped, renamed, sharded or made anew in the meantime gives no row, and the extension is asked again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use twinport_core::sql::Made;

use crate::catalogs::Place;

/// How long it is believed whether a collection can be read so.
const FRESH: Duration = Duration::from_secs(60);

/// Collections that are remembered.
const COLLECTIONS: u64 = 10_000;

/// The number of a collection whose documents can be read from the table.
///
/// Small tables are left to the extension. Postgres plans a prepared statement once, and of a table of a few pages
/// it plans to read all, which it would go on doing after the table has grown.
pub(crate) const FIND_TABLE: &str = "SELECT c.collection_id \
     FROM documentdb_api_catalog.collections c \
     WHERE c.database_name = $1 AND c.collection_name = $2 \
     AND c.shard_key IS NULL AND c.view_definition IS NULL AND c.options IS NULL \
     AND pg_catalog.pg_relation_size(pg_catalog.to_regclass( \
         pg_catalog.concat('documentdb_data.documents_', c.collection_id))) >= 131072";

/// How to read a collection.
#[derive(Clone)]
pub(crate) enum Way {
    /// Only the extension may or can; or nobody has asked.
    Extension,
    /// Straight from its table.
    Table(Arc<Table>),
}

/// The table of a collection.
pub(crate) struct Table {
    collection: i64,
    pub(crate) statement: Made,
}

#[derive(Clone)]
struct Known {
    way: Way,
    since: Instant,
}

/// What is known of collections.
pub(crate) struct Points {
    known: Cache<Place, Known>,
}

impl Default for Points {
    fn default() -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(COLLECTIONS)
                .time_to_idle(10 * FRESH)
                .build(),
        }
    }
}

impl Points {
    /// How to read a collection; `None` if it is worth asking, as it is read more often than once.
    pub(crate) fn way(&self, place: &Place) -> Option<Way> {
        match self.known.get(place) {
            Some(known) if known.since.elapsed() < FRESH => Some(known.way),
            Some(_) => None,
            None => {
                let now = Instant::now();
                // Not fresh any more: the next read asks.
                let since = now.checked_sub(FRESH).unwrap_or(now);
                self.put(place.clone(), Way::Extension, since);
                Some(Way::Extension)
            }
        }
    }

    /// Remembers what [`FIND_TABLE`] has found.
    pub(crate) fn learn(&self, place: Place, collection: Option<i64>) -> Way {
        let before = self.known.get(&place).map(|known| known.way);
        let way = match (collection, before) {
            (None, _) => Way::Extension,
            // Connections have its statement prepared.
            (Some(id), Some(Way::Table(table))) if table.collection == id => Way::Table(table),
            (Some(id), _) => Way::Table(Arc::new(Table::new(id))),
        };
        self.put(place, way.clone(), Instant::now());
        way
    }

    /// What was known has turned out to be wrong.
    pub(crate) fn forget(&self, place: &Place) {
        self.known.invalidate(place);
    }

    fn put(&self, place: Place, way: Way, since: Instant) {
        self.known.insert(place, Known { way, since });
    }
}

impl Table {
    /// `$1` is the key as the table has it, `$2` the database, `$3` the collection. One row if the collection is
    /// still what it was, with the document or NULL.
    ///
    /// A range in its order and not an equality, which gives the same document: so that no estimate of Postgres
    /// makes it read a table of more than some pages without the index.
    fn new(collection: i64) -> Self {
        let text = format!(
            "SELECT (SELECT d.document FROM documentdb_data.documents_{collection} d \
                 WHERE d.shard_key_value = {collection} \
                 AND d.object_id OPERATOR(documentdb_core.>=) $1 \
                 AND d.object_id OPERATOR(documentdb_core.<=) $1 \
                 ORDER BY d.shard_key_value, d.object_id LIMIT 1) \
             FROM documentdb_api_catalog.collections c \
             WHERE c.collection_id = {collection} \
             AND c.database_name = $2 AND c.collection_name = $3 \
             AND c.shard_key IS NULL AND c.view_definition IS NULL AND c.options IS NULL"
        );
        Self {
            collection,
            statement: Made::new(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            user: "ann".into(),
            database: "library".to_owned(),
            collection: "books".to_owned(),
        }
    }

    #[test]
    fn the_second_read_asks() {
        let points = Points::default();
        assert!(matches!(points.way(&place()), Some(Way::Extension)));
        assert!(points.way(&place()).is_none());
        points.learn(place(), None);
        assert!(matches!(points.way(&place()), Some(Way::Extension)));
        points.learn(place(), Some(7));
        assert!(matches!(points.way(&place()), Some(Way::Table(_))));
        points.forget(&place());
        assert!(matches!(points.way(&place()), Some(Way::Extension)));
    }

    #[test]
    fn a_statement_is_kept_while_the_collection_is_the_same() {
        let points = Points::default();
        let table = |way| match way {
            Way::Table(table) => table,
            Way::Extension => panic!("no table"),
        };
        let first = table(points.learn(place(), Some(7)));
        let again = table(points.learn(place(), Some(7)));
        assert!(Arc::ptr_eq(&first, &again));
        let other = table(points.learn(place(), Some(8)));
        assert!(other.statement.text().contains("documents_8 "));
        assert!(!other.statement.text().contains('7'));
    }
}
