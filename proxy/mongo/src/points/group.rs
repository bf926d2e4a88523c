//! Inserts of one document each that come while others go into the same collection: they wait for a moment, and then
//! go together, as one statement and one transaction.
//!
//! Nobody waits long for somebody else. An insert waits at most [`PATIENCE`] before it goes, whatever those before it
//! wait for; a group waits at most [`LOCK_TIMEOUT`] for locks. A group that the database refuses leaves nothing
//! behind, and each of its inserts goes again on its own, with an answer of its own.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use twinport_core::sql::{Identity, Made, Rows, SqlError};

use super::{Table, is_in_the_way};
use crate::array::{BYTEA, array};
use crate::record::Record;
use crate::wing::Wing;

/// Inserts into a collection that go at once, each by itself, before others wait for them.
const SEATS: usize = 2;

/// How long an insert waits for those before it.
const PATIENCE: Duration = Duration::from_millis(5);

/// How long a group waits for a lock, as Postgres spells it.
pub(super) const LOCK_TIMEOUT: &str = "10ms";

/// Inserts in a group at most.
const MOST: usize = 128;

/// Larger documents go by themselves. In bytes.
pub(crate) const LARGEST: usize = 16 * 1024;

/// How long after a group that was refused all inserts into its collection go by themselves.
const PAUSE: Duration = Duration::from_secs(5);

/// What is to be inserted.
pub(crate) struct Insert {
    /// The key as the table has it.
    pub(crate) key: Vec<u8>,
    pub(crate) document: Vec<u8>,
    /// What it is recorded under, if it is.
    pub(crate) record: Option<Record>,
}

/// What becomes of an insert that has waited.
pub(crate) enum Told {
    Inserted,
    /// Nothing was done: it is to go by itself.
    Alone(Option<Seat>),
    Failed(SqlError),
}

/// When an insert goes.
pub(crate) enum Turn {
    /// By itself and at once, and holding this.
    Now(Option<Seat>),
    Later(Waiter),
}

/// The inserts into a collection that are under way, and those that wait for them.
#[derive(Default)]
pub(crate) struct Groups {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Seats that are taken.
    taken: usize,
    waiting: Vec<Member>,
    /// When a group was refused.
    refused: Option<Instant>,
}

struct Member {
    insert: Insert,
    since: Instant,
    told: oneshot::Sender<Told>,
}

/// An insert that waits for its turn.
pub(crate) struct Waiter {
    line: Line,
    told: oneshot::Receiver<Told>,
}

/// Held by an insert, or by a group, while it is under way. Whoever waits goes when it is dropped.
pub(crate) struct Seat(Line);

/// Where inserts of one user into one collection go.
#[derive(Clone)]
struct Line {
    table: Arc<Table>,
    wing: Arc<Wing>,
    identity: Identity,
}

impl State {
    /// Those that go next; none if nobody waits any more.
    fn next(&mut self) -> Vec<Member> {
        self.waiting.retain(|member| !member.told.is_closed());
        if self.waiting.len() <= MOST {
            return mem::take(&mut self.waiting);
        }
        self.waiting.drain(..MOST).collect()
    }

    /// Whether somebody has waited long enough.
    fn is_overdue(&self) -> bool {
        let oldest = self.waiting.first().map(|member| member.since.elapsed());
        oldest.is_some_and(|waited| waited >= PATIENCE)
    }

    fn is_paused(&self) -> bool {
        self.refused.is_some_and(|since| since.elapsed() < PAUSE)
    }
}

impl Table {
    /// Whether an insert goes now, or waits.
    pub(crate) fn turn(
        self: &Arc<Self>,
        wing: &Arc<Wing>,
        identity: &Identity,
        insert: impl FnOnce() -> Insert,
    ) -> Turn {
        let mut state = self.groups.state.lock();
        if state.is_paused() {
            return Turn::Now(None);
        }
        let line = Line {
            table: Arc::clone(self),
            wing: Arc::clone(wing),
            identity: identity.clone(),
        };
        if state.taken < SEATS {
            state.taken += 1;
            return Turn::Now(Some(Seat(line)));
        }
        let (sender, told) = oneshot::channel();
        state.waiting.push(Member {
            insert: insert(),
            since: Instant::now(),
            told: sender,
        });
        Turn::Later(Waiter { line, told })
    }
}

impl Waiter {
    /// Waits until the insert was done, or may go by itself.
    pub(crate) async fn told(mut self) -> Told {
        loop {
            match tokio::time::timeout(PATIENCE, &mut self.told).await {
                Ok(Ok(told)) => return told,
                Ok(Err(_)) => {
                    let lost = "the group of this insert was given up".to_owned();
                    return Told::Failed(SqlError::Lost(lost));
                }
                Err(_) => self.hurry(),
            }
        }
    }

    /// Lets those go that have waited long enough, on one more seat.
    fn hurry(&self) {
        let group = {
            let mut state = self.line.table.groups.state.lock();
            if !state.is_overdue() {
                return;
            }
            state.taken += 1;
            state.next()
        };
        Seat(self.line.clone()).begin(group);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let group = {
            let mut state = self.0.table.groups.state.lock();
            // A seat that was added for those in a hurry goes again.
            let group = if state.taken > SEATS && !state.is_overdue() {
                Vec::new()
            } else {
                state.next()
            };
            if group.is_empty() {
                state.taken -= 1;
                return;
            }
            group
        };
        Self(self.0.clone()).begin(group);
    }
}

impl Seat {
    /// Lets a group go: one insert by itself, several together.
    fn begin(self, mut group: Vec<Member>) {
        if group.len() == 1 {
            if let Some(member) = group.pop() {
                // The seat goes on to the next if this one's client has left.
                drop(member.told.send(Told::Alone(Some(self))));
            }
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.run(group));
        }
    }

    /// Runs a group, unless all its clients leave.
    async fn run(self, mut group: Vec<Member>) {
        let column = |of: fn(&Insert) -> Option<&[u8]>| {
            array(BYTEA, group.iter().map(|member| of(&member.insert)))
        };
        let keys = column(|insert| Some(&insert.key));
        let documents = column(|insert| Some(&insert.document));
        let records = column(|insert| insert.record.as_ref().map(|record| &*record.id));
        let recorded = group.iter().find_map(|member| member.insert.record.clone());
        let count = group.len();
        let left = async {
            for member in &mut group {
                member.told.closed().await;
            }
        };
        let result = tokio::select! {
            biased;
            result = self.insert([&keys, &documents, &records], recorded.as_ref()) => result,
            // Dropped, it cancels what it has running.
            () = left => return,
        };
        let told = || match &result {
            Ok(inserted) if *inserted == count => Told::Inserted,
            // The collection is another one by now.
            Ok(_) => Told::Alone(None),
            Err(SqlError::Server { fatal: false, .. }) => Told::Alone(None),
            Err(error) => Told::Failed(error.clone()),
        };
        if let Err(error @ SqlError::Server { fatal: false, .. }) = &result {
            tracing::debug!(%error, count, "a group of inserts was refused; each goes by itself");
            self.0.table.groups.state.lock().refused = Some(Instant::now());
            if error.code().is_some_and(is_in_the_way) {
                self.0.table.has_met();
            }
        }
        for member in group {
            // A client may have left.
            drop(member.told.send(told()));
        }
    }

    /// How many documents it has inserted: all or none.
    async fn insert(
        &self,
        columns: [&[u8]; 3],
        recorded: Option<&Record>,
    ) -> Result<usize, SqlError> {
        let mut connection = self.0.wing.lease(&self.0.identity).await?;
        let [keys, documents, records] = columns.map(Some);
        let result = match recorded {
            Some(_) => {
                let statement = &self.0.table.group_recorded;
                let parameters = [keys, documents, records];
                connection.run_made(statement, &parameters).await
            }
            None => {
                let statement = &self.0.table.group;
                connection.run_made(statement, &[keys, documents]).await
            }
        };
        let count = match &result {
            Ok(rows) => inserted(rows).unwrap_or_default(),
            Err(_) => 0,
        };
        if let Some(record) = recorded
            && count > 0
        {
            self.0.wing.ledger.sweep(&mut connection, record).await;
        }
        if matches!(result, Ok(_) | Err(SqlError::Server { fatal: false, .. })) {
            connection.release();
        }
        result.map(|_| count)
    }
}

/// What a group's statement says: how many documents it has inserted.
fn inserted(rows: &Rows) -> Option<usize> {
    let count = rows.get(0, 0)?.try_into().ok().map(i64::from_be_bytes)?;
    usize::try_from(count).ok()
}

/// The statement of a group, `$1` the keys, `$2` the documents, `$3` what they are recorded under. All are inserted,
/// or none.
pub(super) fn statement(collection: i64, same: &str, record: Option<&str>) -> Made {
    let recorded = record.map_or_else(String::new, |result| {
        format!(
            ", r AS (INSERT INTO twinport.retryable_writes (id, result, success) \
             SELECT u.id, {result}, true FROM pg_catalog.unnest($3::pg_catalog.bytea[]) u(id) \
             WHERE u.id IS NOT NULL AND (SELECT pg_catalog.count(*) FROM d) > 0)"
        )
    });
    // The bound is set once, before the first document goes in.
    Made::new(format!(
        "WITH d AS (INSERT INTO documentdb_data.documents_{collection} (shard_key_value, object_id, document) \
             SELECT {collection}, u.key::documentdb_core.bson, u.document::documentdb_core.bson \
             FROM documentdb_api_catalog.collections c, \
             ROWS FROM (pg_catalog.unnest($1::pg_catalog.bytea[]), pg_catalog.unnest($2::pg_catalog.bytea[])) u(key, document) \
             WHERE {same} \
             AND (SELECT pg_catalog.set_config('lock_timeout', '{LOCK_TIMEOUT}', true)) IS NOT NULL \
             RETURNING shard_key_value){recorded} \
         SELECT pg_catalog.count(*) FROM d"
    ))
}
