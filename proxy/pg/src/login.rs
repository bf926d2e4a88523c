//! From a client that has proven who it is to its session: limits, pool, greeting.

use std::sync::Arc;

use strsim::jaro_winkler;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use twinport_config::{Credential, PoolMode, Settings};
use twinport_core::clients::{Arrival, Bounds, Full, Presence};
use twinport_core::drain::Drain;
use twinport_core::stream::Stream;
use twinport_wire::pg::backend::{Status, build as answer};
use twinport_wire::pg::startup::Version;

use crate::auth::{Secret, Secrets, Unavailable, query};
use crate::buffers::Batch;
use crate::cancel::Key;
use crate::fault::Fault;
use crate::handles::Handles;
use crate::handshake::{self, Accepted, Login};
use crate::parameters::{Overrides, Reported};
use crate::pin::Pinned;
use crate::pools::{Greeting, PgPool};
use crate::portals::Portals;
use crate::reply::Replies;
use crate::session::{Clock, Session};
use crate::transaction::apply;
use crate::upstream::ExchangeError;
use crate::wing::Wing;
use crate::{admin, replication};

/// Bytes of a cancel key's secret, up to protocol 3.1 and from 3.2 on.
const SHORT_SECRET: usize = 4;
const LONG_SECRET: usize = 32;

/// Serves a connection from its first byte to its last.
pub(crate) async fn serve(wing: Arc<Wing>, stream: Stream) {
    let accepted = Box::pin(async {
        let gate = wing.gate.load_full();
        handshake::accept(stream, &gate, &*wing).await
    })
    .await;
    match accepted {
        Accepted::Gone(handshake::Gone::Left) => {}
        Accepted::Gone(_) => wing.stats.logins_failed.add(1),
        Accepted::Cancel(key, stream) => {
            Box::pin(wing.keys.cancel(key.pid, &key.secret, &wing.stats)).await;
            if let Some(mut stream) = stream {
                // The client waits for the close; over TLS it takes one without notice for an error.
                drop(stream.shutdown().await);
            }
        }
        Accepted::Session(login) => {
            if let Some(session) = Box::pin(enter(wing, *login)).await {
                session.run().await;
            }
        }
    }
}

/// Gives a client that is let in its session; `None` if it was turned away, or has been served already.
async fn enter(wing: Arc<Wing>, mut login: Login) -> Option<Box<Session>> {
    let settings = wing.settings();
    if settings.is_admin_database(&login.database) {
        admin::serve(&wing, login).await;
        return None;
    }
    match admit(&wing, &settings, &login).await {
        Ok(admitted) if login.replication.is_some() => {
            replication::serve(&wing, login, admitted).await;
            None
        }
        Ok(admitted) => {
            wing.stats.logins.add(1);
            Some(admitted.session(wing, login))
        }
        Err(fault) => {
            wing.stats.refused.add(1);
            tracing::info!(
                peer = %login.stream.peer(), user = login.user, database = login.database,
                code = fault.code, reason = fault.message, "client refused"
            );
            login.turn_away(&fault).await;
            None
        }
    }
}

impl Login {
    /// Tells a client that has proven who it is why it has to go.
    pub(crate) async fn turn_away(&mut self, fault: &Fault) {
        turn_away(&mut self.stream, std::mem::take(&mut self.owed), fault).await;
    }
}

/// Sends what is owed, and then why the client has to go.
pub(crate) async fn turn_away(stream: &mut Stream, mut owed: Vec<u8>, fault: &Fault) {
    owed.extend_from_slice(&fault.clone().ending().to_bytes());
    let tell = async {
        stream.write_all(&owed).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    drop(tokio::time::timeout(std::time::Duration::from_secs(1), tell).await);
}

/// What a client that is let in gets.
pub(crate) struct Admitted {
    pub(crate) pool: Arc<PgPool>,
    pub(crate) presence: Presence,
    pub(crate) key: Key,
    baseline: Arc<Overrides>,
    greeting: Greeting,
}

async fn admit(wing: &Arc<Wing>, settings: &Settings, login: &Login) -> Result<Admitted, Fault> {
    if wing.drain.is_draining() {
        return Err(Fault::going_down());
    }
    let Some(database) = settings.database(&login.database) else {
        return Err(no_such_database(settings, &login.database));
    };
    let parameters = login.parameters.iter();
    let baseline = Overrides::from_pairs(parameters.map(|(name, value)| (name, value)));
    let baseline = wing.overrides.one(baseline);
    let bounds = Bounds {
        all: Some(settings.postgres.max_clients),
        user: settings
            .users
            .get(&login.user)
            .and_then(|user| user.max_clients),
        database: database.max_clients,
    };
    let presence = wing
        .clients
        .enter(
            Arrival {
                user: login.user.clone(),
                database: login.database.clone(),
                peer: login.stream.peer().to_string(),
                tls: login.stream.is_tls(),
                application_name: baseline
                    .get("application_name")
                    .unwrap_or_default()
                    .to_owned(),
            },
            bounds,
        )
        .map_err(too_many)?;
    let pool = wing
        .pools
        .get(settings, &database, &login.user, wing.shared(), false)
        .map_err(|error| Fault::connect(&error))?;
    pool.connector().learn(&login.credentials);
    let greeting = if login.replication.is_some() {
        Greeting {
            reported: Arc::default(),
        }
    } else {
        greeting(&pool, &baseline).await.inspect_err(|fault| {
            // A name that the server doesn't know must not leave a pool behind.
            if fault.code == "3D000" {
                wing.pools.retain(|other| !std::ptr::eq(other, &*pool));
            }
        })?
    };
    let secret = if login.protocol >= Version::V3_2 {
        LONG_SECRET
    } else {
        SHORT_SECRET
    };
    Ok(Admitted {
        pool,
        presence,
        key: wing.keys.issue(secret),
        baseline,
        greeting,
    })
}

/// What the client is told of its settings: known from a client before, or asked for on a connection that
/// carries them, so that a wrong one fails here and now.
async fn greeting(pool: &Arc<PgPool>, baseline: &Arc<Overrides>) -> Result<Greeting, Fault> {
    let backend = pool.connector();
    if let Some(mut greeting) = backend.greeting(baseline) {
        let name = "application_name";
        if let Some(given) = baseline.get(name)
            && greeting.reported.get(name) != Some(given)
        {
            Arc::make_mut(&mut greeting.reported).set(name, given);
            // Clients of one program come in rows; from the second on they share what they are told.
            backend.remember(baseline, greeting.clone());
        }
        return Ok(greeting);
    }
    let mut lease = pool
        .acquire(baseline)
        .await
        .map_err(|error| Fault::no_upstream(&error))?;
    let asked = async {
        apply(&mut lease, baseline).await?;
        Ok::<_, ExchangeError>(Greeting {
            reported: Arc::clone(&lease.reported),
        })
    };
    match asked.await {
        Ok(greeting) => {
            lease.release();
            backend.remember(baseline, greeting.clone());
            Ok(greeting)
        }
        Err(error) => {
            lease.close();
            Err(Fault::from(&error))
        }
    }
}

impl Admitted {
    pub(crate) fn session(self, wing: Arc<Wing>, login: Login) -> Box<Session> {
        let session_mode = self.pool.settings().mode == PoolMode::Session;
        let drain = wing.drain.clone();
        let to_client = welcome(login.owed, &self.greeting.reported, &self.key);
        self.with_stream(
            wing,
            login.stream,
            login.leftover,
            to_client,
            session_mode,
            &drain,
        )
    }

    fn with_stream(
        self,
        wing: Arc<Wing>,
        client: Stream,
        pending: Vec<u8>,
        to_client: Vec<u8>,
        session_mode: bool,
        drain: &Drain,
    ) -> Box<Session> {
        Box::new(Session {
            wing,
            pool: self.pool,
            client,
            presence: self.presence,
            key: self.key,
            settings: Arc::clone(&self.baseline),
            baseline: self.baseline,
            reported: self.greeting.reported,
            names_now: None,
            handles: Handles::default(),
            portals: Portals::default(),
            held: None,
            replies: Replies::default(),
            refusing: None,
            pending,
            needed: 0,
            passing: 0,
            stalled: false,
            to_upstream: Vec::new(),
            to_client,
            client_holds: false,
            batch: Batch::default(),
            pinned: Pinned::No,
            session_mode,
            clock: Clock::Off,
            silence: None,
            catalog_fault: None,
            going_down: drain.watch(),
        })
    }
}

/// What is owed, AuthenticationOk, ParameterStatus, BackendKeyData, ReadyForQuery.
pub(crate) fn welcome(owed: Vec<u8>, reported: &Reported, key: &Key) -> Vec<u8> {
    let mut out = owed;
    out.reserve_exact(512);
    answer::authentication_ok(&mut out);
    for (name, value) in reported.iter() {
        answer::parameter_status(&mut out, name.as_bytes(), value.as_bytes());
    }
    answer::backend_key_data(&mut out, key.pid, &key.secret);
    answer::ready_for_query(&mut out, Status::Idle);
    out
}

/// Serves a client of our own, which need not prove anything: it is in this process.
pub(crate) async fn serve_control(wing: Arc<Wing>, pool: Arc<PgPool>, mut stream: Stream) {
    let admitted = async {
        let length = stream.read_u32().await.ok()?;
        let length = usize::try_from(length).ok()?.checked_sub(4)?;
        let mut startup = vec![0; length.min(10_000)];
        stream.read_exact(&mut startup).await.ok()?;
        match admit_control(&wing, &pool).await {
            Ok(admitted) => Some(admitted),
            Err(fault) => {
                turn_away(&mut stream, Vec::new(), &fault).await;
                None
            }
        }
    };
    if let Some(admitted) = Box::pin(admitted).await {
        let never = Drain::new();
        let hello = welcome(Vec::new(), &admitted.greeting.reported, &admitted.key);
        let session = admitted.with_stream(wing, stream, Vec::new(), hello, false, &never);
        session.run().await;
    }
}

/// What connections for our own questions are set to, whatever their role or database begins with.
const CONTROL: [(&str, &str); 8] = [
    ("application_name", "twinport"),
    ("client_encoding", "UTF8"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("idle_in_transaction_session_timeout", "0"),
    ("lock_timeout", "10s"),
    ("search_path", "pg_catalog"),
    ("statement_timeout", "0"),
];

/// As [`CONTROL`], from these versions of the server on: to 0.
const NEWER: [(u32, &str); 2] = [
    (140_000, "idle_session_timeout"),
    (170_000, "transaction_timeout"),
];

async fn admit_control(wing: &Arc<Wing>, pool: &Arc<PgPool>) -> Result<Admitted, Fault> {
    let backend = pool.connector();
    let own = wing
        .pools
        .get(
            &wing.settings(),
            backend.settings(),
            backend.user(),
            wing.shared(),
            true,
        )
        .map_err(|error| Fault::connect(&error))?;
    own.connector().learn(&backend.credentials());
    let mut baseline = Arc::new(Overrides::from_pairs(CONTROL));
    let greeting = greeting(&own, &baseline).await?;
    let version = greeting.reported.server_version();
    for (since, name) in NEWER {
        if version >= since {
            let newer = Overrides::from_pairs([(name, "0")]);
            baseline = Arc::new(newer.over(&baseline));
        }
    }
    let presence = wing
        .own
        .enter(Arrival::default(), Bounds::default())
        .map_err(too_many)?;
    Ok(Admitted {
        pool: own,
        presence,
        key: wing.keys.issue(SHORT_SECRET),
        baseline,
        greeting,
    })
}

fn too_many(full: Full) -> Fault {
    let (bound, what, key) = match full {
        Full::All(bound) => (bound, "", "postgres.max_clients"),
        Full::User(bound) => (bound, " of this user", "users.NAME.max_clients"),
        Full::Database(bound) => (bound, " of this database", "databases.NAME.max_clients"),
    };
    Fault::fatal(
        "53300",
        format_args!("too many clients{what}: {bound} are connected"),
    )
    .hint(format_args!("Close connections, or raise {key}."))
}

fn no_such_database(settings: &Settings, name: &str) -> Fault {
    let fault = Fault::fatal(
        "3D000",
        format_args!("database \"{name}\" is not in the settings"),
    );
    let nearest = settings
        .databases
        .keys()
        .map(|known| (jaro_winkler(known, name), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, known)) => fault.hint(format_args!("Did you mean \"{known}\"?")),
        None => fault.hint("Add [databases.NAME] or [databases.\"*\"] to the settings."),
    }
}

impl Secrets for Wing {
    async fn find(&self, user: &str, database: &str) -> Result<Option<Secret>, Unavailable> {
        let settings = self.settings();
        if let Some(credential) = settings
            .users
            .get(user)
            .and_then(|user| user.credential.as_ref())
        {
            return Ok(Some(match credential {
                Credential::Password(password) => Secret::Plain(password.reveal().to_owned()),
                Credential::Scram(verifier) | Credential::Md5(verifier) => {
                    Secret::parse(verifier.reveal())
                }
            }));
        }
        let Some(auth) = &settings.postgres.auth.query else {
            return Ok(None);
        };
        let asked = auth.database.as_deref().unwrap_or(database);
        let key = (asked.to_owned(), user.to_owned());
        if let Some(known) = self.secrets.get(&key) {
            return Ok(known);
        }
        let found = self.ask_for_secret(&settings, auth, asked, user).await?;
        self.secrets.insert(key, found.clone());
        Ok(found)
    }
}

impl Wing {
    async fn ask_for_secret(
        &self,
        settings: &Settings,
        auth: &twinport_config::AuthQuery,
        database: &str,
        user: &str,
    ) -> Result<Option<Secret>, Unavailable> {
        let unavailable = |reason: String| Unavailable {
            code: "58000",
            message: "the login cannot be checked".to_owned(),
            reason: format!("auth_query: {reason}"),
        };
        let Some(target) = settings.database(database) else {
            return Ok(None);
        };
        let asker = auth
            .user
            .as_deref()
            .or(target.upstream.user.as_deref())
            .ok_or_else(|| {
                unavailable("neither auth_user nor a user in the database's URL is set".into())
            })?;
        let pool = self
            .pools
            .get(settings, &target, asker, self.shared(), true)
            .map_err(|error| unavailable(error.to_string()))?;
        if let Some(Credential::Password(password)) = settings
            .users
            .get(asker)
            .and_then(|user| user.credential.as_ref())
        {
            let password = password.reveal().to_owned();
            pool.connector()
                .learn(&crate::auth::Credentials::Password(password));
        }
        let none = Arc::default();
        let mut lease = pool
            .acquire(&none)
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        let rows = async {
            apply(&mut lease, &none).await?;
            lease.ask_with(&auth.sql, &[Some(user.as_bytes())]).await
        };
        match rows.await {
            Ok(rows) => {
                lease.release();
                query::secret(user, &rows)
            }
            Err(error) => {
                lease.close();
                Err(unavailable(error.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F>(_: fn(Arc<Wing>, Stream) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_client_is_small() {
        // A task holds its future about twice; what is rarely needed is on the heap while it is.
        assert!(size_of_future(serve) <= 512, "{}", size_of_future(serve));
        assert!(size_of::<Session>() <= 1024, "{}", size_of::<Session>());
    }
}
