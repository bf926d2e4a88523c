//! From lease to release: settings applied before, the server asked after where something may have been left.
//!
//! What a session left on its connection is never guessed. Where a statement may have changed settings or made
//! state that can't be moved, the server is asked once its transaction is over; what it says is what the next
//! lease is given, or why the session keeps this one.

mod queue;
mod settle;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use twinport_core::clients::Activity;
use twinport_core::pool::Lease;
use twinport_core::stats::micros;
use twinport_rewriter::scan::Effects;
use twinport_wire::pg::backend::{Status, build as answer};

use crate::fault::Fault;
use crate::handles::Names;
use crate::left::LookBack;
use crate::parameters::Overrides;
use crate::pools::Backend;
use crate::reply::Replies;
use crate::session::{Clock, Held, Session, Step};
use crate::spelling::unhex;
use crate::upstream::{ExchangeError, Upstream};

/// Put before SQL of our own where a session may have set a time for statements; it ends with that SQL.
const UNHURRIED: &str = "SET LOCAL statement_timeout = 0; ";

/// The replication slots that end with the connection, and with nothing else.
const SLOTS: &str = "SELECT 1 FROM pg_catalog.pg_get_replication_slots() \
     WHERE temporary AND active_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";

/// How long the server may take to say what a session left.
const ASK_BOUND: Duration = Duration::from_secs(10);

impl Session {
    /// Takes an idle upstream connection if there is one that carries the session's settings already.
    pub(crate) fn lease_at_once(&mut self) -> bool {
        match self.pool.try_acquire_fitting(&self.settings) {
            Some(lease) => {
                self.hold(lease);
                true
            }
            None => false,
        }
    }

    /// Gets an upstream connection, with the session's settings on it. Whether the session goes on.
    pub(crate) async fn lease(&mut self) -> bool {
        let lease = match self.pool.try_acquire(&self.settings) {
            Some(lease) => lease,
            None => match self.wait_for_lease().await {
                Some(Ok(lease)) => lease,
                Some(Err(fault)) => {
                    self.refuse(&fault);
                    return true;
                }
                None => return false,
            },
        };
        self.take_lease(lease).await
    }

    async fn take_lease(&mut self, mut lease: Lease<Backend>) -> bool {
        if !Arc::ptr_eq(&lease.settings, &self.settings) {
            match apply(&mut lease, &self.settings).await {
                Ok(changed) => self.pool.stats().settings_applied.add(u64::from(changed)),
                Err(error) => {
                    lease.close();
                    return self.settings_refused(&error).await;
                }
            }
        }
        self.hold(lease);
        true
    }

    /// What the session has set can't be had on another connection. If that is for good (its role is gone), the session
    /// ends: without those settings its statements would mean something else. Whether it goes on.
    async fn settings_refused(&mut self, error: &ExchangeError) -> bool {
        let ExchangeError::Server { code, message, .. } = error else {
            self.refuse(&Fault::upstream_lost(error));
            return true;
        };
        let fault = Fault::error(
            code,
            format_args!("the session's settings can't be applied: {message}"),
        );
        let may_pass = ["40", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class));
        if may_pass {
            self.refuse(&fault);
        } else {
            let fault = fault.hint("Connect again, and set what the session needs.");
            self.say_last(&fault).await;
        }
        may_pass
    }

    /// From here on the session speaks on this connection.
    fn hold(&mut self, mut lease: Lease<Backend>) {
        // What came for a session that is gone is nobody's.
        lease.aside.clear();
        lease.rereads = false;
        if !Arc::ptr_eq(&lease.reported, &self.reported) {
            for (name, value) in lease.reported.news(&self.reported) {
                answer::parameter_status(&mut self.to_client, name.as_bytes(), value.as_bytes());
            }
            self.reported = Arc::clone(&lease.reported);
        }
        lease.target.holder.store(self.key.pid, Ordering::Relaxed);
        self.key.slot.arm(Arc::clone(&lease.target));
        self.presence.set_activity(Activity::Active);
        self.presence.set_upstream(Some(lease.id));
        self.replies.status = Status::Idle;
        self.borrow_buffers(&mut lease.buffers);
        self.held = Some(Held {
            upstream: lease,
            since: Instant::now(),
            effects: Effects::NONE,
            resets: false,
            reader: None,
            doubts_reading: false,
            renames: false,
            look_back: LookBack::default(),
            unjudged: None,
        });
    }

    /// Gives back a lease on which nothing was left.
    pub(crate) fn release(&mut self) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        let cancel_in_flight = self.key.slot.disarm();
        self.presence.set_activity(Activity::Idle);
        self.presence.set_upstream(None);
        let now = Instant::now();
        let leased = now.saturating_duration_since(held.since);
        self.pool.stats().leased_us.add(micros(leased));
        if !Arc::ptr_eq(&self.reported, &held.upstream.reported) {
            self.reported = Arc::clone(&held.upstream.reported);
        }
        self.names_now = None;
        self.clock = Clock::Off;
        self.return_buffers(&mut held.upstream.buffers);
        if cancel_in_flight {
            let slot = Arc::clone(&self.key.slot);
            tokio::spawn(async move {
                slot.settled().await;
                let mut upstream = held.upstream;
                match bounded(upstream.ping()).await {
                    Ok(()) => upstream.release(),
                    Err(_) => upstream.close(),
                }
            });
        } else {
            held.upstream.release_at(now);
        }
    }

    async fn end_lost(&mut self, error: &ExchangeError) -> bool {
        if let Some(held) = self.held.take() {
            let _ = self.key.slot.disarm();
            held.upstream.close();
        }
        // The client has had its answer; what it had set is known no more.
        self.say_last(&Fault::upstream_lost(error)).await;
        false
    }

    /// Asks for the search path inside a transaction that may have changed it, or in the middle of a batch.
    pub(crate) async fn ask_search_path(&mut self) -> bool {
        let Some(held) = &mut self.held else {
            return true;
        };
        let spelling = held.upstream.reported.spelling();
        let path = spelling.hex("pg_catalog.current_setting('search_path')");
        let sql = &format!("SELECT {path}, {}", spelling.hex("current_user"));
        let asked = if self.replies.unsynced {
            let before = std::mem::take(&mut self.to_upstream);
            bounded(held.upstream.ask_within(&before, sql)).await
        } else {
            bounded(held.upstream.ask(sql)).await
        };
        match asked {
            Ok(rows) => {
                let mut values = rows.into_iter().flatten().map(|value| {
                    // What isn't UTF-8 is in no catalog.
                    unhex(&value.unwrap_or_default()).unwrap_or_default()
                });
                self.names_now = Some(Names {
                    path: values.next().unwrap_or_default().into(),
                    user: values.next().unwrap_or_default().into(),
                });
                true
            }
            Err(error) if error.is_lost() => self.end_lost(&error).await,
            // The batch has failed.
            Err(ExchangeError::Server { frame, .. }) if self.replies.unsynced => {
                self.to_client.extend_from_slice(&frame);
                self.replies.skip();
                true
            }
            // The transaction has failed: so will the statement, whatever its names mean.
            Err(_) => {
                self.names_now = Some(Names {
                    path: "".into(),
                    user: "".into(),
                });
                true
            }
        }
    }

    /// Prepares again what the server calls out of date, and sends the batch once more.
    pub(crate) async fn retry(&mut self) -> bool {
        let due = self.replies.ready_due();
        if let Some(stale) = self.replies.stale.take() {
            self.wing.statements.retire(&stale);
        }
        let Some(held) = &mut self.held else {
            return true;
        };
        if let Err(error) = bounded(held.upstream.drain(due)).await {
            return self.end_lost(&error).await;
        }
        held.upstream.unnamed = None;
        for change in self.replies.abandon(Some(&mut held.upstream)) {
            self.handles.undo(change);
        }
        let batch = self.batch.take();
        let mut done = 0;
        loop {
            let (more, step) = self.take_requests(batch.get(done..).unwrap_or_default());
            done += more;
            match step {
                // What a changed schema makes of its functions is not known from the first time.
                Some(Step::Learn) => self.learn().await,
                // What else it has to wait for, a catalog that is out of date, it will ask for again.
                _ => break,
            }
        }
        // It is not tried a third time.
        self.batch.forget();
        if let Some(rest) = batch.get(done..).filter(|rest| !rest.is_empty()) {
            self.pending.splice(..0, rest.iter().copied());
            self.needed = 0;
        }
        true
    }

    /// Sets the time that `@timeout` gives the statement that is sent now.
    pub(crate) fn set_clock(&mut self, timeout: Option<Duration>) {
        if let Some(after) = timeout {
            self.clock = Clock::Set(after);
        }
    }

    /// The end of the session: its lease is cleaned in a task of its own, so that the client's going is not
    /// held up.
    pub(crate) fn end(mut self: Box<Self>) {
        let Some(held) = self.held.take() else {
            return;
        };
        let half_sent = self.passing > 0 || !self.to_upstream.is_empty();
        let mut replies = std::mem::take(&mut self.replies);
        let slot = Arc::clone(&self.key.slot);
        let lasts = held.look_back.lasts(held.effects);
        let needs_discard = self.session_mode || self.pinned.is_some() || !held.effects.is_empty();
        if held.effects.contains(Effects::DDL) {
            let backend = self.pool.connector();
            self.wing.catalogs.schema_changed(backend, held.renames);
        }
        let bound = self.pool.settings().cancel_drain_timeout;
        let mut upstream = held.upstream;
        let tidy = async move {
            let busy = !replies.is_empty() || replies.unsynced || half_sent || replies.copy_in;
            if busy {
                slot.cancel().await;
            }
            let _ = slot.disarm();
            slot.settled().await;
            let recoverable = !lasts && !half_sent && !replies.copy_in && !replies.is_mid_answer();
            let clean = recoverable
                && tokio::time::timeout(bound, clean(&mut upstream, &mut replies, needs_discard))
                    .await
                    .is_ok_and(|done| done.is_ok());
            if clean {
                upstream.release();
            } else {
                upstream.close();
            }
        };
        self.going_down.drain().spawn(tidy);
    }
}

/// Brings a connection whose client is gone back to rest.
async fn clean(
    upstream: &mut Upstream,
    replies: &mut Replies,
    discard: bool,
) -> Result<(), ExchangeError> {
    let due = replies.ready_due();
    let mut status = upstream.drain(due).await?;
    if due == 0 {
        status = replies.status;
    }
    // What of it the server did, and what it passed over, nobody has looked at.
    let unsynced = replies.unsynced;
    drop(replies.abandon(Some(upstream)));
    if unsynced {
        status = upstream.sync().await?;
    }
    if status != Status::Idle {
        upstream.ask("ROLLBACK").await?;
    }
    if discard {
        upstream.ask("DISCARD ALL").await?;
        upstream.discarded();
        if !upstream.run(SLOTS).await?.is_empty() {
            let kept = "DISCARD ALL leaves temporary replication slots";
            return Err(std::io::Error::other(kept).into());
        }
    }
    Ok(())
}

/// Applies settings where they differ; whether anything did.
pub(crate) async fn apply(
    upstream: &mut Upstream,
    wanted: &Arc<Overrides>,
) -> Result<bool, ExchangeError> {
    let sql = wanted.apply_after(&upstream.settings, upstream.reported.spelling());
    if let Some(sql) = &sql {
        // The time that the last session gave its statements is not for ours; nor is the one of the role, where the
        // session has another.
        let name = "statement_timeout";
        match upstream.settings.get(name).or_else(|| wanted.get(name)) {
            Some(_) => bounded(upstream.run(&[UNHURRIED, sql].concat())).await?,
            None => bounded(upstream.run(sql)).await?,
        };
    }
    upstream.settings = Arc::clone(wanted);
    Ok(sql.is_some())
}

/// An exchange of our own, within a bound.
pub(crate) async fn bounded<T>(
    exchange: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, ExchangeError> {
    tokio::time::timeout(ASK_BOUND, exchange)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}
