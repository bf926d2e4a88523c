//! Transactions of several commands, each on a connection of its own from begin to end.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md>.
//! A transaction belongs to a session (`lsid`) and a user, not to a connection of the client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use twinport_core::sql::Connection;
use twinport_core::view;
use twinport_wire::mongo::Command;

use crate::fault::{Fault, TRANSIENT_TRANSACTION, known};
use crate::record::{Attempt, Record};
use crate::reply::Reply;
use crate::upstream::Ledger;

pub(crate) mod recovery;
mod refused;
mod slot;
mod writes;

use recovery::Question;
pub(crate) use refused::{none, too_many};
use refused::{too_old, unknown, used};
use slot::{Phase, Slot, State};
use writes::{Latest, Writes};

/// A write conflict shows at once, and not when the other transaction ends.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '20ms'";

/// How long a transaction that has ended is remembered, for commands that are sent again.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);

/// How long it is remembered even if there is hardly any room.
const RECENT: Duration = Duration::from_secs(60);

/// So many sessions are kept, open or remembered.
const MOST: usize = 100_000;

/// A user and a session.
pub(crate) type Owner = (Arc<str>, [u8; 16]);

/// All transactions that are open, or have just ended.
#[derive(Default)]
pub(crate) struct Transactions {
    slots: Mutex<HashMap<Owner, Arc<Slot>>>,
    writes: Writes,
}

/// A transaction while a command runs in it.
pub(crate) struct Within {
    slot: Arc<Slot>,
    guard: OwnedMutexGuard<State>,
    /// Taken out while a command runs, so that nothing goes on if that is dropped in the middle.
    connection: Option<Box<dyn Connection>>,
}

impl Transactions {
    /// The session's slot, made if there is none and there is room.
    fn slot(&self, owner: &Owner) -> Result<Arc<Slot>, Fault> {
        let mut slots = self.slots.lock();
        if slots.len() >= MOST && !slots.contains_key(owner) {
            slots.retain(|_, slot| slot.is_open() || slot.touched.lock().elapsed() < RECENT);
            if slots.len() >= MOST {
                return Err(too_many());
            }
        }
        let slot = slots.entry(owner.clone()).or_insert_with(Slot::new);
        Ok(Arc::clone(slot))
    }

    /// Notes a write outside of transactions that may be sent again.
    pub(crate) fn write(&self, owner: &Owner, number: i64) -> Result<Attempt, Fault> {
        let slot = self.slots.lock().get(owner).cloned();
        // For those who don't wait for the transaction.
        let begun = slot.as_ref().map_or(i64::MIN, |slot| slot.newest());
        let latest = self.writes.of(owner);
        let mut latest = latest.lock();
        let newest = begun.max(latest.number);
        if number < newest {
            return Err(too_old(number, newest));
        }
        if number != latest.number {
            if number == begun {
                return Err(used(number));
            }
            if let Some(slot) = slot {
                slot.overtake(number);
            }
            *latest = Latest::of(number);
        }
        let record = Record::of(owner, number);
        Ok(Attempt::of(record, Arc::clone(&latest.recording)))
    }

    /// The slot and the state of a session that has begun a transaction.
    async fn state(&self, owner: &Owner) -> Option<(Arc<Slot>, OwnedMutexGuard<State>)> {
        let slot = self.slots.lock().get(owner).cloned()?;
        *slot.touched.lock() = Instant::now();
        let guard = Arc::clone(&slot.state).lock_owned().await;
        Some((slot, guard))
    }

    /// Opens a transaction for the command of this client that starts it; `lease` gets it a connection.
    pub(crate) async fn start(
        &self,
        owner: &Owner,
        number: i64,
        client: i32,
        lease: impl Future<Output = Result<Box<dyn Connection>, Fault>>,
    ) -> Result<Within, Fault> {
        let slot = self.slot(owner)?;
        *slot.touched.lock() = Instant::now();
        let mut guard = Arc::clone(&slot.state).lock_owned().await;
        if number < guard.number {
            return Err(too_old(number, guard.number));
        }
        let written = self.writes.number(owner);
        if number < written {
            return Err(too_old(number, written));
        }
        if number == written {
            return Err(used(number));
        }
        if number == guard.number {
            return Err(Fault::new(
                known::ILLEGAL_OPERATION,
                format_args!("transaction {number} has been started already"),
            ));
        }
        // What the session left open is over.
        guard.phase = Phase::Aborted;
        let begun = async {
            let mut connection = lease.await?;
            connection.command(BEGIN).await?;
            Ok::<_, Fault>(connection)
        };
        let connection = begun.await.map_err(|fault| match fault.code {
            known::OVERLOAD => fault.label(TRANSIENT_TRANSACTION),
            // What another try can't mend isn't to be tried again.
            _ => fault.in_transaction(),
        })?;
        // Not before: what did not begin can be begun again under its number.
        guard.number = number;
        guard.client = client;
        guard.id = None;
        slot.begin(number);
        Ok(Within {
            slot,
            guard,
            connection: Some(connection),
        })
    }

    /// The transaction that a command is part of.
    pub(crate) async fn join(&self, owner: &Owner, number: i64) -> Result<Within, Fault> {
        let (slot, mut guard) = self.state(owner).await.ok_or_else(|| none(number))?;
        let newest = guard.number.max(slot.overtaken());
        if number < newest {
            return Err(too_old(number, newest));
        }
        match std::mem::replace(&mut guard.phase, Phase::Aborted) {
            Phase::Open(connection) if number == guard.number => Ok(Within {
                slot,
                guard,
                connection: Some(connection),
            }),
            phase => {
                let committed = number == guard.number && matches!(phase, Phase::Committed);
                guard.phase = phase;
                Err(if committed {
                    Fault::new(
                        known::TRANSACTION_COMMITTED,
                        format_args!("transaction {number} has been committed"),
                    )
                } else {
                    none(number)
                })
            }
        }
    }

    /// Commits; a commit that is sent again has the same answer, also one that was sent by way of another proxy
    /// before: then `token` tells which it is, and `lease` gets a connection to ask for it.
    pub(crate) async fn commit(
        &self,
        owner: &Owner,
        number: i64,
        token: Option<i64>,
        ledger: &Ledger,
        lease: impl Future<Output = Result<Box<dyn Connection>, Fault>>,
    ) -> Result<(), Fault> {
        let slot = match token {
            Some(_) => Some(self.slot(owner)?),
            None => self.slots.lock().get(owner).cloned(),
        };
        let slot = slot.ok_or_else(|| none(number))?;
        *slot.touched.lock() = Instant::now();
        let mut guard = Arc::clone(&slot.state).lock_owned().await;
        if number > guard.number && token.is_some() {
            guard.number = number;
            guard.id = token;
            guard.phase = Phase::Unknown { noted: false };
            slot.begin(number);
        }
        if number != guard.number {
            return Err(none(number));
        }
        let record = Record::of(owner, number);
        match std::mem::replace(&mut guard.phase, Phase::Aborted) {
            Phase::Open(connection) => guard.commit(connection, ledger, &record).await,
            Phase::Committed => {
                guard.phase = Phase::Committed;
                Ok(())
            }
            Phase::Aborted if number < slot.overtaken() => Err(too_old(number, slot.overtaken())),
            Phase::Aborted => Err(none(number)),
            Phase::Unknown { noted } => {
                // So it stays if this is dropped in the middle, or fails.
                guard.phase = Phase::Unknown { noted };
                let question = Question {
                    ledger,
                    record: &record,
                    noted,
                    number: guard.id,
                };
                if question.is_committed(lease).await? {
                    guard.phase = Phase::Committed;
                    Ok(())
                } else {
                    guard.phase = Phase::Aborted;
                    Err(none(number))
                }
            }
        }
    }

    /// Rolls back.
    pub(crate) async fn abort(&self, owner: &Owner, number: i64) -> Result<(), Fault> {
        let within = self.join(owner, number).await?;
        within.abort().await;
        Ok(())
    }

    /// Rolls back whatever a session has open.
    pub(crate) fn end(&self, owner: &Owner) {
        let slot = self.slots.lock().remove(owner);
        if let Some(slot) = slot
            && let Ok(mut state) = slot.state.try_lock()
        {
            state.phase = Phase::Aborted;
        }
    }

    /// Rolls back whatever a user has open.
    pub(crate) fn end_all(&self, user: &str) {
        let mut slots = self.slots.lock();
        for (_, slot) in slots.extract_if(|owner, _| *owner.0 == *user) {
            if let Ok(mut state) = slot.state.try_lock() {
                state.phase = Phase::Aborted;
            }
        }
    }

    /// Rolls back what a client has begun that is gone for good.
    pub(crate) fn of_client(&self, client: i32) {
        for slot in self.slots.lock().values() {
            if let Ok(mut state) = slot.state.try_lock()
                && state.client == client
                && matches!(state.phase, Phase::Open(_))
            {
                state.phase = Phase::Aborted;
            }
        }
    }

    /// Whether a transaction goes on, or a command runs in it.
    pub(crate) fn is_open(&self, owner: &Owner, number: i64) -> bool {
        let slots = self.slots.lock();
        let Some(slot) = slots.get(owner) else {
            return false;
        };
        match slot.state.try_lock() {
            Ok(state) => state.number == number && matches!(state.phase, Phase::Open(_)),
            Err(_) => true,
        }
    }

    /// Rolls back what is idle for longer than `bound`, and forgets what has long ended.
    pub(crate) fn expire(&self, bound: Option<Duration>) {
        self.slots.lock().retain(|_, slot| {
            let Ok(mut state) = slot.state.try_lock() else {
                return true;
            };
            // Not before: a command that has just ended has touched it.
            let idle = slot.touched.lock().elapsed();
            if matches!(state.phase, Phase::Open(_)) && bound.is_some_and(|bound| idle > bound) {
                tracing::info!(
                    "a transaction was idle for too long (mongo.idle_transaction_timeout)"
                );
                state.phase = Phase::Aborted;
            }
            if matches!(state.phase, Phase::Open(_)) && state.number < slot.overtaken() {
                state.phase = Phase::Aborted;
            }
            matches!(state.phase, Phase::Open(_)) || idle < REMEMBERED
        });
    }

    /// The sessions of a user that have a transaction, open or just ended, and for how long it has been idle.
    pub(crate) fn sessions(&self, user: &str) -> Vec<([u8; 16], Duration)> {
        let slots = self.slots.lock();
        let own = slots.iter().filter(|((owner, _), _)| **owner == *user);
        own.map(|((_, session), slot)| (*session, slot.touched.lock().elapsed()))
            .collect()
    }

    /// Those that are open, for the admin console.
    pub(crate) fn list(&self) -> Vec<view::Transaction> {
        let slots = self.slots.lock();
        let shown = |((user, session), slot): (&Owner, &Arc<Slot>)| {
            let (number, idle, upstream) = match slot.state.try_lock() {
                Ok(state) => match &state.phase {
                    Phase::Open(connection) => (
                        state.number,
                        Some(slot.touched.lock().elapsed()),
                        Some(connection.number()),
                    ),
                    _ => return None,
                },
                Err(_) => (slot.newest(), None, None),
            };
            Some(view::Transaction {
                user: user.to_string(),
                session: view::session(session),
                number,
                idle,
                upstream,
            })
        };
        slots.iter().filter_map(shown).collect()
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        let slots = self.slots.lock();
        slots.values().filter(|slot| slot.is_open()).count()
    }

    /// Rolls back everything.
    pub(crate) fn clear(&self) {
        self.slots.lock().clear();
    }
}

impl Within {
    /// The transaction's connection; `None` after it broke.
    pub(crate) fn connection(&mut self) -> Option<&mut Box<dyn Connection>> {
        self.connection.as_mut()
    }

    /// The answer of a command that has done its work, with what a driver needs to commit by way of another proxy.
    pub(crate) async fn tokened(&mut self, command: &str, reply: Reply) -> Result<Reply, Fault> {
        if !recovery::writes(command) {
            return Ok(reply);
        }
        let id = match (self.guard.id, &mut self.connection) {
            (Some(id), _) => id,
            (None, Some(connection)) => recovery::number(connection).await?,
            (None, None) => return Ok(reply),
        };
        self.guard.id = Some(id);
        recovery::with_token(&reply, id)
    }

    /// The command is done, and the transaction goes on.
    pub(crate) fn keep(mut self) {
        if let Some(connection) = self.connection.take()
            && self.guard.number > self.slot.overtaken()
        {
            // It is idle from now on, however long the command took.
            *self.slot.touched.lock() = Instant::now();
            self.guard.phase = Phase::Open(connection);
        }
    }

    /// The transaction is over, whatever ran in it.
    pub(crate) async fn abort(mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.command("ROLLBACK").await.is_ok()
        {
            connection.release();
        }
    }
}

/// The transaction that a command says it is part of.
pub(crate) fn number(command: &Command<'_>) -> Result<i64, Fault> {
    command.txn_number.ok_or_else(|| {
        Fault::new(
            known::INVALID_OPTIONS,
            "'autocommit' needs a 'txnNumber' beside it",
        )
    })
}
