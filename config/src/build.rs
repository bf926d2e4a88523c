//! From what was set to [`Settings`]: one function per table, defaults filled in.

mod admin;
mod database;
mod mongo;
mod postgres;
mod relations;
mod user;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Place;
use crate::read::{Reader, Section};
use crate::{Database, Settings};

pub(crate) use database::POOL_MODES;
pub(crate) use mongo::METHODS as MONGO_METHODS;
pub(crate) use postgres::{AUTH_METHODS, TLS_MODES, overlap};
pub(crate) use relations::{KINDS, relations};

/// Counts above this are mistakes.
const MANY: usize = 1_000_000;

/// Name of the pattern for every database that has no entry.
pub(crate) const WILDCARD: &str = "*";

/// Builds all settings. What is refused is noted in the reader and replaced by its default.
pub(crate) fn settings(reader: &Reader<'_>) -> Settings {
    let root = reader.root();
    let pool = database::pool(&root.section("pool"), &crate::PoolSettings::default());
    let mut databases: BTreeMap<String, Arc<Database>> = BTreeMap::new();
    let section = root.section("databases");
    for name in section.names() {
        if let Some(database) = database::database(&section.section(&name), &name, &pool) {
            databases.insert(name, Arc::new(database));
        }
    }
    let users = root.section("users");
    let users = users
        .names()
        .into_iter()
        .map(|name| (name.clone(), user::user(&users.section(&name), &name)))
        .collect();
    let mongo = mongo::mongo(&root, &pool, &databases);
    Settings {
        workers: workers(&root),
        shutdown_timeout: root
            .duration("shutdown_timeout")
            .unwrap_or(Duration::from_secs(30)),
        postgres: postgres::postgres(&root),
        mongo,
        pool,
        wildcard: databases.remove(WILDCARD),
        databases,
        users,
        admin: admin::admin(&root.section("admin")),
        log: admin::log(&root.section("log")),
        files: Vec::new(),
    }
}

fn workers(root: &Section<'_>) -> usize {
    let auto = root.item("workers").is_some_and(|item| {
        matches!(&item.value, crate::source::Value::Text(text) | crate::source::Value::Loose(text) if text == "auto")
    });
    if auto {
        return std::thread::available_parallelism().map_or(1, usize::from);
    }
    root.number("workers", 1..=1024).unwrap_or(1)
}

/// Reads an address; `localhost` is the only name.
fn address(section: &Section<'_>, name: &str, place: &Place, text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let local = text
        .strip_prefix("localhost:")
        .and_then(|port| port.parse().ok());
    if let Some(port) = local {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    section.refuse_at(
        place.clone(),
        name,
        format!("`{text}` is not an address"),
        "write an IP address and a port, such as 127.0.0.1:6432, 0.0.0.0:6432 (every IPv4 \
         address) or [::]:6432 (every address)",
    );
    None
}
