//! Inserts of one document each, together.

use std::time::Duration;

use twinport_core::sql::{Connection, Made, SqlError};

use super::{Groups, Line, Work, elements};
use crate::array::{BYTEA, array};
use crate::points::{RECORD, Table, is_in_the_way};
use crate::record::Record;
use crate::wing::Wing;

/// How long a group waits for a lock, as Postgres spells it.
const LOCK_TIMEOUT: &str = "10ms";

/// Larger documents go by themselves. In bytes.
pub(crate) const LARGEST: usize = 16 * 1024;

/// What is to be inserted.
pub(crate) struct Insert {
    /// The key as the table has it.
    pub(crate) key: Vec<u8>,
    pub(crate) document: Vec<u8>,
    /// What it is recorded under, if it is.
    pub(crate) record: Option<Record>,
}

impl Work for Insert {
    type Done = ();

    const MOST: usize = 128;

    /// They share a commit, whatever that takes.
    fn waits(_: &Wing, _: Option<Duration>) -> bool {
        true
    }

    fn groups(table: &Table) -> &Groups<Self> {
        &table.inserts
    }

    async fn run(
        line: &Line,
        connection: &mut Box<dyn Connection>,
        group: &[&Self],
    ) -> Result<Option<Vec<()>>, SqlError> {
        let column =
            |of: fn(&Self) -> Option<&[u8]>| array(BYTEA, group.iter().map(|insert| of(insert)));
        let keys = column(|insert| Some(&insert.key));
        let documents = column(|insert| Some(&insert.document));
        let records = column(|insert| insert.record.as_ref().map(|record| &*record.id));
        let recorded = group.iter().find_map(|insert| insert.record.as_ref());
        let all: [Option<&[u8]>; 3] = [Some(&keys), Some(&documents), Some(&records)];
        match recorded {
            None => connection.run_made(&line.table.group, &all[..2]).await?,
            Some(_) => {
                connection
                    .run_made(&line.table.group_recorded, &all)
                    .await?
            }
        };
        if let Some(record) = recorded {
            line.wing.ledger.sweep(connection, record).await;
        }
        Ok(Some(vec![(); group.len()]))
    }

    fn was_refused(table: &Table, error: &SqlError) {
        if error.code().is_some_and(is_in_the_way) {
            table.has_met();
        }
    }
}

/// The statement of a group, `$1` the keys, `$2` the documents, `$3` what they are recorded under. All are inserted,
/// or none; it fails as [`Table::bold`] does.
pub(in crate::points) fn statement(collection: i64, same: &str, record: Option<&str>) -> Made {
    let [keys, documents, ids] = [1, 2, 3].map(elements);
    // Set once, before the first goes in; by both parts, as either may be the first.
    let bound = format!(
        "(SELECT pg_catalog.set_config('lock_timeout', '{LOCK_TIMEOUT}', true)) IS NOT NULL"
    );
    let insert = format!(
        "INSERT INTO documentdb_data.documents_{collection} (shard_key_value, object_id, document) \
         SELECT (SELECT c.collection_id FROM documentdb_api_catalog.collections c WHERE {same}), \
         u.key::documentdb_core.bson, u.document::documentdb_core.bson \
         FROM ROWS FROM ({keys}, {documents}) u(key, document) WHERE {bound}"
    );
    Made::new(match record {
        None => insert,
        Some(result) => format!(
            "WITH d AS ({insert}) {RECORD} SELECT u.id, {result}, true FROM {ids} u(id) \
             WHERE u.id IS NOT NULL AND {bound}"
        ),
    })
}
