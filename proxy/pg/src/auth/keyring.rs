//! Derived keys, remembered: a storm of logins must not cost a PBKDF2 each.

use std::sync::Arc;

use moka::sync::Cache;
use rand::RngCore;
use twinport_wire::scram::keys::{ITERATIONS, salt_for};
use twinport_wire::scram::{Hash, Keys, Sha256, Verifier};

/// Entries of each kind.
const CAPACITY: u64 = 10_000;

type Digest = <Sha256 as Hash>::Key;

/// Remembers verifiers of plain passwords, and keys for upstream logins. Keyed
/// by a digest of the secret, so a changed password is another entry.
#[derive(Clone)]
pub struct Keyring {
    seed: [u8; 32],
    verifiers: Cache<Digest, Arc<Verifier>>,
    keys: Cache<Digest, Keys>,
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// An empty one, with a seed of its own.
    pub fn new() -> Self {
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        Self {
            seed,
            verifiers: Cache::new(CAPACITY),
            keys: Cache::new(CAPACITY),
        }
    }

    /// A verifier that nothing matches, for somebody who does not exist.
    pub(crate) fn mock(&self, user: &str) -> Verifier {
        Verifier::mock(&self.seed, user)
    }

    /// The verifier of a plain password. Its salt is the user's for as long as
    /// we run, as that of somebody who does not exist.
    pub(crate) async fn verifier(&self, user: &str, password: &str) -> Arc<Verifier> {
        let key = Sha256::hmac(
            &self.seed,
            &[b"v", user.as_bytes(), b"\0", password.as_bytes()],
        );
        if let Some(known) = self.verifiers.get(&key) {
            return known;
        }
        let salt = salt_for::<Sha256>(&self.seed, user);
        let password = password.to_owned();
        let cache = self.verifiers.clone();
        let derive = move || {
            cache.get_with(key, || {
                Arc::new(Verifier::derive(&password, salt, ITERATIONS))
            })
        };
        match tokio::task::spawn_blocking(derive).await {
            Ok(verifier) => verifier,
            // Only while the runtime shuts down: nobody will log in any more.
            Err(_) => Arc::new(self.mock(user)),
        }
    }

    /// The keys that answer a server's challenge. `None` only while the
    /// runtime shuts down.
    pub(crate) async fn keys(&self, password: &str, salt: &[u8], iterations: u32) -> Option<Keys> {
        let rounds = iterations.to_be_bytes();
        let parts: [&[u8]; 4] = [b"k", &rounds, password.as_bytes(), salt];
        let mut framed = Vec::new();
        for part in parts {
            framed.extend_from_slice(&part.len().to_be_bytes());
            framed.extend_from_slice(part);
        }
        let key = Sha256::hmac(&self.seed, &[&framed]);
        if let Some(known) = self.keys.get(&key) {
            return Some(known);
        }
        let (password, salt) = (password.to_owned(), salt.to_owned());
        let cache = self.keys.clone();
        tokio::task::spawn_blocking(move || {
            cache.get_with(key, || Keys::derive(&password, &salt, iterations))
        })
        .await
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_is_derived_once() {
        let ring = Keyring::new();
        let first = ring.verifier("ann", "secret").await;
        let again = ring.verifier("ann", "secret").await;
        assert!(Arc::ptr_eq(&first, &again));
        let changed = ring.verifier("ann", "other").await;
        assert_ne!(first.stored, changed.stored);
        assert_eq!(first.salt, changed.salt);
    }

    #[tokio::test]
    async fn nobody_has_the_same_shape_as_somebody() {
        let ring = Keyring::new();
        let somebody = ring.verifier("ann", "secret").await;
        let mock = ring.mock("ann");
        assert_eq!(somebody.salt, mock.salt);
        assert_eq!(somebody.iterations, mock.iterations);
        assert_ne!(somebody.stored, mock.stored);
    }

    #[tokio::test]
    async fn upstream_keys_differ_by_salt_rounds_and_password() {
        let ring = Keyring::new();
        let keys = ring.keys("pw", b"salt", 1).await;
        assert_eq!(keys, Some(Keys::derive("pw", b"salt", 1)));
        assert_eq!(keys, ring.keys("pw", b"salt", 1).await);
        assert_ne!(keys, ring.keys("pw", b"salt", 2).await);
        assert_ne!(keys, ring.keys("pws", b"alt", 1).await);
        assert_ne!(keys, ring.keys("pv", b"salt", 1).await);
    }
}
