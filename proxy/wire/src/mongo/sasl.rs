//! The commands that carry SCRAM: `saslStart`, `saslContinue`, and the first
//! of them inside `hello` as `speculativeAuthenticate`.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/auth/auth.md>.
//! The exchange itself is [`crate::scram`].

use bson::raw::cstr;
use bson::spec::BinarySubtype;
use bson::{RawBinaryRef, RawBsonRef, RawDocument, RawDocumentBuf};

use super::document::{bad, integer, truth};
use crate::Error;
use crate::scram::Hash;

/// Iterations for secrets of SCRAM-SHA-256 that we derive; MongoDB's default.
pub const ITERATIONS_SHA256: u32 = 15_000;

/// Iterations for secrets of SCRAM-SHA-1 that we derive; MongoDB's default.
pub const ITERATIONS_SHA1: u32 = 10_000;

/// `saslStart`, borrowed; also the value of `speculativeAuthenticate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start<'a> {
    /// The mechanism that the client has chosen.
    pub mechanism: &'a str,
    /// Its first message.
    pub payload: &'a [u8],
    /// `db`, where there is one (in `speculativeAuthenticate`): the database
    /// that the user belongs to.
    pub database: Option<&'a str>,
    /// The client wants no empty exchange at the end.
    pub skip_empty_exchange: bool,
}

impl<'a> Start<'a> {
    /// Reads the command.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    pub fn read(body: &'a RawDocument) -> Result<Self, Error> {
        let mechanism = get(body, "mechanism")?.and_then(RawBsonRef::as_str);
        let database = get(body, "db")?.and_then(RawBsonRef::as_str);
        let options = get(body, "options")?.and_then(RawBsonRef::as_document);
        let skip = match options {
            Some(options) => get(options, "skipEmptyExchange")?,
            None => None,
        };
        Ok(Self {
            mechanism: mechanism.ok_or(Error::field("mechanism", "must be a string"))?,
            payload: payload(body)?,
            database,
            skip_empty_exchange: skip.is_some_and(truth),
        })
    }
}

/// `saslContinue`, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continue<'a> {
    /// Which exchange it goes on with.
    pub conversation: i64,
    /// The client's next message.
    pub payload: &'a [u8],
}

impl<'a> Continue<'a> {
    /// Reads the command.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    pub fn read(body: &'a RawDocument) -> Result<Self, Error> {
        let id = get(body, "conversationId")?.and_then(integer);
        Ok(Self {
            conversation: id.ok_or(Error::field("conversationId", "must be a whole number"))?,
            payload: payload(body)?,
        })
    }
}

/// The answer to either command, without `ok`; also what `hello` answers as
/// `speculativeAuthenticate`.
pub fn answer(conversation: i32, payload: &str, done: bool) -> RawDocumentBuf {
    let mut out = RawDocumentBuf::new();
    out.append(cstr!("conversationId"), conversation);
    out.append(cstr!("done"), done);
    out.append(cstr!("payload"), binary(payload.as_bytes()));
    out
}

/// A `saslStart` of ours.
pub fn start<H: Hash>(database: &str, payload: &str) -> RawDocumentBuf {
    let mut options = RawDocumentBuf::new();
    options.append(cstr!("skipEmptyExchange"), true);
    let mut out = RawDocumentBuf::new();
    out.append(cstr!("saslStart"), 1);
    out.append(cstr!("mechanism"), H::MECHANISM);
    out.append(cstr!("payload"), binary(payload.as_bytes()));
    out.append(cstr!("options"), options);
    out.append(cstr!("$db"), database);
    out
}

/// A `saslContinue` of ours.
pub fn go_on(database: &str, conversation: i32, payload: &str) -> RawDocumentBuf {
    let mut out = RawDocumentBuf::new();
    out.append(cstr!("saslContinue"), 1);
    out.append(cstr!("conversationId"), conversation);
    out.append(cstr!("payload"), binary(payload.as_bytes()));
    out.append(cstr!("$db"), database);
    out
}

/// What SCRAM-SHA-1 takes for the password: a digest of it and the name.
/// SCRAM-SHA-256 takes the password itself.
pub fn sha1_password(user: &str, password: &str) -> String {
    crate::md5::hex(&[user.as_bytes(), b":mongo:", password.as_bytes()])
}

const fn binary(bytes: &[u8]) -> RawBinaryRef<'_> {
    RawBinaryRef {
        subtype: BinarySubtype::Generic,
        bytes,
    }
}

fn get<'a>(body: &'a RawDocument, key: &str) -> Result<Option<RawBsonRef<'a>>, Error> {
    body.get(key).map_err(bad)
}

/// The payload; old shells send it as text.
fn payload(body: &RawDocument) -> Result<&[u8], Error> {
    match get(body, "payload")? {
        Some(RawBsonRef::Binary(binary)) => Ok(binary.bytes),
        Some(RawBsonRef::String(text)) => Ok(text.as_bytes()),
        _ => Err(Error::field("payload", "must be binary")),
    }
}

#[cfg(test)]
mod tests;
