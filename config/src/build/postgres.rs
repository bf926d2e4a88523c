//! `[postgres]`: listening, TLS, authentication.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::build::{MANY, address};
use crate::read::Section;
use crate::settings::{
    Auth, AuthMethod, AuthQuery, ClientTls, DEFAULT_AUTH_QUERY, Postgres, TlsMode,
};
use crate::source::Value;

/// Words of `postgres.tls.mode`.
pub(crate) const TLS_MODES: &[(&str, TlsMode)] = &[
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Allow),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
];

/// Words of `postgres.auth.method`.
pub(crate) const AUTH_METHODS: &[(&str, AuthMethod)] = &[
    ("scram-sha-256", AuthMethod::ScramSha256),
    ("md5", AuthMethod::Md5),
    ("cert", AuthMethod::Cert),
    ("trust", AuthMethod::Trust),
];

const PORT: u16 = 6432;

pub(super) fn postgres(root: &Section<'_>) -> Postgres {
    let section = &root.section("postgres");
    let listen = match is_wanted(root) {
        true => listen(section, PORT),
        false => Vec::new(),
    };
    Postgres {
        listen,
        unix_socket_dir: section.path("unix_socket_dir"),
        max_clients: section.number("max_clients", 1..=MANY).unwrap_or(10_000),
        login_timeout: section
            .duration("login_timeout")
            .unwrap_or(Duration::from_secs(15)),
        max_logins: section.number("max_logins", 1..=MANY).unwrap_or(64),
        client_idle_timeout: section.optional_duration("client_idle_timeout").flatten(),
        idle_transaction_timeout: section
            .optional_duration("idle_transaction_timeout")
            .flatten(),
        tls: tls(&section.section("tls")),
        auth: auth(&section.section("auth")),
    }
}

/// Whether anything is said of this port, or there is anything to reach by it: a database, or the console for an
/// admin. Settings of the MongoDB port alone open no other.
fn is_wanted(root: &Section<'_>) -> bool {
    let users = root.section("users");
    // By what is written: what is wrong with it is told once, elsewhere.
    let is_admin = |name: &String| {
        let admin = users.section(name).item("admin").map(|item| &item.value);
        matches!(admin, Some(Value::Boolean(true)))
            || matches!(admin, Some(Value::Loose(text)) if text == "true")
    };
    !root.has("mongo")
        || root.has("postgres")
        || !root.section("databases").names().is_empty()
        || root.section("admin").has("users")
        || users.names().iter().any(is_admin)
}

/// Reads `listen`; loopback with this port if it isn't set.
pub(super) fn listen(section: &Section<'_>, port: u16) -> Vec<SocketAddr> {
    let Some(texts) = section.texts("listen") else {
        return vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (place, text) in texts {
        let Some(new) = address(section, "listen", &place, &text) else {
            continue;
        };
        if let Some(old) = addresses.iter().find(|old| overlap(**old, new)) {
            section.refuse_at(
                place,
                "listen",
                format!("`{new}` clashes with `{old}`"),
                "remove one of them",
            );
        }
        addresses.push(new);
    }
    addresses
}

/// Whether two addresses can't both be listened on.
pub(crate) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    // Port 0 asks for any free port. [::] takes IPv4 too; 0.0.0.0 only IPv4.
    let covers = |wide: std::net::IpAddr, narrow: std::net::IpAddr| {
        wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    one.port() != 0 && one.port() == other.port() && (a == b || covers(a, b) || covers(b, a))
}

pub(super) fn tls(section: &Section<'_>) -> ClientTls {
    let certificate = section.pem("certificate");
    let key = section.pem("key");
    let client_ca = section.pem("client_ca");
    let default = if section.has("certificate") {
        TlsMode::Allow
    } else {
        TlsMode::Disable
    };
    let mode = section.word("mode", TLS_MODES);
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if section.has(one) && !section.has(other) {
            let hint = format!("set `{other}` to the other PEM file of the pair");
            section.refuse(one, format!("is set without `{other}`"), hint);
        }
    }
    if mode.is_some_and(|mode| mode != TlsMode::Disable)
        && !section.has("certificate")
        && !section.has("key")
    {
        let hint = "set `certificate` and `key` to PEM files beside it";
        section.refuse("mode", "needs a certificate", hint);
    }
    let mode = mode.unwrap_or(default);
    if mode == TlsMode::VerifyCa && !section.has("client_ca") {
        section.refuse(
            "mode",
            "is `verify-ca`, but nobody vouches for clients",
            "set `client_ca` to a PEM file with their authorities",
        );
    }
    if mode == TlsMode::Disable && section.has("client_ca") {
        section.refuse(
            "client_ca",
            "has no effect without TLS",
            "set `certificate` and `key`, and `mode` to allow, require or verify-ca",
        );
    }
    ClientTls {
        mode,
        certificate,
        key,
        client_ca,
    }
}

fn auth(section: &Section<'_>) -> Auth {
    let method = section.word("method", AUTH_METHODS).unwrap_or_default();
    let user = section.text("auth_user");
    let database = section.text("auth_database");
    if !section.has("auth_query") {
        for name in ["auth_user", "auth_database"] {
            if section.has(name) {
                section.refuse(
                    name,
                    "has no effect without `auth_query`",
                    "set auth_query = \"default\"",
                );
            }
        }
    }
    let query = section.text("auth_query").map(|sql| AuthQuery {
        sql: match &*sql {
            "default" => DEFAULT_AUTH_QUERY.to_owned(),
            _ => sql,
        },
        user,
        database,
    });
    if query
        .as_ref()
        .is_some_and(|query| !query.sql.contains("$1"))
    {
        section.refuse(
            "auth_query",
            "does not ask for the user `$1`",
            "write \"default\", or end it with … WHERE rolname = $1; it gives the name and the verifier",
        );
    }
    if section.has("cert_map") && method != AuthMethod::Cert {
        section.refuse(
            "cert_map",
            "has no effect without certificates",
            "set method = \"cert\", or remove it",
        );
    }
    Auth {
        method,
        query,
        cert_map: cert_map(&section.section("cert_map")),
    }
}

pub(super) fn cert_map(section: &Section<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut map = BTreeMap::new();
    for name in section.names() {
        let users = section.texts(&name).unwrap_or_default();
        let users: BTreeSet<String> = users.into_iter().map(|(_, user)| user).collect();
        map.insert(name, users);
    }
    map
}
