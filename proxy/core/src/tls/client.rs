//! TLS towards upstreams.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use twinport_config::SslMode;

use super::verify::{Check, Verifier};
use super::{Kind, Secured, TlsError, certificate, certificates, private_key, provider, roots};
use crate::stream::{Stream, set_up};

const BUFFER: usize = 64 * 1024;

/// The PEM files that a client of a server needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientFiles {
    /// Authorities to trust; `None`: those of the system.
    pub root: Option<PathBuf>,
    /// Our certificate, followed by those between it and its root.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// Opens TLS connections as an `sslmode` asks.
pub struct ClientTls {
    mode: SslMode,
    files: ClientFiles,
    alpn: Vec<Vec<u8>>,
    current: ArcSwap<ClientConfig>,
}

impl ClientTls {
    /// Reads the files. `alpn` names the protocols to ask for.
    ///
    /// # Errors
    /// [`TlsError::is_file`] or [`TlsError::is_config`].
    pub fn load(mode: SslMode, files: ClientFiles, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|name| name.to_vec()).collect();
        let config = config(mode, &files, &alpn)?;
        Ok(Self {
            mode,
            files,
            alpn,
            current: ArcSwap::from_pointee(config),
        })
    }

    /// Reads the files again; on an error the old ones stay in use.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = config(self.mode, &self.files, &self.alpn)?;
        self.current.store(Arc::new(config));
        Ok(())
    }

    /// What it checks, and whether TLS is a must.
    pub const fn mode(&self) -> SslMode {
        self.mode
    }

    /// Does the handshake with the server that goes by `host`.
    ///
    /// # Errors
    /// [`TlsError::is_handshake`], also if the server is not to be trusted.
    pub async fn connect(&self, host: &str, socket: TcpStream) -> Result<Secured, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::protocol("the host is no name that TLS can carry"))?;
        // Before: what the handshake sends would wait for more.
        set_up(SockRef::from(&socket)).map_err(Kind::Handshake)?;
        let stream = TlsConnector::from(self.current.load_full())
            .connect_with(name, socket, |connection| {
                connection.set_buffer_limit(Some(BUFFER));
            })
            .await
            .map_err(Kind::Handshake)?;
        let stream = Stream::TlsClient(Box::new(stream));
        let end_point = stream.peer_certificate().and_then(certificate::end_point);
        Ok(Secured { stream, end_point })
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("mode", &self.mode)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

fn config(mode: SslMode, files: &ClientFiles, alpn: &[Vec<u8>]) -> Result<ClientConfig, TlsError> {
    let check = match mode {
        SslMode::Disable | SslMode::Prefer => Check::Nothing,
        SslMode::Require if files.root.is_none() => Check::Nothing,
        SslMode::Require | SslMode::VerifyCa => Check::Chain,
        SslMode::VerifyFull => Check::Host,
    };
    let verifier = match (check, &files.root) {
        (Check::Nothing, _) => Verifier::nothing(provider()),
        (check, Some(path)) => Verifier::new(check, roots(path)?, certificates(path)?, provider())?,
        (check, None) => Verifier::new(check, system_roots()?, Vec::new(), provider())?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match (&files.certificate, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|why| {
                TlsError::config(format!(
                    "{} and {}: {why}",
                    certificate.display(),
                    key.display()
                ))
            })?,
        _ => {
            return Err(TlsError::config(
                "a client certificate and its key must be set together",
            ));
        }
    };
    config.alpn_protocols = alpn.to_vec();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs.iter().map(CertificateDer::clone));
    if added == 0 {
        return Err(TlsError::config(
            "this system has no trusted authorities; set sslrootcert",
        ));
    }
    Ok(store)
}
