//! TLS on both sides, by rustls: files to configurations, handshakes, and what
//! a certificate says.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub mod certificate;
mod client;
mod server;
mod verify;

pub use client::{ClientFiles, ClientTls};
pub use server::{ClientAuth, Secured, ServerFiles, ServerTls};

/// The name that Postgres has registered for ALPN.
pub const ALPN_POSTGRES: &[u8] = b"postgresql";

/// What may go wrong with TLS.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TlsError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("TLS configuration: {0}")]
    Config(String),
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error("TLS handshake: {0}")]
    Protocol(&'static str),
}

impl TlsError {
    fn file(path: &std::path::Path, why: impl std::fmt::Display) -> Self {
        Self(Kind::File {
            path: path.to_owned(),
            why: why.to_string(),
        })
    }

    fn config(why: impl std::fmt::Display) -> Self {
        Self(Kind::Config(why.to_string()))
    }

    const fn protocol(why: &'static str) -> Self {
        Self(Kind::Protocol(why))
    }

    /// A file can't be read or does not hold what it should.
    pub const fn is_file(&self) -> bool {
        matches!(self.0, Kind::File { .. })
    }

    /// The files are readable, but can't be used together.
    pub const fn is_config(&self) -> bool {
        matches!(self.0, Kind::Config(_))
    }

    /// The peers could not agree, or one does not trust the other.
    pub const fn is_handshake(&self) -> bool {
        matches!(self.0, Kind::Handshake(_) | Kind::Protocol(_))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|why| TlsError::file(path, why))?
        .collect();
    let found = found.map_err(|why| TlsError::file(path, why))?;
    if found.is_empty() {
        return Err(TlsError::file(path, "holds no certificate in PEM form"));
    }
    Ok(found)
}

fn private_key(path: &std::path::Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|why| match why {
        rustls_pki_types::pem::Error::NoItemsFound => TlsError::file(
            path,
            "holds no private key in PEM form that can be read without a passphrase",
        ),
        why => TlsError::file(path, why),
    })
}

fn roots(path: &std::path::Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|why| TlsError::file(path, why))?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests;
