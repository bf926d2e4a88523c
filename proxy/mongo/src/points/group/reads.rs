//! Look-ups of one document each, together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use twinport_core::sql::{Made, Rows, SqlError};

use super::{Groups, Line, Work, elements};
use crate::array::{BYTEA, array};
use crate::points::Table;
use crate::wing::Wing;

/// The key as the table has it.
pub(crate) struct Read(pub(crate) Vec<u8>);

/// The documents of a group, and which of them is this one's.
pub(crate) struct Found {
    rows: Arc<Rows>,
    row: usize,
}

impl Found {
    /// The document, if there is one.
    pub(crate) fn document(&self) -> Option<&[u8]> {
        self.rows.get(self.row, 0)
    }
}

impl Work for Read {
    type Done = Found;

    /// All their documents are held until the last of them is read.
    const MOST: usize = 16;

    /// Where one takes long when nobody is in its way, that is mostly the way to the server, and to wait for others
    /// would double it.
    fn waits(wing: &Wing, least: Option<Duration>) -> bool {
        let most = wing.current().mongo.group_finds;
        least.zip(most).is_some_and(|(least, most)| least <= most)
    }

    fn groups(table: &Table) -> &Groups<Self> {
        &table.reads
    }

    async fn run(line: &Line, group: &[&Self]) -> Result<Option<Vec<Found>>, SqlError> {
        let keys = array(BYTEA, group.iter().map(|Self(key)| Some(&**key)));
        let mut connection = line.lease().await?;
        let began = Instant::now();
        let result = connection
            .run_made(&line.table.read_group, &[Some(&keys)])
            .await;
        if matches!(result, Ok(_) | Err(SqlError::Server { fatal: false, .. })) {
            connection.release();
        }
        let rows = Arc::new(result?);
        line.table.has_read(began);
        let found = |row| Found {
            rows: Arc::clone(&rows),
            row,
        };
        Ok((rows.len() == group.len()).then(|| (0..group.len()).map(found).collect()))
    }
}

impl Table {
    /// A look-up, or a group of them, has gone well that began then.
    pub(crate) fn has_read(&self, began: Instant) {
        self.reads.note(began.elapsed());
    }
}

/// The statement of a group, `$1` the keys. A row for each key, in their order; none if the collection isn't the same.
pub(in crate::points) fn statement(collection: i64, same: &str) -> Made {
    let keys = elements(1);
    Made::new(format!(
        "SELECT (SELECT d.document FROM documentdb_data.documents_{collection} d \
             WHERE d.shard_key_value = {collection} \
             AND d.object_id OPERATOR(documentdb_core.>=) u.key::documentdb_core.bson \
             AND d.object_id OPERATOR(documentdb_core.<=) u.key::documentdb_core.bson \
             ORDER BY d.shard_key_value, d.object_id LIMIT 1) \
         FROM documentdb_api_catalog.collections c, \
         {keys} WITH ORDINALITY u(key, place) \
         WHERE {same} ORDER BY u.place"
    ))
}
