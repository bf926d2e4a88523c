//! SCRAM (RFC 5802, RFC 7677) as state machines without I/O, for both sides.
//!
//! Generic over the hash: Postgres knows SHA-256 only, MongoDB SHA-1 as well.
//! Channel binding is `tls-server-end-point` (RFC 5929).

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Digest;

use crate::Error;

pub mod client;
pub mod keys;
pub mod server;

pub use keys::{Keys, Verifier};

/// The longest message of an exchange that either side accepts.
pub const MAX_MESSAGE: usize = 2048;

/// The longest nonce accepted, both halves together.
pub const MAX_NONCE: usize = 512;

const BINDING: &str = "tls-server-end-point";

/// The hash that an exchange is built on.
pub trait Hash: Debug + Clone + Copy + Send + Sync + 'static {
    /// The mechanism's name in SASL.
    const MECHANISM: &'static str;
    /// Its name with channel binding.
    const PLUS: &'static str;
    /// A digest.
    type Key: AsRef<[u8]>
        + AsMut<[u8]>
        + for<'a> TryFrom<&'a [u8]>
        + Default
        + Copy
        + Eq
        + std::hash::Hash
        + Send
        + Sync
        + 'static;

    /// The plain hash.
    fn digest(data: &[u8]) -> Self::Key;
    /// HMAC over `parts` in turn.
    fn hmac(key: &[u8], parts: &[&[u8]]) -> Self::Key;
    /// `Hi` of RFC 5802: PBKDF2 with one block. Slow on purpose: some
    /// milliseconds for 4,096 iterations; mind what else the thread has to do.
    fn stretch(password: &[u8], salt: &[u8], iterations: u32) -> Self::Key;
}

/// SCRAM-SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256;

/// SCRAM-SHA-1, which MongoDB's older users have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha1;

/// Implements a mechanism on a hash whose block has 64 bytes.
macro_rules! hash {
    ($name:ident, $hash:ty, $length:literal, $mechanism:literal, $plus:literal) => {
        impl $name {
            fn mac(key: &[u8]) -> Hmac<$hash> {
                // HMAC pads a key to the block with zeros, so a block can be
                // made up front; that way there is no length to be wrong about.
                let mut block = [0; 64];
                let hashed;
                let key = if key.len() > block.len() {
                    hashed = <$hash>::digest(key);
                    hashed.as_slice()
                } else {
                    key
                };
                for (place, byte) in block.iter_mut().zip(key) {
                    *place = *byte;
                }
                <Hmac<$hash> as KeyInit>::new(&block.into())
            }
        }

        impl Hash for $name {
            const MECHANISM: &'static str = $mechanism;
            const PLUS: &'static str = $plus;
            type Key = [u8; $length];

            fn digest(data: &[u8]) -> Self::Key {
                <$hash>::digest(data).into()
            }

            fn hmac(key: &[u8], parts: &[&[u8]]) -> Self::Key {
                let mut mac = Self::mac(key);
                for part in parts {
                    mac.update(part);
                }
                mac.finalize().into_bytes().into()
            }

            fn stretch(password: &[u8], salt: &[u8], iterations: u32) -> Self::Key {
                let keyed = Self::mac(password);
                let round = |parts: &[&[u8]]| -> Self::Key {
                    let mut mac = keyed.clone();
                    for part in parts {
                        mac.update(part);
                    }
                    mac.finalize().into_bytes().into()
                };
                let mut last = round(&[salt, &1u32.to_be_bytes()]);
                let mut sum = last;
                for _ in 1..iterations {
                    last = round(&[&last]);
                    xor(&mut sum, &last);
                }
                sum
            }
        }
    };
}

hash!(
    Sha256,
    sha2::Sha256,
    32,
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS"
);
hash!(Sha1, sha1::Sha1, 20, "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS");

fn xor(left: &mut [u8], right: &[u8]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
}

/// A fresh nonce: 18 random bytes as 24 printable ones, as Postgres makes them.
fn nonce() -> String {
    let mut bytes = [0; 18];
    rand::rng().fill_bytes(&mut bytes);
    STANDARD.encode(bytes)
}

fn is_nonce(text: &str) -> bool {
    (1..=MAX_NONCE).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn text(message: &[u8]) -> Result<&str, Error> {
    if message.len() > MAX_MESSAGE {
        return Err(Error::scram("message too long"));
    }
    std::str::from_utf8(message).map_err(|_| Error::scram("message is not UTF-8"))
}

/// Takes the attribute `sign` (such as `r=`) from the start of `rest`.
fn attribute<'a>(rest: &mut &'a str, sign: &str) -> Result<&'a str, Error> {
    if rest.starts_with("m=") {
        return Err(Error::scram(
            "mandatory extension of which nothing is known",
        ));
    }
    let value = rest
        .strip_prefix(sign)
        .ok_or(Error::scram("an attribute is missing"))?;
    let (value, after) = value.split_once(',').unwrap_or((value, ""));
    *rest = after;
    Ok(value)
}

fn decode(value: &str) -> Result<Vec<u8>, Error> {
    STANDARD
        .decode(value)
        .map_err(|_| Error::scram("invalid base64"))
}

#[cfg(test)]
mod tests;
