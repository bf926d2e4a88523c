//! `[mongo]`: listening, the place of the data, TLS, authentication, limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::build::MANY;
use crate::build::database::{read_url, upstream};
use crate::build::postgres::{cert_map, listen, tls};
use crate::build::relations::relations;
use crate::database::{Database, PoolSettings};
use crate::read::Section;
use crate::settings::{Auth, AuthMethod, Mongo};

const PORT: u16 = 27017;

/// The database that a DocumentDB server keeps its documents in, unless it was set up otherwise.
const DATABASE: &str = "postgres";

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
    let upstream = database(section, pool, databases);
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
        tls: tls(&section.section("tls")),
        auth: auth(&section.section("auth")),
        relations: relations(&section.section("relations")),
        upstream: upstream?,
    })
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
    let upstream = upstream(section, "upstream", DATABASE, url)?;
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
