//! Collections whose documents can be read by `_id` straight from their tables, or inserted there, and the statements
//! that do so.
//!
//! What is known is checked by the statement itself each time, against the extension's catalog: a collection that
//! was dropped, renamed, sharded, changed or made anew in the meantime gives no row, and the extension is asked again.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use parking_lot::Mutex;
use twinport_core::sql::Made;

use crate::catalogs::Place;

pub(crate) mod group;

use group::Groups;
use group::inserts::{self, Insert};
use group::reads::{self, Read};

/// How long it is believed how a collection can be reached.
const FRESH: Duration = Duration::from_secs(60);

/// How long inserts look for what is in their way, after one has met it.
const WARY: Duration = Duration::from_secs(60);

/// Collections that are remembered.
const COLLECTIONS: u64 = 10_000;

/// The number of a collection that can be reached by its table, whether documents can be read there, and whether they
/// can be inserted there.
///
/// Reads of small tables are left to the extension. Postgres plans a prepared statement once, and of a table of a few
/// pages it plans to read all, which it would go on doing after the table has grown. Inserts are left to it where it
/// has a validator to ask, or where the table isn't laid out as we know it.
pub(crate) const FIND_TABLE: &str = "SELECT c.collection_id, c.ctid::pg_catalog.text, c.xmin::pg_catalog.text, \
         pg_catalog.pg_relation_size(t.oid) >= 131072, \
         c.validator IS NULL AND t.columns = '{shard_key_value,object_id,document}' \
     FROM documentdb_api_catalog.collections c, LATERAL ( \
         SELECT r.oid, ARRAY( \
             SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) columns \
         FROM pg_catalog.pg_class r WHERE r.relkind = 'r' AND r.oid = pg_catalog.to_regclass( \
             pg_catalog.concat('documentdb_data.documents_', c.collection_id))) t \
     WHERE c.database_name = $1 AND c.collection_name = $2 \
     AND c.shard_key IS NULL AND c.view_definition IS NULL AND c.options IS NULL";

/// What the extension says of an insert of one document.
pub(crate) const INSERTED: &[u8] = b"\x18\0\0\0\x10n\0\x01\0\0\0\x01ok\0\0\0\0\0\0\0\xf0\x3f\0";

/// Where inserts are recorded.
const RECORD: &str = "INSERT INTO twinport.retryable_writes (id, result, success)";

/// How to reach a collection.
#[derive(Clone)]
pub(crate) enum Way {
    /// Only by the extension; or nobody has asked.
    Extension,
    /// By its table.
    Table {
        table: Arc<Table>,
        /// Documents can be read there.
        reads: bool,
        /// Documents can be inserted there.
        inserts: bool,
    },
}

/// The table of a collection.
pub(crate) struct Table {
    version: Version,
    /// Reads a document.
    pub(crate) read: Made,
    /// Inserts a document; it fails if there is such a document. Nearly all go in, and a statement that looks first
    /// costs the server a third more.
    pub(crate) bold: Single,
    /// Inserts a document, and does nothing if there is such a document: for collections where that happens. Each
    /// failure would be an entry in the server's log.
    pub(crate) wary: Single,
    /// When an insert met such a document.
    met: Mutex<Option<Instant>>,
    /// Reads several documents.
    read_group: Made,
    reads: Groups<Read>,
    /// Inserts several documents.
    group: Made,
    /// Inserts several documents, with a record of each.
    group_recorded: Made,
    inserts: Groups<Insert>,
}

/// The statements that insert one document.
pub(crate) struct Single {
    pub(crate) plain: Made,
    /// With a record of that.
    pub(crate) recorded: Made,
}

/// Which collection, and its row in the extension's catalog: one that was changed since is another row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) collection: i64,
    /// The row's `ctid`.
    pub(crate) place: String,
    /// The row's `xmin`, as another row may come to lie in the same place.
    pub(crate) made_by: String,
}

/// What [`FIND_TABLE`] says of a collection.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) version: Version,
    pub(crate) reads: bool,
    pub(crate) inserts: bool,
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
    pub(crate) fn learn(&self, place: Place, found: Option<Found>) -> Way {
        let before = self.known.get(&place).map(|known| known.way);
        let way = match found {
            None => Way::Extension,
            Some(found) => Way::Table {
                table: match before {
                    // Connections have its statements prepared.
                    Some(Way::Table { table, .. }) if table.version == found.version => table,
                    _ => Arc::new(Table::new(found.version)),
                },
                reads: found.reads,
                inserts: found.inserts,
            },
        };
        self.put(place, way.clone(), Instant::now());
        way
    }

    /// Inserts are left to the extension, for a while.
    pub(crate) fn leave_inserts(&self, place: Place) {
        if let Some(Known { mut way, .. }) = self.known.get(&place) {
            if let Way::Table { inserts, .. } = &mut way {
                *inserts = false;
            }
            self.put(place, way, Instant::now());
        }
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
    fn new(version: Version) -> Self {
        // The collection is still what it was. Its row is found by its place, without a look at others.
        let Version {
            collection,
            place,
            made_by,
        } = &version;
        let same = format!(
            "c.ctid = '{place}' AND c.xmin = '{made_by}' AND c.collection_id = {collection}"
        );
        // `$1` is the key as the table has it. One row if the collection is the same, with the document or NULL.
        let document = look_up(*collection, "$1");
        let read =
            format!("SELECT {document} FROM documentdb_api_catalog.collections c WHERE {same}");
        let columns = format!(
            "INSERT INTO documentdb_data.documents_{collection} (shard_key_value, object_id, document)"
        );
        let mut inserted = "'\\x".to_owned();
        for byte in INSERTED {
            let _ = write!(inserted, "{byte:02x}");
        }
        inserted.push_str("'::pg_catalog.bytea");
        // `$2` is the document, `$3` the record's number. If the collection isn't the same, the first column is NULL,
        // which it can't be. Neither gives a row, which spares the server a table of its own for them. The record goes
        // first, so that a write that comes again fails by it and not by its document.
        let bold = format!(
            "{columns} VALUES ((SELECT c.collection_id FROM documentdb_api_catalog.collections c WHERE {same}), \
             $1::documentdb_core.bson, $2::documentdb_core.bson)"
        );
        let bold = Single {
            recorded: Made::new(format!(
                "WITH d AS ({bold}) {RECORD} VALUES ($3, {inserted}, true)"
            )),
            plain: Made::new(bold),
        };
        // No row, and nothing done, if the collection isn't the same or there is such a document.
        let wary = format!(
            "{columns} SELECT {collection}, $1::documentdb_core.bson, $2::documentdb_core.bson \
             FROM documentdb_api_catalog.collections c WHERE {same} ON CONFLICT DO NOTHING"
        );
        let wary = Single {
            recorded: Made::new(format!(
                "WITH d AS ({wary} RETURNING shard_key_value) \
                 {RECORD} SELECT $3, {inserted}, true FROM d RETURNING result, success"
            )),
            plain: Made::new(format!("{wary} RETURNING {inserted}, true")),
        };
        Self {
            read: Made::new(read),
            bold,
            wary,
            met: Mutex::default(),
            read_group: reads::statement(*collection, &same),
            reads: Groups::default(),
            group: inserts::statement(*collection, &same, None),
            group_recorded: inserts::statement(*collection, &same, Some(&inserted)),
            inserts: Groups::default(),
            version,
        }
    }

    /// An insert has met a document that is in its way.
    pub(crate) fn has_met(&self) {
        *self.met.lock() = Some(Instant::now());
    }

    /// Whether the next insert looks whether there is such a document.
    pub(crate) fn is_wary(&self) -> bool {
        self.met.lock().is_some_and(|since| since.elapsed() < WARY)
    }
}

/// The document of a key, or NULL.
///
/// A range in its order and not an equality, which gives the same document: so that no estimate of Postgres makes it
/// read a table of more than some pages without the index.
fn look_up(collection: i64, key: &str) -> String {
    format!(
        "(SELECT d.document FROM documentdb_data.documents_{collection} d \
             WHERE d.shard_key_value = {collection} \
             AND d.object_id OPERATOR(documentdb_core.>=) {key} \
             AND d.object_id OPERATOR(documentdb_core.<=) {key} \
             ORDER BY d.shard_key_value, d.object_id LIMIT 1)"
    )
}

/// Whether a server's refusal says that the table has gone with its collection, or the collection is another one by now.
pub(crate) fn is_gone(code: &str) -> bool {
    matches!(code, "42P01" | "23502")
}

/// Whether a server's refusal of an insert says that there is such a document: by its `_id`, or by a unique index.
pub(crate) fn is_in_the_way(code: &str) -> bool {
    matches!(code, "23505" | "23P01")
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

    fn found(collection: i64) -> Option<Found> {
        Some(Found {
            version: Version {
                collection,
                place: "(0,1)".to_owned(),
                made_by: "700".to_owned(),
            },
            reads: true,
            inserts: true,
        })
    }

    #[test]
    fn the_second_request_asks() {
        let points = Points::default();
        assert!(matches!(points.way(&place()), Some(Way::Extension)));
        assert!(points.way(&place()).is_none());
        points.learn(place(), None);
        assert!(matches!(points.way(&place()), Some(Way::Extension)));
        points.learn(place(), found(7));
        assert!(matches!(points.way(&place()), Some(Way::Table { .. })));
        points.forget(&place());
        assert!(matches!(points.way(&place()), Some(Way::Extension)));
    }

    #[test]
    fn inserts_can_be_left_to_the_extension_alone() {
        let points = Points::default();
        points.learn(place(), found(7));
        points.leave_inserts(place());
        let way = points.way(&place());
        let Some(Way::Table { reads, inserts, .. }) = way else {
            panic!("no table");
        };
        assert!(reads && !inserts);
    }

    #[test]
    fn an_insert_that_met_a_document_makes_the_next_ones_wary() {
        let points = Points::default();
        let Way::Table { table, .. } = points.learn(place(), found(7)) else {
            panic!("no table");
        };
        assert!(!table.is_wary());
        table.has_met();
        assert!(table.is_wary());
    }

    #[test]
    fn a_statement_is_kept_while_the_collection_is_the_same() {
        let points = Points::default();
        let table = |way| match way {
            Way::Table { table, .. } => table,
            Way::Extension => panic!("no table"),
        };
        let first = table(points.learn(place(), found(7)));
        let again = table(points.learn(place(), found(7)));
        assert!(Arc::ptr_eq(&first, &again));
        let other = table(points.learn(place(), found(8)));
        let Table { bold, wary, .. } = &*other;
        let singles = [bold, wary].map(|single| [&single.plain, &single.recorded]);
        let others = [
            &other.read,
            &other.read_group,
            &other.group,
            &other.group_recorded,
        ];
        for made in singles.into_iter().flatten().chain(others) {
            assert!(made.text().contains("documents_8 "));
            assert!(!made.text().contains("_7 ") && !made.text().contains("= 7"));
        }
    }
}
