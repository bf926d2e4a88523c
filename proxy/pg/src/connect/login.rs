//! What a server asks for before it says AuthenticationOk.

use twinport_config::ChannelBinding;
use twinport_wire::md5;
use twinport_wire::pg::backend::{Authentication, Mechanisms};
use twinport_wire::pg::frontend::build;
use twinport_wire::scram::client::{Binding, Client};
use twinport_wire::scram::{Hash, Sha256};

use super::{ConnectError, Target, request};
use crate::auth::{Credentials, Keyring};
use crate::handshake::channel::Channel;

/// What the server wants, and for SCRAM how we begin.
enum Wanted {
    Nothing,
    Cleartext,
    Md5([u8; 4]),
    Scram(Binding, &'static str),
}

/// Logs in; AuthenticationOk has been read when this returns well.
pub(super) async fn login(
    channel: &mut Channel,
    target: &Target,
    end_point: Option<Vec<u8>>,
    keyring: &Keyring,
) -> Result<(), ConnectError> {
    let wanted = request(channel, |asked| {
        Ok(match asked {
            Authentication::Ok => Wanted::Nothing,
            Authentication::Cleartext => Wanted::Cleartext,
            Authentication::Md5(salt) => Wanted::Md5(salt),
            Authentication::Sasl(offered) => choose(target, offered, end_point)?,
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                return Err(ConnectError::violation("SASL goes on before it begins"));
            }
            Authentication::Other(code) => {
                return Err(ConnectError::credentials(format!(
                    "the server asks for authentication method {code}, which is not supported"
                )));
            }
        })
    })
    .await?;
    if let Wanted::Scram(binding, mechanism) = wanted {
        return scram(channel, target, keyring, binding, mechanism).await;
    }
    if target.channel_binding == ChannelBinding::Require {
        return Err(ConnectError::credentials(
            "channel_binding=require, but the server does not ask for SCRAM",
        ));
    }
    match wanted {
        Wanted::Nothing | Wanted::Scram(..) => return Ok(()),
        Wanted::Cleartext => cleartext(channel, target)?,
        Wanted::Md5(salt) => answer_md5(channel, target, salt)?,
    }
    request(channel, accepted).await
}

fn accepted(asked: Authentication<'_>) -> Result<(), ConnectError> {
    match asked {
        Authentication::Ok => Ok(()),
        _ => Err(ConnectError::violation(
            "it asks for another proof after the first",
        )),
    }
}

fn choose(
    target: &Target,
    offered: Mechanisms<'_>,
    end_point: Option<Vec<u8>>,
) -> Result<Wanted, ConnectError> {
    let end_point = match target.channel_binding {
        ChannelBinding::Disable => None,
        ChannelBinding::Prefer | ChannelBinding::Require => end_point,
    };
    let required = target.channel_binding == ChannelBinding::Require;
    Binding::choose::<Sha256>(|name| offered.contains(name), end_point, required)
        .map(|(binding, mechanism)| Wanted::Scram(binding, mechanism))
        .map_err(|error| ConnectError::credentials(error.to_string()))
}

fn missing(asked: &str) -> ConnectError {
    ConnectError::credentials(format!(
        "the server asks for {asked}, and nothing is known that answers it; \
         give the upstream's URL a user and a password"
    ))
}

fn cleartext(channel: &mut Channel, target: &Target) -> Result<(), ConnectError> {
    let Credentials::Password(password) = &target.credentials else {
        return Err(missing("a password in plain text"));
    };
    let stream = channel.stream()?;
    if stream.is_plain_tcp() && !stream.is_loopback() {
        return Err(ConnectError::credentials(
            "the server asks for the password in plain text over a connection without TLS; \
             set sslmode=require",
        ));
    }
    build::password(&mut channel.out, password.as_bytes());
    Ok(())
}

fn answer_md5(channel: &mut Channel, target: &Target, salt: [u8; 4]) -> Result<(), ConnectError> {
    let answer = match &target.credentials {
        Credentials::Password(password) => md5::answer(&md5::stored(&target.user, password), salt),
        Credentials::Md5(stored) => md5::answer(stored, salt),
        Credentials::ScramKeys(_) | Credentials::None => return Err(missing("an md5 password")),
    };
    build::password(&mut channel.out, answer.as_bytes());
    Ok(())
}

async fn scram(
    channel: &mut Channel,
    target: &Target,
    keyring: &Keyring,
    binding: Binding,
    mechanism: &'static str,
) -> Result<(), ConnectError> {
    if matches!(target.credentials, Credentials::None | Credentials::Md5(_)) {
        return Err(missing(Sha256::MECHANISM));
    }
    let (client, first) = Client::<Sha256>::start("", binding);
    build::sasl_initial(&mut channel.out, mechanism, first.as_bytes());
    let challenge = request(channel, |asked| match asked {
        Authentication::SaslContinue(data) => Ok(client.challenge(data, target.max_iterations)?),
        _ => Err(ConnectError::violation("it leaves SCRAM in the middle")),
    })
    .await?;
    let keys = match &target.credentials {
        Credentials::Password(password) => keyring
            .keys(password, &challenge.salt, challenge.iterations)
            .await
            .ok_or_else(|| ConnectError::credentials("shutting down"))?,
        Credentials::ScramKeys(keys) => *keys,
        Credentials::None | Credentials::Md5(_) => return Err(missing(Sha256::MECHANISM)),
    };
    let (client, last) = challenge.answer(&keys);
    build::sasl_response(&mut channel.out, last.as_bytes());
    request(channel, |asked| match asked {
        Authentication::SaslFinal(data) => Ok(client.verify(data)?),
        _ => Err(ConnectError::violation("it leaves SCRAM in the middle")),
    })
    .await?;
    request(channel, accepted).await
}
