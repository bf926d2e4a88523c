//! The pools as other wings use them: leases on which they run statements of their own.
//!
//! A statement is prepared once on each connection, in the same LRU as those of our clients, and takes one round
//! trip after that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::io::AsyncWriteExt;
use twinport_core::pool::{AcquireError, Lease};
use twinport_core::sql::{Connection, Gateway, Identity, Made, Pending, Proof, Rows, SqlError};
use twinport_core::stats::micros;
use twinport_wire::pg::backend::{self, Fields, Status, Values};
use twinport_wire::pg::frame::HEADER;
use twinport_wire::pg::frontend::{Target, build};
use twinport_wire::scram::Keys;

use crate::auth::Credentials;
use crate::fault::Fault;
use crate::parameters::Overrides;
use crate::pools::{Backend, PgPool};

use crate::statement::{Plan, UpstreamName};
use crate::transaction::apply;
use crate::upstream::{ExchangeError, Upstream};
use crate::wing::Wing;

/// Binary, for every parameter or column: a list of one format.
const ALL_BINARY: [u8; 4] = [0, 1, 0, 1];

/// This wing's pools for other wings.
pub struct Inward {
    wing: Arc<Wing>,
    /// What is in force on every lease.
    settings: Arc<Overrides>,
    statements: Arc<Known>,
}

/// Numbers of the statements that were ever run.
#[derive(Default)]
struct Known(RwLock<HashMap<&'static str, u64>>);

impl Known {
    fn number(&self, statement: &'static str, wing: &Wing) -> u64 {
        if let Some(number) = self.0.read().get(statement) {
            return *number;
        }
        let mut known = self.0.write();
        *known.entry(statement).or_insert_with(|| fresh_number(wing))
    }
}

fn fresh_number(wing: &Wing) -> u64 {
    wing.statements.private(Plan::default()).id
}

impl Inward {
    /// Leases carry `settings`, whatever the pool's other users set.
    pub fn new(wing: Arc<Wing>, settings: &[(&str, &str)]) -> Self {
        let settings = Overrides::from_pairs(settings.iter().copied());
        Self {
            settings: wing.overrides.one(settings),
            wing,
            statements: Arc::default(),
        }
    }

    fn pool(&self, database: &str, identity: &Identity) -> Result<Arc<PgPool>, SqlError> {
        let settings = self.wing.settings();
        let found = settings.pooled(database).ok_or_else(|| {
            let message = format!("database \"{database}\" is not in the settings any more");
            unavailable(&Fault::error("3D000", message), false)
        })?;
        let shared = self.wing.shared();
        let pools = &self.wing.pools;
        let pool = pools
            .get(&settings, &found, &identity.user, shared, false)
            .map_err(|error| unavailable(&Fault::connect(&error), false))?;
        pool.connector().learn(&credentials(&identity.proof));
        Ok(pool)
    }

    async fn acquire(&self, database: &str, identity: &Identity) -> Result<Held, SqlError> {
        let pool = self.pool(database, identity)?;
        let lease = match pool.try_acquire(&self.settings) {
            Some(lease) => Ok(lease),
            None => match pool.acquire(&self.settings).await {
                // After a reload another pool is in its place.
                Err(AcquireError::Closed) if !self.wing.drain.is_draining() => {
                    let pool = self.pool(database, identity)?;
                    pool.acquire(&self.settings).await
                }
                acquired => acquired,
            },
        };
        let mut lease = lease.map_err(|error| {
            let overload = matches!(error, AcquireError::Timeout(_));
            unavailable(&Fault::no_upstream(&error), overload)
        })?;
        if !Arc::ptr_eq(&lease.settings, &self.settings) {
            match apply(&mut lease, &self.settings).await {
                Ok(changed) => lease
                    .pool()
                    .stats()
                    .settings_applied
                    .add(u64::from(changed)),
                Err(error) => {
                    lease.close();
                    return Err(failed(error, false));
                }
            }
        }
        lease.target.holder.store(0, Ordering::Relaxed);
        Ok(Held {
            lease: Some(lease),
            wing: Arc::clone(&self.wing),
            statements: Arc::clone(&self.statements),
            status: Status::Idle,
            step: Step::AtRest,
            since: Instant::now(),
        })
    }
}

impl Gateway for Inward {
    fn lease<'a>(
        &'a self,
        database: &'a str,
        identity: &'a Identity,
    ) -> Pending<'a, Result<Box<dyn Connection>, SqlError>> {
        Box::pin(async move {
            let held = self.acquire(database, identity).await?;
            Ok(Box::new(held) as Box<dyn Connection>)
        })
    }
}

fn credentials(proof: &Proof) -> Credentials {
    match proof {
        Proof::None => Credentials::None,
        Proof::Password(password) => Credentials::Password((**password).to_owned()),
        Proof::ScramKeys(client, server) => Credentials::ScramKeys(Keys {
            client: *client,
            server: *server,
        }),
    }
}

/// How far an exchange is, should it be dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    AtRest,
    /// The server may have half of a message.
    Sending,
    /// The server has all and owes the answer.
    Waiting,
    /// The connection is out of step, or gone.
    Broken,
}

/// A lease of another wing.
struct Held {
    /// Taken when it is given back.
    lease: Option<Lease<Backend>>,
    wing: Arc<Wing>,
    statements: Arc<Known>,
    status: Status,
    step: Step,
    since: Instant,
}

/// What an exchange brought.
#[derive(Default)]
struct Answer {
    rows: Rows,
    prepared: bool,
    failure: Option<SqlError>,
}

impl Held {
    async fn execute(
        &mut self,
        number: u64,
        statement: &str,
        parameters: &[Option<&[u8]>],
    ) -> Result<Rows, SqlError> {
        let mut again = self.status == Status::Idle;
        loop {
            let Some(lease) = &mut self.lease else {
                return Err(SqlError::Lost("it was given back".to_owned()));
            };
            let key = (number, lease.settings.planner());
            let (request, fresh) = request(lease, key, statement, parameters);
            let answer = self.exchange(&request).await?;
            let Some(lease) = &mut self.lease else {
                return Ok(answer.rows);
            };
            lease.pool().stats().statements.add(1);
            let Some(failure) = answer.failure else {
                return Ok(answer.rows);
            };
            let outdated = is_outdated(&failure);
            let unprepared = fresh && !answer.prepared;
            if (unprepared || outdated)
                && let Some(number) = lease.prepared.pop(&key)
                && !unprepared
            {
                lease.unclosed.push(number);
            }
            if !(outdated && again) {
                return Err(failure);
            }
            again = false;
        }
    }

    /// Sends a request that ends with its only Sync, or is one Query, and reads the whole answer.
    async fn exchange(&mut self, request: &[u8]) -> Result<Answer, SqlError> {
        let Some(lease) = &mut self.lease else {
            return Err(SqlError::Lost("it was given back".to_owned()));
        };
        // Whoever was dropped in the middle has left an answer that would be taken for this one's.
        if self.step != Step::AtRest {
            return Err(SqlError::Lost(
                "a statement on it was dropped before its answer".to_owned(),
            ));
        }
        self.step = Step::Sending;
        let mut answer = Answer::default();
        let result = async {
            lease.stream.write_all(request).await?;
            lease.stream.flush().await?;
            self.step = Step::Waiting;
            let each = |frame: twinport_wire::pg::frame::Frame<'_>| answer.take(frame);
            lease.read_until_ready(each).await
        };
        match result.await {
            Ok(status) => {
                self.step = Step::AtRest;
                self.status = status;
                if status == Status::Idle {
                    lease.pool().stats().transactions.add(1);
                }
                Ok(answer)
            }
            Err(error) => {
                self.step = Step::Broken;
                // The server's last word says more than that it is gone.
                Err(answer
                    .failure
                    .map_or_else(|| failed(error, true), SqlError::into_fatal))
            }
        }
    }

    fn give_back(&mut self) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        let stats = lease.pool().stats();
        stats.leased_us.add(micros(self.since.elapsed()));
        let (step, in_transaction) = (self.step, self.status != Status::Idle);
        match (step, tokio::runtime::Handle::try_current()) {
            (Step::AtRest, _) if !in_transaction => {
                // Notifications are for sessions that listen; nobody does here.
                lease.aside.clear();
                lease.release();
            }
            (Step::AtRest | Step::Waiting, Ok(runtime)) => {
                let bound = lease.pool().settings().cancel_drain_timeout;
                runtime.spawn(tidy(lease, step == Step::Waiting, bound));
            }
            _ => lease.close(),
        }
    }
}

impl Answer {
    fn take(
        &mut self,
        frame: twinport_wire::pg::frame::Frame<'_>,
    ) -> Result<(), twinport_wire::Error> {
        match frame.tag {
            backend::PARSE_COMPLETE => self.prepared = true,
            backend::DATA_ROW => {
                let values: Vec<_> = Values::new(frame.body())?.collect::<Result<_, _>>()?;
                self.rows.push(values);
            }
            backend::ERROR_RESPONSE if self.failure.is_none() => {
                self.failure = Some(refused(frame.body()));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Connection for Held {
    fn run<'a>(
        &'a mut self,
        statement: &'static str,
        parameters: &'a [Option<&'a [u8]>],
    ) -> Pending<'a, Result<Rows, SqlError>> {
        let number = self.statements.number(statement, &self.wing);
        Box::pin(self.execute(number, statement, parameters))
    }

    fn run_made<'a>(
        &'a mut self,
        statement: &'a Made,
        parameters: &'a [Option<&'a [u8]>],
    ) -> Pending<'a, Result<Rows, SqlError>> {
        let number = statement.number(|| fresh_number(&self.wing));
        Box::pin(self.execute(number, statement.text(), parameters))
    }

    fn command<'a>(&'a mut self, sql: &'a str) -> Pending<'a, Result<(), SqlError>> {
        Box::pin(async move {
            let mut request = Vec::with_capacity(sql.len() + 6);
            build::query(&mut request, sql.as_bytes());
            if let Some(lease) = &mut self.lease {
                lease.unnamed = None;
            }
            self.exchange(&request).await?.failure.map_or(Ok(()), Err)
        })
    }

    fn number(&self) -> u64 {
        self.lease.as_ref().map_or(0, |lease| lease.id)
    }

    fn release(mut self: Box<Self>) {
        self.give_back();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Parse if needed, Bind, Execute, Sync; whether there is a Parse.
fn request(
    lease: &mut Lease<Backend>,
    key: (u64, u64),
    statement: &str,
    parameters: &[Option<&[u8]>],
) -> (Vec<u8>, bool) {
    let size: usize = parameters
        .iter()
        .flatten()
        .map(|value| value.len() + 4)
        .sum();
    let mut out = Vec::with_capacity(size + statement.len() + 128);
    let known = lease.prepared.get(&key).copied();
    let number = known.unwrap_or_else(|| {
        let capacity = lease.pool().settings().prepared_statements.max(1);
        while lease.prepared.len() >= capacity {
            let Some((_, old)) = lease.prepared.pop_lru() else {
                break;
            };
            lease.unclosed.push(old);
        }
        for old in std::mem::take(&mut lease.unclosed) {
            build::close(&mut out, Target::Statement(&UpstreamName::of(old)));
        }
        let number = lease.next_name();
        lease.prepared.put(key, number);
        build::parse(
            &mut out,
            &UpstreamName::of(number),
            statement.as_bytes(),
            &[],
        );
        lease.pool().stats().prepared.add(1);
        number
    });
    build::bind(
        &mut out,
        b"",
        &UpstreamName::of(number),
        &bound(parameters, size),
    );
    build::execute(&mut out, b"", 0);
    build::sync(&mut out);
    (out, known.is_none())
}

/// What follows the names in a Bind.
fn bound(parameters: &[Option<&[u8]>], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size + 16);
    out.extend_from_slice(&ALL_BINARY);
    let count = u16::try_from(parameters.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    for value in parameters {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value.unwrap_or_default());
    }
    out.extend_from_slice(&ALL_BINARY);
    out
}

/// Brings a connection that was dropped in the middle back to rest, or closes it.
async fn tidy(mut lease: Lease<Backend>, busy: bool, bound: Duration) {
    let target = Arc::clone(&lease.target);
    let upstream: &mut Upstream = &mut lease;
    let clean = async {
        let mut idle = false;
        if busy {
            // What of the request was done before the cancel nobody looks at.
            upstream.forget_prepared();
            if let Err(error) = target.server.cancel(target.pid, &target.secret).await {
                tracing::warn!(%error, "cannot cancel what a client has left");
            }
            idle = upstream.drain(1).await? == Status::Idle;
        }
        if !idle {
            upstream.ask("ROLLBACK").await?;
        }
        // A cancel that came late must hit this, and not the next client's statement.
        match upstream.run("SELECT 1").await {
            Err(ExchangeError::Server { code, .. }) if code == "57014" => Ok(Vec::new()),
            other => other,
        }
    };
    match tokio::time::timeout(bound, clean).await {
        Ok(Ok(_)) => lease.release(),
        _ => lease.close(),
    }
}

/// Whether the server wants the statement prepared again.
fn is_outdated(failure: &SqlError) -> bool {
    match failure {
        SqlError::Server { code, message, .. } => {
            code == "26000" || (code == "0A000" && message.contains("cached plan"))
        }
        _ => false,
    }
}

fn unavailable(fault: &Fault, overload: bool) -> SqlError {
    SqlError::Unavailable {
        code: fault.code.clone(),
        message: fault.message.clone(),
        hint: fault.hint.clone(),
        overload,
    }
}

/// A failed exchange; `sent` tells whether a statement may have been run.
fn failed(error: ExchangeError, sent: bool) -> SqlError {
    match error {
        ExchangeError::Server { frame, .. } => refused(frame.get(HEADER..).unwrap_or_default()),
        error if sent => SqlError::Lost(error.to_string()),
        error => unavailable(&Fault::upstream_lost(error), false),
    }
}

fn refused(body: &[u8]) -> SqlError {
    let fields = Fields::new(body);
    let text = |letter| {
        let text = fields.get(letter)?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    SqlError::Server {
        code: fields.code().unwrap_or("XX000").to_owned(),
        message: text(b'M').unwrap_or_else(|| "no message".to_owned()),
        detail: text(b'D'),
        fatal: fields.get(b'V') == Some(b"FATAL"),
    }
}
