//! TLS towards clients.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Kind, TlsError, certificate, certificates, private_key, provider, roots};
use crate::stream::Stream;

/// Most bytes of plain text and of TLS records each that wait in a connection;
/// writers are held back above that.
const BUFFER: usize = 64 * 1024;

/// Are clients asked for certificates?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// No.
    #[default]
    None,
    /// Yes, and one that is shown must be good.
    Optional,
    /// Yes, and without one there is no connection.
    Required,
}

/// The PEM files that make up a server's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate, followed by those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose certificates clients must have; needed if `client_auth` is not
    /// [`ClientAuth::None`].
    pub client_ca: Option<PathBuf>,
    /// Are clients asked for certificates?
    pub client_auth: ClientAuth,
}

/// Accepts TLS connections; its certificate can change while it runs.
pub struct ServerTls {
    files: ServerFiles,
    alpn: Vec<Vec<u8>>,
    current: ArcSwap<Identity>,
}

struct Identity {
    config: Arc<ServerConfig>,
    end_point: Option<Vec<u8>>,
}

/// A connection after the handshake.
#[derive(Debug)]
pub struct Secured {
    /// The connection.
    pub stream: Stream,
    /// What binds a login to it: `tls-server-end-point` of RFC 5929. `None`
    /// where the certificate's signature has no hash of its own (Ed25519).
    pub end_point: Option<Vec<u8>>,
}

impl ServerTls {
    /// Reads the files. `alpn` names the protocols that clients may ask for.
    ///
    /// # Errors
    /// [`TlsError::is_file`] or [`TlsError::is_config`].
    pub fn load(files: ServerFiles, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|name| name.to_vec()).collect();
        let identity = Identity::load(&files, &alpn)?;
        Ok(Self {
            files,
            alpn,
            current: ArcSwap::from_pointee(identity),
        })
    }

    /// Reads the files again; connections accepted from now on use them. On an
    /// error the old ones stay in use.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let identity = Identity::load(&self.files, &self.alpn)?;
        self.current.store(Arc::new(identity));
        Ok(())
    }

    /// The files that it reads.
    pub const fn files(&self) -> &ServerFiles {
        &self.files
    }

    /// Does the handshake on a connection of which no byte of TLS has been read.
    ///
    /// # Errors
    /// [`TlsError::is_handshake`].
    pub async fn accept(&self, socket: TcpStream) -> Result<Secured, TlsError> {
        let identity = self.current.load_full();
        let stream = TlsAcceptor::from(Arc::clone(&identity.config))
            .accept_with(socket, |connection| {
                connection.set_buffer_limit(Some(BUFFER));
            })
            .await
            .map_err(Kind::Handshake)?;
        Ok(Secured {
            stream: Stream::Tls(Box::new(stream)),
            end_point: identity.end_point.clone(),
        })
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Identity {
    fn load(files: &ServerFiles, alpn: &[Vec<u8>]) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let key = private_key(&files.key)?;
        let end_point = chain.first().and_then(certificate::end_point);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::config)?;
        let builder = match (&files.client_ca, files.client_auth) {
            (_, ClientAuth::None) => builder.with_no_client_auth(),
            (None, _) => {
                return Err(TlsError::config(
                    "client certificates are asked for, but client_ca is not set",
                ));
            }
            (Some(path), auth) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots(path)?.into(), provider());
                let verifier = match auth {
                    ClientAuth::Required => verifier,
                    _ => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::config)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|why| {
            TlsError::config(format!(
                "{} and {}: {why}",
                files.certificate.display(),
                files.key.display()
            ))
        })?;
        config.alpn_protocols = alpn.to_vec();
        // Postgres resumes no sessions, and its drivers don't try to. A session
        // kept here would outlive the trust in its client's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            end_point,
        })
    }
}
