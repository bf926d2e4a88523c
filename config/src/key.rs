//! The list of all keys: one place for the unknown-key check, the console and the reference.

/// What a change of a key needs to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// Nothing: a reload applies it.
    Live,
    /// The process must start again.
    Restart,
}

impl Reload {
    /// The word used in the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
        }
    }
}

/// A key that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its path; a part in capitals stands for any name.
    pub pattern: &'static str,
    /// What it takes, in the reference's words.
    pub kind: &'static str,
    /// Its value if it isn't set, as the console shows it.
    pub default: &'static str,
    /// What a change needs.
    pub reload: Reload,
}

/// Value of a limit that is switched off.
pub(crate) const OFF: &str = "off";

/// Value of a key that isn't set and has no default.
const NONE: &str = "";

const fn live(pattern: &'static str, kind: &'static str, default: &'static str) -> Key {
    Key {
        pattern,
        kind,
        default,
        reload: Reload::Live,
    }
}

const fn restart(pattern: &'static str, kind: &'static str, default: &'static str) -> Key {
    Key {
        pattern,
        kind,
        default,
        reload: Reload::Restart,
    }
}

/// Every key, in the reference's order. `databases.NAME.pool` takes all keys of `pool`.
pub const KEYS: &[Key] = &[
    restart("workers", "number or \"auto\"", "1"),
    live("shutdown_timeout", "duration", "30s"),
    restart("postgres.listen", "list of addresses", "127.0.0.1:6432"),
    restart("postgres.unix_socket_dir", "path", NONE),
    live("postgres.max_clients", "number", "10000"),
    live("postgres.login_timeout", "duration", "15s"),
    live("postgres.max_logins", "number", "64"),
    live("postgres.client_idle_timeout", "duration or \"off\"", OFF),
    live(
        "postgres.idle_transaction_timeout",
        "duration or \"off\"",
        OFF,
    ),
    live("postgres.tls.mode", "word", "disable"),
    live("postgres.tls.certificate", "path", NONE),
    live("postgres.tls.key", "path", NONE),
    live("postgres.tls.client_ca", "path", NONE),
    live("postgres.auth.method", "word", "scram-sha-256"),
    live("postgres.auth.auth_query", "SQL or \"default\"", NONE),
    live("postgres.auth.auth_user", "name", NONE),
    live("postgres.auth.auth_database", "name", NONE),
    live("postgres.auth.cert_map.NAME", "name or list of names", NONE),
    live("pool.mode", "word", "transaction"),
    live("pool.size", "number", "20"),
    live("pool.min_idle", "number", "0"),
    live("pool.max_connections", "number or \"off\"", OFF),
    live("pool.wait_timeout", "duration", "30s"),
    live("pool.connect_timeout", "duration", "5s"),
    live("pool.idle_timeout", "duration or \"off\"", "10m"),
    live("pool.max_age", "duration or \"off\"", "1h"),
    live("pool.health_check_interval", "duration or \"off\"", "30s"),
    live("pool.prepared_statements", "number", "500"),
    live("pool.cancel_drain_timeout", "duration", "5s"),
    live("databases.NAME.url", "URL", NONE),
    live("databases.NAME.password", "secret", NONE),
    live("databases.NAME.password_env", "variable", NONE),
    live("databases.NAME.password_file", "path", NONE),
    live("databases.NAME.max_clients", "number or \"off\"", OFF),
    live("databases.NAME.pool", "keys of `pool`", NONE),
    live(
        "databases.NAME.settings.NAME",
        "text, number or boolean",
        NONE,
    ),
    live("users.NAME.password", "secret", NONE),
    live("users.NAME.password_env", "variable", NONE),
    live("users.NAME.password_file", "path", NONE),
    live("users.NAME.verifier", "secret", NONE),
    live("users.NAME.verifier_env", "variable", NONE),
    live("users.NAME.verifier_file", "path", NONE),
    live("users.NAME.max_clients", "number or \"off\"", OFF),
    live("users.NAME.pool_size", "number or \"off\"", OFF),
    live("users.NAME.pool_mode", "word", NONE),
    live("users.NAME.admin", "boolean", "false"),
    live("admin.database", "name", "twinport"),
    restart("admin.http", "address or \"off\"", "127.0.0.1:9187"),
    live("admin.users", "list of names", ""),
    live("log.level", "word or directives", "info"),
    restart("log.format", "word", "text"),
    restart("mongo.listen", "list of addresses", "127.0.0.1:27017"),
    live("mongo.upstream", "URL", NONE),
    live("mongo.password", "secret", NONE),
    live("mongo.password_env", "variable", NONE),
    live("mongo.password_file", "path", NONE),
    live("mongo.replica_set", "name", NONE),
    live("mongo.advertise", "host and port", NONE),
    live("mongo.await_connections", "number", "100"),
    live("mongo.max_clients", "number", "10000"),
    live("mongo.login_timeout", "duration", "15s"),
    live("mongo.max_logins", "number", "64"),
    live("mongo.client_idle_timeout", "duration or \"off\"", OFF),
    live(
        "mongo.idle_transaction_timeout",
        "duration or \"off\"",
        "1m",
    ),
    live("mongo.cursor_timeout", "duration or \"off\"", "10m"),
    live("mongo.max_cursors", "number", "10000"),
    live("mongo.group_finds", "duration or \"off\"", "1ms"),
    live("mongo.test_commands", "boolean", "false"),
    live("mongo.tls.mode", "word", "disable"),
    live("mongo.tls.certificate", "path", NONE),
    live("mongo.tls.key", "path", NONE),
    live("mongo.tls.client_ca", "path", NONE),
    live("mongo.auth.method", "word", "scram"),
    live("mongo.auth.cert_map.NAME", "name or list of names", NONE),
    live("mongo.relations.NAME.NAME.target", "name", NONE),
    live("mongo.relations.NAME.NAME.kind", "word", NONE),
    live("mongo.relations.NAME.NAME.local", "path of a field", "_id"),
    live(
        "mongo.relations.NAME.NAME.foreign",
        "path of a field",
        "_id",
    ),
    live("mongo.relations.NAME.NAME.through", "name", NONE),
    live(
        "mongo.relations.NAME.NAME.through_local",
        "path of a field",
        NONE,
    ),
    live(
        "mongo.relations.NAME.NAME.through_foreign",
        "path of a field",
        NONE,
    ),
];

/// What a path is among the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A key with a value.
    Key(&'static Key),
    /// A table on the way to keys.
    Section,
    /// Neither.
    Unknown,
}

/// Finds a path among the keys. A database's pool is looked up as `[pool]`.
pub(crate) fn standing(path: &[String]) -> Standing {
    if let [databases, _, pool, rest @ ..] = path
        && databases == "databases"
        && pool == "pool"
    {
        let path: Vec<String> = std::iter::once(pool).chain(rest).cloned().collect();
        return standing(&path);
    }
    let mut found = Standing::Unknown;
    for key in KEYS {
        let mut parts = key.pattern.split('.');
        let mut fit = |name: &String| parts.next().is_some_and(|part| stands_for(part, name));
        let fits = path.iter().all(&mut fit);
        if fits && parts.next().is_none() {
            return Standing::Key(key);
        }
        if fits {
            found = Standing::Section;
        }
    }
    found
}

/// The names that may follow a section's path; `None`: any name may.
pub(crate) fn children(section: &[String]) -> Option<Vec<&'static str>> {
    let pool = ["pool".to_owned()];
    let section = match section {
        [databases, _, pool_part] if databases == "databases" && pool_part == "pool" => &pool[..],
        other => other,
    };
    let mut names = Vec::new();
    for key in KEYS {
        let mut parts = key.pattern.split('.');
        let fits = section
            .iter()
            .all(|name| parts.next().is_some_and(|part| stands_for(part, name)));
        match parts.next() {
            Some("NAME") if fits => return None,
            Some(part) if fits && !names.contains(&part) => names.push(part),
            _ => {}
        }
    }
    Some(names)
}

/// A path as it is written in the file.
pub(crate) fn display(path: &[String]) -> String {
    let parts: Vec<String> = path.iter().map(|part| quote(part)).collect();
    parts.join(".")
}

/// Splits what [`display`] joins.
pub(crate) fn split(text: &str) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if part.is_empty() {
            return None;
        }
        path.push(part.to_owned());
        if after.is_empty() {
            return Some(path);
        }
        rest = after.strip_prefix('.')?;
    }
}

fn stands_for(part: &str, name: &str) -> bool {
    part == "NAME" || part == name
}

fn quote(part: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !part.is_empty() && part.chars().all(bare) {
        part.to_owned()
    } else {
        format!("{part:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        split(text).unwrap()
    }

    #[test]
    fn paths_are_found() {
        let key = |text: &str| match standing(&path(text)) {
            Standing::Key(key) => key.pattern,
            Standing::Section => "section",
            Standing::Unknown => "unknown",
        };
        assert_eq!(key("pool.size"), "pool.size");
        assert_eq!(key("databases.\"*\".pool.size"), "pool.size");
        assert_eq!(
            key("databases.app.settings.search_path"),
            "databases.NAME.settings.NAME"
        );
        assert_eq!(key("databases.app.pool"), "section");
        assert_eq!(key("databases.app"), "section");
        assert_eq!(key("pool.size.more"), "unknown");
        assert_eq!(key("databases.app.pool.sise"), "unknown");
    }

    #[test]
    fn a_quoted_path_survives() {
        assert_eq!(
            display(&path("databases.\"my.db\".url")),
            "databases.\"my.db\".url"
        );
        assert_eq!(split("pool..size"), None);
    }
}
