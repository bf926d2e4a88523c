//! One client's session: its state, and the loop that does what moving bytes asks for.

use std::future::poll_fn;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use twinport_core::clients::Presence;
use twinport_core::drain::Watch;
use twinport_core::pool::Lease;
use twinport_core::stream::Stream;
use twinport_rewriter::scan::Effects;
use twinport_wire::pg::backend::{Status, build};
use twinport_wire::pg::frontend;

use crate::buffers::Batch;
use crate::cancel::Key;
use crate::fault::Fault;
use crate::handles::{Handles, Names};
use crate::judge::Unjudged;
use crate::left::LookBack;
use crate::parameters::{Overrides, Reported};
use crate::pin::Pinned;
use crate::pools::{Backend, PgPool};
use crate::portals::Portals;
use crate::reply::Replies;
use crate::wing::Wing;

/// What the session's loop has to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// A request needs an upstream connection.
    Lease,
    /// The transaction is over.
    Release,
    /// It is not known which functions leave something behind.
    Learn,
    /// A statement is annotated and the catalog isn't there, or is out of date.
    Catalog,
    /// An annotated statement stands in a transaction that may have changed the search path.
    SearchPath,
    /// The schema changed under a prepared statement; its batch can be sent again.
    Retry,
    /// The time that the client gave its statement is over.
    TimedOut,
    /// The upstream connection broke; the server's last word, if it said one.
    UpstreamLost(Box<Fault>),
    /// The client said goodbye, or is gone.
    ClientGone,
    /// Something that ends the session, or its own going down.
    End(Box<Fault>),
}

/// A lease and what was done under it.
pub(crate) struct Held {
    pub(crate) upstream: Lease<Backend>,
    pub(crate) since: Instant,
    /// What the statements of this lease may have left behind.
    pub(crate) effects: Effects,
    /// Whether the batch that is being sent may take settings back to the server's own values.
    pub(crate) resets: bool,
    /// A number for how texts are read, where statements of this lease may have changed that.
    pub(crate) reader: Option<NonZeroU64>,
    /// Whether that is so only until the server has reported what it has changed.
    pub(crate) doubts_reading: bool,
    /// Whether statements of this lease may have given names a new meaning, for others too once it is over.
    pub(crate) renames: bool,
    /// What the server will be asked for by name.
    pub(crate) look_back: LookBack,
    /// What ran before it was known what its functions do.
    pub(crate) unjudged: Option<Box<Unjudged>>,
}

/// The time of the statement that has one of its own. From when it is sent until it has come to its end, nothing is
/// sent behind it that a late cancel could hit.
pub(crate) enum Clock {
    /// No such statement is under way.
    Off,
    /// Others are answered before it.
    Set(Duration),
    /// The server is at it.
    Runs(Duration, Pin<Box<Sleep>>),
    /// Its time is over; the cancel is on its way.
    Cancels(JoinHandle<()>),
}

/// What is passed over of the client's messages, with no upstream connection held: it has been told the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusing {
    /// A Query or FunctionCall, alone.
    Message,
    /// Whatever comes, up to the Sync.
    Batch,
}

/// One client's session.
pub struct Session {
    pub(crate) wing: Arc<Wing>,
    pub(crate) pool: Arc<PgPool>,
    pub(crate) client: Stream,
    pub(crate) presence: Presence,
    pub(crate) key: Key,
    /// What the client asked for at login: what RESET goes back to.
    pub(crate) baseline: Arc<Overrides>,
    /// What the session has set, the baseline included.
    pub(crate) settings: Arc<Overrides>,
    /// What the client has been told.
    pub(crate) reported: Arc<Reported>,
    /// What names mean inside the current transaction, once asked for.
    pub(crate) names_now: Option<Names>,
    pub(crate) handles: Handles,
    pub(crate) portals: Portals,
    pub(crate) held: Option<Held>,
    pub(crate) replies: Replies,
    pub(crate) refusing: Option<Refusing>,
    /// The client's bytes that are not handled yet, and how many a whole frame needs.
    pub(crate) pending: Vec<u8>,
    pub(crate) needed: usize,
    /// Bytes of a frame from the client that go straight on.
    pub(crate) passing: usize,
    /// The next message has to wait for an answer that is due.
    pub(crate) stalled: bool,
    pub(crate) to_upstream: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    /// The client's stream holds something back that was written to it.
    pub(crate) client_holds: bool,
    pub(crate) batch: Batch,
    pub(crate) pinned: Pinned,
    pub(crate) session_mode: bool,
    pub(crate) clock: Clock,
    /// Runs while the client is silent, where the settings bound that.
    pub(crate) silence: Option<Pin<Box<Sleep>>>,
    /// Why the catalog could not be loaded for the statement that waits for it.
    pub(crate) catalog_fault: Option<Fault>,
    pub(crate) going_down: Watch,
}

impl Session {
    /// Serves the client until it goes.
    pub async fn run(mut self: Box<Self>) {
        loop {
            let step = poll_fn(|cx| self.poll_step(cx)).await;
            // What ends every transaction is done at once; the rest may wait for something.
            let go_on = match step {
                Step::Release if self.leaves_nothing() => {
                    self.release();
                    true
                }
                step => Box::pin(self.act(step)).await,
            };
            if !go_on {
                break;
            }
        }
        self.end();
    }

    /// Does a step that is not part of every transaction; whether the session goes on.
    async fn act(&mut self, step: Step) -> bool {
        match step {
            Step::Lease => self.lease().await,
            Step::Release => self.settle().await,
            Step::Catalog => {
                self.catalog_fault = self.wing.catalogs.load(&self.wing, &self.pool).await.err();
                true
            }
            Step::Learn => {
                self.learn().await;
                true
            }
            Step::SearchPath => self.ask_search_path().await,
            Step::Retry => self.retry().await,
            Step::TimedOut => {
                if let Clock::Runs(after, _) = self.clock {
                    self.replies.timed_out = Some(Fault::timed_out(after).to_bytes().into());
                    let slot = Arc::clone(&self.key.slot);
                    let cancel = async move {
                        slot.cancel().await;
                    };
                    self.clock = Clock::Cancels(tokio::spawn(cancel));
                }
                true
            }
            Step::UpstreamLost(fault) => self.survive(*fault).await,
            Step::ClientGone => false,
            Step::End(fault) => {
                if !self.replies.is_empty() {
                    // It ends while the client is told, who may be slow.
                    let slot = Arc::clone(&self.key.slot);
                    self.going_down.drain().spawn(async move {
                        slot.cancel().await;
                    });
                }
                self.say_last(&fault).await;
                false
            }
        }
    }

    /// Tells the client why the connection ends, if it still listens.
    pub(crate) async fn say_last(&mut self, fault: &Fault) {
        let last = fault.clone().ending().to_bytes();
        let mut out = std::mem::take(&mut self.to_client);
        if !self.replies.is_mid_frame() {
            out.extend_from_slice(&last);
        }
        let write = async {
            self.client.write_all(&out).await?;
            self.client.flush().await?;
            self.client.shutdown().await
        };
        // A client that doesn't read doesn't hear why.
        drop(tokio::time::timeout(Duration::from_secs(1), write).await);
    }

    /// Whether the lease can go back without asking the server what the session left there.
    fn leaves_nothing(&self) -> bool {
        self.pinned.is_none()
            && self
                .held
                .as_ref()
                .is_some_and(|held| held.effects.is_empty())
    }

    /// Whether the upstream connection, should it break now, takes nothing with it but one batch that the client can
    /// be told of in step.
    ///
    /// Where a transaction was open, or may have been opened by a batch before, what follows would run outside of it.
    /// What earlier batches may have set has not been asked for yet.
    fn can_be_moved(&self) -> bool {
        let left = Effects::SETTINGS | Effects::STATE | Effects::LOAD;
        let batches = self.replies.ready_owed() + usize::from(self.replies.unsynced);
        let has_next = !self.pending.is_empty() && !self.replies.unsynced;
        let has_set = self.replies.ready > 0
            && self
                .held
                .as_ref()
                .is_some_and(|held| held.effects.intersects(left));
        let in_step = !self.replies.is_mid_frame() && self.passing == 0;
        let outside = self.replies.status == Status::Idle && batches == 1 && !has_next;
        let is_bound = self.pinned.is_some() || self.session_mode || has_set;
        in_step && outside && !is_bound
    }

    /// The upstream connection broke. The session goes on if it has lost nothing by it; otherwise it ends, as it would
    /// with the server itself.
    async fn survive(&mut self, fault: Fault) -> bool {
        // Where the server itself has lost step, nobody knows what of the client's it will never answer.
        let goes_on = fault.code != "08P01" && self.can_be_moved();
        if let Some(held) = self.held.take() {
            let _ = self.key.slot.disarm();
            self.presence.set_upstream(None);
            held.upstream.close();
        }
        if !goes_on {
            self.say_last(&fault).await;
            return false;
        }
        self.to_client.extend_from_slice(&fault.to_bytes());
        if self.replies.unsynced {
            self.refusing = Some(Refusing::Batch);
        } else {
            build::ready_for_query(&mut self.to_client, Status::Idle);
        }
        for change in self.replies.abandon(None) {
            self.handles.undo(change);
        }
        self.replies = Replies::default();
        self.to_upstream = Vec::new();
        self.batch.forget();
        self.clock = Clock::Off;
        true
    }

    /// Answers the batch that is waiting with an error: at once, since a client that sent a Flush waits for it.
    pub(crate) fn refuse(&mut self, fault: &Fault) {
        self.to_client.extend_from_slice(&fault.to_bytes());
        let is_alone = |tag: &u8| matches!(*tag, frontend::QUERY | frontend::FUNCTION_CALL);
        self.refusing = Some(if self.pending.first().is_some_and(is_alone) {
            Refusing::Message
        } else {
            Refusing::Batch
        });
    }
}
