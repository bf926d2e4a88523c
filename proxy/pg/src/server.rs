//! A database server as the settings describe it: how its connections are opened, and cancelled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use twinport_config::{Host, SslMode, SslNegotiation, Upstream};
use twinport_core::tls::{ALPN_POSTGRES, ClientFiles, ClientTls};
use twinport_wire::pg::frame::HEADER;
use twinport_wire::pg::startup::Version;
use twinport_wire::scram::client::MAX_ITERATIONS;

use crate::auth::{Credentials, Keyring};
use crate::connect::{self, ConnectError, Connected, Target};

/// How long a cancel may take on its way.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// A database server.
#[derive(Debug)]
pub struct Server {
    target: Target,
    keyring: Keyring,
    /// Which of our clients was last given each of the server's processes: its cancel key's number.
    holders: Mutex<HashMap<i32, Weak<AtomicI32>>>,
}

impl Server {
    /// Reads the TLS files that the settings name.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn new(upstream: &Upstream, keyring: Keyring) -> Result<Self, ConnectError> {
        let plain = upstream.sslmode == SslMode::Disable || matches!(upstream.host, Host::Unix(_));
        let tls = if plain {
            None
        } else {
            let files = ClientFiles {
                root: upstream.sslrootcert.clone(),
                certificate: upstream.sslcert.clone(),
                key: upstream.sslkey.clone(),
            };
            Some(ClientTls::load(upstream.sslmode, files, &[ALPN_POSTGRES])?.into())
        };
        let mut parameters = Vec::new();
        if let Some(name) = &upstream.application_name {
            parameters.push(("application_name".to_owned(), name.clone()));
        }
        if let Some(options) = &upstream.options {
            parameters.push(("options".to_owned(), options.clone()));
        }
        Ok(Self {
            target: Target {
                host: upstream.host.clone(),
                port: upstream.port,
                tls,
                direct: upstream.sslnegotiation == SslNegotiation::Direct,
                channel_binding: upstream.channel_binding,
                user: String::new(),
                database: upstream.database.clone(),
                parameters,
                credentials: Credentials::None,
                protocol: Version::V3_0,
                timeout: CANCEL_TIMEOUT,
                max_iterations: MAX_ITERATIONS,
            },
            keyring,
            holders: Mutex::default(),
        })
    }

    /// Notes a process of the server; what comes back is to be told who holds it.
    pub fn enter(&self, pid: i32) -> Arc<AtomicI32> {
        let holder = Arc::new(AtomicI32::new(0));
        let mut holders = self.holders.lock();
        holders.retain(|_, held| held.strong_count() > 0);
        holders.insert(pid, Arc::downgrade(&holder));
        holder
    }

    /// The NotificationResponse as a client must see it: with the sender's number as its login told it, so that
    /// clients know their own. `None` if the sender is none of ours.
    pub fn translate(&self, notification: &[u8]) -> Option<Vec<u8>> {
        let pid = notification.get(HEADER..HEADER + 4)?.first_chunk::<4>()?;
        let pid = i32::from_be_bytes(*pid);
        let holder = self.holders.lock().get(&pid)?.upgrade()?;
        let ours = holder.load(Ordering::Relaxed);
        if ours == 0 {
            return None;
        }
        let mut out = notification.to_vec();
        out.get_mut(HEADER..HEADER + 4)?
            .copy_from_slice(&ours.to_be_bytes());
        Some(out)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the server can't be reached, or refuses.
    pub async fn connect(
        &self,
        user: &str,
        parameters: &[(&str, &str)],
        credentials: Credentials,
        timeout: Duration,
    ) -> Result<Connected, ConnectError> {
        let mut target = self.target.clone();
        user.clone_into(&mut target.user);
        target.credentials = credentials;
        target.timeout = timeout;
        let more = parameters.iter();
        target
            .parameters
            .extend(more.map(|&(name, value)| (name.to_owned(), value.to_owned())));
        connect::connect(&target, &self.keyring).await
    }

    /// Asks the server to cancel what one of its processes runs.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub async fn cancel(&self, pid: i32, secret: &[u8]) -> Result<(), ConnectError> {
        connect::send_cancel(&self.target, pid, secret).await
    }

    /// Reads the certificates again; what can't be read is kept as it was.
    pub fn reload(&self) {
        if let Some(tls) = &self.target.tls
            && let Err(error) = tls.reload()
        {
            tracing::error!(%error, "cannot read an upstream's certificates again");
        }
    }

    /// Host and port, for people.
    pub fn address(&self) -> (String, u16) {
        (self.target.host.to_string(), self.target.port)
    }
}
