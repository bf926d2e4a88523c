//! The side that checks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::{BINDING, Hash, Keys, Sha256, Verifier, attribute, decode, is_nonce, nonce, text, xor};
use crate::Error;

/// An exchange about to begin.
#[derive(Debug)]
pub struct Server<H: Hash = Sha256> {
    verifier: Verifier<H>,
    /// Hash of the certificate that the client sees, where there is one.
    end_point: Option<Vec<u8>>,
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct Challenged<H: Hash = Sha256> {
    verifier: Verifier<H>,
    /// The client's first message without its header, a comma, ours.
    transcript: String,
    /// What the client's `c=` must say.
    binding: String,
    nonce: String,
}

/// An exchange that ended well.
#[derive(Debug)]
pub struct Proven<H: Hash = Sha256> {
    /// The last message, with our signature.
    pub message: String,
    /// With these one can log in elsewhere, where the same verifier is stored.
    pub keys: Keys<H>,
}

/// The mechanisms to offer, the best first.
pub fn offer<H: Hash>(with_binding: bool) -> &'static [&'static str] {
    if with_binding {
        const { &[H::PLUS, H::MECHANISM] }
    } else {
        const { &[H::MECHANISM] }
    }
}

/// The user that a client's first message names. Postgres' clients leave it
/// empty, because the startup packet has named it; MongoDB's don't.
///
/// # Errors
/// [`Error::is_malformed`].
pub fn user(message: &[u8]) -> Result<String, Error> {
    let message = text(message)?;
    let mut rest = message
        .splitn(3, ',')
        .nth(2)
        .ok_or(Error::scram("the header is malformed"))?;
    let name = attribute(&mut rest, "n=")?;
    let mut parts = name.split('=');
    let mut user = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, after) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(after), _) => (',', after),
            (_, Some(after)) => ('=', after),
            _ => return Err(Error::scram("the user's name is malformed")),
        };
        user.push(sign);
        user.push_str(after);
    }
    Ok(user)
}

impl<H: Hash> Server<H> {
    /// `end_point` is the hash that binds to the TLS channel, if there is one;
    /// with it, [`offer`] must have offered the mechanism with binding.
    pub const fn new(verifier: Verifier<H>, end_point: Option<Vec<u8>>) -> Self {
        Self {
            verifier,
            end_point,
        }
    }

    /// Takes the client's first message and gives ours.
    ///
    /// # Errors
    /// [`Error::is_malformed`], also where a client says that we offer no
    /// channel binding though we do: somebody between us has cut it out.
    pub fn challenge(
        self,
        mechanism: &str,
        message: &[u8],
    ) -> Result<(Challenged<H>, String), Error> {
        self.challenge_with(mechanism, message, &nonce())
    }

    pub(super) fn challenge_with(
        self,
        mechanism: &str,
        message: &[u8],
        nonce: &str,
    ) -> Result<(Challenged<H>, String), Error> {
        let message = text(message)?;
        let (flag, rest) = message
            .split_once(',')
            .ok_or(Error::scram("the header is malformed"))?;
        let bound = self.bound(mechanism, flag)?;
        let bare = rest.strip_prefix(',').ok_or(Error::scram(
            "the client gives an authorization identity, which is not supported",
        ))?;
        let mut attributes = bare;
        attribute(&mut attributes, "n=")?;
        let theirs = attribute(&mut attributes, "r=")?;
        if !is_nonce(theirs) {
            return Err(Error::scram("the client's nonce is malformed"));
        }

        let binding = [flag.as_bytes(), b",,", &bound].concat();
        let nonce = format!("{theirs}{nonce}");
        let answer = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&self.verifier.salt),
            self.verifier.iterations
        );
        let next = Challenged {
            transcript: format!("{bare},{answer}"),
            verifier: self.verifier,
            binding: STANDARD.encode(binding),
            nonce,
        };
        Ok((next, answer))
    }

    /// The bytes that bind to the channel: none without binding.
    fn bound(&self, mechanism: &str, flag: &str) -> Result<Vec<u8>, Error> {
        if mechanism != H::MECHANISM && mechanism != H::PLUS {
            return Err(Error::scram("the mechanism was not offered"));
        }
        match (flag, &self.end_point, mechanism == H::PLUS) {
            ("n", _, false) | ("y", None, false) => Ok(Vec::new()),
            ("y", Some(_), false) => Err(Error::scram(
                "the client thinks that channel binding is not offered, but it is",
            )),
            (flag, Some(end_point), true) if flag.strip_prefix("p=") == Some(BINDING) => {
                Ok(end_point.clone())
            }
            _ => Err(Error::scram("the channel binding is malformed")),
        }
    }
}

impl<H: Hash> Challenged<H> {
    /// Takes the client's last message and, if its proof is right, gives ours.
    ///
    /// # Errors
    /// [`Error::is_wrong_secret`] if the proof does not match, otherwise
    /// [`Error::is_malformed`].
    pub fn prove(self, message: &[u8]) -> Result<Proven<H>, Error> {
        let message = text(message)?;
        let (unproven, proof) = message
            .rsplit_once(",p=")
            .ok_or(Error::scram("the proof is missing"))?;
        let mut rest = unproven;
        let binding = attribute(&mut rest, "c=")?;
        let nonce = attribute(&mut rest, "r=")?;
        if !bool::from(binding.as_bytes().ct_eq(self.binding.as_bytes())) {
            return Err(Error::scram("the channel binding does not match"));
        }
        if nonce != self.nonce {
            return Err(Error::scram("the nonce does not match"));
        }
        let proof = decode(proof)?;
        let mut client =
            H::Key::try_from(&proof).map_err(|_| Error::scram("the proof has the wrong length"))?;

        let transcript = [self.transcript.as_bytes(), b",", unproven.as_bytes()];
        let signature = H::hmac(self.verifier.stored.as_ref(), &transcript);
        xor(client.as_mut(), signature.as_ref());
        let stored = H::digest(client.as_ref());
        if !bool::from(stored.as_ref().ct_eq(self.verifier.stored.as_ref())) {
            return Err(Error::proof());
        }
        let signature = H::hmac(self.verifier.server.as_ref(), &transcript);
        Ok(Proven {
            message: format!("v={}", STANDARD.encode(signature)),
            keys: Keys {
                client,
                server: self.verifier.server,
            },
        })
    }
}
