//! What is derived from a password: what a server stores, and what proves it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;

use super::{Hash, Sha256, decode};
use crate::Error;

/// Iterations for secrets that we derive; Postgres' default.
pub const ITERATIONS: u32 = 4096;

/// Enough to log in as the user, and to know the server by its signature. As
/// secret as the password, though good for one salt and iteration count only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keys<H: Hash = Sha256> {
    /// `ClientKey`: its hash is what the server stores.
    pub client: H::Key,
    /// `ServerKey`.
    pub server: H::Key,
}

impl<H: Hash> std::fmt::Debug for Keys<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

impl<H: Hash> Keys<H> {
    /// Derives the keys; slow, see [`Hash::stretch`]. The password is prepared
    /// by SASLprep if it can be, and taken as it is if not, as Postgres does.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let prepared = stringprep::saslprep(password);
        let password = prepared.as_deref().unwrap_or(password);
        let salted = H::stretch(password.as_bytes(), salt, iterations);
        Self {
            client: H::hmac(salted.as_ref(), &[b"Client Key"]),
            server: H::hmac(salted.as_ref(), &[b"Server Key"]),
        }
    }
}

/// What a server stores of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier<H: Hash = Sha256> {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// The user's salt.
    pub salt: Vec<u8>,
    /// Hash of the client key.
    pub stored: H::Key,
    /// `ServerKey`.
    pub server: H::Key,
}

impl<H: Hash> std::fmt::Debug for Verifier<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(secret)")
    }
}

impl<H: Hash> Verifier<H> {
    /// From a password; slow, see [`Hash::stretch`].
    pub fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let keys = Keys::<H>::derive(password, &salt, iterations);
        Self {
            iterations,
            salt,
            stored: H::digest(keys.client.as_ref()),
            server: keys.server,
        }
    }

    /// As [`Self::derive`] with a fresh salt and [`ITERATIONS`].
    pub fn fresh(password: &str) -> Self {
        let mut salt = vec![0; 16];
        rand::rng().fill_bytes(&mut salt);
        Self::derive(password, salt, ITERATIONS)
    }

    /// A verifier that no password matches, for a user who does not exist: the
    /// same salt whenever the same user is tried, so that an answer tells
    /// nothing. `seed` is a secret of this process.
    pub fn mock(seed: &[u8; 32], user: &str) -> Self {
        Self::mock_with(seed, user, ITERATIONS)
    }

    /// As [`Self::mock`], where real users have so many `iterations`.
    pub fn mock_with(seed: &[u8; 32], user: &str, iterations: u32) -> Self {
        let part = |label: &[u8]| H::hmac(seed, &[label, b"\0", user.as_bytes()]);
        Self {
            iterations,
            salt: salt_for::<H>(seed, user),
            stored: part(b"stored"),
            server: part(b"server"),
        }
    }

    /// Reads the form `SCRAM-SHA-256$4096:salt$stored:server` of `pg_authid`.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).ok_or(Error::scram("the stored secret is malformed"))
    }

    fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(H::MECHANISM)?.strip_prefix('$')?;
        let (head, keys) = rest.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some(Self {
            iterations: iterations.parse().ok().filter(|count| *count > 0)?,
            salt: decode(salt).ok().filter(|salt| !salt.is_empty())?,
            stored: H::Key::try_from(&decode(stored).ok()?).ok()?,
            server: H::Key::try_from(&decode(server).ok()?).ok()?,
        })
    }

    /// The form that [`Self::parse`] reads.
    pub fn to_stored(&self) -> String {
        format!(
            "{}${}:{}${}:{}",
            H::MECHANISM,
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored),
            STANDARD.encode(self.server),
        )
    }
}

/// The salt for a user whose plain password we know, or who does not exist:
/// the two can't be told apart.
pub fn salt_for<H: Hash>(seed: &[u8; 32], user: &str) -> Vec<u8> {
    let mut salt = H::hmac(seed, &[b"salt\0", user.as_bytes()])
        .as_ref()
        .to_vec();
    salt.truncate(16);
    salt
}
