//! Cursors that nobody wants any more: killed on their server by the next connection that is free.
//!
//! They wait for it here and not in the tasks of those who ask: a client that is gone, or that can't wait, would leave
//! them to the server's own timeout, and many at a time would stand before everybody else in the pool's queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use twinport_core::pool::AcquireError;
use twinport_wire::mongo::bson::raw::RawDocumentBuf;

use super::Cluster;
use super::connection::Received;
use super::description::Kind;
use super::server::{Lease, Server};
use crate::handles::Taken;

/// How many commands one connection runs before others have it.
const TURN: usize = 64;

/// How long a server may take for one.
const BOUND: Duration = Duration::from_secs(10);

/// How long is waited where no connection was to be had.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a command is sent whose answer was lost.
const TRIES: u8 = 3;

/// How long one waits for a connection: sessions live no longer, nor do their cursors.
const KEPT: Duration = Duration::from_secs(30 * 60);

/// What is to be killed on a server.
#[derive(Default)]
pub(crate) struct Doomed {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    waiting: VecDeque<Waiting>,
    /// A task sees to it.
    tended: bool,
    /// The log has it that there is no room.
    told: bool,
}

/// A `killCursors` for a server.
pub(super) struct Kill {
    pub(super) command: RawDocumentBuf,
    /// The connection that the cursors can't leave, behind a balancer.
    pub(super) held: Option<Lease>,
    /// Who wants to know what the server says.
    pub(super) asker: Option<oneshot::Sender<Received>>,
}

struct Waiting {
    kill: Kill,
    since: Instant,
    tries: u8,
}

impl Doomed {
    fn push(&self, kill: Kill, most: usize) -> Taken {
        let mut list = self.list.lock();
        if list.waiting.len() >= most {
            if !std::mem::replace(&mut list.told, true) {
                tracing::warn!(
                    "cursors that clients have left stay until the upstream closes them: more than {most} wait to be \
                     killed (mongo.max_cursors), and no connection is free for it (maxPoolSize in mongo.upstream)"
                );
            }
            return Taken::Lost;
        }
        list.waiting.push_back(Waiting {
            kill,
            since: Instant::now(),
            tries: 0,
        });
        match std::mem::replace(&mut list.tended, true) {
            true => Taken::Further,
            false => Taken::First,
        }
    }

    /// Whether all has been done.
    pub(super) fn is_done(&self) -> bool {
        !self.list.lock().tended
    }

    fn pop(&self) -> Option<Waiting> {
        self.list.lock().waiting.pop_front()
    }

    /// Takes one back whose answer was lost: it may have been carried out, and once more does no harm.
    fn again(&self, mut waiting: Waiting) {
        waiting.tries += 1;
        if waiting.tries < TRIES {
            self.list.lock().waiting.push_back(waiting);
        } else {
            tracing::info!("a cursor stays until the upstream closes it: it gives no answer");
        }
    }

    /// Whether something is left to be done; if not, nobody sees to it any more.
    fn goes_on(&self, kept: Duration) -> bool {
        let mut list = self.list.lock();
        let before = list.waiting.len();
        list.waiting.retain(|each| each.since.elapsed() < kept);
        let over = before - list.waiting.len();
        if over > 0 {
            tracing::info!(over, "cursors were left to the upstream's own timeout");
        }
        if list.waiting.is_empty() {
            *list = List::default();
            return false;
        }
        true
    }
}

impl Cluster {
    /// Kills cursors of a server, in a task of its own; `most` such commands may wait.
    pub(super) fn doom(self: &Arc<Self>, server: &Arc<Server>, mut kill: Kill, most: usize) {
        let (cluster, server) = (Arc::clone(self), Arc::clone(server));
        if let Some(mut lease) = kill.held.take() {
            // Without an answer it is closed, and they end with it.
            tokio::spawn(async move {
                if cluster.kill(&server, &mut lease, &mut kill).await {
                    lease.release();
                }
            });
        } else if server.doomed.push(kill, most) == Taken::First {
            tokio::spawn(async move { cluster.tend(&server).await });
        }
    }

    /// Kills what waits for it until nothing is left.
    async fn tend(&self, server: &Arc<Server>) {
        while server.doomed.goes_on(KEPT) {
            if server.description().kind == Kind::Unknown {
                sleep(PAUSE).await;
                continue;
            }
            match server.pool.acquire(&()).await {
                Ok(lease) => self.turn(server, lease).await,
                Err(AcquireError::Closed) => {
                    server.doomed.goes_on(Duration::ZERO);
                    return;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Has one connection do what it can before others have it.
    async fn turn(&self, server: &Server, mut lease: Lease) {
        for _ in 0..TURN {
            let Some(mut next) = server.doomed.pop() else {
                break;
            };
            if !self.kill(server, &mut lease, &mut next.kill).await {
                server.doomed.again(next);
                return;
            }
        }
        lease.release();
    }

    /// Whether the server has answered.
    async fn kill(&self, server: &Server, lease: &mut Lease, kill: &mut Kill) -> bool {
        let answer = self.exchange_built(server, lease, &kill.command);
        let Ok(Ok(answer)) = timeout(BOUND, answer).await else {
            return false;
        };
        if let Some(asker) = kill.asker.take() {
            // Who has waited long enough is gone.
            let _ = asker.send(answer);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use twinport_wire::mongo::bson::rawdoc;

    use super::*;

    fn kill(id: i64) -> Kill {
        Kill {
            command: rawdoc! { "killCursors": "c", "cursors": [id], "$db": "d" },
            held: None,
            asker: None,
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_one_task() {
        let doomed = Doomed::default();
        assert_eq!(doomed.push(kill(1), 2), Taken::First);
        assert_eq!(doomed.push(kill(2), 2), Taken::Further);
        assert_eq!(doomed.push(kill(3), 2), Taken::Lost);
        assert!(doomed.pop().is_some() && doomed.goes_on(KEPT));
        assert_eq!(doomed.push(kill(3), 2), Taken::Further);
        assert!(doomed.pop().is_some() && doomed.pop().is_some());
        assert!(!doomed.goes_on(KEPT));
        assert_eq!(doomed.push(kill(4), 2), Taken::First);
    }

    #[test]
    fn what_has_no_answer_is_not_tried_for_ever() {
        let doomed = Doomed::default();
        doomed.push(kill(1), 1);
        for _ in 0..TRIES {
            assert!(doomed.goes_on(KEPT));
            doomed.again(doomed.pop().unwrap());
        }
        assert!(!doomed.goes_on(KEPT));
        doomed.push(kill(2), 1);
        assert!(!doomed.goes_on(Duration::ZERO), "it is too old");
    }
}
