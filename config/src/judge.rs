//! What each key allows on its own, but not together with others.

mod mongo;

use crate::build::{WILDCARD, overlap};
use crate::read::Section;
use crate::settings::{AuthMethod, Credential, Settings, TlsMode};
use crate::source::Value;

/// Longest path of a Unix socket on every system we run on.
const SOCKET_PATH: usize = 103;

/// Notes every combination that can't work or isn't safe.
pub(crate) fn judge(root: &Section<'_>, settings: &Settings) {
    places(root, settings);
    mongo::judge(root, settings);
    if is_open(root, settings) {
        proofs(root, settings);
    }
    users(root, settings);
    auth_query(root, settings);
    admin(root, settings);
}

fn places(root: &Section<'_>, settings: &Settings) {
    let table = root
        .item("databases")
        .is_none_or(|item| item.value == Value::Table);
    // The MongoDB port has its data elsewhere.
    let needed = table && !root.has("mongo");
    if needed && root.section("databases").names().is_empty() {
        root.refuse(
            "databases",
            "there is no database to serve",
            "add [databases.NAME] with url = \"postgres://host/database\", or [databases.\"*\"] \
             for every name",
        );
    }
    let section = root.section("postgres");
    let postgres = &settings.postgres;
    // An address that was refused has been told; it isn't missing.
    let wanted = section
        .texts("listen")
        .is_none_or(|texts| !texts.is_empty());
    match &postgres.unix_socket_dir {
        None if !wanted && !root.has("mongo") => section.refuse(
            "listen",
            "is empty, and there is no Unix socket",
            "add an address, or set `unix_socket_dir`",
        ),
        Some(folder) if folder.as_os_str().len() + "/.s.PGSQL.65535".len() > SOCKET_PATH => section
            .refuse(
                "unix_socket_dir",
                "is too long for a Unix socket",
                "systems allow about 100 bytes; name a shorter folder",
            ),
        _ => {}
    }
    if let Some(http) = settings.admin.http
        && let Some(listen) = postgres
            .listen
            .iter()
            .find(|listen| overlap(**listen, http))
    {
        root.section("admin").refuse(
            "http",
            format!("`{http}` is taken by `{listen}` of `postgres.listen`"),
            "choose another port, or \"off\"",
        );
    }
}

/// Whether there is a Postgres port at all. An address that was refused has been told; it isn't missing.
fn is_open(root: &Section<'_>, settings: &Settings) -> bool {
    let postgres = &settings.postgres;
    let named = root.section("postgres").texts("listen");
    let listens = named.map_or(!postgres.listen.is_empty(), |texts| !texts.is_empty());
    !root.has("mongo") || listens || postgres.unix_socket_dir.is_some()
}

fn proofs(root: &Section<'_>, settings: &Settings) {
    let section = root.section("postgres").section("auth");
    let postgres = &settings.postgres;
    match postgres.auth.method {
        AuthMethod::Trust => {
            let open = postgres
                .listen
                .iter()
                .find(|listen| !listen.ip().is_loopback());
            if let Some(open) = open {
                section.refuse(
                    "method",
                    format!("`trust` lets everybody in who reaches `{open}`"),
                    "listen on 127.0.0.1, [::1] or a Unix socket only, or use scram-sha-256",
                );
            }
        }
        AuthMethod::Cert => {
            let tls = root.section("postgres").section("tls");
            if !tls.has("client_ca") {
                section.refuse(
                    "method",
                    "`cert` needs to know whose certificates are good",
                    "set postgres.tls.client_ca to a PEM file with their authorities",
                );
            } else if postgres.tls.mode == TlsMode::Allow {
                section.refuse(
                    "method",
                    "`cert` can't work for clients without TLS",
                    "set postgres.tls.mode to require or verify-ca",
                );
            }
        }
        AuthMethod::ScramSha256 | AuthMethod::Md5 => {
            if root.section("users").names().is_empty() && !section.has("auth_query") {
                section.refuse(
                    "method",
                    "nobody can log in: no user is known",
                    "add [users.NAME] with a password or verifier, or set `auth_query`",
                );
            }
        }
    }
}

/// Whether a port is open where users show that they know a password.
fn asks_for_password(root: &Section<'_>, settings: &Settings) -> bool {
    let asks = |method| matches!(method, AuthMethod::ScramSha256 | AuthMethod::Md5);
    let mongo = settings.mongo.as_ref();
    is_open(root, settings) && asks(settings.postgres.auth.method)
        || mongo.is_some_and(|mongo| asks(mongo.auth.method))
}

fn users(root: &Section<'_>, settings: &Settings) {
    let section = root.section("users");
    let open = is_open(root, settings);
    let asked = asks_for_password(root, settings);
    let queried = open && root.section("postgres").section("auth").has("auth_query");
    for (name, user) in &settings.users {
        let section = section.section(name);
        let set = section.names();
        let secret = set
            .iter()
            .find(|key| key.starts_with("password") || key.starts_with("verifier"));
        match (&user.credential, secret) {
            (None, None) if asked && !queried => section.refuse(
                "",
                "has no password, so it can't log in",
                "set password, password_env, password_file or verifier",
            ),
            (Some(Credential::Md5(_)), Some(key))
                if open && settings.postgres.auth.method == AuthMethod::ScramSha256 =>
            {
                section.refuse(
                    key,
                    "is an md5 verifier, but postgres.auth.method is scram-sha-256",
                    "set the password again on the server (it then gives a SCRAM verifier), or \
                     set method = \"md5\"",
                );
            }
            _ => {}
        }
    }
}

fn auth_query(root: &Section<'_>, settings: &Settings) {
    let section = root.section("postgres").section("auth");
    let Some(query) = &settings.postgres.auth.query else {
        return;
    };
    let databases = root.section("databases");
    if let Some(name) = &query.database {
        // By what is written: a database with a bad URL has been told.
        if !databases.has(name) && !databases.has(WILDCARD) {
            let known = databases.names();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            section.refuse(
                "auth_database",
                format!("there is no database `{name}`"),
                crate::read::choice(name, &known),
            );
        }
    }
    if query.user.is_some() {
        return;
    }
    let asked = |name: &str| query.database.as_deref().is_none_or(|only| only == name);
    let all = settings.databases.values().chain(&settings.wildcard);
    for database in all {
        if asked(&database.name) && database.upstream.user.is_none() {
            let url = databases.section(&database.name);
            section.refuse(
                "auth_query",
                format!(
                    "has nobody to run it: {} names no user",
                    crate::key::display(&url.child("url"))
                ),
                "set `auth_user`, or write postgres://user:password@host/… there",
            );
        }
    }
}

fn admin(root: &Section<'_>, settings: &Settings) {
    let section = root.section("admin");
    let name = &settings.admin.database;
    if root.section("databases").has(name) {
        section.refuse(
            "database",
            format!("`{name}` is also in [databases]"),
            "choose another name for the console",
        );
    }
    let queried = root.section("postgres").section("auth").has("auth_query");
    let asked = asks_for_password(root, settings);
    for user in &settings.admin.users {
        if asked && !queried && !settings.users.contains_key(user) {
            let known: Vec<&str> = settings.users.keys().map(String::as_str).collect();
            let near = crate::nearest::nearest(user, &known)
                .map_or(String::new(), |near| format!("did you mean `{near}`? or "));
            section.refuse(
                "users",
                format!("there is no user `{user}`"),
                format!("{near}add [users.{user}] with a password or verifier"),
            );
        }
    }
}
