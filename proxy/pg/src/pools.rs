//! The pools: one for each (database, user), made when the first client asks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use twinport_config::{Database, Settings};
use twinport_core::pool::{Connect, Pool, Quota};
use twinport_core::stats::PoolStats;

use crate::admin::registry::{Opened, Registry};
use crate::auth::{Credentials, Keyring};
use crate::cancel::Target;
use crate::catalogs::{Catalogs, Entry};
use crate::connect::{ConnectError, Connected};
use crate::parameters::{Overrides, Reported};
use crate::server::Server;
use crate::spelling::unhex;
use crate::transaction::bounded;
use crate::upstream::Upstream;

/// A pool of this wing.
pub type PgPool = Pool<Backend>;

/// How long an idle connection may take to answer a check.
const CHECK_BOUND: Duration = Duration::from_secs(5);

/// Where a pool's connections go, and as whom.
pub struct Backend {
    server: Arc<Server>,
    settings: Arc<Database>,
    user: String,
    credentials: Mutex<Credentials>,
    /// What is known of the schema.
    pub(crate) catalog: Arc<Entry>,
    greetings: Mutex<Greetings>,
    stats: Arc<PoolStats>,
    connections: Arc<Registry>,
    /// Whether only we ourselves use it.
    control: bool,
}

/// What a client is told at login, for the settings that it asked for.
#[derive(Clone)]
pub struct Greeting {
    /// Its ParameterStatus messages.
    pub reported: Arc<Reported>,
}

/// What clients were told, by the settings that they asked for.
#[derive(Default)]
struct Greetings {
    known: HashMap<Vec<(String, String)>, Greeting>,
    /// What the newest connection began with.
    defaults: Arc<Reported>,
}

/// So many combinations of startup settings are remembered for each pool.
const GREETINGS: usize = 256;

impl Backend {
    /// The upstream user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The name that clients ask for.
    pub fn database(&self) -> &str {
        &self.settings.name
    }

    /// The database's settings.
    pub fn settings(&self) -> &Arc<Database> {
        &self.settings
    }

    /// Where the server is, for people.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Takes what a client has just proven to know, for logins to come.
    pub fn learn(&self, credentials: &Credentials) {
        if self.settings.upstream.password.is_none() && *credentials != Credentials::None {
            *self.credentials.lock() = credentials.clone();
        }
    }

    /// What we log in with.
    pub(crate) fn credentials(&self) -> Credentials {
        match &self.settings.upstream.password {
            Some(password) => Credentials::Password(password.reveal().to_owned()),
            None => self.credentials.lock().clone(),
        }
    }

    /// Opens a connection with the database's own settings and `more`.
    pub(crate) async fn open(&self, more: &[(&str, &str)]) -> Result<Connected, ConnectError> {
        let own = self.settings.settings.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        let parameters: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
        self.server
            .connect(
                &self.user,
                &parameters,
                self.credentials(),
                self.settings.pool.connect_timeout,
            )
            .await
    }

    /// The user whose clients alone the pool of `user` serves; `None` if it serves all, as the database's URL names
    /// who works for them.
    pub fn sole<'a>(&self, user: &'a str) -> Option<&'a str> {
        self.settings.upstream.user.is_none().then_some(user)
    }

    /// Whether its statements are our own.
    pub(crate) fn is_control(&self) -> bool {
        self.control
    }

    /// What was told to a client of the same startup settings before.
    pub fn greeting(&self, baseline: &Overrides) -> Option<Greeting> {
        let key = greeting_key(baseline);
        self.greetings.lock().known.get(&key).cloned()
    }

    /// Remembers what a client was told.
    pub fn remember(&self, baseline: &Overrides, greeting: Greeting) {
        let known = &mut self.greetings.lock().known;
        if known.len() >= GREETINGS {
            known.clear();
        }
        known.insert(greeting_key(baseline), greeting);
    }

    /// Forgets what clients were told: whoever comes is told what is true by then.
    pub fn forget_greetings(&self) {
        self.greetings.lock().known.clear();
    }

    /// Notes what a fresh connection begins with: if that is not what the last one began with, a role or the
    /// database was altered.
    fn note_defaults(&self, reported: &Arc<Reported>) {
        let mut greetings = self.greetings.lock();
        if greetings.defaults != *reported {
            greetings.known.clear();
            greetings.defaults = Arc::clone(reported);
        }
    }
}

/// What decides the greeting: everything but the name that the client gives itself, which differs too often; that
/// it gives one does count, for the server's own shows without.
fn greeting_key(baseline: &Overrides) -> Vec<(String, String)> {
    baseline
        .iter()
        .map(|(name, value)| match name {
            "application_name" => (name.to_owned(), String::new()),
            _ => (name.to_owned(), value.to_owned()),
        })
        .collect()
}

impl Connect for Backend {
    type Connection = Upstream;
    type Error = Arc<ConnectError>;

    async fn connect(&self) -> Result<Upstream, Arc<ConnectError>> {
        let connected = self.open(&[]).await.map_err(Arc::new)?;
        self.stats.opened.add(1);
        let target = Target {
            server: Arc::clone(&self.server),
            holder: self.server.enter(connected.pid),
            pid: connected.pid,
            secret: connected.secret,
        };
        let reported = Reported::from_pairs(connected.parameters);
        let mut upstream = Upstream::new(connected.stream, reported, target);
        upstream.inbound = connected.leftover;
        if upstream.reported.get("search_path").is_none() {
            upstream.search_path = ask_search_path(&mut upstream).await;
        }
        self.note_defaults(&upstream.reported);
        upstream.registered = Some(self.connections.enter(Opened {
            id: upstream.id,
            database: self.settings.name.clone(),
            user: self.user.clone(),
            address: self.server.address(),
            peer: upstream.stream.peer(),
            tls: upstream.stream.is_tls(),
            pid: upstream.target.pid,
        }));
        Ok(upstream)
    }

    async fn check(&self, mut connection: Upstream) -> Option<Upstream> {
        let answered = tokio::time::timeout(CHECK_BOUND, connection.ping()).await;
        matches!(answered, Ok(Ok(()))).then_some(connection)
    }
}

/// What pools share with the rest of the wing.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// The databases' catalogs.
    pub catalogs: &'a Catalogs,
    /// Keys derived from passwords.
    pub keyring: &'a Keyring,
}

/// All pools.
#[derive(Default)]
pub struct Pools {
    state: Mutex<State>,
    connections: Arc<Registry>,
}

#[derive(Default)]
struct State {
    pools: HashMap<Key, Arc<PgPool>>,
    quotas: HashMap<String, Arc<Quota>>,
    servers: HashMap<String, Arc<Server>>,
}

impl State {
    /// Forgets what the pools of a database share once there is none.
    fn forget_databases(&mut self) {
        let used: HashSet<&str> = self.pools.keys().map(|key| &*key.database).collect();
        self.quotas.retain(|name, _| used.contains(&**name));
        self.servers.retain(|name, _| used.contains(&**name));
    }
}

/// What tells pools apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    database: String,
    user: String,
    /// Whether it is the one for our own questions.
    control: bool,
}

impl Pools {
    /// The pool of a database and a user, made if it is not there.
    ///
    /// # Errors
    /// When the upstream's TLS files can't be read.
    pub fn get(
        &self,
        settings: &Settings,
        database: &Arc<Database>,
        user: &str,
        shared: Shared<'_>,
        control: bool,
    ) -> Result<Arc<PgPool>, ConnectError> {
        let user = database.upstream.user.as_deref().unwrap_or(user);
        let key = Key {
            database: database.name.clone(),
            user: user.to_owned(),
            control,
        };
        let mut state = self.state.lock();
        if let Some(pool) = state.pools.get(&key) {
            return Ok(Arc::clone(pool));
        }
        let server = match state.servers.get(&database.name) {
            Some(server) => Arc::clone(server),
            None => {
                let server = Arc::new(Server::new(&database.upstream, shared.keyring.clone())?);
                state
                    .servers
                    .insert(database.name.clone(), Arc::clone(&server));
                server
            }
        };
        let mut pool_settings = settings.pool_for(database, user);
        let quota = if control {
            pool_settings.size = 1;
            pool_settings.min_idle = 0;
            pool_settings.idle_timeout = Some(Duration::from_secs(60));
            Quota::new(None)
        } else {
            let max = pool_settings.max_connections;
            Arc::clone(
                state
                    .quotas
                    .entry(database.name.clone())
                    .or_insert_with(|| Quota::new(max)),
            )
        };
        let stats = Arc::new(PoolStats::default());
        let backend = Backend {
            server,
            settings: Arc::clone(database),
            user: user.to_owned(),
            credentials: Mutex::new(Credentials::None),
            catalog: shared.catalogs.entry(&database.name),
            greetings: Mutex::default(),
            stats: Arc::clone(&stats),
            connections: Arc::clone(&self.connections),
            control,
        };
        let pool = Pool::new(backend, pool_settings, quota, stats);
        state.pools.insert(key, Arc::clone(&pool));
        Ok(pool)
    }

    /// The clients' pools, with the user that each is for.
    pub fn list(&self) -> Vec<(String, Arc<PgPool>)> {
        let mut pools: Vec<_> = self
            .state
            .lock()
            .pools
            .iter()
            .filter(|(key, _)| !key.control)
            .map(|(key, pool)| (key.user.clone(), Arc::clone(pool)))
            .collect();
        pools.sort_by(|(a_user, a), (b_user, b)| {
            (a.connector().database(), a_user).cmp(&(b.connector().database(), b_user))
        });
        pools
    }

    /// The open connections of all pools, also of those that were closed and still have leases.
    pub(crate) fn connections(&self) -> &Registry {
        &self.connections
    }

    /// Upkeep of all pools.
    pub fn maintain(&self) {
        let pools: Vec<_> = self.state.lock().pools.values().cloned().collect();
        for pool in pools {
            pool.maintain();
        }
    }

    /// Closes the pools that `keep` does not want any more; who holds a lease finishes.
    pub fn retain(&self, keep: impl Fn(&PgPool) -> bool) {
        let mut state = self.state.lock();
        let gone: Vec<_> = state
            .pools
            .iter()
            .filter(|(_, pool)| !keep(pool))
            .map(|(key, _)| key.clone())
            .collect();
        let mut closed = Vec::new();
        for key in gone {
            closed.extend(state.pools.remove(&key));
        }
        state.forget_databases();
        drop(state);
        for pool in closed {
            pool.close();
        }
    }

    /// Forgets the pools of databases that only the wildcard stands for, once nobody uses them and their
    /// connections are closed: otherwise every name that was ever asked for would stay.
    pub fn forget_unused(&self, settings: &Settings) {
        let mut state = self.state.lock();
        state.pools.retain(|key, pool| {
            let named = settings.databases.contains_key(&key.database);
            named || Arc::strong_count(pool) > 1 || !pool.census().is_empty()
        });
        state.forget_databases();
    }

    /// Takes sizes and timeouts of new settings.
    pub fn resize(&self, settings: &Settings) {
        let state = self.state.lock();
        for (key, pool) in state.pools.iter().filter(|(key, _)| !key.control) {
            if let Some(database) = settings.pooled(&key.database) {
                let pool_settings = settings.pool_for(&database, &key.user);
                if let Some(quota) = state.quotas.get(&key.database) {
                    quota.set_max(pool_settings.max_connections);
                }
                pool.resize(pool_settings);
            }
        }
    }

    /// Reads the upstreams' certificates again.
    pub fn reload_tls(&self) {
        for server in self.state.lock().servers.values() {
            server.reload();
        }
    }

    /// Closes the idle connections to the databases that a statement about whole databases names: they belong
    /// to nobody, and would make the server refuse it.
    pub(crate) fn let_go(&self, statement: &[u8]) {
        let pools: Vec<_> = self.state.lock().pools.values().cloned().collect();
        for pool in pools {
            let name = pool.connector().settings().upstream.database.as_bytes();
            if memchr::memmem::find(statement, name).is_some() {
                pool.recycle();
            }
        }
    }

    /// Closes everything.
    pub fn close(&self) {
        self.retain(|_| false);
    }
}

/// Asks a fresh connection for the search path that it begins with: a role's or a database's may be altered at any
/// time, and then some connections of a pool have one and some the other.
async fn ask_search_path(upstream: &mut Upstream) -> Option<Box<str>> {
    let spelling = upstream.reported.spelling();
    let path = spelling.hex("pg_catalog.current_setting('search_path')");
    let rows = bounded(upstream.run(&format!("SELECT {path}")))
        .await
        .ok()?;
    let digits = rows.into_iter().flatten().next()??;
    Some(unhex(&digits)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wildcards_pool_lasts_as_long_as_it_is_used() {
        let text = "[databases.named]\nurl = \"postgres://localhost/named\"\n\
                    [databases.\"*\"]\nurl = \"postgres://localhost\"\n\
                    [users.ann]\npassword = \"secret\"\n";
        let settings = Settings::parse(text, "test.toml").unwrap();
        let (pools, catalogs, keyring) = (Pools::default(), Catalogs::default(), Keyring::new());
        let get = |name: &str| {
            let shared = Shared {
                catalogs: &catalogs,
                keyring: &keyring,
            };
            let database = settings.database(name).unwrap();
            pools
                .get(&settings, &database, "ann", shared, false)
                .unwrap()
        };
        let names = || -> Vec<String> {
            let pools = pools.list();
            let names = pools.iter().map(|(_, pool)| pool.connector().database());
            names.map(str::to_owned).collect()
        };
        let session = get("guest");
        drop(get("named"));
        pools.forget_unused(&settings);
        assert_eq!(names(), ["guest", "named"]);
        drop(session);
        pools.forget_unused(&settings);
        assert_eq!(names(), ["named"]);
        assert_eq!(pools.state.lock().servers.len(), 1);
    }
}
