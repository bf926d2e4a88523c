//! Where a suite connects to.

use std::path::{Path, PathBuf};

use crate::suite::ANNOTATED;
use crate::world::{PASSWORD, USER};

/// A database behind a TCP port on this machine that speaks TLS.
#[derive(Debug, Clone)]
pub struct Address {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The database's name.
    pub database: String,
    /// PEM file with the authority that signed the server's certificate.
    pub ca: PathBuf,
}

impl Address {
    /// As libpq's URL, with TLS and every check of the certificate.
    pub fn url(&self) -> String {
        format!(
            "postgres://{USER}:{PASSWORD}@localhost:{}/{}?sslmode=verify-full&sslrootcert={}",
            self.port,
            self.database,
            self.ca.display()
        )
    }
}

/// Everything that a suite is told by its environment.
#[derive(Debug, Clone)]
pub struct Target {
    /// What is tested; behind a port, a pool of a few connections.
    pub address: Address,
    /// The same database; behind a port, a pool of one connection, so that clients must share it.
    pub single: Address,
    /// The server itself.
    pub direct: Address,
    /// Whether annotations are understood there.
    pub annotated: bool,
    /// The folder of the server's own programs: `pg_dump` refuses servers newer than itself.
    pub programs: PathBuf,
}

impl Target {
    /// The server itself: nothing between, no annotations.
    pub fn direct(address: Address, programs: PathBuf) -> Self {
        Self {
            single: address.clone(),
            direct: address.clone(),
            address,
            annotated: false,
            programs,
        }
    }

    /// The authority's PEM file.
    pub fn ca(&self) -> &Path {
        &self.address.ca
    }

    /// The environment variables of the contract with the suites.
    pub fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("TWINPORT_TEST_URL", self.address.url()),
            ("TWINPORT_TEST_SINGLE_URL", self.single.url()),
            ("TWINPORT_TEST_DIRECT_URL", self.direct.url()),
            ("TWINPORT_TEST_CA", self.ca().display().to_string()),
            (ANNOTATED, u8::from(self.annotated).to_string()),
            ("TWINPORT_TEST_BIN", self.programs.display().to_string()),
        ]
    }
}
