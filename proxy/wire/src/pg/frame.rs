//! Where a tagged message begins and ends, in either direction.
//!
//! A frame is one tag byte, four bytes of length (which count themselves but
//! not the tag), and a body.

use crate::Error;

/// The largest length field that Postgres itself accepts or sends: one byte
/// below its largest allocation.
pub const MAX_LENGTH: usize = 0x3fff_fffe;

/// Bytes before the body: tag and length.
pub const HEADER: usize = 5;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What kind of message it is.
    pub tag: u8,
    /// Bytes of the whole frame, its tag included.
    pub len: usize,
}

/// Reads the header at the start of `buf`; `None` if it is not all there yet.
///
/// # Errors
/// [`Error::is_length`] if the length is below 4 or above [`MAX_LENGTH`].
#[inline]
pub fn peek(buf: &[u8]) -> Result<Option<Header>, Error> {
    peek_within(buf, MAX_LENGTH)
}

/// As [`peek`], with a lower limit for the length field.
///
/// # Errors
/// [`Error::is_length`] if the length is below 4 or above `limit`.
#[inline]
pub fn peek_within(buf: &[u8], limit: usize) -> Result<Option<Header>, Error> {
    let Some(&[tag, a, b, c, d]) = buf.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let declared = u32::from_be_bytes([a, b, c, d]);
    let length = declared as usize;
    if length < 4 || length > limit {
        return Err(Error::length(declared, 4, limit));
    }
    Ok(Some(Header {
        tag,
        len: length + 1,
    }))
}

/// A whole frame, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What kind of message it is.
    pub tag: u8,
    /// All its bytes, ready to be forwarded.
    pub bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `buf`; `None` if it is not all there yet.
    ///
    /// # Errors
    /// As [`peek`].
    #[inline]
    pub fn first(buf: &'a [u8]) -> Result<Option<Self>, Error> {
        let Some(header) = peek(buf)? else {
            return Ok(None);
        };
        Ok(buf.get(..header.len).map(|bytes| Self {
            tag: header.tag,
            bytes,
        }))
    }

    /// What follows the header.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }
}

/// Walks the whole frames at the start of a buffer and stops before the first
/// that is not all there.
///
/// After an error it yields nothing more.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
    consumed: usize,
}

impl<'a> Frames<'a> {
    /// Starts at the first byte of `buf`, which must be a frame's first.
    #[inline]
    pub const fn new(buf: &'a [u8]) -> Self {
        Self {
            rest: buf,
            consumed: 0,
        }
    }

    /// Bytes of the frames yielded so far.
    #[inline]
    pub const fn consumed(&self) -> usize {
        self.consumed
    }

    /// Bytes not yet yielded.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match Frame::first(self.rest) {
            Ok(Some(frame)) => {
                self.consumed += frame.bytes.len();
                self.rest = self.rest.get(frame.bytes.len()..).unwrap_or_default();
                Some(Ok(frame))
            }
            Ok(None) => None,
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, declared: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend_from_slice(&declared.to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn declared_length_below_four_is_refused() {
        for declared in 0..4 {
            let error = peek(&frame(b'Q', declared, b"")).unwrap_err();
            assert!(error.is_length(), "{declared}: {error}");
        }
        assert_eq!(
            peek(&frame(b'S', 4, b"")).unwrap(),
            Some(Header { tag: b'S', len: 5 })
        );
    }

    #[test]
    fn declared_length_of_two_gigabytes_and_more_is_refused() {
        for declared in [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0x8000_0004, u32::MAX] {
            let error = peek(&frame(b'Q', declared, b"")).unwrap_err();
            assert!(error.is_length(), "{declared}: {error}");
        }
        assert!(peek(&frame(b'd', 0x3fff_fffe, b"")).unwrap().is_some());
    }

    #[test]
    fn a_lower_limit_is_kept() {
        assert!(peek_within(&frame(b'p', 1025, b""), 1024).is_err());
        assert!(peek_within(&frame(b'p', 1024, b""), 1024).is_ok());
    }

    #[test]
    fn a_header_byte_by_byte() {
        let bytes = frame(b'Q', 7, b"ab\0");
        for end in 0..HEADER {
            assert_eq!(peek(&bytes[..end]).unwrap(), None);
        }
        for end in HEADER..bytes.len() {
            assert_eq!(Frame::first(&bytes[..end]).unwrap(), None);
        }
        let whole = Frame::first(&bytes).unwrap().unwrap();
        assert_eq!((whole.tag, whole.body()), (b'Q', &b"ab\0"[..]));
    }

    #[test]
    fn walks_whole_frames_only() {
        let mut bytes = frame(b'1', 4, b"");
        bytes.extend(frame(b'2', 4, b""));
        bytes.extend(&frame(b'D', 8, b"abcd")[..7]);
        let mut frames = Frames::new(&bytes);
        let tags: Vec<u8> = frames.by_ref().map(|frame| frame.unwrap().tag).collect();
        assert_eq!(tags, b"12");
        assert_eq!(frames.consumed(), 10);
        assert_eq!(frames.rest().len(), 7);
    }

    #[test]
    fn an_error_ends_the_walk() {
        let mut bytes = frame(b'1', 4, b"");
        bytes.extend(frame(b'2', 0, b""));
        let results: Vec<bool> = Frames::new(&bytes).map(|frame| frame.is_ok()).collect();
        assert_eq!(results, [true, false]);
    }
}
