//! An upstream written as a URL again, its password masked.

use std::fmt;

use crate::secret::MASK;
use crate::upstream::{ChannelBinding, Host, SslMode, SslNegotiation, Upstream};

/// `sslmode`s by libpq's names.
pub(crate) const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// `sslnegotiation`s by libpq's names.
pub(crate) const SSL_NEGOTIATIONS: &[(&str, SslNegotiation)] = &[
    ("postgres", SslNegotiation::Postgres),
    ("direct", SslNegotiation::Direct),
];

/// `channel_binding`s by libpq's names.
pub(crate) const CHANNEL_BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

/// The name of one of a few values.
pub(crate) fn name_of<T: PartialEq>(value: &T, names: &[(&'static str, T)]) -> &'static str {
    let found = names.iter().find(|(_, named)| named == value);
    found.map_or("", |(name, _)| name)
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            f.write_str(&encode(user))?;
            if self.password.is_some() {
                write!(f, ":{MASK}")?;
            }
            f.write_str("@")?;
        }
        let mut parameters: Vec<(&str, String)> = Vec::new();
        match &self.host {
            Host::Tcp(_) => write!(f, "{}:{}", self.host, self.port)?,
            Host::Unix(folder) => {
                parameters.push(("host", folder.display().to_string()));
                parameters.push(("port", self.port.to_string()));
            }
        }
        // A path separator in the name would read as another part of the path.
        write!(f, "/{}", encode(&self.database).replace('/', "%2F"))?;
        if matches!(self.host, Host::Tcp(_)) {
            parameters.push(("sslmode", name_of(&self.sslmode, SSL_MODES).to_owned()));
        }
        let files = [
            ("sslrootcert", &self.sslrootcert),
            ("sslcert", &self.sslcert),
            ("sslkey", &self.sslkey),
        ];
        for (name, path) in files {
            parameters.extend(path.iter().map(|path| (name, path.display().to_string())));
        }
        if self.sslnegotiation != SslNegotiation::default() {
            let name = name_of(&self.sslnegotiation, SSL_NEGOTIATIONS);
            parameters.push(("sslnegotiation", name.to_owned()));
        }
        if self.channel_binding != ChannelBinding::default() {
            let name = name_of(&self.channel_binding, CHANNEL_BINDINGS);
            parameters.push(("channel_binding", name.to_owned()));
        }
        let texts = [
            ("application_name", &self.application_name),
            ("options", &self.options),
        ];
        for (name, text) in texts {
            parameters.extend(text.iter().map(|text| (name, text.clone())));
        }
        for (index, (name, value)) in parameters.iter().enumerate() {
            let sign = if index == 0 { '?' } else { '&' };
            write!(f, "{sign}{name}={}", encode(value))?;
        }
        Ok(())
    }
}

/// Percent signs where a URL needs them; `/` and `*` stay readable.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/*".contains(&byte) {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
