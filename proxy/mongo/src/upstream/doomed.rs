//! Cursors that nobody wants any more: their files are deleted by the next connection that is free, all of a user's by
//! one statement.
//!
//! They wait for it here and not in tasks of their own: where the pool stays full for longer than its queue lets them
//! wait, their files would stay, and many at a time would stand before everybody else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::sleep;
use twinport_core::sql::{Identity, SqlError};

use crate::array::{BIGINT, array};
use crate::handles::Taken;
use crate::wing::Wing;

const DELETE: &str = "SELECT documentdb_api_internal.delete_cursors($1::bigint[])";

/// How many one statement deletes.
const TURN: usize = 1000;

/// How long is waited where no connection was to be had, or the statement failed.
const PAUSE: Duration = Duration::from_millis(500);

/// How often in a row it may fail otherwise than for want of a free connection.
const TRIES: u32 = 3;

/// How long one waits for a connection: the database sweeps by itself some day.
const KEPT: Duration = Duration::from_secs(30 * 60);

/// How long after its cancel a statement may go on making a file.
const CANCELLED: Duration = Duration::from_secs(1);

/// The cursors whose files are to be deleted.
#[derive(Default)]
pub(crate) struct Doomed(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    users: HashMap<Arc<str>, List>,
    /// How many wait.
    count: usize,
    /// The log has it that there is no room.
    told: bool,
}

/// A user's; a task sees to it while there is one.
struct List {
    /// As it was seen last.
    identity: Identity,
    waiting: Vec<(i64, Instant)>,
}

impl Doomed {
    fn push(&self, identity: Identity, id: i64, most: usize) -> Taken {
        let mut lists = self.0.lock();
        if lists.count >= most {
            if !std::mem::replace(&mut lists.told, true) {
                tracing::warn!(
                    "files of cursors that clients have left stay until the database sweeps: more than {most} wait \
                     to be deleted (mongo.max_cursors), and no connection is free for it (pool.size)"
                );
            }
            return Taken::Lost;
        }
        lists.count += 1;
        let each = (id, Instant::now());
        match lists.users.entry(Arc::clone(&identity.user)) {
            Entry::Occupied(mut list) => {
                let list = list.get_mut();
                list.identity = identity;
                list.waiting.push(each);
                Taken::Further
            }
            Entry::Vacant(place) => {
                let waiting = vec![each];
                place.insert(List { identity, waiting });
                Taken::First
            }
        }
    }

    /// Who is to delete what a user has left; `None` if nothing is: then nobody sees to it any more.
    fn goes_on(&self, user: &str, kept: Duration) -> Option<Identity> {
        let mut lists = self.0.lock();
        let list = lists.users.get_mut(user)?;
        let before = list.waiting.len();
        list.waiting.retain(|(_, since)| since.elapsed() < kept);
        let (left, identity) = (list.waiting.len(), list.identity.clone());
        lists.count -= before - left;
        if before > left {
            tracing::info!(
                over = before - left,
                "files of cursors were left to the database's own sweep"
            );
        }
        if left == 0 {
            lists.users.remove(user);
            lists.told = false;
            return None;
        }
        Some(identity)
    }

    /// Those that come next.
    fn take(&self, user: &str) -> Vec<(i64, Instant)> {
        let mut lists = self.0.lock();
        let Some(list) = lists.users.get_mut(user) else {
            return Vec::new();
        };
        let taken: Vec<_> = list.waiting.drain(..list.waiting.len().min(TURN)).collect();
        lists.count -= taken.len();
        taken
    }

    /// Takes those back that were not deleted, or may not have been: once more does no harm.
    fn put_back(&self, user: &str, taken: Vec<(i64, Instant)>) {
        let mut lists = self.0.lock();
        let count = taken.len();
        if let Some(list) = lists.users.get_mut(user) {
            list.waiting.extend(taken);
            lists.count += count;
        }
    }
}

impl Wing {
    /// Has a cursor's file deleted; `most` may wait for that.
    pub(super) fn doom(self: &Arc<Self>, identity: Identity, id: i64, most: usize) {
        let user = Arc::clone(&identity.user);
        if self.doomed.push(identity, id, most) == Taken::First {
            tokio::spawn(tend(Arc::downgrade(self), user));
        }
    }

    /// As [`Wing::doom`], of a cursor that nobody has heard of: the statement that opens it is being cancelled, or has
    /// ended just before that.
    pub(crate) fn doom_unheard(self: &Arc<Self>, identity: Identity, id: i64) {
        // When the process ends, what it has running does, too.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let wing = Arc::downgrade(self);
        runtime.spawn(async move {
            sleep(CANCELLED).await;
            if let Some(wing) = wing.upgrade() {
                let most = wing.current().mongo.max_cursors;
                wing.doom(identity, id, most);
            }
        });
    }

    /// Deletes what one connection can, once it is free.
    async fn delete(&self, identity: &Identity) -> Result<(), SqlError> {
        let mut connection = self.lease(identity).await?;
        let user = &identity.user;
        let taken = self.doomed.take(user);
        let ids: Vec<_> = taken.iter().map(|(id, _)| id.to_be_bytes()).collect();
        let ids = array(BIGINT, ids.iter().map(|id| Some(&id[..])));
        let deleted = connection.run(DELETE, &[Some(&ids)]).await;
        match deleted {
            Ok(_) => connection.release(),
            Err(_) => self.doomed.put_back(user, taken),
        }
        deleted.map(drop)
    }
}

/// Deletes what waits for it until nothing of the user's is left.
async fn tend(wing: Weak<Wing>, user: Arc<str>) {
    let mut kept = KEPT;
    let mut failed = 0;
    loop {
        // Not held while it waits for nothing: the wing may end.
        let Some(wing) = wing.upgrade() else {
            return;
        };
        let Some(identity) = wing.doomed.goes_on(&user, kept) else {
            return;
        };
        let deleted = wing.delete(&identity).await;
        drop(wing);
        match deleted {
            Ok(()) => {
                failed = 0;
                continue;
            }
            Err(SqlError::Unavailable { overload: true, .. }) => {}
            Err(error) => {
                failed += 1;
                if failed >= TRIES {
                    tracing::debug!(%error, "cursors' files can't be deleted");
                    kept = Duration::ZERO;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use twinport_core::sql::Proof;

    use super::*;

    fn of(user: &str) -> Identity {
        Identity {
            user: user.into(),
            proof: Proof::None,
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_a_task_for_each_user() {
        let doomed = Doomed::default();
        assert_eq!(doomed.push(of("ann"), 1, 3), Taken::First);
        assert_eq!(doomed.push(of("ann"), 2, 3), Taken::Further);
        assert_eq!(doomed.push(of("bob"), 3, 3), Taken::First);
        assert_eq!(doomed.push(of("bob"), 4, 3), Taken::Lost);
        assert_eq!(doomed.take("ann").len(), 2);
        assert!(doomed.goes_on("ann", KEPT).is_none());
        assert_eq!(doomed.push(of("ann"), 5, 3), Taken::First);
    }

    #[test]
    fn what_was_not_deleted_waits_on_but_not_for_ever() {
        let doomed = Doomed::default();
        doomed.push(of("ann"), 1, 9);
        let taken = doomed.take("ann");
        // What comes meanwhile finds the task.
        assert_eq!(doomed.push(of("ann"), 2, 9), Taken::Further);
        doomed.put_back("ann", taken);
        assert!(doomed.goes_on("ann", KEPT).is_some());
        assert!(doomed.goes_on("ann", Duration::ZERO).is_none());
        assert_eq!(doomed.0.lock().count, 0);
    }
}
