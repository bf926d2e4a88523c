//! MongoDB behind the port: messages are forwarded to its servers over pooled connections.
//!
//! [`relay::relay`] is a request's way, `passing` that of an answer that goes on while it comes. Which server it goes to is said by `topology`, which looks after them,
//! and `select`, which chooses; `server` has their connections, `connection` and `login` open them; `pins` and
//! `cursor` know what can't leave the server where it began, `doomed` what is to end there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use twinport_config::{Deployment, ReadMode, ReadPreference, SslMode};
use twinport_core::tls::{ClientFiles, ClientTls, TlsError};
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{RawBinaryRef, RawBsonRef, rawdoc};
use twinport_wire::mongo::document::integer;

use crate::catalogs::{take_page, too_many};
use crate::fault::{Fault, known};
use crate::handshake::Limits;
use crate::transaction::Owner;
use crate::wing::Wing;

mod connection;
mod cursor;
mod description;
mod doomed;
mod login;
mod masked;
mod outgoing;
mod owners;
mod passing;
mod pins;
mod relay;
mod seen;
mod select;
mod server;
mod topology;

pub(crate) use connection::Received;
pub(crate) use cursor::dismiss;
pub(crate) use passing::Passing;
pub(crate) use relay::{passes, relay};

use description::Kind;
use owners::Owners;
use pins::{Left, Pins, Place};
use select::Want;
use server::{Common, Lease, Server};
use topology::Topology;

/// How long the abort of a transaction may take whose client is gone.
const ABORT_BOUND: Duration = Duration::from_secs(5);

/// How long a deployment that is upstream no more is kept for the getMores that run there, and how often it is looked
/// for what it has left.
const LET_GO_BOUND: Duration = Duration::from_secs(10);
const LET_GO_PAUSE: Duration = Duration::from_millis(100);

/// How long the end of the port may take for cursors, and how long between two looks at them.
const TIDY_BOUND: Duration = Duration::from_secs(1);
const TIDY_PAUSE: Duration = Duration::from_millis(10);

/// A deployment that requests are forwarded to.
pub(crate) struct Cluster {
    pub(crate) settings: Arc<Deployment>,
    topology: Arc<Topology>,
    pins: Pins,
    owners: Owners,
    /// What clients were told last: they are told the same while no server is there.
    limits: Mutex<Option<Limits>>,
}

/// A cursor on one of the servers.
pub(crate) struct Remote {
    cluster: Arc<Cluster>,
    server: Arc<Server>,
    /// Its number there.
    id: i64,
    /// The connection that it can't leave, behind a balancer.
    held: Option<Lease>,
    /// It waits for data to come.
    awaits: bool,
    /// The session that it belongs to, as the server knows it.
    lsid: Option<RawDocumentBuf>,
}

impl Remote {
    /// Whether it is a cursor of this deployment.
    fn is_of(&self, cluster: &Arc<Cluster>) -> bool {
        Arc::ptr_eq(&self.cluster, cluster)
    }
}

/// Lets a deployment go that is upstream no more, when its cursors are killed: clients get no further pages of them.
/// Those that getMores have are doomed already.
pub(crate) async fn let_go(wing: Arc<Wing>, gone: Arc<Cluster>) {
    let deadline = Instant::now() + LET_GO_BOUND;
    loop {
        // Requests that have begun before may still open some.
        wing.dismiss(wing.cursors.at(|remote| remote.is_of(&gone)));
        wing.dismiss(wing.cursors.doomed());
        if !wing.cursors.awaits_an_end() || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(LET_GO_PAUSE).await;
    }
    gone.tidy().await;
    gone.close();
}

impl Cluster {
    /// Begins to look after the servers.
    pub(crate) fn new(settings: Arc<Deployment>) -> Result<Arc<Self>, TlsError> {
        let tls = match settings.tls {
            SslMode::Disable => None,
            mode => {
                // MongoDB keeps certificate and key in one file.
                let files = ClientFiles {
                    root: settings.tls_ca.clone(),
                    certificate: settings.tls_certificate.clone(),
                    key: settings.tls_certificate.clone(),
                };
                Some(Arc::new(ClientTls::load(mode, files, &[])?))
            }
        };
        let login = settings.login.clone().map(login::Login::new);
        let topology = Topology::new(Common {
            settings: Arc::clone(&settings),
            tls,
            login,
        });
        Ok(Arc::new(Self {
            settings,
            topology,
            pins: Pins::default(),
            owners: Owners::default(),
            limits: Mutex::new(None),
        }))
    }

    /// What clients are told to keep within; waits for the first server if none was ever seen.
    pub(crate) async fn limits(&self) -> Result<Limits, Fault> {
        let seen = self.seen_limits().await;
        let told = {
            let mut told = self.limits.lock();
            *told = seen.or(*told);
            *told
        };
        if let Some(limits) = told {
            return Ok(limits);
        }
        let anybody = Want::Readable(ReadPreference {
            mode: ReadMode::Nearest,
            ..ReadPreference::default()
        });
        self.topology.select(&anybody).await?;
        let seen = self.seen_limits().await;
        *self.limits.lock() = seen;
        seen.ok_or_else(|| Fault::new(known::HOST_UNREACHABLE, "the upstream is gone again"))
    }

    /// Whether clients were told of sessions.
    pub(crate) fn promises_sessions(&self) -> bool {
        let told = *self.limits.lock();
        told.is_none_or(|limits| limits.session_minutes.is_some())
    }

    /// What all servers that are there can do.
    async fn seen_limits(&self) -> Option<Limits> {
        let mut all: Option<Limits> = None;
        for server in self.topology.servers() {
            let description = server.description();
            let limits = match description.kind {
                Kind::Unknown | Kind::Other => continue,
                // Who says hello waits for no connection, unless there has never been one.
                Kind::Balanced => {
                    let told = *self.limits.lock();
                    let lease = match (server.pool.try_acquire(&()), told) {
                        (Some(lease), _) => lease,
                        (None, Some(told)) => return Some(told),
                        (None, None) => {
                            let lease = self.acquire(&server, relay::Class::Prompt).await;
                            lease.ok()?
                        }
                    };
                    let limits = lease.description.limits;
                    lease.release();
                    limits
                }
                _ => description.limits,
            };
            all = Some(all.map_or(limits, |all| all.least(limits)));
        }
        all
    }

    /// All documents that a command lists, page by page; an error if they are more than `most`. A transaction that
    /// holds a connection lends it.
    pub(crate) async fn list(
        &self,
        within: Option<&(Owner, i64)>,
        database: &str,
        command: &RawDocument,
        most: usize,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        let lent = within.and_then(|part| Some((part, self.pins.lend(&part.0, part.1)?)));
        let (lender, (server, mut lease)) = match lent {
            Some((part, lent)) => (Some(part), lent),
            None => (None, self.reach(&Want::Writable).await?),
        };
        let listed = self.pages((&server, &mut lease), database, command, most);
        let listed = listed.await?;
        match lender {
            Some((owner, number)) => self.pins.stay(owner, *number, Place::On(server, lease)),
            None => lease.release(),
        }
        listed
    }

    /// As [`Cluster::list`]; the outer error is that of a connection that broke.
    async fn pages(
        &self,
        (server, lease): (&Arc<Server>, &mut Lease),
        database: &str,
        command: &RawDocument,
        most: usize,
    ) -> Result<Result<Vec<RawDocumentBuf>, Fault>, Fault> {
        let mut command = command.to_owned();
        command.append(cstr!("$db"), database);
        let mut all = Vec::new();
        loop {
            let received = self.exchange_built(server, lease, &command).await?;
            let body = received.body().map_err(|error| Fault::protocol(&error))?;
            if !relay::is_ok(body) {
                let code = body.get("code").ok().flatten().and_then(integer);
                let code = code.and_then(|code| i32::try_from(code).ok());
                let why = body.get_str("errmsg").unwrap_or("the upstream refused");
                return Ok(Err(Fault::new(code.unwrap_or(known::INTERNAL_ERROR), why)));
            }
            let (cursor, collection) = take_page(body, &mut all)?;
            if cursor == 0 {
                return Ok(Ok(all));
            }
            if all.len() > most {
                return Ok(Err(too_many(database, most)));
            }
            command = rawdoc! { "getMore": cursor, "collection": collection, "$db": database };
        }
    }

    /// Forgets the transaction of a session that has ended.
    pub(crate) fn forget(&self, owner: &crate::transaction::Owner) {
        self.pins.forget(owner);
    }

    /// Aborts what a client has left open that came by a balancer: it won't be found again.
    pub(crate) fn abandon(self: &Arc<Self>, client: i32) {
        self.abort_all(self.pins.of_client(client));
    }

    fn abort_all(self: &Arc<Self>, all: Vec<Left>) {
        for left in all {
            let cluster = Arc::clone(self);
            tokio::spawn(async move {
                let aborted = tokio::time::timeout(ABORT_BOUND, cluster.abort(left)).await;
                if !matches!(aborted, Ok(Ok(()))) {
                    tracing::debug!("a transaction stays open until the upstream ends it");
                }
            });
        }
    }

    async fn abort(&self, left: Left) -> Result<(), Fault> {
        let id = RawBsonRef::Binary(RawBinaryRef {
            subtype: BinarySubtype::Uuid,
            bytes: &left.session,
        });
        let mut command = rawdoc! { "abortTransaction": 1 };
        command.append(cstr!("lsid"), rawdoc! { "id": id });
        command.append(cstr!("txnNumber"), left.number);
        command.append(cstr!("autocommit"), false);
        command.append(cstr!("$db"), "admin");
        let (server, mut lease) = self.board(left.place).await?;
        self.exchange_built(&server, &mut lease, &command).await?;
        lease.release();
        Ok(())
    }

    /// Whether a transaction goes on.
    pub(crate) fn is_open(&self, owner: &crate::transaction::Owner, number: i64) -> bool {
        self.pins.is_open(owner, number)
    }

    /// How many transactions are open.
    pub(crate) fn transactions(&self) -> usize {
        self.pins.count()
    }

    /// The transactions that are open, for the admin console.
    pub(crate) fn shown(&self) -> Vec<twinport_core::view::Transaction> {
        self.pins.list()
    }

    /// The connections to each server, for the admin console.
    pub(crate) fn pools(&self) -> Vec<twinport_core::view::Pool> {
        let servers = self.topology.servers();
        let mut pools: Vec<_> = servers.iter().flat_map(|server| server.shown()).collect();
        pools.sort_by(|a, b| a.server.cmp(&b.server));
        pools
    }

    /// Upkeep of connections and transactions.
    pub(crate) fn maintain(self: &Arc<Self>, idle_transaction: Option<Duration>) {
        for server in self.topology.servers() {
            server.maintain();
        }
        let idle = self.pins.expire(idle_transaction);
        if !idle.is_empty() {
            tracing::info!(
                count = idle.len(),
                "transactions were idle for too long (mongo.idle_transaction_timeout)"
            );
        }
        self.abort_all(idle);
    }

    /// Waits until cursors that nobody wants any more are killed, for a while.
    pub(crate) async fn tidy(&self) {
        let servers = self.topology.servers();
        let done = || servers.iter().all(|server| server.doomed.is_done());
        let tidied = async {
            while !done() {
                tokio::time::sleep(TIDY_PAUSE).await;
            }
        };
        if tokio::time::timeout(TIDY_BOUND, tidied).await.is_err() {
            tracing::info!("cursors were left to the upstream's own timeout");
        }
    }

    /// Closes everything.
    pub(crate) fn close(&self) {
        self.topology.close();
    }
}
