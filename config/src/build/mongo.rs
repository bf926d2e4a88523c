//! `[mongo]`: listening, the place of the data, TLS, authentication, limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::build::MANY;
use crate::build::database::{read_url, upstream as postgres_upstream};
use crate::build::postgres::{cert_map, listen, tls};
use crate::build::relations::relations;
use crate::database::{Database, PoolSettings};
use crate::deployment::url;
use crate::read::Section;
use crate::settings::{Auth, AuthMethod, Mask, Mongo};
use crate::source::Value;
use crate::{Deployment, DeploymentLogin, HostPort, Mechanism, MongoUpstream};

const PORT: u16 = 27017;

/// The database that a DocumentDB server keeps its documents in, unless it was set up otherwise.
const DATABASE: &str = "postgres";

/// Connections to a server for those who wait for data, if nothing is said.
const AWAITING: usize = 100;

/// Words of `mongo.auth.method`.
pub(crate) const METHODS: &[(&str, AuthMethod)] = &[
    ("scram", AuthMethod::ScramSha256),
    ("cert", AuthMethod::Cert),
    ("trust", AuthMethod::Trust),
];

/// Reads the section, if it is there.
pub(super) fn mongo(
    root: &Section<'_>,
    pool: &PoolSettings,
    databases: &BTreeMap<String, Arc<Database>>,
) -> Option<Mongo> {
    if !root.has("mongo") {
        return None;
    }
    let section = &root.section("mongo");
    let time = |name: &str, default| section.optional_duration(name).unwrap_or(Some(default));
    let listen = listen(section, PORT);
    let upstream = upstream(section, pool, databases);
    Some(Mongo {
        listen,
        max_clients: section.number("max_clients", 1..=MANY).unwrap_or(10_000),
        login_timeout: section
            .duration("login_timeout")
            .unwrap_or(Duration::from_secs(15)),
        max_logins: section.number("max_logins", 1..=MANY).unwrap_or(64),
        client_idle_timeout: section.optional_duration("client_idle_timeout").flatten(),
        idle_transaction_timeout: time("idle_transaction_timeout", Duration::from_secs(60)),
        cursor_timeout: time("cursor_timeout", Duration::from_secs(600)),
        max_cursors: section.number("max_cursors", 1..=MANY).unwrap_or(10_000),
        group_finds: time("group_finds", Duration::from_millis(1)),
        test_commands: section.boolean("test_commands").unwrap_or_default(),
        tls: tls(&section.section("tls")),
        auth: auth(&section.section("auth")),
        relations: relations(&section.section("relations")),
        mask: mask(section),
        upstream: upstream?,
    })
}

/// MongoDB's servers, or a Postgres.
fn upstream(
    section: &Section<'_>,
    pool: &PoolSettings,
    databases: &BTreeMap<String, Arc<Database>>,
) -> Option<MongoUpstream> {
    let environment = section.reader.environment;
    let text = section.item("upstream").and_then(|item| match &item.value {
        Value::Text(text) | Value::Loose(text) => Some(text),
        _ => None,
    });
    if text.is_some_and(|text| url::is_mongo(text, environment)) {
        let deployment = deployment(section, pool)?;
        return Some(MongoUpstream::Deployment(Arc::new(deployment)));
    }
    if section.has("await_connections") {
        section.refuse(
            "await_connections",
            "has no effect with Postgres as the upstream",
            "remove it, or name MongoDB by a mongodb:// URL",
        );
    }
    database(section, pool, databases).map(MongoUpstream::Postgres)
}

fn deployment(section: &Section<'_>, pool: &PoolSettings) -> Option<Deployment> {
    let (reader, text) = (section.reader, section.text("upstream")?);
    let waiting = section.number("await_connections", 1..=MANY);
    let own = section.secret("password");
    let parsed = url::parse(&text, reader.environment, reader.folder, pool);
    let mut deployment = match parsed {
        Ok(deployment) => deployment,
        Err(fault) => {
            section.refuse("upstream", fault.message, fault.hint);
            return None;
        }
    };
    deployment.await_connections = waiting.unwrap_or(AWAITING);
    if let Some((secret, key)) = own {
        match &mut deployment.login {
            None => section.refuse(
                &key,
                "is set, but `upstream` has no user",
                "write mongodb://user@host/…",
            ),
            Some(login) if login.password.is_some() && !section.overrides_file(&key) => section
                .refuse(
                    &key,
                    "is set, but `upstream` has a password too",
                    "keep one of them",
                ),
            Some(login) => login.password = Some(secret),
        }
    }
    let wants = |login: &DeploymentLogin| login.mechanism != Some(Mechanism::X509);
    let login = deployment.login.as_ref().filter(|login| wants(login));
    if login.is_some_and(|login| login.password.is_none()) {
        section.refuse(
            "upstream",
            "has a user but no password",
            "write mongodb://user:password@host/…, or set `password`, `password_env` or `password_file`",
        );
    }
    for path in [&deployment.tls_ca, &deployment.tls_certificate]
        .into_iter()
        .flatten()
    {
        if let Err(message) = reader.check_pem(path) {
            section.refuse("upstream", message, "name a readable file in PEM form");
        }
    }
    Some(deployment)
}

/// What clients see that ask for a replica set: both keys or none.
fn mask(section: &Section<'_>) -> Option<Mask> {
    let (set, address) = (section.text("replica_set"), section.text("advertise"));
    let address = match &address {
        Some(text) => {
            let address = HostPort::parse(text).filter(|_| !text.contains([' ', '/', '@']));
            if address.is_none() {
                section.refuse(
                    "advertise",
                    "is not a host and a port",
                    "write the address by which clients reach this port, such as db.example.com:27017",
                );
            }
            address
        }
        None => None,
    };
    let (missing, present) = match (section.has("replica_set"), section.has("advertise")) {
        (true, false) => ("advertise", "replica_set"),
        (false, true) => ("replica_set", "advertise"),
        _ => {
            return Some(Mask {
                set: set?,
                address: address?,
            });
        }
    };
    section.refuse(
        present,
        format!("is set without `{missing}`"),
        "a replica set needs a name and the address by which clients reach this port",
    );
    None
}

/// The database of the settings that is the same place, or one of our own.
fn database(
    section: &Section<'_>,
    pool: &PoolSettings,
    databases: &BTreeMap<String, Arc<Database>>,
) -> Option<Arc<Database>> {
    let mut pool = pool.clone();
    let url = read_url(section, "upstream");
    if let Some(seconds) = url.as_ref().and_then(|url| url.connect_timeout) {
        pool.connect_timeout = Duration::from_secs(seconds);
    }
    let upstream = postgres_upstream(section, "upstream", DATABASE, url)?;
    if let Some(same) = databases.values().find(|known| known.upstream == upstream) {
        return Some(Arc::clone(same));
    }
    Some(Arc::new(Database {
        name: Mongo::OWN.to_owned(),
        upstream,
        pool,
        max_clients: None,
        settings: BTreeMap::new(),
    }))
}

fn auth(section: &Section<'_>) -> Auth {
    let method = section.word("method", METHODS).unwrap_or_default();
    if section.has("cert_map") && method != AuthMethod::Cert {
        section.refuse(
            "cert_map",
            "has no effect without certificates",
            "set method = \"cert\", or remove it",
        );
    }
    Auth {
        method,
        query: None,
        cert_map: cert_map(&section.section("cert_map")),
    }
}
