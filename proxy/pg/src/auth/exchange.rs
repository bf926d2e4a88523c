//! The methods, each from its request to the client to its verdict.

use std::sync::Arc;

use rand::RngCore;
use twinport_core::stream::Stream;
use twinport_core::tls::certificate;
use twinport_wire::pg::{backend, frontend};
use twinport_wire::scram::server::{Server, offer};
use twinport_wire::scram::{Sha256, Verifier};
use twinport_wire::{Error, md5};

use super::{Credentials, Keyring, Method, Policy, Secret, Secrets, Unavailable};
use crate::handshake::channel::{Broken, Channel, Message};

/// The longest answer accepted; tokens that some clouds use as passwords are
/// a few thousand bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// Who wants in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    /// What a SCRAM login is bound to.
    pub(crate) end_point: Option<&'a [u8]>,
}

/// Why somebody does not get in.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The proof is wrong, for a reason that only the log learns.
    Proof(String),
    /// This way of logging in is not open to this client.
    Forbidden(&'static str),
    /// The client broke the rules of the exchange.
    Violation(Error),
    /// There is no telling right now.
    Unavailable(Unavailable),
    /// The connection broke.
    Broken(Broken),
}

impl From<Broken> for Denied {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Wire(error) => Self::Violation(error),
            broken => Self::Broken(broken),
        }
    }
}

impl From<Unavailable> for Denied {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

/// Asks the client for its proof and checks it. What ends the exchange is in the
/// channel's `out` when this returns: it goes out with AuthenticationOk, in one write.
pub(crate) async fn authenticate<S: Secrets>(
    channel: &mut Channel,
    who: Who<'_>,
    policy: &Policy,
    secrets: &S,
    keyring: &Keyring,
) -> Result<Credentials, Denied> {
    match policy.method {
        Method::Trust if !is_local(channel.stream()?) => {
            return Err(Denied::Forbidden(
                "trust is for loopback addresses and Unix sockets only",
            ));
        }
        Method::Cert => by_certificate(channel, who.user, policy)?,
        Method::Trust | Method::ScramSha256 | Method::Md5 => {}
    }
    let secret = secrets.find(who.user, who.database).await?;
    match (policy.method, secret) {
        (Method::Trust | Method::Cert, secret) => Ok(unproven(secret)),
        (Method::Md5, secret @ (None | Some(Secret::Plain(_) | Secret::Md5(_)))) => {
            by_md5(channel, who.user, secret).await
        }
        (Method::Md5 | Method::ScramSha256, secret) => {
            by_scram(channel, who, secret, keyring).await
        }
    }
}

fn is_local(stream: &Stream) -> bool {
    match stream {
        Stream::Unix(_) | Stream::Memory(_) => true,
        Stream::Tcp(_) | Stream::Tls(_) | Stream::TlsClient(_) => stream.is_loopback(),
    }
}

/// What a secret is good for upstream if the client has not used it.
fn unproven(secret: Option<Secret>) -> Credentials {
    match secret {
        Some(Secret::Plain(password)) => Credentials::Password(password),
        Some(Secret::Md5(hash)) => Credentials::Md5(hash),
        Some(Secret::Scram(_)) | None => Credentials::None,
    }
}

fn by_certificate(channel: &Channel, user: &str, policy: &Policy) -> Result<(), Denied> {
    let shown = channel
        .stream()?
        .peer_certificate()
        .ok_or(Denied::Forbidden(
            "a client certificate is required to log in",
        ))?;
    let name = certificate::names(shown)
        .and_then(|names| names.common)
        .ok_or_else(|| Denied::Proof("the certificate has no common name".to_owned()))?;
    let allowed = policy
        .cert_map
        .get(&name)
        .map_or(name == user, |users| users.contains(user));
    if allowed {
        Ok(())
    } else {
        Err(Denied::Proof(format!(
            "the certificate of \"{name}\" is not for this user"
        )))
    }
}

async fn answer(channel: &mut Channel) -> Result<Message, Denied> {
    channel.flush().await?;
    let what = "an answer to the authentication request";
    Ok(channel
        .message_of(frontend::PASSWORD, what, MAX_ANSWER)
        .await?)
}

async fn by_md5(
    channel: &mut Channel,
    user: &str,
    secret: Option<Secret>,
) -> Result<Credentials, Denied> {
    let mut salt = [0; 4];
    rand::rng().fill_bytes(&mut salt);
    backend::build::authentication_md5(&mut channel.out, salt);
    let message = answer(channel).await?;
    let given = frontend::password(message.body()).map_err(Denied::Violation)?;
    let (hash, credentials) = match secret {
        Some(Secret::Plain(password)) => (
            md5::stored(user, &password),
            Credentials::Password(password),
        ),
        Some(Secret::Md5(hash)) => (hash.clone(), Credentials::Md5(hash)),
        Some(Secret::Scram(_)) | None => return Err(unknown()),
    };
    if md5::verify(&hash, salt, given) {
        Ok(credentials)
    } else {
        Err(Denied::Proof("wrong password".to_owned()))
    }
}

fn unknown() -> Denied {
    Denied::Proof("no such user, or no password that this method can check".to_owned())
}

async fn by_scram(
    channel: &mut Channel,
    who: Who<'_>,
    secret: Option<Secret>,
    keyring: &Keyring,
) -> Result<Credentials, Denied> {
    let (verifier, known) = match &secret {
        Some(Secret::Plain(password)) => {
            let verifier = keyring.verifier(who.user, password).await;
            (Arc::unwrap_or_clone(verifier), true)
        }
        Some(Secret::Scram(verifier)) => (verifier.clone(), true),
        Some(Secret::Md5(_)) | None => (keyring.mock(who.user), false),
    };
    let proven = scram(channel, verifier, who.end_point).await;
    match (proven, secret) {
        (Err(Denied::Proof(_)), _) if !known => Err(unknown()),
        (Err(denied), _) => Err(denied),
        (Ok(_), Some(Secret::Plain(password))) => Ok(Credentials::Password(password)),
        (Ok(keys), Some(Secret::Scram(_))) => Ok(Credentials::ScramKeys(keys)),
        (Ok(_), Some(Secret::Md5(_)) | None) => Err(unknown()),
    }
}

async fn scram(
    channel: &mut Channel,
    verifier: Verifier,
    end_point: Option<&[u8]>,
) -> Result<twinport_wire::scram::Keys, Denied> {
    let rejected = |error: Error| {
        if error.is_wrong_secret() {
            Denied::Proof("wrong password".to_owned())
        } else {
            Denied::Violation(error)
        }
    };
    let mechanisms = offer::<Sha256>(end_point.is_some());
    backend::build::authentication_sasl(&mut channel.out, mechanisms);
    let message = answer(channel).await?;
    let initial = frontend::SaslInitial::decode(message.body()).map_err(rejected)?;
    let server = Server::<Sha256>::new(verifier, end_point.map(<[u8]>::to_vec));
    let (server, challenge) = server
        .challenge(initial.mechanism, initial.data.unwrap_or_default())
        .map_err(rejected)?;
    backend::build::authentication_sasl_continue(&mut channel.out, challenge.as_bytes());
    let message = answer(channel).await?;
    let proven = server.prove(message.body()).map_err(rejected)?;
    backend::build::authentication_sasl_final(&mut channel.out, proven.message.as_bytes());
    Ok(proven.keys)
}
