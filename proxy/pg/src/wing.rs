//! The wing: what all its sessions share, its upkeep, its reload and its end.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use twinport_config::{Settings, TlsMode};
use twinport_core::clients::Clients;
use twinport_core::drain::Drain;
use twinport_core::stats::ServerStats;
use twinport_core::stream::Stream;
use twinport_core::tls::{ALPN_POSTGRES, ClientAuth, ServerFiles, ServerTls, TlsError};
use twinport_core::view::View;

use crate::admin::count::Tally;
use crate::auth::{Keyring, Policy, Secret};
use crate::cancel::Keys;
use crate::catalogs::Catalogs;
use crate::handshake::Gate;
use crate::login;
use crate::parameters;
use crate::plan::{Rewrites, rewrites};
use crate::pools::{PgPool, Pools, Shared};
use crate::statement::Statements;

/// Memory for rewritten statements, in bytes.
const REWRITES: u64 = 16 * 1024 * 1024;

/// How many answers of an `auth_query` are kept, and for how long.
const SECRETS: u64 = 10_000;
const SECRETS_FOR: Duration = Duration::from_secs(5);

/// How often pools are looked after.
const UPKEEP: Duration = Duration::from_secs(1);

/// How often catalogs in use are compared with the database, in rounds of upkeep.
const LOOK_EVERY: u32 = 5;

/// What all sessions of the Postgres wing share.
pub struct Wing {
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) pools: Pools,
    pub(crate) clients: Arc<Clients>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) statements: Statements,
    pub(crate) catalogs: Catalogs,
    pub(crate) overrides: parameters::Shared,
    pub(crate) rewrites: Rewrites,
    pub(crate) gate: ArcSwap<Gate>,
    pub(crate) keyring: Keyring,
    /// Secrets that an `auth_query` gave, for a short while.
    pub(crate) secrets: Cache<(String, String), Option<Secret>>,
    /// Clients of our own.
    pub(crate) own: Arc<Clients>,
    /// Wings whose clients the console shows as well.
    views: Mutex<Vec<Weak<dyn View>>>,
    pub(crate) stats: Arc<ServerStats>,
    pub(crate) drain: Drain,
    pub(crate) reload_wanted: Notify,
    pub(crate) shutdown_wanted: Notify,
}

/// Why the wing can't start, or take new settings.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct WingError(#[from] TlsError);

impl Wing {
    /// A wing with no client yet.
    ///
    /// # Errors
    /// When the certificate for clients can't be read.
    pub fn new(settings: Settings, drain: Drain) -> Result<Arc<Self>, WingError> {
        let keyring = Keyring::new();
        let gate = gate(&settings, keyring.clone())?;
        let wing = Arc::new(Self {
            pools: Pools::default(),
            clients: Arc::default(),
            keys: Arc::default(),
            statements: Statements::default(),
            catalogs: Catalogs::default(),
            overrides: parameters::Shared::default(),
            rewrites: rewrites(REWRITES),
            gate: ArcSwap::from_pointee(gate),
            keyring,
            secrets: Cache::builder()
                .max_capacity(SECRETS)
                .time_to_live(SECRETS_FOR)
                .build(),
            own: Arc::default(),
            views: Mutex::default(),
            stats: Arc::default(),
            drain,
            reload_wanted: Notify::new(),
            shutdown_wanted: Notify::new(),
            settings: ArcSwap::from_pointee(settings),
        });
        tokio::spawn(upkeep(Arc::downgrade(&wing)));
        Ok(wing)
    }

    /// Serves a connection that was just accepted.
    pub fn serve(self: &Arc<Self>, stream: Stream) {
        self.stats.accepted.add(1);
        self.drain.spawn(login::serve(Arc::clone(self), stream));
    }

    /// Shows another wing on the admin console as long as it lives.
    pub fn show_also(&self, view: Weak<dyn View>) {
        self.views.lock().push(view);
    }

    /// The other wings.
    pub(crate) fn views(&self) -> Vec<Arc<dyn View>> {
        let views = self.views.lock();
        views.iter().filter_map(Weak::upgrade).collect()
    }

    /// Clients counted by pool, over all wings.
    pub fn tally(&self) -> Tally {
        let others = self.views();
        let others = others.iter().map(|view| view.clients());
        Tally::of(std::iter::once(&self.clients).chain(others))
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Who is connected.
    pub fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// The pools.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Counters of the whole wing.
    pub fn stats(&self) -> &Arc<ServerStats> {
        &self.stats
    }

    /// How many distinct statements sessions have prepared.
    pub fn statements(&self) -> usize {
        self.statements.count()
    }

    /// Takes new settings: pools of databases that changed are closed as their leases end, the others take
    /// their new sizes. Certificates are read again.
    ///
    /// # Errors
    /// When the certificate for clients can't be read; then nothing has changed.
    pub fn reload(&self, settings: Settings) -> Result<(), WingError> {
        let gate = gate(&settings, self.keyring.clone())?;
        self.gate.store(Arc::new(gate));
        self.secrets.invalidate_all();
        let same = |pool: &PgPool| {
            let held = pool.connector().settings();
            settings
                .pooled(&held.name)
                .is_some_and(|new| new.upstream == held.upstream && new.settings == held.settings)
        };
        self.pools.retain(same);
        self.pools.resize(&settings);
        self.pools.reload_tls();
        self.settings.store(Arc::new(settings));
        Ok(())
    }

    /// Ready when an admin has said RELOAD.
    pub async fn reload_requested(&self) {
        self.reload_wanted.notified().await;
    }

    /// Ready when an admin has said SHUTDOWN.
    pub async fn shutdown_requested(&self) {
        self.shutdown_wanted.notified().await;
    }

    pub(crate) fn shared(&self) -> Shared<'_> {
        Shared {
            catalogs: &self.catalogs,
            keyring: &self.keyring,
        }
    }

    /// Closes the pools, after the sessions have ended.
    pub fn close(&self) {
        self.pools.close();
    }

    /// A connection for our own questions about a pool's database: a client of ourselves, on a connection of
    /// its own, so that it never waits behind those it works for.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub(crate) fn control(self: &Arc<Self>, pool: &Arc<PgPool>) -> Opening {
        let (wing, pool) = (Arc::clone(self), Arc::clone(pool));
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let mut config = tokio_postgres::Config::new();
            config
                .user(pool.connector().user())
                .dbname(pool.connector().database());
            tokio::spawn(login::serve_control(wing, pool, Stream::Memory(theirs)));
            let (client, connection) = config.connect_raw(ours, tokio_postgres::NoTls).await?;
            let task = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "control connection ended");
                }
            });
            Ok(Control { client, task })
        })
    }
}

/// A control connection on its way. It has a type of its own because a session may ask for one, and it is served
/// by a session.
type Opening =
    Pin<Box<dyn Future<Output = Result<Control, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

/// A connection for questions of our own; it ends when dropped.
pub(crate) struct Control {
    client: tokio_postgres::Client,
    task: tokio::task::JoinHandle<()>,
}

impl Deref for Control {
    type Target = tokio_postgres::Client;
    fn deref(&self) -> &tokio_postgres::Client {
        &self.client
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What clients have to pass, by the settings.
fn gate(settings: &Settings, keyring: Keyring) -> Result<Gate, TlsError> {
    let postgres = &settings.postgres;
    let tls = &postgres.tls;
    let server = match (tls.mode, &tls.certificate, &tls.key) {
        (TlsMode::Disable, ..) => None,
        (_, Some(certificate), Some(key)) => {
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
            Some(Arc::new(ServerTls::load(files, &[ALPN_POSTGRES])?))
        }
        _ => None,
    };
    Ok(Gate {
        tls: server,
        tls_required: matches!(tls.mode, TlsMode::Require | TlsMode::VerifyCa),
        timeout: postgres.login_timeout,
        logins: Arc::new(Semaphore::new(postgres.max_logins)),
        policy: Policy {
            method: postgres.auth.method,
            cert_map: postgres.auth.cert_map.clone(),
        },
        keyring,
    })
}

async fn upkeep(wing: std::sync::Weak<Wing>) {
    let mut round: u32 = 0;
    loop {
        twinport_core::clock::sleep(UPKEEP).await;
        let Some(wing) = wing.upgrade() else {
            return;
        };
        wing.pools.maintain();
        round = round.wrapping_add(1);
        if round.is_multiple_of(LOOK_EVERY) {
            let pools = wing
                .pools
                .list()
                .into_iter()
                .map(|(_, pool)| pool)
                .collect();
            wing.catalogs.look_for_changes(&wing, pools).await;
            wing.pools.forget_unused(&wing.settings());
            wing.catalogs.forget_unused();
            wing.statements.sweep();
            wing.overrides.sweep();
        }
    }
}
