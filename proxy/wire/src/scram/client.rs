//! The side that proves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::{BINDING, Hash, Keys, Sha256, attribute, decode, is_nonce, nonce, text, xor};
use crate::Error;

/// The default for the most PBKDF2 rounds that a server may ask of us: more
/// would let it keep us busy.
pub const MAX_ITERATIONS: u32 = 100_000;

const MAX_SALT: usize = 1024;

/// How an exchange is bound to the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// We can't bind: there is no TLS, or its certificate has no usable hash.
    Unsupported,
    /// We could, but the server has not offered it. The server checks that.
    Unoffered,
    /// Bound by the hash of the server's certificate.
    EndPoint(Vec<u8>),
}

impl Binding {
    /// The best for what a server offers and for the hash of its certificate,
    /// with the mechanism to name.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] if `offered` has no SCRAM that we can do, or
    /// if binding is `required` but can't be had.
    pub fn choose<H: Hash>(
        offered: impl Fn(&str) -> bool,
        end_point: Option<Vec<u8>>,
        required: bool,
    ) -> Result<(Self, &'static str), Error> {
        match end_point {
            Some(hash) if offered(H::PLUS) => Ok((Self::EndPoint(hash), H::PLUS)),
            _ if required => Err(Error::unsupported(
                "channel binding is required, but the server does not offer it",
            )),
            _ if !offered(H::MECHANISM) => Err(Error::unsupported(format!(
                "the server does not offer {}",
                H::MECHANISM
            ))),
            Some(_) => Ok((Self::Unoffered, H::MECHANISM)),
            None => Ok((Self::Unsupported, H::MECHANISM)),
        }
    }

    fn header(&self) -> String {
        match self {
            Self::Unsupported => "n,,".to_owned(),
            Self::Unoffered => "y,,".to_owned(),
            Self::EndPoint(_) => format!("p={BINDING},,"),
        }
    }

    fn hash(&self) -> &[u8] {
        match self {
            Self::EndPoint(hash) => hash,
            Self::Unsupported | Self::Unoffered => &[],
        }
    }
}

/// An exchange whose first message has been made.
#[derive(Debug)]
pub struct Client<H: Hash = Sha256> {
    binding: Binding,
    bare: String,
    nonce: String,
    hash: std::marker::PhantomData<H>,
}

/// An exchange that waits for the keys.
#[derive(Debug)]
pub struct Challenge<H: Hash = Sha256> {
    /// The user's salt: what to derive the keys with.
    pub salt: Vec<u8>,
    /// The rounds to derive them with.
    pub iterations: u32,
    transcript: String,
    unproven: String,
    hash: std::marker::PhantomData<H>,
}

/// An exchange that waits for the server to prove that it knows the secret too.
pub struct Answered<H: Hash = Sha256> {
    signature: H::Key,
}

impl<H: Hash> std::fmt::Debug for Answered<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answered")
    }
}

impl<H: Hash> Client<H> {
    /// Starts an exchange; gives the first message. For Postgres `user` is
    /// empty: the server knows it from the startup packet.
    pub fn start(user: &str, binding: Binding) -> (Self, String) {
        Self::start_with(user, binding, nonce())
    }

    pub(super) fn start_with(user: &str, binding: Binding, nonce: String) -> (Self, String) {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={user},r={nonce}");
        let message = format!("{}{bare}", binding.header());
        let next = Self {
            binding,
            bare,
            nonce,
            hash: std::marker::PhantomData,
        };
        (next, message)
    }

    /// Takes the server's first message.
    ///
    /// # Errors
    /// [`Error::is_malformed`]: not ours to answer, a nonce that does not
    /// extend ours or is over-long, more than `most` iterations.
    pub fn challenge(self, message: &[u8], most: u32) -> Result<Challenge<H>, Error> {
        let message = text(message)?;
        let mut rest = message;
        let nonce = attribute(&mut rest, "r=")?;
        let salt = attribute(&mut rest, "s=")?;
        let iterations = attribute(&mut rest, "i=")?;
        if !is_nonce(nonce) {
            return Err(Error::scram("the server's nonce is malformed or too long"));
        }
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(Error::scram("the server's nonce does not extend ours"));
        }
        let salt = decode(salt)?;
        if !(1..=MAX_SALT).contains(&salt.len()) {
            return Err(Error::scram("the salt is empty or too long"));
        }
        let iterations = iterations
            .parse::<u32>()
            .ok()
            .filter(|count| (1..=most).contains(count))
            .ok_or(Error::scram(
                "the iteration count is zero or over the limit",
            ))?;

        let mut bound = self.binding.header().into_bytes();
        bound.extend_from_slice(self.binding.hash());
        Ok(Challenge {
            salt,
            iterations,
            transcript: format!("{},{message}", self.bare),
            unproven: format!("c={},r={nonce}", STANDARD.encode(bound)),
            hash: std::marker::PhantomData,
        })
    }
}

impl<H: Hash> Challenge<H> {
    /// Gives the last message, with the proof.
    pub fn answer(self, keys: &Keys<H>) -> (Answered<H>, String) {
        let transcript = [self.transcript.as_bytes(), b",", self.unproven.as_bytes()];
        let stored = H::digest(keys.client.as_ref());
        let mut proof = H::hmac(stored.as_ref(), &transcript);
        xor(proof.as_mut(), keys.client.as_ref());
        let answered = Answered {
            signature: H::hmac(keys.server.as_ref(), &transcript),
        };
        let message = format!("{},p={}", self.unproven, STANDARD.encode(proof));
        (answered, message)
    }
}

impl<H: Hash> Answered<H> {
    /// Checks the server's signature. Only then is it the right server.
    ///
    /// # Errors
    /// [`Error::is_wrong_secret`] if the server says that our proof is wrong,
    /// [`Error::is_malformed`] for a wrong signature and all else.
    pub fn verify(self, message: &[u8]) -> Result<(), Error> {
        let mut rest = text(message)?;
        if rest.starts_with("e=") {
            return Err(Error::proof());
        }
        let signature = decode(attribute(&mut rest, "v=")?)?;
        if bool::from(signature.ct_eq(self.signature.as_ref())) {
            Ok(())
        } else {
            Err(Error::scram("the server's signature does not match"))
        }
    }
}
