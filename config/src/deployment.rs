//! MongoDB as the place of the data: servers, login and what else a `mongodb://` URL says.

pub(crate) mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::MASK;
use crate::upstream::text::{encode, name_of};
use crate::{Database, PoolSettings, Secret, SslMode};

/// Where the documents behind the MongoDB port are.
#[derive(Debug, Clone, PartialEq)]
pub enum MongoUpstream {
    /// A Postgres with the DocumentDB extension. If one of `[databases]` has the same place and
    /// login, it is that one, and both ports share its pools; else it is called
    /// [`crate::Mongo::OWN`].
    Postgres(Arc<Database>),
    /// MongoDB, or a server that speaks its protocol.
    Deployment(Arc<Deployment>),
}

/// A stand-alone server, a replica set, some mongos, or a balancer before them.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The servers that the URL names; at least one. More are found by asking them.
    pub seeds: Vec<HostPort>,
    /// How we log in there; `None`: not at all.
    pub login: Option<DeploymentLogin>,
    /// Which of the servers count.
    pub shape: Shape,
    /// TLS, and what is checked of the servers' certificates; `Disable` or at least `Require`.
    pub tls: SslMode,
    /// PEM file with the authorities to trust; `None`: those of the system.
    pub tls_ca: Option<PathBuf>,
    /// PEM file with our certificate and its private key.
    pub tls_certificate: Option<PathBuf>,
    /// Where reads go that say nothing themselves.
    pub read_preference: ReadPreference,
    /// Compressors to offer, by MongoDB's names, the favourite first.
    pub compressors: Vec<&'static str>,
    /// What we call ourselves there.
    pub app_name: Option<String>,
    /// How long a request waits for a server that can take it, as during an election.
    pub selection_timeout: Duration,
    /// How often a server is asked how it is.
    pub heartbeat: Duration,
    /// Servers this much slower than the nearest one are as good as it.
    pub local_threshold: Duration,
    /// Connections to each server.
    pub pool: PoolSettings,
    /// Connections to each server for those who wait for data to come.
    pub await_connections: usize,
}

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Name or address, in lower case, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Whom we are upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentLogin {
    /// The mechanism; `None`: the best that the server offers for the user.
    pub mechanism: Option<Mechanism>,
    /// The user; empty for a certificate that says it by itself.
    pub user: String,
    /// The user's password; a certificate needs none.
    pub password: Option<Secret>,
    /// The database that knows the user.
    pub source: String,
}

/// How we prove who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-1.
    ScramSha1,
    /// The certificate of the TLS connection.
    X509,
}

/// Which servers belong to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Whatever the servers say that they are.
    Found,
    /// The replica set of this name.
    ReplicaSet(String),
    /// The one server of the URL, whatever it is.
    Direct,
    /// What stands behind a balancer; nobody is watched.
    LoadBalanced,
}

/// Where reads go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadPreference {
    /// To which kind of server.
    pub mode: ReadMode,
    /// Sets of tags, in order: the first that any server has is taken. None: every server will do.
    pub tags: Vec<BTreeMap<String, String>>,
    /// How far a secondary may be behind.
    pub max_staleness: Option<Duration>,
}

/// To which kind of server reads go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// The primary.
    #[default]
    Primary,
    /// The primary, or a secondary while there is none.
    PrimaryPreferred,
    /// A secondary.
    Secondary,
    /// A secondary, or the primary if there is none.
    SecondaryPreferred,
    /// Whichever is near.
    Nearest,
}

/// Read preferences by MongoDB's names.
pub(crate) const READ_MODES: &[(&str, ReadMode)] = &[
    ("primary", ReadMode::Primary),
    ("primaryPreferred", ReadMode::PrimaryPreferred),
    ("secondary", ReadMode::Secondary),
    ("secondaryPreferred", ReadMode::SecondaryPreferred),
    ("nearest", ReadMode::Nearest),
];

/// Mechanisms by MongoDB's names.
pub(crate) const MECHANISMS: &[(&str, Mechanism)] = &[
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-1", Mechanism::ScramSha1),
    ("MONGODB-X509", Mechanism::X509),
];

impl ReadMode {
    /// MongoDB's name.
    pub fn name(self) -> &'static str {
        name_of(&self, READ_MODES)
    }

    /// The mode of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        let found = READ_MODES.iter().find(|(known, _)| *known == name);
        found.map(|(_, mode)| *mode)
    }
}

impl HostPort {
    /// Reads `host`, `host:port` or `[::1]:port`, as servers write it; the port is MongoDB's if
    /// there is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, after.strip_prefix(':').unwrap_or(after))
            }
            None => text.rsplit_once(':').unwrap_or((text, "")),
        };
        let port = match port {
            "" => url::PORT,
            digits => digits.parse().ok().filter(|port| *port > 0)?,
        };
        (!host.is_empty()).then(|| Self {
            host: host.to_lowercase(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl MongoUpstream {
    /// The Postgres, if it is one.
    pub fn database(&self) -> Option<&Arc<Database>> {
        match self {
            Self::Postgres(database) => Some(database),
            Self::Deployment(_) => None,
        }
    }
}

impl fmt::Display for MongoUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(database) => database.upstream.fmt(f),
            Self::Deployment(deployment) => deployment.fmt(f),
        }
    }
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mongodb://")?;
        if let Some(login) = &self.login {
            f.write_str(&encode(&login.user))?;
            if login.password.is_some() {
                write!(f, ":{MASK}")?;
            }
            f.write_str("@")?;
        }
        let seeds: Vec<String> = self.seeds.iter().map(ToString::to_string).collect();
        write!(f, "{}/", seeds.join(","))?;
        for (index, (name, value)) in self.parameters().iter().enumerate() {
            let sign = if index == 0 { '?' } else { '&' };
            write!(f, "{sign}{name}={}", encode(value))?;
        }
        Ok(())
    }
}

impl Deployment {
    /// The options that differ from what they are when left out.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut list = Vec::new();
        let mut add = |name, value: &str| list.push((name, value.to_owned()));
        match &self.shape {
            Shape::Found => {}
            Shape::ReplicaSet(name) => add("replicaSet", name),
            Shape::Direct => add("directConnection", "true"),
            Shape::LoadBalanced => add("loadBalanced", "true"),
        }
        if let Some(login) = &self.login {
            add("authSource", &login.source);
            if let Some(mechanism) = login.mechanism {
                add("authMechanism", name_of(&mechanism, MECHANISMS));
            }
        }
        match self.tls {
            SslMode::Disable => {}
            SslMode::VerifyCa => {
                add("tls", "true");
                add("tlsAllowInvalidHostnames", "true");
            }
            SslMode::VerifyFull => add("tls", "true"),
            SslMode::Prefer | SslMode::Require => {
                add("tls", "true");
                add("tlsInsecure", "true");
            }
        }
        for (name, path) in [
            ("tlsCAFile", &self.tls_ca),
            ("tlsCertificateKeyFile", &self.tls_certificate),
        ] {
            if let Some(path) = path {
                add(name, &path.display().to_string());
            }
        }
        if self.read_preference.mode != ReadMode::Primary {
            add("readPreference", self.read_preference.mode.name());
        }
        for tags in &self.read_preference.tags {
            let pairs: Vec<String> = tags.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            add("readPreferenceTags", &pairs.join(","));
        }
        if let Some(staleness) = self.read_preference.max_staleness {
            add("maxStalenessSeconds", &staleness.as_secs().to_string());
        }
        if !self.compressors.is_empty() {
            add("compressors", &self.compressors.join(","));
        }
        if let Some(name) = &self.app_name {
            add("appName", name);
        }
        list.extend(url::times(self));
        list
    }
}
