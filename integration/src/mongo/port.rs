//! The proxy's MongoDB port in front of a [`MongoWorld`], in this process.

use std::time::Duration;

use anyhow::Result;
use twinport::Running;

use super::certificates::MAPPED;
use super::{Front, MongoWorld, OTHER, OTHER_PASSWORD};
use crate::suite::ANNOTATED;
use crate::{Identity, PASSWORD, USER};

/// How the collections of the suites relate to one another.
const RELATIONS: &str = r#"
            [mongo.relations.authors.books]
            target = "books"
            kind = "many"
            foreign = "author_id"
            [mongo.relations.books.author]
            target = "authors"
            kind = "one"
            local = "author_id"
"#;

/// A proxy with a MongoDB port. Stop it with [`MongoPort::stop`].
pub struct MongoPort {
    /// The server, for what tests look at from inside.
    pub running: Running,
    /// The port on 127.0.0.1.
    pub port: u16,
    ca: String,
}

impl MongoPort {
    /// Starts a proxy with this many upstream connections.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn start(world: &MongoWorld, pool: usize) -> Result<Self> {
        Self::with(world, pool, "").await
    }

    /// Starts a proxy whose `[mongo]` has further lines.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn with(world: &MongoWorld, pool: usize, lines: &str) -> Result<Self> {
        let upstream = postgres(world);
        let databases = format!("[databases.postgres]\nurl = \"{upstream}\"");
        let text = settings(world, &upstream, pool, "", lines)?;
        Self::of(world, &format!("{text}\n{databases}")).await
    }

    /// Starts a proxy that lets nobody in but by certificate.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn by_certificate(world: &MongoWorld, pool: usize) -> Result<Self> {
        let authority = format!("client_ca = \"{}\"", world.ca().display());
        let login = format!("auth = {{ method = \"cert\", cert_map.{MAPPED} = \"{USER}\" }}");
        let text = settings(world, &postgres(world), pool, &authority, &login)?;
        Self::of(world, &text).await
    }

    /// Starts a proxy that forwards to the servers of a `mongodb://` URL.
    ///
    /// # Errors
    /// When the settings are refused or the port can't be listened on.
    pub async fn forwarding(world: &MongoWorld, url: &str, pool: usize) -> Result<Self> {
        Self::of(world, &settings(world, url, pool, "", "")?).await
    }

    async fn of(world: &MongoWorld, text: &str) -> Result<Self> {
        let Front { running, port } = Front::of(text).await?;
        Ok(Self {
            running,
            port,
            ca: world.ca().display().to_string(),
        })
    }

    /// A connection string with TLS and every check of the certificate.
    pub fn url(&self, user: &str, password: &str) -> String {
        format!(
            "mongodb://{user}:{password}@localhost:{}/?tls=true&tlsCAFile={}",
            self.port, self.ca
        )
    }

    /// As [`MongoPort::url`], without a user.
    pub fn open_url(&self) -> String {
        format!(
            "mongodb://localhost:{}/?tls=true&tlsCAFile={}",
            self.port, self.ca
        )
    }

    /// PEM file with the authority of the port's certificate.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The environment variables of the contract with the suites.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let url = self.url(USER, PASSWORD);
        vec![
            ("TWINPORT_TEST_URL", url.clone()),
            ("TWINPORT_TEST_SINGLE_URL", url.clone()),
            ("TWINPORT_TEST_DIRECT_URL", url),
            ("TWINPORT_TEST_OTHER_URL", self.url(OTHER, OTHER_PASSWORD)),
            ("TWINPORT_TEST_CA", self.ca.clone()),
            (ANNOTATED, "1".to_owned()),
        ]
    }

    /// Ends the proxy; what still runs is cut off soon.
    pub async fn stop(self) {
        self.running.finish(Duration::from_secs(1)).await;
    }
}

/// The world's server, as its superuser, with TLS and every check.
fn postgres(world: &MongoWorld) -> String {
    format!(
        "postgres://{superuser}:{password}@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={ca}",
        superuser = world.server.superuser(),
        password = world.server.password(),
        port = world.server.port(),
        ca = world.ca().display(),
    )
}

/// TLS and SCRAM for clients; further lines of `[mongo.tls]` and of `[mongo]`.
fn settings(
    world: &MongoWorld,
    upstream: &str,
    pool: usize,
    tls: &str,
    lines: &str,
) -> Result<String> {
    let Identity { certificate, key } = Identity::write(world.authority()?, world.folder())?;
    Ok(format!(
        r#"
            [postgres]
            listen = ["127.0.0.1:0"]
            [admin]
            http = "off"
            [pool]
            size = {pool}
            [users.{USER}]
            password = "{PASSWORD}"
            [users.{OTHER}]
            password = "{OTHER_PASSWORD}"
            [mongo.tls]
            mode = "require"
            certificate = "{certificate}"
            key = "{key}"
            {tls}
            {RELATIONS}
            [mongo]
            listen = ["127.0.0.1:0"]
            upstream = "{upstream}"
            {lines}
            "#,
        certificate = certificate.display(),
        key = key.display(),
    ))
}
