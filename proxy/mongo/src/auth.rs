//! Whether a client is who it says it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use twinport_config::{AuthMethod, Credential, Settings};
use twinport_core::sql::{Identity, Proof};
use twinport_core::tls::certificate;
use twinport_wire::Error;
use twinport_wire::mongo::sasl;
use twinport_wire::scram::server::{Challenged, Server, user as user_of};
use twinport_wire::scram::{Hash, Keys, Sha1, Sha256, Verifier};

pub mod keyring;

pub use keyring::Keyring;

/// How clients are authenticated.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The proof asked for.
    pub method: AuthMethod,
    /// For certificates: common name to the users it may log in as. A name not listed may log in as the user of
    /// the same name.
    pub cert_map: BTreeMap<String, BTreeSet<String>>,
}

/// The mechanisms that a user can log in with, the best first.
pub fn mechanisms(settings: &Settings, user: &str) -> Vec<&'static str> {
    let credential = settings.users.get(user).map(|user| &user.credential);
    match credential {
        // A verifier is good for the hash that it was made with.
        Some(Some(Credential::Scram(_))) => vec![Sha256::MECHANISM],
        // Who doesn't exist looks as most do.
        _ => vec![Sha256::MECHANISM, Sha1::MECHANISM],
    }
}

/// Why somebody does not get in; for the log, never for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("wrong password")]
    Password,
    #[error("no such user, or no secret that this mechanism can check")]
    Unknown,
    #[error("the mechanism {0} is not open")]
    Mechanism(String),
    #[error("{0}")]
    Certificate(&'static str),
    #[error(transparent)]
    Violation(#[from] Error),
}

/// An exchange that waits for the client's next message.
pub(crate) struct Exchange {
    pub(crate) user: Arc<str>,
    /// The exchange ends with an empty message from the client.
    empty_end: bool,
    state: State,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({:?}, secret)", self.user)
    }
}

enum State {
    Sha256(Box<Challenged<Sha256>>, Secret),
    Sha1(Box<Challenged<Sha1>>, Secret),
    /// All is proven; one more empty message is due.
    Proven(Identity),
}

/// What is known of the user whose proof is awaited.
#[derive(Clone)]
enum Secret {
    Password(Arc<str>),
    Verifier,
    /// Nobody: no proof is right.
    None,
}

/// What a message of the client led to.
pub(crate) struct Said {
    /// Our answer.
    pub(crate) payload: String,
    /// Who it is, if all is proven and said.
    pub(crate) identity: Option<Identity>,
    /// The exchange, if it goes on.
    pub(crate) exchange: Option<Exchange>,
}

/// Begins an exchange by SCRAM.
pub(crate) async fn start(
    start: sasl::Start<'_>,
    settings: &Settings,
    policy: &Policy,
    keyring: &Keyring,
) -> Result<Said, Denied> {
    if policy.method != AuthMethod::ScramSha256 {
        return Err(Denied::Mechanism(start.mechanism.to_owned()));
    }
    let user = user_of(start.payload)?;
    let credential = settings
        .users
        .get(&user)
        .and_then(|user| user.credential.as_ref());
    let (state, payload) = match start.mechanism {
        Sha256::MECHANISM => {
            let (verifier, secret) = sha256(&user, credential, keyring).await;
            let server = Server::<Sha256>::new(verifier, None);
            let (next, answer) = server.challenge(start.mechanism, start.payload)?;
            (State::Sha256(Box::new(next), secret), answer)
        }
        Sha1::MECHANISM => {
            let (verifier, secret) = sha1(&user, credential, keyring).await;
            let server = Server::<Sha1>::new(verifier, None);
            let (next, answer) = server.challenge(start.mechanism, start.payload)?;
            (State::Sha1(Box::new(next), secret), answer)
        }
        other => return Err(Denied::Mechanism(other.to_owned())),
    };
    let exchange = Exchange {
        user: user.into(),
        empty_end: !start.skip_empty_exchange,
        state,
    };
    Ok(Said {
        payload,
        identity: None,
        exchange: Some(exchange),
    })
}

async fn sha256(
    user: &str,
    credential: Option<&Credential>,
    keyring: &Keyring,
) -> (Verifier<Sha256>, Secret) {
    match credential {
        Some(Credential::Password(password)) => {
            let password = password.reveal();
            let verifier = keyring.sha256(user, password).await;
            (verifier, Secret::Password(password.into()))
        }
        Some(Credential::Scram(verifier)) => match Verifier::parse(verifier.reveal()) {
            Ok(verifier) => (verifier, Secret::Verifier),
            Err(_) => (keyring.mock_sha256(user), Secret::None),
        },
        Some(Credential::Md5(_)) | None => (keyring.mock_sha256(user), Secret::None),
    }
}

async fn sha1(
    user: &str,
    credential: Option<&Credential>,
    keyring: &Keyring,
) -> (Verifier<Sha1>, Secret) {
    match credential {
        Some(Credential::Password(password)) => {
            let password = password.reveal();
            let verifier = keyring.sha1(user, password).await;
            (verifier, Secret::Password(password.into()))
        }
        _ => (keyring.mock_sha1(user), Secret::None),
    }
}

impl Exchange {
    /// Takes the client's next message.
    pub(crate) fn go_on(self, message: &[u8]) -> Result<Said, Denied> {
        let (payload, identity) = match self.state {
            State::Proven(identity) => {
                return Ok(Said {
                    payload: String::new(),
                    identity: Some(identity),
                    exchange: None,
                });
            }
            State::Sha256(challenged, secret) => {
                let proven = challenged.prove(message).map_err(rejected)?;
                let proof = secret.proof(Some(proven.keys))?;
                (proven.message, proof)
            }
            State::Sha1(challenged, secret) => {
                let proven = challenged.prove(message).map_err(rejected)?;
                (proven.message, secret.proof(None)?)
            }
        };
        let identity = Identity {
            user: Arc::clone(&self.user),
            proof: identity,
        };
        let (identity, exchange) = if self.empty_end {
            let exchange = Self {
                state: State::Proven(identity),
                ..self
            };
            (None, Some(exchange))
        } else {
            (Some(identity), None)
        };
        Ok(Said {
            payload,
            identity,
            exchange,
        })
    }
}

impl Secret {
    fn proof(self, keys: Option<Keys<Sha256>>) -> Result<Proof, Denied> {
        match (self, keys) {
            (Self::Password(password), _) => Ok(Proof::Password(password)),
            (Self::Verifier, Some(keys)) => Ok(Proof::ScramKeys(keys.client, keys.server)),
            _ => Err(Denied::Unknown),
        }
    }
}

fn rejected(error: Error) -> Denied {
    if error.is_wrong_secret() {
        Denied::Password
    } else {
        Denied::Violation(error)
    }
}

/// Checks the certificate that a client has shown, for MONGODB-X509.
pub(crate) fn by_certificate(
    shown: Option<&CertificateDer<'_>>,
    user: Option<&str>,
    policy: &Policy,
) -> Result<Identity, Denied> {
    if policy.method != AuthMethod::Cert {
        return Err(Denied::Mechanism("MONGODB-X509".to_owned()));
    }
    let shown = shown.ok_or(Denied::Certificate("no certificate was shown"))?;
    let common = certificate::names(shown)
        .and_then(|names| names.common)
        .ok_or(Denied::Certificate("the certificate has no common name"))?;
    // Drivers send the whole subject, or nothing.
    let asked = user.map(|user| common_name(user).unwrap_or(user));
    let asked = asked.filter(|asked| *asked != common);
    let mapped = policy.cert_map.get(&common);
    let user = match (asked, mapped) {
        (None, None) => Some(&*common),
        (None, Some(users)) => users
            .get(&common)
            .or_else(|| users.first().filter(|_| users.len() == 1))
            .map(String::as_str),
        (Some(asked), mapped) => mapped
            .is_some_and(|users| users.contains(asked))
            .then_some(asked),
    };
    let user = user.ok_or(Denied::Certificate("the certificate is not for this user"))?;
    Ok(Identity {
        user: user.into(),
        proof: Proof::None,
    })
}

/// The common name in a subject such as `CN=alice,O=Library`.
fn common_name(subject: &str) -> Option<&str> {
    let part = |part: &'_ str| part.trim_start().starts_with("CN=");
    let found = subject.split(',').find(|each| part(each))?;
    found.trim_start().strip_prefix("CN=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subjects_common_name_is_found() {
        assert_eq!(common_name("CN=alice,OU=x,O=y"), Some("alice"));
        assert_eq!(common_name("O=y, CN=bob"), Some("bob"));
        assert_eq!(common_name("alice"), None);
    }
}
