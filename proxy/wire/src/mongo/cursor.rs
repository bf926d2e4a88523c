//! A reader over one message body that borrows and never runs past its end.

use bson::RawDocument;

use super::document;
use crate::Error;

/// What is left to read of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// The message's name, for errors.
    what: &'static str,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) const fn new(what: &'static str, body: &'a [u8]) -> Self {
        Self { rest: body, what }
    }

    /// Bytes not yet read.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An error about this message.
    #[cold]
    pub(crate) const fn error(&self, why: &'static str) -> Error {
        Error::malformed(self.what, why)
    }

    /// Text up to the next zero byte, which is consumed as well.
    #[inline]
    pub(crate) fn cstr(&mut self) -> Result<&'a [u8], Error> {
        let end = memchr::memchr(0, self.rest).ok_or_else(|| self.error("unterminated string"))?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// As [`Self::cstr`], for what must be UTF-8.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, Error> {
        let bytes = self.cstr()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text is not UTF-8"))
    }

    /// A document, of which only the length and the end are checked.
    #[inline]
    pub(crate) fn document(&mut self) -> Result<&'a RawDocument, Error> {
        let (document, rest) = document::split(self.rest)?;
        self.rest = rest;
        Ok(document)
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.error("message too short"))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.error("message too short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    /// The message must end here.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error("bytes after its end"))
        }
    }
}
