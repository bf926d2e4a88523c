//! Messages from a client: decoders that borrow, builders that append.
//!
//! Decoders take the body, which is what follows tag and length. Text stays
//! bytes: it is in the client's encoding, which need not be UTF-8.

use super::cursor::Cursor;
use crate::Error;

pub mod build;

/// Query.
pub const QUERY: u8 = b'Q';
/// Parse.
pub const PARSE: u8 = b'P';
/// Bind.
pub const BIND: u8 = b'B';
/// Describe.
pub const DESCRIBE: u8 = b'D';
/// Execute.
pub const EXECUTE: u8 = b'E';
/// Close.
pub const CLOSE: u8 = b'C';
/// Flush.
pub const FLUSH: u8 = b'H';
/// Sync.
pub const SYNC: u8 = b'S';
/// Terminate.
pub const TERMINATE: u8 = b'X';
/// FunctionCall.
pub const FUNCTION_CALL: u8 = b'F';
/// CopyData, in both directions.
pub const COPY_DATA: u8 = b'd';
/// CopyDone, in both directions.
pub const COPY_DONE: u8 = b'c';
/// CopyFail.
pub const COPY_FAIL: u8 = b'f';
/// PasswordMessage, SASLInitialResponse, SASLResponse.
pub const PASSWORD: u8 = b'p';

/// The text of a Query.
///
/// # Errors
/// [`Error::is_malformed`], as with all decoders here.
#[inline]
pub fn query(body: &[u8]) -> Result<&[u8], Error> {
    single("Query", body)
}

/// The message of a CopyFail.
///
/// # Errors
/// [`Error::is_malformed`].
pub fn copy_fail(body: &[u8]) -> Result<&[u8], Error> {
    single("CopyFail", body)
}

/// The password, or its md5 answer, in a PasswordMessage.
///
/// # Errors
/// [`Error::is_malformed`].
pub fn password(body: &[u8]) -> Result<&[u8], Error> {
    single("PasswordMessage", body)
}

#[inline]
fn single<'a>(what: &'static str, body: &'a [u8]) -> Result<&'a [u8], Error> {
    let mut cursor = Cursor::new(what, body);
    let text = cursor.cstr()?;
    cursor.end()?;
    Ok(text)
}

/// Parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Of the prepared statement; empty for the unnamed one.
    pub name: &'a [u8],
    /// The statement.
    pub text: &'a [u8],
    /// Its declared parameter types, four bytes each, big-endian OIDs.
    pub types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("Parse", body);
        let name = cursor.cstr()?;
        let text = cursor.cstr()?;
        let count = usize::from(cursor.u16()?);
        let types = cursor.take(count * 4)?;
        cursor.end()?;
        Ok(Self { name, text, types })
    }

    /// The declared types; 0 where the server is to infer.
    pub fn oids(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        let (chunks, _) = self.types.as_chunks::<4>();
        chunks.iter().map(|oid| u32::from_be_bytes(*oid))
    }
}

/// The head of a Bind; its parameters are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The prepared statement's name.
    pub statement: &'a [u8],
    /// Where in the body the parameter formats begin.
    pub offset: usize,
    /// The body from there on.
    pub rest: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Decodes the head of a body.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("Bind", body);
        let portal = cursor.cstr()?;
        let statement = cursor.cstr()?;
        let rest = cursor.rest();
        Ok(Self {
            portal,
            statement,
            offset: body.len() - rest.len(),
            rest,
        })
    }
}

/// What Describe and Close speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement of this name.
    Statement(&'a [u8]),
    /// A portal of this name.
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Decodes the body of a Describe or a Close.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("Describe or Close", body);
        let kind = cursor.u8()?;
        let name = cursor.cstr()?;
        cursor.end()?;
        match kind {
            b'S' => Ok(Self::Statement(name)),
            b'P' => Ok(Self::Portal(name)),
            _ => Err(cursor.error("neither a statement nor a portal")),
        }
    }
}

/// Execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// At most so many rows; zero or less means all.
    pub rows: i32,
}

impl<'a> Execute<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("Execute", body);
        let portal = cursor.cstr()?;
        let rows = cursor.i32()?;
        cursor.end()?;
        Ok(Self { portal, rows })
    }
}

/// SASLInitialResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitial<'a> {
    /// The mechanism that the client has chosen.
    pub mechanism: &'a str,
    /// Its first message, if it sent one.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitial<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    pub fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("SASLInitialResponse", body);
        let mechanism = cursor.text()?;
        let data = match cursor.i32()? {
            -1 => None,
            length => {
                let length =
                    usize::try_from(length).map_err(|_| cursor.error("a negative length"))?;
                Some(cursor.take(length)?)
            }
        };
        cursor.end()?;
        Ok(Self { mechanism, data })
    }
}

#[cfg(test)]
mod tests;
