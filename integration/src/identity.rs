//! Certificates of the ports that tests start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use twinport_embedded::Authority;

/// A port's certificate and key, in files.
#[derive(Debug)]
pub struct Identity {
    /// PEM file with the certificate.
    pub certificate: PathBuf,
    /// PEM file with its key.
    pub key: PathBuf,
}

impl Identity {
    /// Writes one for this machine into a folder.
    ///
    /// # Errors
    /// When the authority can't sign it, or the files can't be written.
    pub fn write(authority: &Authority, folder: &Path) -> Result<Self> {
        let signed = authority.server(&["localhost", "127.0.0.1"])?;
        let own = Self {
            certificate: folder.join("port.crt"),
            key: folder.join("port.key"),
        };
        fs::write(&own.certificate, signed.certificate)?;
        fs::write(&own.key, signed.key)?;
        Ok(own)
    }
}
