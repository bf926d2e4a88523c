//! What works, but should be known: said by `proxyctl check` and at the start.

use std::net::IpAddr;

use crate::MongoUpstream;
use crate::key;
use crate::settings::{AuthMethod, Mongo, Settings, TlsMode};
use crate::upstream::{Host, SslMode, Upstream};

impl Settings {
    /// Things that are allowed, but risky: each names its key and the way out.
    pub fn cautions(&self) -> Vec<String> {
        let mut cautions = Vec::new();
        let postgres = &self.postgres;
        let open = postgres
            .listen
            .iter()
            .find(|listen| !listen.ip().is_loopback());
        if let Some(open) = open
            && postgres.tls.mode == TlsMode::Disable
        {
            cautions.push(format!(
                "postgres.listen: what clients say on {open} crosses the network in plain text; \
                 set postgres.tls.certificate and postgres.tls.key"
            ));
        }
        if let Some(mongo) = &self.mongo
            && mongo.tls.mode == TlsMode::Disable
            && let Some(open) = mongo.listen.iter().find(|own| !own.ip().is_loopback())
        {
            cautions.push(format!(
                "mongo.listen: what clients say on {open} crosses the network in plain text; \
                 set mongo.tls.certificate and mongo.tls.key"
            ));
        }
        if postgres.auth.method == AuthMethod::Md5 {
            cautions.push(
                "postgres.auth.method: md5 is weak and leaves Postgres soon; use scram-sha-256 \
                 where all drivers know it"
                    .to_owned(),
            );
        }
        let admins = self.users.keys().chain(&self.admin.users);
        let closed = postgres.listen.is_empty() && postgres.unix_socket_dir.is_none();
        if closed && let Some(admin) = admins.into_iter().find(|user| self.is_admin(user)) {
            cautions.push(format!(
                "postgres.listen: nobody listens there, so {admin} can't reach the admin console; name an address, or \
                 set postgres.unix_socket_dir"
            ));
        }
        if let Some(http) = self.admin.http.filter(|http| !http.ip().is_loopback()) {
            cautions.push(format!(
                "admin.http: whoever reaches {http} reads the metrics; there is no login"
            ));
        }
        if let Some(mongo) = &self.mongo
            && let Some((place, cure)) = plain(&mongo.upstream)
        {
            cautions.push(format!(
                "mongo.upstream: the way to {place} may be plain text; add {cure}"
            ));
        }
        if self.mongo.as_ref().is_some_and(|mongo| mongo.test_commands) {
            cautions.push(
                "mongo.test_commands: whoever is logged in can make everybody's commands fail; for tests only"
                    .to_owned(),
            );
        }
        for database in self.databases.values().chain(&self.wildcard) {
            if may_be_plain(&database.upstream) {
                let path = ["databases", &database.name, "url"].map(str::to_owned);
                cautions.push(format!(
                    "{}: the way to {} may be plain text; add sslmode=verify-full",
                    key::display(&path),
                    database.upstream.host,
                ));
            }
        }
        cautions
    }
}

/// The place to which someone can read along, and what to add to its URL.
fn plain(upstream: &MongoUpstream) -> Option<(String, &'static str)> {
    match upstream {
        MongoUpstream::Postgres(database) => (database.name == Mongo::OWN
            && may_be_plain(&database.upstream))
        .then(|| (database.upstream.host.to_string(), "sslmode=verify-full")),
        MongoUpstream::Deployment(deployment) => {
            let mut far = deployment.seeds.iter().filter(|seed| !is_local(&seed.host));
            let far = far.next().filter(|_| deployment.tls == SslMode::Disable)?;
            Some((far.to_string(), "tls=true"))
        }
    }
}

/// Whether someone between us and the server can read along.
fn may_be_plain(upstream: &Upstream) -> bool {
    let Host::Tcp(host) = &upstream.host else {
        return false;
    };
    !is_local(host) && matches!(upstream.sslmode, SslMode::Disable | SslMode::Prefer)
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
