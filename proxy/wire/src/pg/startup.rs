//! The untagged packets that open a connection, and their builders.
//!
//! Four bytes of length (which count themselves), four bytes of version or
//! request code, a body. At most [`MAX_LENGTH`] bytes, as in Postgres.

use bytes::BufMut;

use super::cursor::Cursor;
use crate::Error;

pub mod options;

/// The largest startup packet that Postgres accepts.
pub const MAX_LENGTH: usize = 10_000;

/// The longest secret of a cancel key, in protocol 3.2.
pub const MAX_SECRET: usize = 256;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// A protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Always 3 in what [`Startup::decode`] returns.
    pub major: u16,
    /// 0 to 2 are known; higher ones are negotiated down.
    pub minor: u16,
}

impl Version {
    /// Protocol 3.0: every server since 7.4.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// Protocol 3.2: long cancel keys, Postgres 18.
    pub const V3_2: Self = Self { major: 3, minor: 2 };
    /// The newest that we speak.
    pub const LATEST: Self = Self::V3_2;

    /// As the number that the wire carries.
    pub const fn number(self) -> u32 {
        ((self.major as u32) << 16) | self.minor as u32
    }

    const fn from_number(number: u32) -> Self {
        Self {
            major: (number >> 16) as u16,
            minor: (number & 0xffff) as u16,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What asks for a cancel: the process and its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelKey<'a> {
    /// From BackendKeyData.
    pub pid: i32,
    /// From BackendKeyData: 4 bytes, up to [`MAX_SECRET`] since protocol 3.2.
    pub secret: &'a [u8],
}

/// An opening packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Startup<'a> {
    /// SSLRequest.
    Ssl,
    /// GSSENCRequest.
    Gss,
    /// CancelRequest.
    Cancel(CancelKey<'a>),
    /// StartupMessage.
    Start(Start<'a>),
}

/// A StartupMessage whose parameters have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start<'a> {
    /// What the client asks for; the minor version may be one we don't know.
    pub version: Version,
    parameters: &'a [u8],
}

/// Reads the length of the packet at the start of `buf`; `None` before four
/// bytes are there.
///
/// # Errors
/// [`Error::is_length`] below 8 or above [`MAX_LENGTH`].
pub fn peek(buf: &[u8]) -> Result<Option<usize>, Error> {
    let Some(&length) = buf.first_chunk::<4>() else {
        return Ok(None);
    };
    let declared = u32::from_be_bytes(length);
    let length = declared as usize;
    if !(8..=MAX_LENGTH).contains(&length) {
        return Err(Error::length(declared, 8, MAX_LENGTH));
    }
    Ok(Some(length))
}

impl<'a> Startup<'a> {
    /// Decodes one whole packet, its length included.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] for another major version, otherwise
    /// [`Error::is_malformed`].
    pub fn decode(packet: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("startup packet", packet);
        if peek(packet)? != Some(packet.len()) {
            return Err(cursor.error("its length is not the declared one"));
        }
        cursor.take(4)?;
        match cursor.u32()? {
            SSL => cursor.end().map(|()| Self::Ssl),
            GSS => cursor.end().map(|()| Self::Gss),
            CANCEL => {
                let pid = cursor.i32()?;
                let secret = cursor.rest();
                if !(4..=MAX_SECRET).contains(&secret.len()) {
                    return Err(cursor.error("the cancel key is too short or too long"));
                }
                Ok(Self::Cancel(CancelKey { pid, secret }))
            }
            number => Start::decode(Version::from_number(number), cursor).map(Self::Start),
        }
    }
}

impl<'a> Start<'a> {
    fn decode(version: Version, cursor: Cursor<'a>) -> Result<Self, Error> {
        if version.major != 3 {
            return Err(Error::unsupported(format!(
                "unsupported frontend protocol {version}: server supports 3.0 to {}",
                Version::LATEST
            )));
        }
        check(cursor)?;
        Ok(Self {
            version,
            parameters: cursor.rest(),
        })
    }

    /// The parameters, in the order sent. A setting may come twice; the last
    /// one counts, as in Postgres.
    pub const fn parameters(&self) -> Parameters<'a> {
        Parameters(Cursor::new("startup packet", self.parameters))
    }

    /// The last value of the parameter `name`.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.parameters()
            .filter(|(key, _)| *key == name)
            .last()
            .map(|(_, value)| value)
    }
}

/// Names that say who connects to what. Two of a kind are refused: whoever
/// checks one and whoever uses the other must never be deceived.
const IDENTITY: [&str; 4] = ["user", "database", "options", "replication"];

fn check(mut cursor: Cursor<'_>) -> Result<(), Error> {
    let mut seen = [false; IDENTITY.len()];
    loop {
        let name = cursor.text()?;
        if name.is_empty() {
            return cursor.end();
        }
        cursor.text()?;
        for (identity, seen) in IDENTITY.iter().zip(&mut seen) {
            if name == *identity && std::mem::replace(seen, true) {
                return Err(Error::malformed_owned(
                    "startup packet",
                    format!("parameter \"{name}\" is given twice"),
                ));
            }
        }
    }
}

/// Pairs of name and value.
#[derive(Debug, Clone)]
pub struct Parameters<'a>(Cursor<'a>);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.text().ok().filter(|name| !name.is_empty())?;
        Some((name, self.0.text().ok()?))
    }
}

fn packet(out: &mut Vec<u8>, code: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(code);
    body(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends an SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    packet(out, SSL, |_| ());
}

/// Appends a GSSENCRequest.
pub fn gss_request(out: &mut Vec<u8>) {
    packet(out, GSS, |_| ());
}

/// Appends a CancelRequest.
pub fn cancel_request(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    packet(out, CANCEL, |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// Appends a StartupMessage.
///
/// # Errors
/// [`Error::is_malformed`] if a name is empty, text holds a zero byte, or the
/// packet grows over [`MAX_LENGTH`]; `out` is then as before.
pub fn startup_message<'a>(
    out: &mut Vec<u8>,
    version: Version,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), Error> {
    let start = out.len();
    let mut fault = None;
    packet(out, version.number(), |out| {
        for (name, value) in parameters {
            if name.is_empty() || name.contains('\0') || value.contains('\0') {
                fault = Some("a parameter with an empty name or a zero byte");
            }
            for text in [name, value] {
                out.put_slice(text.as_bytes());
                out.put_u8(0);
            }
        }
        out.put_u8(0);
    });
    if out.len() - start > MAX_LENGTH {
        fault = Some("longer than 10000 bytes");
    }
    match fault {
        None => Ok(()),
        Some(why) => {
            out.truncate(start);
            Err(Error::malformed("startup packet", why))
        }
    }
}

#[cfg(test)]
mod tests;
