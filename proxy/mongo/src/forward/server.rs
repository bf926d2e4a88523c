//! One server of a deployment, and the connections to it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use twinport_config::{Deployment, HostPort, PoolSettings, Shape};
use twinport_core::pool::{self, Connect, Pool, Quota};
use twinport_core::stats::PoolStats;
use twinport_core::view;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::compressed::Compressor;

use super::connection::{Connection, Lost, SharedTls};
use super::description::{Description, Kind};
use super::doomed::Doomed;
use super::login::{Denied, Login};
use super::topology::SILENT;

/// How long an idle connection may take to answer a check.
const CHECK_BOUND: Duration = Duration::from_secs(5);

/// Connections in the pool of a server.
pub(crate) type ServerPool = Pool<Backend>;
/// One of them while a request has it.
pub(crate) type Lease = pool::Lease<Backend>;

/// What all servers of a deployment share.
pub(crate) struct Common {
    pub(crate) settings: Arc<Deployment>,
    pub(crate) tls: SharedTls,
    pub(crate) login: Option<Arc<Login>>,
}

/// A server.
pub(crate) struct Server {
    pub(crate) place: HostPort,
    description: ArcSwap<Description>,
    /// For requests that are answered at once.
    pub(crate) pool: Arc<ServerPool>,
    /// For those that wait for data to come: they must not keep the others waiting.
    pub(crate) patient: Arc<ServerPool>,
    /// Its cursors that nobody wants any more.
    pub(crate) doomed: Doomed,
    /// Wakes who looks after it.
    pub(crate) wanted: Notify,
    /// Wakes who waits for its answers: it gives none to anybody.
    silent: Notify,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.place)
    }
}

impl Server {
    pub(crate) fn new(place: HostPort, common: &Arc<Common>) -> Arc<Self> {
        let settings = common.settings.pool.clone();
        let patient = PoolSettings {
            size: common.settings.await_connections,
            min_idle: 0,
            ..settings.clone()
        };
        let pool = |settings| {
            let stats = Arc::new(PoolStats::default());
            let backend = Backend {
                place: place.clone(),
                common: Arc::clone(common),
                stats: Arc::clone(&stats),
            };
            Pool::new(backend, settings, Quota::new(None), stats)
        };
        let kind = match common.settings.shape {
            Shape::LoadBalanced => Kind::Balanced,
            _ => Kind::Unknown,
        };
        let description = Description {
            kind,
            ..Description::unknown(None)
        };
        Arc::new(Self {
            description: ArcSwap::from_pointee(description),
            pool: pool(settings),
            patient: pool(patient),
            doomed: Doomed::default(),
            wanted: Notify::new(),
            silent: Notify::new(),
            place,
        })
    }

    /// What was last seen of it.
    pub(crate) fn description(&self) -> Arc<Description> {
        self.description.load_full()
    }

    /// Notes what was seen; gives what was known before.
    pub(crate) fn describe(&self, description: Description) -> Arc<Description> {
        let now = description.kind;
        let before = self.description.swap(Arc::new(description));
        match (before.kind, now) {
            (Kind::Unknown, Kind::Unknown) => {}
            (_, Kind::Unknown) => self.recycle(),
            (Kind::Unknown, _) => {
                self.pool.forgive();
                self.patient.forgive();
            }
            _ => {}
        }
        before
    }

    /// Ends the waiting for answers. A host that is gone refuses nothing: a request that was sent to it would wait until
    /// the system gives up, which takes a quarter of an hour.
    pub(crate) fn interrupt(&self) {
        self.silent.notify_waiters();
    }

    /// What the server answers, or nothing if it was found to answer nobody in the meantime.
    pub(super) async fn unless_silent<T>(
        &self,
        answer: impl Future<Output = Result<T, Lost>>,
    ) -> Result<T, Lost> {
        let silent = self.silent.notified();
        tokio::select! {
            biased;
            answer = answer => answer,
            () = silent => Err(Lost::Protocol("the server gives no sign of life")),
        }
    }

    /// Closes what is idle, and what is not when it comes back.
    pub(crate) fn recycle(&self) {
        self.pool.recycle();
        self.patient.recycle();
    }

    /// Upkeep of its connections.
    pub(crate) fn maintain(&self) {
        // Who is down is asked by who looks after it, not by the pool.
        if self.description.load().kind != Kind::Unknown {
            self.pool.maintain();
            self.patient.maintain();
        }
    }

    /// Its pools, for the admin console: the second only if it is used.
    pub(crate) fn shown(&self) -> impl Iterator<Item = view::Pool> {
        let pools = [("", &self.pool), (" (await)", &self.patient)];
        let used = |waits: &str, census: &pool::Census| waits.is_empty() || !census.is_empty();
        let shown = pools.map(|(waits, pool)| {
            let census = pool.census();
            used(waits, &census).then(|| view::Pool {
                server: format!("{}{waits}", self.place),
                user: pool.connector().user().to_owned(),
                size: pool.settings().size,
                census,
                stats: Arc::clone(&pool.connector().stats),
            })
        });
        shown.into_iter().flatten()
    }

    /// Takes no more requests.
    pub(crate) fn close(&self) {
        self.pool.close();
        self.patient.close();
    }
}

/// How a server's connections are made.
pub(crate) struct Backend {
    place: HostPort,
    common: Arc<Common>,
    stats: Arc<PoolStats>,
}

impl Backend {
    /// Whom its connections are logged in as; empty if nobody.
    fn user(&self) -> &str {
        let login = self.common.settings.login.as_ref();
        login.map_or("", |login| &login.user)
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0} can't be reached: {1}")]
    Unreachable(HostPort, String),
    #[error("{0} refused our login: {1}")]
    Denied(HostPort, String),
}

impl pool::Connection for Connection {
    type Affinity = ();

    fn fits(&self, (): &()) -> bool {
        true
    }

    fn is_alive(&mut self) -> bool {
        self.is_silent()
    }

    fn opened(&self) -> Instant {
        Connection::opened(self)
    }
}

impl Connect for Backend {
    type Connection = Connection;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let bound = self.common.settings.pool.connect_timeout;
        match tokio::time::timeout(bound, self.open()).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Unreachable(
                self.place.clone(),
                format!("no answer within {bound:?}"),
            )),
        }
    }

    async fn check(&self, mut connection: Connection) -> Option<Connection> {
        let ping = rawdoc! { "ping": 1, "$db": "admin" };
        let answer = connection.run_within(&ping, CHECK_BOUND).await;
        answer.is_ok().then_some(connection)
    }
}

impl Backend {
    async fn open(&self) -> Result<Connection, ConnectError> {
        let unreachable = |why| ConnectError::Unreachable(self.place.clone(), why);
        let (common, login) = (&self.common, self.common.login.as_ref());
        let mut connection = Connection::open(&self.place, common.tls.as_deref())
            .await
            .map_err(unreachable)?;
        if common.settings.shape == Shape::LoadBalanced {
            // No heartbeat finds out that nobody is there any more.
            let (every, bound) = (
                common.settings.heartbeat,
                common.settings.pool.connect_timeout,
            );
            connection
                .probe(every, SILENT * bound)
                .map_err(unreachable)?;
        }
        let question = login.and_then(|login| login.question());
        let hello = hello(&common.settings, question.as_deref());
        connection.greet(&hello).await.map_err(unreachable)?;
        if let Some(login) = login {
            login
                .enter(&mut connection)
                .await
                .map_err(|denied| match denied {
                    Denied::Lost(why) => unreachable(why),
                    Denied::Refused(why) => ConnectError::Denied(self.place.clone(), why),
                })?;
        }
        self.stats.opened.add(1);
        Ok(connection)
    }
}

/// Our first `hello` on a connection. Clients' own come to us and go no further.
pub(crate) fn hello(settings: &Deployment, question: Option<&str>) -> RawDocumentBuf {
    let mut out = heartbeat(settings);
    let mut client = RawDocumentBuf::new();
    if let Some(name) = &settings.app_name {
        client.append(cstr!("application"), rawdoc! { "name": name.as_str() });
    }
    let driver = rawdoc! { "name": "twinport", "version": env!("CARGO_PKG_VERSION") };
    client.append(cstr!("driver"), driver);
    client.append(cstr!("os"), rawdoc! { "type": std::env::consts::OS });
    out.append(cstr!("client"), client);
    if let Some(question) = question {
        out.append(cstr!("saslSupportedMechs"), question);
    }
    out
}

/// How a server is asked again on the same connection: it takes the client's metadata once.
pub(crate) fn heartbeat(settings: &Deployment) -> RawDocumentBuf {
    let balanced = settings.shape == Shape::LoadBalanced;
    // By its old name it is understood by servers of all ages.
    let mut out = if balanced {
        rawdoc! { "hello": 1 }
    } else {
        rawdoc! { "isMaster": 1 }
    };
    out.append(cstr!("helloOk"), true);
    let mut offered = RawArrayBuf::new();
    for name in &settings.compressors {
        offered.push(*name);
    }
    out.append(cstr!("compression"), offered);
    if balanced {
        out.append(cstr!("loadBalanced"), true);
    }
    out.append(cstr!("$db"), "admin");
    out
}

/// The compressor for a connection: our favourite among those that the server has agreed on.
pub(crate) fn compressor(connection: &Connection, settings: &Deployment) -> Option<Compressor> {
    let agreed = &connection.description.compressors;
    let mut ours = settings.compressors.iter();
    ours.find_map(|name| {
        let ours = Compressor::by_name(name)?;
        agreed.contains(&ours).then_some(ours)
    })
}
