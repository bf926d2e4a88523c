//! The settings as the server uses them: checked, complete, defaults filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Database, HostPort, MongoRelation, MongoUpstream, PoolSettings, Secret};

/// Everything that can be set. Built by [`Settings::load`] or [`Settings::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Threads of the runtime; at least 1.
    pub workers: usize,
    /// How long running work may take to finish after SIGTERM.
    pub shutdown_timeout: Duration,
    /// The Postgres port.
    pub postgres: Postgres,
    /// The MongoDB port, if there is one.
    pub mongo: Option<Mongo>,
    /// `[pool]`: what a database gets that sets nothing of its own.
    pub pool: PoolSettings,
    /// `[databases.NAME]` by name, without the wildcard. Use [`Settings::database`] to look one up.
    pub databases: BTreeMap<String, Arc<Database>>,
    /// `[databases."*"]`: the pattern for every other name. Its name and its upstream's
    /// database are `*` until [`Settings::database`] fills them in.
    pub wildcard: Option<Arc<Database>>,
    /// `[users.NAME]` by name.
    pub users: BTreeMap<String, User>,
    /// The admin console and the HTTP port.
    pub admin: Admin,
    /// What is logged and how.
    pub log: Log,
    /// Files that were read or are referred to: settings, secrets, certificates. A change of
    /// one of them asks for a reload.
    pub files: Vec<PathBuf>,
}

/// `[postgres]`: the port that Postgres drivers connect to.
#[derive(Debug, Clone, PartialEq)]
pub struct Postgres {
    /// TCP addresses; may be empty if there is a Unix socket.
    pub listen: Vec<SocketAddr>,
    /// Folder of the socket `.s.PGSQL.<port>`, with the port of the first address of
    /// `listen` (6432 if there is none).
    pub unix_socket_dir: Option<PathBuf>,
    /// Clients at one time, over all databases.
    pub max_clients: usize,
    /// From connect to ReadyForQuery.
    pub login_timeout: Duration,
    /// Handshakes in parallel; others wait their turn.
    pub max_logins: usize,
    /// A client that is silent outside a transaction for this long is closed.
    pub client_idle_timeout: Option<Duration>,
    /// A client that is silent inside a transaction for this long is closed.
    pub idle_transaction_timeout: Option<Duration>,
    /// TLS towards clients.
    pub tls: ClientTls,
    /// How clients prove who they are.
    pub auth: Auth,
}

/// `[mongo]`: the port that MongoDB drivers connect to.
#[derive(Debug, Clone, PartialEq)]
pub struct Mongo {
    /// TCP addresses; at least one.
    pub listen: Vec<SocketAddr>,
    /// Where the data is.
    pub upstream: MongoUpstream,
    /// What clients see that ask for a replica set.
    pub mask: Option<Mask>,
    /// Clients at one time.
    pub max_clients: usize,
    /// From connect to the end of the login.
    pub login_timeout: Duration,
    /// Logins in parallel; others wait their turn.
    pub max_logins: usize,
    /// A client that is silent for this long is closed.
    pub client_idle_timeout: Option<Duration>,
    /// A transaction in which nothing happens for this long is aborted.
    pub idle_transaction_timeout: Option<Duration>,
    /// A cursor that nobody asks for this long is closed.
    pub cursor_timeout: Option<Duration>,
    /// Cursors open at one time.
    pub max_cursors: usize,
    /// Look-ups by `_id` go together if one alone takes no longer than this.
    pub group_finds: Option<Duration>,
    /// Are commands understood that only tests should send?
    pub test_commands: bool,
    /// TLS towards clients.
    pub tls: ClientTls,
    /// How clients prove who they are; never `md5`, and without a query.
    pub auth: Auth,
    /// Relations between collections, for `@include`.
    pub relations: Vec<MongoRelation>,
}

/// The replica set of one that clients see, if they ask for one by `replicaSet=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The set's name.
    pub set: String,
    /// The address by which clients reach this port.
    pub address: HostPort,
}

impl Mongo {
    /// Name of the upstream's pools where no database of the settings shares them. No client of
    /// the Postgres port can ask for it.
    pub const OWN: &str = "[mongo]";
}

/// `[postgres.tls]` and `[mongo.tls]`: TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Whether TLS is offered or demanded.
    pub mode: TlsMode,
    /// PEM file with the server's certificate chain. Set unless `mode` is `Disable`.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key. Set unless `mode` is `Disable`.
    pub key: Option<PathBuf>,
    /// PEM file with the authorities that client certificates must come from.
    pub client_ca: Option<PathBuf>,
}

/// Whether clients may or must use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// No TLS: an SSLRequest is answered `N`.
    #[default]
    Disable,
    /// The client chooses.
    Allow,
    /// TLS or nothing, on TCP. Unix sockets stay plain.
    Require,
    /// As `Require`, and the client must show a certificate that `client_ca` signed.
    VerifyCa,
}

/// `[postgres.auth]` and `[mongo.auth]`: how clients prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The proof asked for.
    pub method: AuthMethod,
    /// Where passwords of users come from that `[users]` does not list.
    pub query: Option<AuthQuery>,
    /// For `cert`: common name of a certificate to the users that it may log in as. A common
    /// name that is not listed may log in as the user of the same name.
    pub cert_map: BTreeMap<String, BTreeSet<String>>,
}

/// The proof that a client is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMethod {
    /// SCRAM-SHA-256, and -PLUS over TLS.
    #[default]
    ScramSha256,
    /// md5 for users with an md5 verifier or a plain password; SCRAM for SCRAM verifiers.
    Md5,
    /// A client certificate.
    Cert,
    /// None. Only on loopback addresses and Unix sockets.
    Trust,
}

/// The `auth_query` for servers where its user may read `pg_authid`. Everything in it is qualified: no `search_path`
/// decides what it reads. Who may not log in there is nobody, and an expired password is none at all.
pub const DEFAULT_AUTH_QUERY: &str = "SELECT rolname::pg_catalog.text, \
     CASE WHEN rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() \
     THEN NULL ELSE rolpassword END \
     FROM pg_catalog.pg_authid \
     WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin";

/// A query that fetches a user's verifier from the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthQuery {
    /// Gives name and verifier for `$1`.
    pub sql: String,
    /// Who runs it; `None`: the user of the database's URL. The password is that of
    /// `[users.<user>]`, if listed.
    pub user: Option<String>,
    /// Name in `[databases]` of where it runs; `None`: the database that the client asks for.
    pub database: Option<String>,
}

/// `[users.NAME]`: a user known without asking the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// What the user's proof is checked against; `None`: only certificate or trust.
    pub credential: Option<Credential>,
    /// Clients of this user at one time.
    pub max_clients: Option<usize>,
    /// Overrides `pool.size` for this user in every database.
    pub pool_size: Option<usize>,
    /// Overrides `pool.mode` for this user in every database.
    pub pool_mode: Option<crate::PoolMode>,
    /// May use the admin console. Ask [`Settings::is_admin`], which also knows `admin.users`.
    pub admin: bool,
}

/// What a user's proof is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The password itself.
    Password(Secret),
    /// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, checked for its form.
    Scram(Secret),
    /// `md5` and 32 hexadecimal digits: MD5 of password and user name.
    Md5(Secret),
}

/// `[admin]`: console and HTTP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Name of the console's database. Ask [`Settings::is_admin_database`].
    pub database: String,
    /// Address of `/metrics`, `/healthz`, `/readyz`.
    pub http: Option<SocketAddr>,
    /// Users that may use the console.
    pub users: BTreeSet<String>,
}

/// `[log]`: what is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,twinport_pg=debug`.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// PgBouncer's name of its console, which exporters and dashboards connect to.
const PGBOUNCER_CONSOLE: &str = "pgbouncer";

impl Settings {
    /// The database that a client means by `name`: its own entry, else the wildcard with the
    /// name filled in.
    pub fn database(&self, name: &str) -> Option<Arc<Database>> {
        if let Some(database) = self.databases.get(name) {
            return Some(Arc::clone(database));
        }
        if name == Mongo::OWN {
            return None;
        }
        let mut database = Database::clone(self.wildcard.as_deref()?);
        database.name = name.to_owned();
        database.upstream.database = name.to_owned();
        Some(Arc::new(database))
    }

    /// The database whose pools have this name: as [`Settings::database`], and the MongoDB port's
    /// own.
    pub fn pooled(&self, name: &str) -> Option<Arc<Database>> {
        let own = self
            .mongo
            .as_ref()
            .and_then(|mongo| mongo.upstream.database());
        match own.filter(|own| own.name == name) {
            Some(own) => Some(Arc::clone(own)),
            None => self.database(name),
        }
    }

    /// The pool of one user in one database: the database's, with the user's own size and mode.
    pub fn pool_for(&self, database: &Database, user: &str) -> PoolSettings {
        let mut pool = database.pool.clone();
        if let Some(user) = self.users.get(user) {
            pool.mode = user.pool_mode.unwrap_or(pool.mode);
            pool.size = user.pool_size.unwrap_or(pool.size);
            pool.min_idle = pool.min_idle.min(pool.size);
        }
        pool
    }

    /// Whether `name` means the admin console: `admin.database`, or `pgbouncer` so that tools
    /// made for PgBouncer find it, unless a database has that name.
    pub fn is_admin_database(&self, name: &str) -> bool {
        name == self.admin.database
            || (name == PGBOUNCER_CONSOLE && !self.databases.contains_key(name))
    }

    /// Whether a user may use the admin console.
    pub fn is_admin(&self, user: &str) -> bool {
        self.admin.users.contains(user) || self.users.get(user).is_some_and(|user| user.admin)
    }
}
