//! Settings as a list of keys and values: for the console's `SHOW CONFIG` and for comparison.

use std::fmt::Display;
use std::time::Duration;

use crate::MongoUpstream;
use crate::build::{AUTH_METHODS, KINDS, MONGO_METHODS, POOL_MODES, TLS_MODES, WILDCARD};
use crate::database::{Database, PoolSettings};
use crate::key::{self, OFF, Reload, Standing};
use crate::read::show_duration;
use crate::relation::MongoRelation;
use crate::secret::{MASK, Secret};
use crate::settings::{Credential, LogFormat, Settings, User};
use crate::upstream::text::name_of;

/// One key and its value. Secrets are masked, but count when two entries are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key's path, such as `databases.app.pool.size`.
    pub key: String,
    /// Its value as text; `off` for a limit that is off, empty if there is none.
    pub value: String,
    /// What it would be if it weren't set.
    pub default: String,
    /// What a change of it needs.
    pub reload: Reload,
    secret: Option<Secret>,
}

impl Settings {
    /// Every key that has a value, in the reference's order. Keys of databases and users are
    /// listed once per name.
    pub fn entries(&self) -> Vec<Entry> {
        let mut list = List::default();
        list.add("workers", self.workers);
        list.add("shutdown_timeout", show_duration(self.shutdown_timeout));
        self.postgres_entries(&mut list);
        self.mongo_entries(&mut list);
        for (name, value, _) in pool_values(&self.pool, &PoolSettings::default()) {
            list.add(&format!("pool.{name}"), value);
        }
        for database in self.databases.values().chain(&self.wildcard) {
            database_entries(database, &self.pool, &mut list);
        }
        for user in self.users.values() {
            user_entries(user, &mut list);
        }
        list.add("admin.database", &self.admin.database);
        list.add("admin.http", optional(self.admin.http));
        list.add("admin.users", join(&self.admin.users));
        list.add("log.level", &self.log.level);
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        list.add("log.format", name_of(&self.log.format, &formats));
        list.0
    }

    fn postgres_entries(&self, list: &mut List) {
        let postgres = &self.postgres;
        let (tls, auth) = (&postgres.tls, &postgres.auth);
        let path =
            |path: &Option<std::path::PathBuf>| text(path.as_ref().map(|path| path.display()));
        list.add("postgres.listen", join(&postgres.listen));
        list.add("postgres.unix_socket_dir", path(&postgres.unix_socket_dir));
        list.add("postgres.max_clients", postgres.max_clients);
        list.add(
            "postgres.login_timeout",
            show_duration(postgres.login_timeout),
        );
        list.add("postgres.max_logins", postgres.max_logins);
        list.add(
            "postgres.client_idle_timeout",
            time(postgres.client_idle_timeout),
        );
        list.add(
            "postgres.idle_transaction_timeout",
            time(postgres.idle_transaction_timeout),
        );
        list.add("postgres.tls.mode", name_of(&tls.mode, TLS_MODES));
        list.add("postgres.tls.certificate", path(&tls.certificate));
        list.add("postgres.tls.key", path(&tls.key));
        list.add("postgres.tls.client_ca", path(&tls.client_ca));
        list.add("postgres.auth.method", name_of(&auth.method, AUTH_METHODS));
        let query = auth.query.as_ref();
        list.add("postgres.auth.auth_query", text(query.map(|q| &q.sql)));
        list.add(
            "postgres.auth.auth_user",
            text(query.and_then(|q| q.user.as_ref())),
        );
        list.add(
            "postgres.auth.auth_database",
            text(query.and_then(|q| q.database.as_ref())),
        );
        for (name, users) in &auth.cert_map {
            let path = ["postgres", "auth", "cert_map", name].map(str::to_owned);
            list.add_path(&path, join(users));
        }
    }
}

impl Settings {
    fn mongo_entries(&self, list: &mut List) {
        let Some(mongo) = &self.mongo else {
            return;
        };
        let path =
            |path: &Option<std::path::PathBuf>| text(path.as_ref().map(|path| path.display()));
        list.add("mongo.listen", join(&mongo.listen));
        list.add("mongo.upstream", &mongo.upstream);
        let (password, waiting) = match &mongo.upstream {
            MongoUpstream::Postgres(database) => (database.upstream.password.as_ref(), None),
            MongoUpstream::Deployment(deployment) => {
                let login = deployment.login.as_ref();
                let password = login.and_then(|login| login.password.as_ref());
                (password, Some(deployment.await_connections))
            }
        };
        if let Some(password) = password {
            list.add_secret(&["mongo", "password"].map(str::to_owned), password);
        }
        if let Some(waiting) = waiting {
            list.add("mongo.await_connections", waiting);
        }
        if let Some(mask) = &mongo.mask {
            list.add("mongo.replica_set", &mask.set);
            list.add("mongo.advertise", &mask.address);
        }
        list.add("mongo.max_clients", mongo.max_clients);
        list.add("mongo.login_timeout", show_duration(mongo.login_timeout));
        list.add("mongo.max_logins", mongo.max_logins);
        list.add("mongo.client_idle_timeout", time(mongo.client_idle_timeout));
        list.add(
            "mongo.idle_transaction_timeout",
            time(mongo.idle_transaction_timeout),
        );
        list.add("mongo.cursor_timeout", time(mongo.cursor_timeout));
        list.add("mongo.max_cursors", mongo.max_cursors);
        list.add("mongo.group_finds", time(mongo.group_finds));
        list.add("mongo.test_commands", mongo.test_commands);
        list.add("mongo.tls.mode", name_of(&mongo.tls.mode, TLS_MODES));
        list.add("mongo.tls.certificate", path(&mongo.tls.certificate));
        list.add("mongo.tls.key", path(&mongo.tls.key));
        list.add("mongo.tls.client_ca", path(&mongo.tls.client_ca));
        let method = name_of(&mongo.auth.method, MONGO_METHODS);
        list.add("mongo.auth.method", method);
        for (name, users) in &mongo.auth.cert_map {
            let path = ["mongo", "auth", "cert_map", name].map(str::to_owned);
            list.add_path(&path, join(users));
        }
        for relation in &mongo.relations {
            relation_entries(relation, list);
        }
    }
}

fn relation_entries(relation: &MongoRelation, list: &mut List) {
    let mut add = |name: &str, value: &str| {
        let path = [
            "mongo",
            "relations",
            &relation.collection,
            &relation.name,
            name,
        ];
        list.add_path(&path.map(str::to_owned), value);
    };
    add("target", &relation.target);
    add("kind", name_of(&relation.many, KINDS));
    add("local", &relation.local);
    add("foreign", &relation.foreign);
    if let Some(through) = &relation.through {
        add("through", &through.collection);
        add("through_local", &through.local);
        add("through_foreign", &through.foreign);
    }
}

fn database_entries(database: &Database, default: &PoolSettings, list: &mut List) {
    let path = |rest: &[&str]| {
        let parts = ["databases", &database.name]
            .into_iter()
            .chain(rest.iter().copied());
        parts.map(str::to_owned).collect::<Vec<String>>()
    };
    let mut url = database.upstream.to_string();
    if database.name == WILDCARD {
        url = url.replacen("/*", "/", 1);
    }
    list.add_path(&path(&["url"]), url);
    if let Some(password) = &database.upstream.password {
        list.add_secret(&path(&["password"]), password);
    }
    list.add_path(&path(&["max_clients"]), optional(database.max_clients));
    for (name, value, default) in pool_values(&database.pool, default) {
        list.add_path(&path(&["pool", name]), value);
        // Here, the default is what `[pool]` says.
        if let Some(entry) = list.0.last_mut() {
            entry.default = default;
        }
    }
    for (name, value) in &database.settings {
        list.add_path(&path(&["settings", name]), value);
    }
}

fn user_entries(user: &User, list: &mut List) {
    let path = |key: &str| ["users", &user.name, key].map(str::to_owned);
    match &user.credential {
        Some(Credential::Password(secret)) => list.add_secret(&path("password"), secret),
        Some(Credential::Scram(secret) | Credential::Md5(secret)) => {
            list.add_secret(&path("verifier"), secret);
        }
        None => {}
    }
    list.add_path(&path("max_clients"), optional(user.max_clients));
    list.add_path(&path("pool_size"), optional(user.pool_size));
    let mode = user.pool_mode.map(|mode| name_of(&mode, POOL_MODES));
    list.add_path(&path("pool_mode"), text(mode));
    list.add_path(&path("admin"), user.admin);
}

/// A pool's keys, each with its value and its default.
fn pool_values(
    pool: &PoolSettings,
    default: &PoolSettings,
) -> [(&'static str, String, String); 11] {
    let both = |name, show: &dyn Fn(&PoolSettings) -> String| (name, show(pool), show(default));
    [
        both("mode", &|p| name_of(&p.mode, POOL_MODES).to_owned()),
        both("size", &|p| p.size.to_string()),
        both("min_idle", &|p| p.min_idle.to_string()),
        both("max_connections", &|p| optional(p.max_connections)),
        both("wait_timeout", &|p| show_duration(p.wait_timeout)),
        both("connect_timeout", &|p| show_duration(p.connect_timeout)),
        both("idle_timeout", &|p| time(p.idle_timeout)),
        both("max_age", &|p| time(p.max_age)),
        both("health_check_interval", &|p| time(p.health_check_interval)),
        both("prepared_statements", &|p| {
            p.prepared_statements.to_string()
        }),
        both("cancel_drain_timeout", &|p| {
            show_duration(p.cancel_drain_timeout)
        }),
    ]
}

#[derive(Default)]
struct List(Vec<Entry>);

impl List {
    /// Adds a key whose path has no names in it.
    fn add(&mut self, path: &str, value: impl Display) {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        self.add_path(&path, value);
    }

    fn add_secret(&mut self, path: &[String], secret: &Secret) {
        self.add_path(path, MASK);
        if let Some(entry) = self.0.last_mut() {
            entry.secret = Some(secret.clone());
        }
    }

    fn add_path(&mut self, path: &[String], value: impl Display) {
        let (default, reload) = match key::standing(path) {
            Standing::Key(key) => (key.default, key.reload),
            Standing::Section | Standing::Unknown => ("", Reload::Live),
        };
        self.0.push(Entry {
            key: key::display(path),
            value: value.to_string(),
            default: default.to_owned(),
            reload,
            secret: None,
        });
    }
}

fn time(length: Option<Duration>) -> String {
    optional(length.map(show_duration))
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(|| OFF.to_owned(), |value| value.to_string())
}

fn text(value: Option<impl Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn join(values: impl IntoIterator<Item = impl Display>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    values.join(",")
}
