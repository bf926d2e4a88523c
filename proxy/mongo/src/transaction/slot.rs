//! A session's latest transaction, and how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use twinport_core::sql::{Connection, SqlError};

use super::refused::unknown;
use crate::fault::Fault;
use crate::record::Record;
use crate::upstream::Ledger;

/// The latest transaction of a session.
pub(super) struct Slot {
    pub(super) state: Arc<tokio::sync::Mutex<State>>,
    pub(super) touched: Mutex<Instant>,
    /// The number of the latest, for those who don't wait for its state.
    newest: AtomicI64,
    /// The number of a later write outside of it, which has ended it.
    overtaken: AtomicI64,
}

impl Slot {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            number: i64::MIN,
            client: 0,
            id: None,
            phase: Phase::Aborted,
        };
        Arc::new(Self {
            state: Arc::new(tokio::sync::Mutex::new(state)),
            touched: Mutex::new(Instant::now()),
            newest: AtomicI64::new(i64::MIN),
            overtaken: AtomicI64::new(i64::MIN),
        })
    }

    /// Ends what is open, as the session goes on with a write of this number: the driver has given it up, though its
    /// abort was lost, and that write may wait for its locks. One that a command runs in ends with that.
    pub(super) fn overtake(&self, number: i64) {
        self.overtaken.fetch_max(number, Ordering::SeqCst);
        if let Ok(mut state) = self.state.try_lock()
            && state.number < number
            && matches!(state.phase, Phase::Open(_))
        {
            state.phase = Phase::Aborted;
        }
    }

    /// Notes the number of the latest transaction.
    pub(super) fn begin(&self, number: i64) {
        self.newest.store(number, Ordering::Relaxed);
    }

    /// The number of the latest transaction, for those who don't wait for its state.
    pub(super) fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// The number of the latest write that has ended a transaction.
    pub(super) fn overtaken(&self) -> i64 {
        self.overtaken.load(Ordering::SeqCst)
    }

    /// Whether a transaction is open, or a command runs in it.
    pub(super) fn is_open(&self) -> bool {
        let Ok(state) = self.state.try_lock() else {
            return true;
        };
        matches!(state.phase, Phase::Open(_))
    }
}

pub(super) struct State {
    pub(super) number: i64,
    /// The connection of the client that began it.
    pub(super) client: i32,
    /// Postgres's number of it, once it has written.
    pub(super) id: Option<i64>,
    pub(super) phase: Phase,
}

pub(super) enum Phase {
    Open(Box<dyn Connection>),
    Committed,
    Aborted,
    /// The connection broke under the COMMIT; `noted` tells that the database can be asked what came of it.
    Unknown {
        noted: bool,
    },
}

impl State {
    pub(super) async fn commit(
        &mut self,
        mut connection: Box<dyn Connection>,
        ledger: &Ledger,
        record: &Record,
    ) -> Result<(), Fault> {
        // What fails here has not been committed.
        let noted = ledger.note(&mut connection, record).await;
        let noted = noted.map_err(|error| Fault::from(error).in_transaction())?;
        // Until the answer is there nobody knows, also if this is dropped in the middle.
        self.phase = Phase::Unknown { noted };
        match connection.command("COMMIT").await {
            Ok(()) => {
                self.phase = Phase::Committed;
                ledger.sweep(&mut connection, record).await;
                connection.release();
                Ok(())
            }
            Err(error @ SqlError::Server { fatal: false, .. }) => {
                self.phase = Phase::Aborted;
                connection.release();
                Err(Fault::from(error).in_transaction())
            }
            Err(error) => Err(unknown(Fault::from(error))),
        }
    }
}
