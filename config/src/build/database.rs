//! `[databases.NAME]` and `[pool]`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::build::{MANY, WILDCARD};
use crate::database::{Database, PoolMode, PoolSettings};
use crate::read::Section;
use crate::source::Value;
use crate::upstream::Upstream;
use crate::upstream::url::{self, Url};

/// Words of `pool.mode`.
pub(crate) const POOL_MODES: &[(&str, PoolMode)] = &[
    ("transaction", PoolMode::Transaction),
    ("session", PoolMode::Session),
];

/// Names that are no server settings, but parts of the startup message.
const NOT_SETTINGS: &[&str] = &["user", "database", "options", "replication"];

/// Reads a pool on top of its defaults.
pub(super) fn pool(section: &Section<'_>, default: &PoolSettings) -> PoolSettings {
    let default = default.clone();
    let time = |name: &str, default: Duration| section.duration(name).unwrap_or(default);
    let optional = |name: &str, default| section.optional_duration(name).unwrap_or(default);
    let pool = PoolSettings {
        mode: section.word("mode", POOL_MODES).unwrap_or(default.mode),
        size: section.number("size", 1..=MANY).unwrap_or(default.size),
        min_idle: section
            .number("min_idle", 0..=MANY)
            .unwrap_or(default.min_idle),
        max_connections: section
            .optional_number("max_connections", 1..=MANY)
            .unwrap_or(default.max_connections),
        wait_timeout: time("wait_timeout", default.wait_timeout),
        connect_timeout: time("connect_timeout", default.connect_timeout),
        idle_timeout: optional("idle_timeout", default.idle_timeout),
        max_age: optional("max_age", default.max_age),
        health_check_interval: optional("health_check_interval", default.health_check_interval),
        prepared_statements: section
            .number("prepared_statements", 1..=65_536)
            .unwrap_or(default.prepared_statements),
        cancel_drain_timeout: time("cancel_drain_timeout", default.cancel_drain_timeout),
    };
    let set = |names: [&'static str; 2]| names.into_iter().find(|name| section.has(name));
    // Where neither is set, `[pool]` has been told already.
    if let Some(name) = set(["min_idle", "size"])
        && pool.min_idle > pool.size
    {
        let message = format!(
            "`min_idle` ({}) is above `size` ({})",
            pool.min_idle, pool.size
        );
        section.refuse(name, message, "raise `size` or lower `min_idle`");
    }
    if let (Some(name), Some(most)) = (set(["min_idle", "max_connections"]), pool.max_connections)
        && pool.min_idle > most
    {
        let message = format!(
            "`min_idle` ({}) is above `max_connections` ({most})",
            pool.min_idle
        );
        section.refuse(name, message, "raise `max_connections` or lower `min_idle`");
    }
    pool
}

/// Reads a database; `None` if it has no usable URL.
pub(super) fn database(
    section: &Section<'_>,
    name: &str,
    default: &PoolSettings,
) -> Option<Database> {
    let mut default = default.clone();
    let url = read_url(section, "url");
    if let Some(seconds) = url.as_ref().and_then(|url| url.connect_timeout) {
        default.connect_timeout = Duration::from_secs(seconds);
    }
    if name.is_empty() {
        section.refuse("", "has an empty name", "name it as clients will");
    }
    let pool = pool(&section.section("pool"), &default);
    let max_clients = section.optional_number("max_clients", 1..=MANY).flatten();
    let settings = server_settings(&section.section("settings"));
    let upstream = upstream(section, "url", name, url);
    Some(Database {
        name: name.to_owned(),
        upstream: upstream?,
        pool,
        max_clients,
        settings,
    })
}

/// Reads a URL, which must be there.
pub(super) fn read_url(section: &Section<'_>, key: &str) -> Option<Url> {
    if !section.has(key) {
        section.refuse(
            "",
            format!("has no `{key}`"),
            format!("set {key} = \"postgres://user:password@host:5432/database\""),
        );
    }
    let text = section.text(key)?;
    match url::parse(&text, section.reader.environment, section.reader.folder) {
        Ok(url) => Some(url),
        Err(fault) => {
            section.refuse(key, fault.message, fault.hint);
            None
        }
    }
}

/// The place that a URL names; `name` is its database's, if it names none.
pub(super) fn upstream(
    section: &Section<'_>,
    url_key: &str,
    name: &str,
    url: Option<Url>,
) -> Option<Upstream> {
    let own = section.secret("password");
    let url = url?;
    let mut password = url.password;
    if let Some((secret, key)) = own {
        if password.is_some() && !section.overrides_file(&key) {
            section.refuse(
                &key,
                format!("is set, but `{url_key}` has a password too"),
                "keep one of them",
            );
        }
        if url.user.is_none() {
            section.refuse(
                &key,
                format!("is set, but `{url_key}` has no user"),
                "write postgres://user@host/…",
            );
        }
        password = Some(secret);
    }
    if name == WILDCARD && url.database.is_some() {
        section.refuse(
            url_key,
            "names a database, but stands for all of them",
            "remove the part after the host: the name that a client asks for is passed on",
        );
    }
    for path in [&url.sslrootcert, &url.sslcert, &url.sslkey]
        .into_iter()
        .flatten()
    {
        if let Err(message) = section.reader.check_pem(path) {
            section.refuse(url_key, message, "name a readable file in PEM form");
        }
    }
    Some(Upstream {
        host: url.host,
        port: url.port,
        database: url.database.unwrap_or_else(|| name.to_owned()),
        user: url.user,
        password,
        sslmode: url.sslmode,
        sslrootcert: url.sslrootcert,
        sslcert: url.sslcert,
        sslkey: url.sslkey,
        sslnegotiation: url.sslnegotiation,
        channel_binding: url.channel_binding,
        application_name: url.application_name,
        options: url.options,
    })
}

fn server_settings(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for name in section.names() {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if NOT_SETTINGS.contains(&name.as_str()) || name.is_empty() || !name.chars().all(allowed) {
            let hint = "name one that SHOW ALL lists, such as search_path or statement_timeout";
            section.refuse(&name, "is not a server setting", hint);
        }
        let value = match section.item(&name).map(|item| &item.value) {
            // Empty is a value too: search_path = "".
            Some(Value::Text(text) | Value::Loose(text)) => text.clone(),
            Some(Value::Integer(number)) => number.to_string(),
            Some(Value::Boolean(true)) => "on".to_owned(),
            Some(Value::Boolean(false)) => "off".to_owned(),
            Some(Value::Table) | None => continue,
            Some(other) => {
                let message = format!("is {}", other.kind());
                section.refuse(&name, message, "write a text, a number or a boolean");
                continue;
            }
        };
        if value.contains('\0') {
            section.refuse(&name, "has a zero byte", "remove it");
        }
        settings.insert(name, value);
    }
    settings
}
