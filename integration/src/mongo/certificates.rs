//! Certificates by which clients log in, and what the suites that do so are told.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use twinport_embedded::Authority;

use super::{MongoPort, MongoWorld};
use crate::USER;

/// The common name that [`MongoPort::by_certificate`] maps to the user of the suites.
pub(super) const MAPPED: &str = "service";

/// Files in the format that drivers want: a certificate and its key in one.
#[derive(Debug)]
pub struct Certificates {
    /// The user's own.
    pub own: PathBuf,
    /// One whose name is nobody's, which the settings map to the user.
    pub mapped: PathBuf,
    /// One in the user's name, signed by an authority that the port doesn't know.
    pub foreign: PathBuf,
}

impl Certificates {
    /// Writes them into the world's folder.
    ///
    /// # Errors
    /// When an authority can't sign them, or the files can't be written.
    pub fn write(world: &MongoWorld) -> Result<Self> {
        let write = |authority: &Authority, name, file: &str| -> Result<PathBuf> {
            let identity = authority.client(name)?;
            let path = world.folder().join(file);
            fs::write(&path, identity.certificate + &identity.key)?;
            Ok(path)
        };
        let (known, stranger) = (world.authority()?, Authority::new("Somebody else")?);
        Ok(Self {
            own: write(known, USER, "own.pem")?,
            mapped: write(known, MAPPED, "mapped.pem")?,
            foreign: write(&stranger, USER, "foreign.pem")?,
        })
    }

    /// The environment variables of the suites that log in by certificate.
    pub fn environment(&self, port: &MongoPort) -> Vec<(&'static str, String)> {
        let url = port.open_url();
        let file = |path: &PathBuf| path.display().to_string();
        vec![
            ("TWINPORT_TEST_URL", url.clone()),
            ("TWINPORT_TEST_SINGLE_URL", url.clone()),
            ("TWINPORT_TEST_DIRECT_URL", url.clone()),
            ("TWINPORT_TEST_OTHER_URL", url),
            ("TWINPORT_TEST_CA", port.ca().to_owned()),
            ("TWINPORT_TEST_CERTIFICATE", file(&self.own)),
            ("TWINPORT_TEST_MAPPED_CERTIFICATE", file(&self.mapped)),
            ("TWINPORT_TEST_FOREIGN_CERTIFICATE", file(&self.foreign)),
        ]
    }
}
