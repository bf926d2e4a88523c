//! Requests for one document each that come while others are at the same collection: they wait for a moment, and then
//! go together, as one statement and one transaction.
//!
//! Nobody waits long for somebody else. A request waits at most [`PATIENCE`] before it goes, whatever those before it
//! wait for. A group that the database refuses leaves nothing behind, and each of its requests goes again on its own,
//! with an answer of its own.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use twinport_core::sql::{Connection, Identity, SqlError};

use super::{Table, is_gone};
use crate::wing::Wing;

pub(crate) mod inserts;
mod pace;
pub(crate) mod reads;

use pace::Pace;

/// Requests to a collection that go at once, each by itself, before others wait for them.
const SEATS: usize = 2;

/// How long a request waits for those before it.
const PATIENCE: Duration = Duration::from_millis(5);

/// How long after a group that was refused all requests to its collection go by themselves.
const PAUSE: Duration = Duration::from_secs(5);

/// What can go together with others of its kind.
pub(crate) trait Work: Sized + Send + Sync + 'static {
    /// What each of a group is told.
    type Done: Send;

    /// In a group at most.
    const MOST: usize;

    /// Whether it is better to wait for those before it, by the least time that a statement has taken lately.
    fn waits(wing: &Wing, least: Option<Duration>) -> bool;

    fn groups(table: &Table) -> &Groups<Self>;

    /// Does all of it, or nothing: `None` if the collection is another one by now.
    fn run(
        line: &Line,
        connection: &mut Box<dyn Connection>,
        group: &[&Self],
    ) -> impl Future<Output = Result<Option<Vec<Self::Done>>, SqlError>> + Send;

    /// The database has refused a group.
    fn was_refused(_table: &Table, _error: &SqlError) {}
}

/// How a request goes.
pub(crate) enum Went<W: Work> {
    /// It was done together with others.
    Together(W::Done),
    /// Nothing was done: it is to go by itself, holding this.
    Alone(Option<Seat<W>>),
}

/// The requests of a kind to a collection that are under way, and those that wait for them.
pub(crate) struct Groups<W: Work> {
    state: Mutex<State<W>>,
}

struct State<W: Work> {
    /// Seats that are taken.
    taken: usize,
    waiting: Vec<Member<W>>,
    /// When a group was refused.
    refused: Option<Instant>,
    pace: Pace,
}

struct Member<W: Work> {
    work: W,
    since: Instant,
    told: oneshot::Sender<Result<Went<W>, SqlError>>,
}

/// A request that waits for its turn.
struct Waiter<W: Work> {
    line: Line,
    told: oneshot::Receiver<Result<Went<W>, SqlError>>,
}

/// Held by a request, or by a group, while it is under way. Whoever waits goes when it is dropped.
pub(crate) struct Seat<W: Work> {
    line: Line,
    kind: PhantomData<fn() -> W>,
}

/// Where requests of one user to one collection go.
#[derive(Clone)]
pub(crate) struct Line {
    pub(super) table: Arc<Table>,
    wing: Arc<Wing>,
    identity: Identity,
}

impl<W: Work> Default for Groups<W> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                taken: 0,
                waiting: Vec::new(),
                refused: None,
                pace: Pace::default(),
            }),
        }
    }
}

impl<W: Work> Groups<W> {
    /// A statement has taken so long, without the wait for a connection.
    fn note(&self, took: Duration) {
        self.state.lock().pace.note(took);
    }
}

impl<W: Work> State<W> {
    /// Those that go next; none if nobody waits any more.
    fn next(&mut self) -> Vec<Member<W>> {
        self.waiting.retain(|member| !member.told.is_closed());
        if self.waiting.len() <= W::MOST {
            return mem::take(&mut self.waiting);
        }
        self.waiting.drain(..W::MOST).collect()
    }

    /// Whether somebody has waited long enough.
    fn is_overdue(&self) -> bool {
        let oldest = self.waiting.first().map(|member| member.since.elapsed());
        oldest.is_some_and(|waited| waited >= PATIENCE)
    }

    fn is_paused(&self) -> bool {
        self.refused.is_some_and(|since| since.elapsed() < PAUSE)
    }

    /// Whether the next one goes at once.
    fn has_room(&self, wing: &Wing) -> bool {
        self.taken < SEATS || !W::waits(wing, self.pace.least())
    }
}

impl Line {
    /// Does the work of a group, on a connection in this user's name.
    async fn run<W: Work>(&self, group: &[&W]) -> Result<Option<Vec<W::Done>>, SqlError> {
        let mut connection = self.wing.lease(&self.identity).await?;
        let result = W::run(self, &mut connection, group).await;
        if matches!(result, Ok(_) | Err(SqlError::Server { fatal: false, .. })) {
            connection.release();
        }
        result
    }
}

impl Table {
    /// Lets a request go together with others, if there are any, or by itself.
    pub(crate) async fn turn<W: Work>(
        self: &Arc<Self>,
        wing: &Arc<Wing>,
        identity: &Identity,
        work: impl FnOnce() -> W,
    ) -> Result<Went<W>, SqlError> {
        let waiter = {
            let mut state = W::groups(self).state.lock();
            if state.is_paused() {
                return Ok(Went::Alone(None));
            }
            let line = Line {
                table: Arc::clone(self),
                wing: Arc::clone(wing),
                identity: identity.clone(),
            };
            if state.has_room(wing) {
                state.taken += 1;
                return Ok(Went::Alone(Some(Seat::new(line))));
            }
            let (sender, told) = oneshot::channel();
            state.waiting.push(Member {
                work: work(),
                since: Instant::now(),
                told: sender,
            });
            Waiter { line, told }
        };
        waiter.told().await
    }
}

impl<W: Work> Waiter<W> {
    /// Waits until the request was done, or may go by itself.
    async fn told(mut self) -> Result<Went<W>, SqlError> {
        loop {
            match tokio::time::timeout(PATIENCE, &mut self.told).await {
                Ok(Ok(told)) => return told,
                Ok(Err(_)) => {
                    let lost = "the group of this request was given up".to_owned();
                    return Err(SqlError::Lost(lost));
                }
                Err(_) => self.hurry(),
            }
        }
    }

    /// Lets those go that have waited long enough, on one more seat.
    fn hurry(&self) {
        let group = {
            let mut state = W::groups(&self.line.table).state.lock();
            if !state.is_overdue() {
                return;
            }
            state.taken += 1;
            state.next()
        };
        Seat::new(self.line.clone()).begin(group);
    }
}

impl<W: Work> Drop for Seat<W> {
    fn drop(&mut self) {
        let group = {
            let mut state = W::groups(&self.line.table).state.lock();
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
        Self::new(self.line.clone()).begin(group);
    }
}

impl<W: Work> Seat<W> {
    fn new(line: Line) -> Self {
        Self {
            line,
            kind: PhantomData,
        }
    }

    /// Lets a group go: one request by itself, several together.
    fn begin(self, mut group: Vec<Member<W>>) {
        if group.len() == 1 {
            if let Some(member) = group.pop() {
                // The seat goes on to the next if this one's client has left.
                drop(member.told.send(Ok(Went::Alone(Some(self)))));
            }
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.run(group));
        }
    }

    /// Runs a group, unless all its clients leave.
    async fn run(self, group: Vec<Member<W>>) {
        let count = group.len();
        let (works, mut told): (Vec<W>, Vec<_>) = group
            .into_iter()
            .map(|member| (member.work, member.told))
            .unzip();
        let works: Vec<&W> = works.iter().collect();
        let left = async {
            for told in &mut told {
                told.closed().await;
            }
        };
        let result = tokio::select! {
            biased;
            result = self.line.run(&works) => result,
            // Dropped, it cancels what it has running.
            () = left => return,
        };
        let done = match result {
            // The collection is another one by now.
            Err(error) if error.code().is_some_and(is_gone) => Ok(None),
            Err(error @ SqlError::Server { fatal: false, .. }) => {
                tracing::debug!(%error, count, "a group was refused; each of it goes by itself");
                W::groups(&self.line.table).state.lock().refused = Some(Instant::now());
                W::was_refused(&self.line.table, &error);
                Ok(None)
            }
            result => result,
        };
        let mut done = done.map(|done| done.into_iter().flatten());
        for sender in told {
            let went = match &mut done {
                Ok(done) => Ok(done.next().map_or(Went::Alone(None), Went::Together)),
                Err(error) => Err(error.clone()),
            };
            // A client may have left.
            drop(sender.send(went));
        }
    }
}

/// The elements of a parameter that is an array of `bytea`.
///
/// Behind a SELECT Postgres doesn't see how many there are when it plans. If it did, a plan for just so many would seem
/// cheaper to it than the one for any number, and it would make one each time, which takes longer than to run it.
fn elements(parameter: usize) -> String {
    format!("pg_catalog.unnest((SELECT ${parameter}::pg_catalog.bytea[]))")
}
