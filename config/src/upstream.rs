//! Where a database's data is, and how to log in there.

pub(crate) mod text;
pub(crate) mod url;

use std::fmt;
use std::path::PathBuf;

use crate::Secret;

/// A database server, from a URL in libpq's form.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// The server's place.
    pub host: Host,
    /// TCP port, or the number in the Unix socket's name. Default 5432.
    pub port: u16,
    /// Name of the database there. Default: the name in `[databases]`.
    pub database: String,
    /// Whom we log in as; `None`: as the client's own user.
    pub user: Option<String>,
    /// The password of `user`; `None`: what is known of the client (its password in `[users]`,
    /// or its SCRAM keys).
    pub password: Option<Secret>,
    /// Whether TLS is used and what is checked. No TLS on Unix sockets.
    pub sslmode: SslMode,
    /// PEM file with the authorities to trust; `None`: those of the system.
    pub sslrootcert: Option<PathBuf>,
    /// PEM file with our certificate chain. Set together with `sslkey`.
    pub sslcert: Option<PathBuf>,
    /// PEM file with its private key.
    pub sslkey: Option<PathBuf>,
    /// How TLS begins.
    pub sslnegotiation: SslNegotiation,
    /// Whether SCRAM must be bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// `application_name` of the upstream connections; `None`: the client's.
    pub application_name: Option<String>,
    /// Startup `options`, such as `-c geqo=off`; sent as they are.
    pub options: Option<String>,
}

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A host name or an IP address, without brackets.
    Tcp(String),
    /// The folder of the Unix socket `.s.PGSQL.<port>`.
    Unix(PathBuf),
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Plain text.
    Disable,
    /// TLS if the server has it; nothing is checked.
    #[default]
    Prefer,
    /// TLS; the certificate is checked only if `sslrootcert` is set.
    Require,
    /// TLS; the certificate comes from a trusted authority.
    VerifyCa,
    /// As `VerifyCa`, and the certificate is for this host.
    VerifyFull,
}

/// libpq's `sslnegotiation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslNegotiation {
    /// SSLRequest first.
    #[default]
    Postgres,
    /// TLS from the first byte, with ALPN (Postgres 17 and later).
    Direct,
}

/// libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If both sides can.
    #[default]
    Prefer,
    /// Or the login fails.
    Require,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) if host.contains(':') => write!(f, "[{host}]"),
            Self::Tcp(host) => f.write_str(host),
            Self::Unix(dir) => write!(f, "{}", dir.display()),
        }
    }
}
