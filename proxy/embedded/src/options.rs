//! What a private server should be like.

use std::path::PathBuf;

use crate::Finder;

/// How the server checks those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// SCRAM-SHA-256.
    #[default]
    Scram,
    /// MD5; passwords are stored so, too.
    Md5,
    /// No check at all.
    Trust,
}

impl Auth {
    /// The method's name in `pg_hba.conf`.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Scram => "scram-sha-256",
            Self::Md5 => "md5",
            Self::Trust => "trust",
        }
    }
}

/// What a private server should be like. The default is a durable server with a temporary data
/// folder, SCRAM, no TLS, and `wal_level=logical`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to look for Postgres.
    pub finder: Finder,
    /// The major version; the newest if none.
    pub major: Option<u32>,
    /// The data folder, made if missing and kept; if none, a temporary one that goes with the
    /// server. One that exists keeps its superuser and password whatever is said here.
    pub data: Option<PathBuf>,
    /// The port on 127.0.0.1; a free one if none.
    pub port: Option<u16>,
    /// The folder of the Unix socket; a temporary one if none. Paths of sockets are limited to
    /// about 100 bytes.
    pub socket_dir: Option<PathBuf>,
    /// The superuser's name.
    pub superuser: String,
    /// The superuser's password.
    pub password: String,
    /// How the server checks those who connect.
    pub auth: Auth,
    /// Lines of `pg_hba.conf` that go before the ones that `auth` makes.
    pub hba: Vec<String>,
    /// Offer TLS with a certificate for `localhost` and 127.0.0.1 from an authority of its own
    /// (see [`crate::Server::authority`]).
    pub tls: bool,
    /// Trade the safety of the data for speed: `fsync`, `synchronous_commit` and
    /// `full_page_writes` off.
    pub unsafe_fast: bool,
    /// Load the libraries of the DocumentDB extension and let it reach its own server, with its
    /// jobs in this database, the one in which it can be created. Whoever may enter the socket's
    /// folder needs no password then.
    pub documentdb: Option<String>,
    /// Further settings for `postgresql.conf`; they win over ours.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A temporary server as tests want it: fast, not durable.
    pub fn for_tests() -> Self {
        Self {
            unsafe_fast: true,
            ..Self::default()
        }
    }

    /// Adds a setting.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            finder: Finder::system(),
            major: None,
            data: None,
            port: None,
            socket_dir: None,
            superuser: "postgres".into(),
            password: "twinport".into(),
            auth: Auth::Scram,
            hba: Vec::new(),
            tls: false,
            unsafe_fast: false,
            documentdb: None,
            settings: Vec::new(),
        }
    }
}
