//! Look-ups of one document each, together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use twinport_core::sql::{Connection, Made, Rows, SqlError};

use super::{Groups, Line, Work, elements};
use crate::array::{BYTEA, array};
use crate::points::{Table, look_up};
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

    async fn run(
        line: &Line,
        connection: &mut Box<dyn Connection>,
        group: &[&Self],
    ) -> Result<Option<Vec<Found>>, SqlError> {
        let keys = array(BYTEA, group.iter().map(|Self(key)| Some(&**key)));
        let parameters: [Option<&[u8]>; 1] = [Some(&keys)];
        let began = Instant::now();
        let rows = connection.run_made(&line.table.read_group, &parameters);
        let rows = Arc::new(rows.await?);
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
    let (keys, document) = (
        elements(1),
        look_up(collection, "u.key::documentdb_core.bson"),
    );
    Made::new(format!(
        "SELECT {document} FROM documentdb_api_catalog.collections c, {keys} WITH ORDINALITY u(key, place) \
         WHERE {same} ORDER BY u.place"
    ))
}
