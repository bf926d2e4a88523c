//! The wing: what all its sessions share, its upkeep, its reload and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use twinport_config::{ClientTls, Mongo, MongoUpstream, Settings, TlsMode};
use twinport_core::clients::Clients;
use twinport_core::drain::Drain;
use twinport_core::sql::Gateway;
use twinport_core::stats::{RequestStats, ServerStats};
use twinport_core::stream::Stream;
use twinport_core::tls::{ClientAuth, ServerFiles, ServerTls, TlsError};
use twinport_core::view::{self, View};
use twinport_rewriter::mongo::Relations;
use twinport_wire::mongo::bson::oid::ObjectId;

use crate::auth::{Keyring, Policy};
use crate::catalogs::{self, Catalogs};
use crate::failpoint::FailPoints;
use crate::forward::{self, Cluster};
use crate::handles::{Cursors, SESSION};
use crate::handshake::Gate;
use crate::login;
use crate::operations::Operations;
use crate::points::Points;
use crate::transaction::Transactions;
use crate::upstream::{Doomed, Ledger};

/// How often cursors and transactions are looked after.
const UPKEEP: Duration = Duration::from_secs(1);

/// What all sessions of the Mongo wing share.
pub struct Wing {
    current: ArcSwap<Current>,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) gate: ArcSwap<Gate>,
    pub(crate) keyring: Keyring,
    pub(crate) logins: Semaphore,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) operations: Arc<Operations>,
    /// Those that nobody wants any more, where Postgres has the data.
    pub(crate) doomed: Doomed,
    pub(crate) transactions: Transactions,
    pub(crate) ledger: Ledger,
    pub(crate) catalogs: Catalogs,
    pub(crate) points: Points,
    pub(crate) fail_points: FailPoints,
    pub(crate) stats: Arc<ServerStats>,
    pub(crate) asked: RequestStats,
    pub(crate) drain: Drain,
    /// What tells this process from another to clients behind a balancer.
    pub(crate) service: ObjectId,
    connections: AtomicI32,
    /// When it began.
    pub(crate) began: Instant,
}

/// The settings as they are now.
pub(crate) struct Current {
    pub(crate) settings: Settings,
    pub(crate) mongo: Mongo,
    pub(crate) relations: Relations,
    /// The servers that requests are forwarded to, if they are.
    cluster: Option<Arc<Cluster>>,
}

impl Current {
    /// Servers that stay what they were are kept.
    fn of(settings: Settings, mongo: Mongo, before: Option<&Self>) -> Result<Self, TlsError> {
        let before = before.and_then(|before| before.cluster.as_ref());
        let cluster = match (&mongo.upstream, before) {
            (MongoUpstream::Postgres(_), _) => None,
            (MongoUpstream::Deployment(same), Some(known)) if *known.settings == **same => {
                Some(Arc::clone(known))
            }
            (MongoUpstream::Deployment(new), _) => Some(Cluster::new(Arc::clone(new))?),
        };
        Ok(Self {
            relations: catalogs::relations(&mongo.relations),
            settings,
            mongo,
            cluster,
        })
    }
}

/// Why the wing can't start, or take new settings.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct WingError(#[from] TlsError);

impl Wing {
    /// A wing with no client yet; `None` if the settings have no `[mongo]`.
    ///
    /// # Errors
    /// When the certificate for clients can't be read.
    pub fn new(
        settings: Settings,
        gateway: Arc<dyn Gateway>,
        drain: Drain,
    ) -> Result<Option<Arc<Self>>, WingError> {
        let Some(mongo) = settings.mongo.clone() else {
            return Ok(None);
        };
        let wing = Arc::new(Self {
            gateway,
            clients: Arc::default(),
            gate: ArcSwap::from_pointee(gate(&mongo)?),
            keyring: Keyring::new(),
            logins: Semaphore::new(mongo.max_logins),
            cursors: Arc::default(),
            operations: Arc::default(),
            doomed: Doomed::default(),
            transactions: Transactions::default(),
            ledger: Ledger::default(),
            catalogs: Catalogs::default(),
            points: Points::default(),
            fail_points: FailPoints::default(),
            stats: Arc::default(),
            asked: RequestStats::default(),
            drain,
            service: ObjectId::new(),
            connections: AtomicI32::new(0),
            began: Instant::now(),
            current: ArcSwap::from_pointee(Current::of(settings, mongo, None)?),
        });
        tokio::spawn(upkeep(Arc::downgrade(&wing)));
        Ok(Some(wing))
    }

    /// Serves a connection that was just accepted.
    pub fn serve(self: &Arc<Self>, stream: Stream) {
        self.stats.accepted.add(1);
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let number = number.wrapping_add(1) & i32::MAX;
        self.drain
            .spawn(login::serve(Arc::clone(self), stream, number));
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// The servers that requests are forwarded to; none if Postgres has the data.
    pub(crate) fn cluster(&self) -> Option<Arc<Cluster>> {
        self.current.load().cluster.clone()
    }

    /// Who is connected.
    pub fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// Counters of the whole wing.
    pub fn stats(&self) -> &Arc<ServerStats> {
        &self.stats
    }

    /// Counters of what clients ask.
    pub fn asked(&self) -> &RequestStats {
        &self.asked
    }

    /// How many cursors are open.
    pub fn cursors(&self) -> usize {
        self.cursors.count()
    }

    /// How many transactions are open.
    pub fn transactions(&self) -> usize {
        let forwarded = self.cluster().map_or(0, |cluster| cluster.transactions());
        self.transactions.count() + forwarded
    }

    /// Takes new settings; certificates are read again. Without `[mongo]` the port stays as it was until the
    /// process starts again.
    ///
    /// # Errors
    /// When the certificate for clients can't be read; then nothing has changed.
    pub fn reload(self: &Arc<Self>, settings: Settings) -> Result<(), WingError> {
        let mongo = settings.mongo.clone();
        let mongo = mongo.unwrap_or_else(|| self.current.load().mongo.clone());
        let before = self.current();
        let (gate, current) = (gate(&mongo)?, Current::of(settings, mongo, Some(&before))?);
        self.gate.store(Arc::new(gate));
        if !current.mongo.test_commands {
            self.fail_points.clear();
        }
        let kept = current.cluster.clone();
        self.current.store(Arc::new(current));
        self.catalogs.told.clear();
        if let Some(gone) = &before.cluster
            && kept.is_none_or(|kept| !Arc::ptr_eq(&kept, gone))
        {
            self.cursors.doom_busy();
            tokio::spawn(forward::let_go(Arc::clone(self), Arc::clone(gone)));
        }
        Ok(())
    }

    /// Closes cursors and transactions, after the sessions have ended.
    pub async fn close(self: &Arc<Self>) {
        if let Some(cluster) = self.cluster() {
            // Another proxy doesn't know them, and the servers don't know that we go.
            self.dismiss(self.cursors.doomed());
            self.dismiss(self.cursors.take_all());
            cluster.tidy().await;
            cluster.close();
        }
        self.cursors.clear();
        self.transactions.clear();
    }
}

impl View for Wing {
    fn protocol(&self) -> &'static str {
        "mongo"
    }

    fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    fn cursors(&self) -> Vec<view::Cursor> {
        self.cursors.list()
    }

    fn transactions(&self) -> Vec<view::Transaction> {
        let mut all = self.transactions.list();
        all.extend(self.cluster().iter().flat_map(|cluster| cluster.shown()));
        all
    }

    fn pools(&self) -> Vec<view::Pool> {
        let cluster = self.cluster();
        cluster.map_or_else(Vec::new, |cluster| cluster.pools())
    }
}

/// What clients have to pass, by the settings.
fn gate(mongo: &Mongo) -> Result<Gate, TlsError> {
    Ok(Gate {
        tls: server_tls(&mongo.tls)?,
        tls_required: matches!(mongo.tls.mode, TlsMode::Require | TlsMode::VerifyCa),
        timeout: mongo.login_timeout,
        policy: Policy {
            method: mongo.auth.method,
            cert_map: mongo.auth.cert_map.clone(),
        },
    })
}

fn server_tls(tls: &ClientTls) -> Result<Option<Arc<ServerTls>>, TlsError> {
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        return Ok(None);
    };
    if tls.mode == TlsMode::Disable {
        return Ok(None);
    }
    let files = ServerFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_ca: tls.client_ca.clone(),
        client_auth: match (&tls.client_ca, tls.mode) {
            (None, _) => ClientAuth::None,
            (Some(_), TlsMode::VerifyCa) => ClientAuth::Required,
            (Some(_), _) => ClientAuth::Optional,
        },
    };
    Ok(Some(Arc::new(ServerTls::load(files, &[])?)))
}

async fn upkeep(wing: std::sync::Weak<Wing>) {
    loop {
        twinport_core::clock::sleep(UPKEEP).await;
        let Some(wing) = wing.upgrade() else {
            return;
        };
        let current = wing.current();
        let bound = current.mongo.cursor_timeout;
        wing.dismiss(wing.cursors.expire(bound, SESSION));
        wing.dismiss(wing.cursors.doomed());
        let idle = current.mongo.idle_transaction_timeout;
        wing.transactions.expire(idle);
        if let Some(cluster) = &current.cluster {
            cluster.maintain(idle);
        }
        let left = wing
            .cursors
            .left_over(|owner, number| match &current.cluster {
                Some(cluster) => cluster.is_open(owner, number),
                None => wing.transactions.is_open(owner, number),
            });
        wing.dismiss(left);
    }
}
