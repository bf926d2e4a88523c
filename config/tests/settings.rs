//! What good settings amount to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use twinport_config::{
    AuthMethod, Credential, Host, Mongo, PoolMode, Reload, Settings, SslMode, TlsMode, diff,
};

const FULL: &str = r#"
workers = "auto"
[postgres]
listen = "0.0.0.0:6432"
idle_transaction_timeout = "5m"
[postgres.tls]
certificate = "tests/pem/any.pem"
key = "tests/pem/any.pem"
client_ca = "tests/pem/any.pem"
[postgres.auth]
method = "md5"
auth_query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1"
auth_user = "lookup"
[pool]
size = 10
max_age = "off"
[databases.app]
url = "postgres://svc:upstream-secret@h/real?sslmode=require&connect_timeout=3"
pool = { mode = "session" }
settings = { search_path = "", statement_timeout = 5000, geqo = false }
[databases."*"]
url = "postgres:///?host=/run/postgresql&port=5433"
[users.alice]
password = "alice-secret"
pool_size = 3
pool_mode = "session"
[users.bob]
verifier = "md5d3b07384d113edec49eaa6238ad5ff00"
admin = true
[admin]
users = ["alice"]
"#;

fn full() -> Settings {
    Settings::parse(FULL, "full.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// The full settings with one text replaced.
fn changed(from: &str, to: &str) -> Settings {
    assert!(FULL.contains(from));
    Settings::parse(&FULL.replacen(from, to, 1), "changed.toml").unwrap()
}

#[test]
fn a_database_takes_what_pool_says_and_overrides_it() {
    let settings = full();
    let app = settings.database("app").unwrap();
    assert_eq!(app.upstream.database, "real");
    assert_eq!((app.pool.mode, app.pool.size), (PoolMode::Session, 10));
    assert_eq!(app.pool.max_age, None);
    assert_eq!(app.pool.connect_timeout, Duration::from_secs(3));
    assert_eq!(app.upstream.sslmode, SslMode::Require);
    let settings: Vec<_> = app
        .settings
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        settings,
        [
            ("geqo", "off"),
            ("search_path", ""),
            ("statement_timeout", "5000")
        ]
    );
}

#[test]
fn the_wildcard_passes_the_name_on() {
    let settings = full();
    let other = settings.database("other").unwrap();
    assert_eq!(
        (other.name.as_str(), other.upstream.database.as_str()),
        ("other", "other")
    );
    assert_eq!(other.upstream.host, Host::Unix("/run/postgresql".into()));
    assert_eq!(
        (other.upstream.port, other.upstream.sslmode),
        (5433, SslMode::Disable)
    );
    assert!(!settings.databases.contains_key("*"));
    let without = Settings::parse(
        "[databases.app]\nurl = 'postgres://h'\n[users.a]\npassword = 'x'",
        "f",
    );
    let without = without.unwrap();
    assert_eq!(without.database("other"), None);
    assert_eq!(without.database("app").unwrap().upstream.database, "app");
}

#[test]
fn users_bring_their_own_pool_and_rights() {
    let settings = full();
    let app = settings.database("app").unwrap();
    assert_eq!(settings.pool_for(&app, "alice").size, 3);
    assert_eq!(settings.pool_for(&app, "bob").size, 10);
    assert!(settings.is_admin("alice") && settings.is_admin("bob") && !settings.is_admin("eve"));
    assert!(matches!(
        settings.users["bob"].credential,
        Some(Credential::Md5(_))
    ));
    assert!(settings.is_admin_database("twinport") && settings.is_admin_database("pgbouncer"));
    assert!(!settings.is_admin_database("app"));
    assert_eq!(settings.postgres.auth.method, AuthMethod::Md5);
    assert_eq!(settings.postgres.tls.mode, TlsMode::Allow);
}

#[test]
fn secrets_are_never_shown() {
    let settings = full();
    let summary = format!("{settings:?} {settings:#?} {:?}", settings.entries());
    let console: Vec<String> = settings
        .entries()
        .into_iter()
        .map(|entry| format!("{}={} ({})", entry.key, entry.value, entry.default))
        .collect();
    let change = diff(&settings, &changed("upstream-secret", "other-secret"));
    let shown = format!("{summary} {console:?} {change:?}");
    for secret in [
        "upstream-secret",
        "alice-secret",
        "other-secret",
        "d3b07384",
    ] {
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
    assert!(shown.contains("********"));
}

#[test]
fn the_console_lists_every_key() {
    let lines: Vec<String> = full()
        .entries()
        .iter()
        .filter(|entry| entry.key != "workers")
        .map(|entry| {
            let reload = entry.reload.as_str();
            format!(
                "{} | {} | {} | {reload}",
                entry.key, entry.value, entry.default
            )
        })
        .collect();
    insta::assert_snapshot!("console", lines.join("\n"));
}

#[test]
fn nothing_changed_is_an_empty_diff() {
    assert!(diff(&full(), &full()).is_empty());
}

#[test]
fn a_changed_secret_is_a_change() {
    let change = diff(&full(), &changed("upstream-secret", "other-secret"));
    assert_eq!(change.changes.len(), 1);
    assert_eq!(change.changes[0].key, "databases.app.password");
    assert!(change.databases.contains("app"));
}

#[test]
fn pool_reaches_the_databases_that_do_not_override_it() {
    let change = diff(&full(), &changed("size = 10", "size = 11"));
    let keys: Vec<&str> = change
        .changes
        .iter()
        .map(|change| change.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "databases.\"*\".pool.size",
            "databases.app.pool.size",
            "pool.size"
        ]
    );
    let change = diff(
        &full(),
        &changed("size = 10", "size = 10\nmode = 'session'"),
    );
    assert!(!change.databases.contains("app"));
    assert!(change.databases.contains("*"));
}

#[test]
fn what_needs_a_restart_is_told() {
    let change = diff(&full(), &changed("0.0.0.0:6432", "0.0.0.0:6433"));
    let told: Vec<String> = change.needs_restart().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["postgres.listen: 0.0.0.0:6432 -> 0.0.0.0:6433 (needs a restart)"]
    );
    let change = diff(&full(), &changed("pool_size = 3", "pool_size = 4"));
    assert_eq!(change.needs_restart().count(), 0);
    assert_eq!(change.changes[0].reload, Reload::Live);
    assert!(change.users.contains("alice"));
}

#[test]
fn a_removed_database_is_a_change() {
    let start = FULL.find("[databases.\"*\"]").unwrap();
    let end = FULL.find("[users.alice]").unwrap();
    let text = [&FULL[..start], &FULL[end..]].concat();
    let change = diff(&full(), &Settings::parse(&text, "less.toml").unwrap());
    assert_eq!(change.databases.iter().collect::<Vec<_>>(), ["*"]);
}

#[test]
fn risks_are_told() {
    let settings = changed(
        "certificate = \"tests/pem/any.pem\"\nkey = \"tests/pem/any.pem\"\nclient_ca = \"tests/pem/any.pem\"",
        "",
    );
    let keys = |settings: &Settings| -> Vec<String> {
        let cautions = settings.cautions();
        cautions
            .iter()
            .map(|text| text.split(':').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys(&settings), ["postgres.listen", "postgres.auth.method"]);
    assert_eq!(keys(&full()), ["postgres.auth.method"]);
    let plain = changed("sslmode=require", "sslmode=prefer");
    assert_eq!(keys(&plain), ["postgres.auth.method", "databases.app.url"]);
    let local = changed("@h/real?sslmode=require", "@127.0.0.1/real?sslmode=disable");
    assert_eq!(keys(&local), ["postgres.auth.method"]);
    let open = changed("users = [\"alice\"]", "http = \"0.0.0.0:9187\"");
    assert_eq!(keys(&open), ["postgres.auth.method", "admin.http"]);
}

#[test]
fn many_users_are_read_quickly() {
    let users: Vec<String> = (0..20_000)
        .map(|number| format!("[users.u{number}]\npassword = 'p{number}'\npool_size = 2\n"))
        .collect();
    let text = format!("[databases.app]\nurl = 'postgres://h'\n{}", users.concat());
    let start = std::time::Instant::now();
    let settings = Settings::parse(&text, "many.toml").unwrap();
    assert_eq!(settings.users.len(), 20_000);
    // Work that grows with the square of the file takes minutes here.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_mongo_port_shares_the_pools_of_the_same_place() {
    let text = "[databases.app]\nurl = 'postgres://u:p@h/docs'\n[users.a]\npassword = 'x'\n";
    let parse = |upstream: &str| {
        let text = format!("{text}[databases.'*']\nurl = 'postgres://h'\n[mongo]\n{upstream}");
        Settings::parse(&text, "f").unwrap()
    };
    let name = |settings: &Settings| {
        settings
            .mongo
            .as_ref()
            .unwrap()
            .upstream
            .database()
            .unwrap()
            .name
            .clone()
    };
    let shared = parse("upstream = 'postgres://u@h/docs'\npassword = 'p'");
    assert_eq!(name(&shared), "app");
    let own = parse("upstream = 'postgres://u:other@h/docs'");
    assert_eq!(name(&own), Mongo::OWN);
    // Nobody reaches it by its name from the other port, though there is a wildcard.
    assert_eq!(own.database(Mongo::OWN), None);
    assert!(own.pooled(Mongo::OWN).is_some());
    assert!(Settings::parse(text, "f").unwrap().mongo.is_none());
}

#[test]
fn the_mongo_port_needs_no_other() {
    let text = "[postgres]\nlisten = []\n[mongo]\nupstream = 'postgres://u:p@h/docs'\n\
                [users.a]\npassword = 'x'";
    let settings = Settings::parse(text, "f").unwrap();
    assert!(settings.databases.is_empty() && settings.postgres.listen.is_empty());
}

/// What is said of the Postgres port beside a MongoDB port that stands alone, and whether it is open then.
#[test]
fn a_postgres_port_that_nobody_needs_is_not_opened() {
    let mongo = "[mongo]\nupstream = 'postgres://u:p@h/docs'\n[users.a]\npassword = 'x'\n";
    let cases = [
        ("", false),
        ("[postgres]\nmax_clients = 5\n", true),
        ("[postgres]\nlisten = []\n", false),
        ("[postgres]\nlisten = '127.0.0.1:7000'\n", true),
        ("[databases.app]\nurl = 'postgres://u:p@h/app'\n", true),
        ("[admin]\nusers = ['a']\n", true),
        ("[admin]\nhttp = 'off'\n", false),
        ("[users.b]\npassword = 'x'\nadmin = true\n", true),
    ];
    for (more, open) in cases {
        let settings = Settings::parse(&format!("{mongo}{more}"), "f").unwrap();
        assert_eq!(!settings.postgres.listen.is_empty(), open, "{more}");
    }
}

#[test]
fn a_closed_postgres_port_asks_for_no_users() {
    let trust = "[postgres]\nlisten = []\n[mongo]\nupstream = 'postgres://u:p@h/docs'\nauth.method = 'trust'\n";
    assert!(Settings::parse(trust, "f").unwrap().users.is_empty());
    let nameless = format!("{trust}[users.a]\nmax_clients = 3\n");
    assert!(
        Settings::parse(&nameless, "f").is_ok(),
        "no password is asked for"
    );
    // The MongoDB port's own users are still wanted, and their passwords.
    let scram = trust.replace("'trust'", "'scram'");
    let told = Settings::parse(&scram, "f").unwrap_err().to_string();
    assert!(
        told.contains("mongo.auth.method: nobody can log in") && !told.contains("postgres.auth"),
        "{told}"
    );
    let told = Settings::parse(&format!("{scram}[users.a]\nmax_clients = 3\n"), "f");
    let told = told.unwrap_err().to_string();
    assert!(told.contains("users.a: has no password"), "{told}");
    // An admin has no way to the console.
    let admin = format!("{trust}[users.a]\npassword = 'x'\nadmin = true\n");
    let cautions = Settings::parse(&admin, "f").unwrap().cautions();
    assert!(
        cautions
            .iter()
            .any(|caution| caution.contains("a can't reach the admin console")),
        "{cautions:?}"
    );
}
