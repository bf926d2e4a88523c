//! SCRAM (RFC 5802, RFC 7677) as state machines without I/O, for both sides.
//!
//! Generic over the hash: Postgres knows SHA-256 only, MongoDB SHA-1 as well.
//! Channel binding is `tls-server-end-point` (RFC 5929).

use std::fmt::Debug;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;
use ring::{digest, hmac, pbkdf2};

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

/// Implements a mechanism on a hash.
macro_rules! hash {
    ($name:ident, $length:literal, $mechanism:literal, $digest:path, $hmac:path, $pbkdf2:path) => {
        impl Hash for $name {
            const MECHANISM: &'static str = $mechanism;
            const PLUS: &'static str = concat!($mechanism, "-PLUS");
            type Key = [u8; $length];

            fn digest(data: &[u8]) -> Self::Key {
                whole(digest::digest(&$digest, data).as_ref())
            }

            fn hmac(key: &[u8], parts: &[&[u8]]) -> Self::Key {
                let mut context = hmac::Context::with_key(&hmac::Key::new($hmac, key));
                for part in parts {
                    context.update(part);
                }
                whole(context.sign().as_ref())
            }

            fn stretch(password: &[u8], salt: &[u8], iterations: u32) -> Self::Key {
                let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
                let mut key = Self::Key::default();
                pbkdf2::derive($pbkdf2, iterations, salt, password, &mut key);
                key
            }
        }
    };
}

hash!(
    Sha256,
    32,
    "SCRAM-SHA-256",
    digest::SHA256,
    hmac::HMAC_SHA256,
    pbkdf2::PBKDF2_HMAC_SHA256
);
hash!(
    Sha1,
    20,
    "SCRAM-SHA-1",
    digest::SHA1_FOR_LEGACY_USE_ONLY,
    hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    pbkdf2::PBKDF2_HMAC_SHA1
);

/// A digest as an array: what is given has its length, by the algorithm.
fn whole<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    for (place, byte) in key.iter_mut().zip(digest) {
        *place = *byte;
    }
    key
}

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
