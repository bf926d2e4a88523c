//! Derived keys, remembered: a storm of logins must not cost a PBKDF2 each.

use std::sync::Arc;

use moka::sync::Cache;
use rand::RngCore;
use twinport_wire::mongo::sasl::{ITERATIONS_SHA1, ITERATIONS_SHA256, sha1_password};
use twinport_wire::scram::keys::salt_for;
use twinport_wire::scram::{Hash, Sha1, Sha256, Verifier};

/// Entries of each kind.
const CAPACITY: u64 = 10_000;

type Digest = <Sha256 as Hash>::Key;

/// Remembers verifiers of plain passwords. Keyed by a digest of the secret, so a changed password is another
/// entry.
#[derive(Clone)]
pub struct Keyring {
    seed: [u8; 32],
    sha256: Cache<Digest, Arc<Verifier<Sha256>>>,
    sha1: Cache<Digest, Arc<Verifier<Sha1>>>,
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
            sha256: Cache::new(CAPACITY),
            sha1: Cache::new(CAPACITY),
        }
    }

    /// A verifier that nothing matches, for somebody who does not exist.
    pub(crate) fn mock_sha256(&self, user: &str) -> Verifier<Sha256> {
        Verifier::mock_with(&self.seed, user, ITERATIONS_SHA256)
    }

    /// As [`Keyring::mock_sha256`].
    pub(crate) fn mock_sha1(&self, user: &str) -> Verifier<Sha1> {
        Verifier::mock_with(&self.seed, user, ITERATIONS_SHA1)
    }

    /// The verifier of a plain password. Its salt is the user's for as long as we run.
    pub(crate) async fn sha256(&self, user: &str, password: &str) -> Verifier<Sha256> {
        let derived = derive(
            &self.sha256,
            self.key(user, password),
            password.to_owned(),
            salt_for::<Sha256>(&self.seed, user),
            ITERATIONS_SHA256,
        );
        derived.await.unwrap_or_else(|| self.mock_sha256(user))
    }

    /// As [`Keyring::sha256`], for the older mechanism.
    pub(crate) async fn sha1(&self, user: &str, password: &str) -> Verifier<Sha1> {
        let derived = derive(
            &self.sha1,
            self.key(user, password),
            sha1_password(user, password),
            salt_for::<Sha1>(&self.seed, user),
            ITERATIONS_SHA1,
        );
        derived.await.unwrap_or_else(|| self.mock_sha1(user))
    }

    fn key(&self, user: &str, password: &str) -> Digest {
        Sha256::hmac(
            &self.seed,
            &[b"v", user.as_bytes(), b"\0", password.as_bytes()],
        )
    }
}

/// `None` only while the runtime shuts down: nobody will log in any more.
async fn derive<H: Hash>(
    cache: &Cache<Digest, Arc<Verifier<H>>>,
    key: Digest,
    password: String,
    salt: Vec<u8>,
    iterations: u32,
) -> Option<Verifier<H>> {
    if let Some(known) = cache.get(&key) {
        return Some(Arc::unwrap_or_clone(known));
    }
    let cache = cache.clone();
    let derive = move || {
        cache.get_with(key, || {
            Arc::new(Verifier::derive(&password, salt, iterations))
        })
    };
    let derived = tokio::task::spawn_blocking(derive).await.ok()?;
    Some(Arc::unwrap_or_clone(derived))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_has_the_same_shape_as_somebody() {
        let ring = Keyring::new();
        let somebody = ring.sha256("ann", "secret").await;
        let mock = ring.mock_sha256("ann");
        assert_eq!(somebody.salt, mock.salt);
        assert_eq!(somebody.iterations, mock.iterations);
        assert_ne!(somebody.stored, mock.stored);
        let changed = ring.sha256("ann", "other").await;
        assert_ne!(somebody.stored, changed.stored);
    }
}
