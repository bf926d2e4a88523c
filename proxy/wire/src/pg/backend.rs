//! Messages from a server: builders for our clients, decoders for what our
//! upstreams say. Decoders take the body and borrow from it.

use super::cursor::Cursor;
use crate::Error;

pub mod build;

mod fields;
mod rows;

pub use fields::{Fields, Report};
pub use rows::{Column, Columns, Values};

/// AuthenticationOk and its family.
pub const AUTHENTICATION: u8 = b'R';
/// ParameterStatus.
pub const PARAMETER_STATUS: u8 = b'S';
/// BackendKeyData.
pub const BACKEND_KEY_DATA: u8 = b'K';
/// NegotiateProtocolVersion.
pub const NEGOTIATE: u8 = b'v';
/// ReadyForQuery.
pub const READY_FOR_QUERY: u8 = b'Z';
/// ErrorResponse.
pub const ERROR_RESPONSE: u8 = b'E';
/// NoticeResponse.
pub const NOTICE_RESPONSE: u8 = b'N';
/// NotificationResponse.
pub const NOTIFICATION_RESPONSE: u8 = b'A';
/// ParseComplete.
pub const PARSE_COMPLETE: u8 = b'1';
/// BindComplete.
pub const BIND_COMPLETE: u8 = b'2';
/// CloseComplete.
pub const CLOSE_COMPLETE: u8 = b'3';
/// ParameterDescription.
pub const PARAMETER_DESCRIPTION: u8 = b't';
/// RowDescription.
pub const ROW_DESCRIPTION: u8 = b'T';
/// NoData.
pub const NO_DATA: u8 = b'n';
/// DataRow.
pub const DATA_ROW: u8 = b'D';
/// CommandComplete.
pub const COMMAND_COMPLETE: u8 = b'C';
/// EmptyQueryResponse.
pub const EMPTY_QUERY: u8 = b'I';
/// PortalSuspended.
pub const PORTAL_SUSPENDED: u8 = b's';
/// FunctionCallResponse.
pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
/// CopyInResponse.
pub const COPY_IN: u8 = b'G';
/// CopyOutResponse.
pub const COPY_OUT: u8 = b'H';
/// CopyBothResponse.
pub const COPY_BOTH: u8 = b'W';
/// CopyData, in both directions.
pub const COPY_DATA: u8 = b'd';
/// CopyDone, in both directions.
pub const COPY_DONE: u8 = b'c';

/// Where a session stands, as ReadyForQuery says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// `I`: no transaction.
    Idle,
    /// `T`: in a transaction.
    Transaction,
    /// `E`: in a failed transaction.
    Failed,
}

impl Status {
    /// The byte on the wire.
    #[inline]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Transaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// The status in a ReadyForQuery.
///
/// # Errors
/// [`Error::is_malformed`], as with all decoders here.
#[inline]
pub fn ready_for_query(body: &[u8]) -> Result<Status, Error> {
    match body {
        b"I" => Ok(Status::Idle),
        b"T" => Ok(Status::Transaction),
        b"E" => Ok(Status::Failed),
        _ => Err(Error::malformed("ReadyForQuery", "unknown status")),
    }
}

/// What a server wants for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Nothing more.
    Ok,
    /// The password as it is.
    Cleartext,
    /// The password hashed with this salt.
    Md5([u8; 4]),
    /// SASL by one of these mechanisms.
    Sasl(Mechanisms<'a>),
    /// The server's part of a SASL exchange.
    SaslContinue(&'a [u8]),
    /// The server's last part of it.
    SaslFinal(&'a [u8]),
    /// Another method, by its number.
    Other(u32),
}

impl<'a> Authentication<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    pub fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("authentication request", body);
        let request = match cursor.u32()? {
            0 => Self::Ok,
            3 => Self::Cleartext,
            5 => Self::Md5(cursor.array()?),
            10 => return Mechanisms::decode(cursor).map(Self::Sasl),
            11 => return Ok(Self::SaslContinue(cursor.rest())),
            12 => return Ok(Self::SaslFinal(cursor.rest())),
            other => return Ok(Self::Other(other)),
        };
        cursor.end()?;
        Ok(request)
    }
}

/// The names of SASL mechanisms, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a>(&'a [u8]);

impl<'a> Mechanisms<'a> {
    fn decode(mut cursor: Cursor<'a>) -> Result<Self, Error> {
        let names = cursor.rest();
        while !cursor.text()?.is_empty() {}
        cursor.end()?;
        Ok(Self(names))
    }

    /// The names, best first as the server sees it.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        let mut cursor = Cursor::new("mechanisms", self.0);
        std::iter::from_fn(move || cursor.text().ok().filter(|name| !name.is_empty()))
    }

    /// Is `mechanism` among them?
    pub fn contains(&self, mechanism: &str) -> bool {
        self.iter().any(|name| name == mechanism)
    }
}

/// Name and value of a ParameterStatus.
///
/// # Errors
/// [`Error::is_malformed`].
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let mut cursor = Cursor::new("ParameterStatus", body);
    let name = cursor.cstr()?;
    let value = cursor.cstr()?;
    cursor.end()?;
    Ok((name, value))
}

/// The key that a CancelRequest needs, from a BackendKeyData.
///
/// # Errors
/// [`Error::is_malformed`], also for a secret under 4 or over 256 bytes.
pub fn backend_key_data(body: &[u8]) -> Result<super::startup::CancelKey<'_>, Error> {
    let mut cursor = Cursor::new("BackendKeyData", body);
    let pid = cursor.i32()?;
    let secret = cursor.rest();
    if !(4..=super::startup::MAX_SECRET).contains(&secret.len()) {
        return Err(cursor.error("the secret is too short or too long"));
    }
    Ok(super::startup::CancelKey { pid, secret })
}

/// What a server can do of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated<'a> {
    /// The newest minor version that it speaks.
    pub minor: u32,
    /// `_pq_.` options that it doesn't know.
    pub unknown: Vec<&'a str>,
}

/// Decodes a NegotiateProtocolVersion.
///
/// # Errors
/// [`Error::is_malformed`].
pub fn negotiate(body: &[u8]) -> Result<Negotiated<'_>, Error> {
    let mut cursor = Cursor::new("NegotiateProtocolVersion", body);
    // Postgres sends the whole version, the documents speak of the minor one.
    let minor = cursor.u32()? & 0xffff;
    let count = cursor.u32()?;
    let mut unknown = Vec::new();
    for _ in 0..count {
        unknown.push(cursor.text()?);
    }
    cursor.end()?;
    Ok(Negotiated { minor, unknown })
}

/// A CommandComplete's tag, such as `INSERT 0 3`.
///
/// # Errors
/// [`Error::is_malformed`].
#[inline]
pub fn command_complete(body: &[u8]) -> Result<&[u8], Error> {
    let mut cursor = Cursor::new("CommandComplete", body);
    let tag = cursor.cstr()?;
    cursor.end()?;
    Ok(tag)
}

/// The rows that a command tag counts: its last word, if that is a number.
pub fn affected(tag: &[u8]) -> Option<u64> {
    let word = tag.rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
