//! Where a message begins and ends, in either direction.
//!
//! A frame is sixteen bytes of header, the first four of which are the length
//! of all of it, and a body.

use crate::Error;

/// The longest message, in bytes: what MongoDB announces as
/// `maxMessageSizeBytes` and, as there, a little for what surrounds it.
pub const MAX_LENGTH: usize = 48_000_000 + 16 * 1024;

/// Bytes before the body.
pub const HEADER: usize = 16;

/// OP_REPLY, the answer to OP_QUERY.
pub const OP_REPLY: i32 = 1;
/// OP_QUERY. Only handshakes still use it.
pub const OP_QUERY: i32 = 2004;
/// OP_COMPRESSED: another message, compressed.
pub const OP_COMPRESSED: i32 = 2012;
/// OP_MSG: all commands and their answers.
pub const OP_MSG: i32 = 2013;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole frame, its header included.
    pub len: usize,
    /// The sender's number for this message.
    pub request_id: i32,
    /// In an answer: the number of the message that is answered.
    pub response_to: i32,
    /// What kind of message it is.
    pub op_code: i32,
}

/// Reads the header at the start of `buf`; `None` if it is not all there yet.
///
/// # Errors
/// [`Error::is_length`] if the length is below [`HEADER`] or above
/// [`MAX_LENGTH`]; that is told as soon as the first four bytes are there.
#[inline]
pub fn peek(buf: &[u8]) -> Result<Option<Header>, Error> {
    peek_within(buf, MAX_LENGTH)
}

/// As [`peek`], with a lower limit for the length.
///
/// # Errors
/// [`Error::is_length`] if the length is below [`HEADER`] or above `limit`.
#[inline]
pub fn peek_within(buf: &[u8], limit: usize) -> Result<Option<Header>, Error> {
    let Some((length, rest)) = buf.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let declared = u32::from_le_bytes(*length);
    let len = declared as usize;
    if len < HEADER || len > limit {
        return Err(Error::length(declared, HEADER, limit));
    }
    let ([request_id, response_to, op_code, ..], _) = rest.as_chunks::<4>() else {
        return Ok(None);
    };
    Ok(Some(Header {
        len,
        request_id: i32::from_le_bytes(*request_id),
        response_to: i32::from_le_bytes(*response_to),
        op_code: i32::from_le_bytes(*op_code),
    }))
}

/// A whole frame, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What its first bytes say.
    pub header: Header,
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
        Ok(buf.get(..header.len).map(|bytes| Self { header, bytes }))
    }

    /// What follows the header.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// Is it a message of this kind? If not, it is an error that names `what`
    /// was expected.
    pub(crate) fn expect(&self, op_code: i32, what: &'static str) -> Result<(), Error> {
        if self.header.op_code == op_code {
            Ok(())
        } else {
            Err(Error::expected(what))
        }
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

    fn frame(declared: u32, op_code: i32, body: &[u8]) -> Vec<u8> {
        let mut out = declared.to_le_bytes().to_vec();
        for word in [7, 0, op_code] {
            out.extend_from_slice(&i32::to_le_bytes(word));
        }
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn declared_length_below_the_header_is_refused() {
        for declared in 0..16 {
            let error = peek(&frame(declared, OP_MSG, b"")).unwrap_err();
            assert!(error.is_length(), "{declared}: {error}");
        }
        let header = peek(&frame(16, OP_MSG, b"")).unwrap().unwrap();
        assert_eq!((header.len, header.request_id), (16, 7));
    }

    #[test]
    fn declared_length_of_two_gigabytes_and_more_is_refused() {
        for declared in [MAX_LENGTH as u32 + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let error = peek(&frame(declared, OP_MSG, b"")).unwrap_err();
            assert!(error.is_length(), "{declared}: {error}");
        }
        let most = MAX_LENGTH as u32;
        assert!(peek(&frame(most, OP_MSG, b"")).unwrap().is_some());
    }

    #[test]
    fn an_impossible_length_is_told_before_the_header_is_all_there() {
        assert!(peek(&[0xff, 0xff, 0xff, 0xff]).unwrap_err().is_length());
        assert_eq!(peek(&[0xff, 0xff, 0xff]).unwrap(), None);
    }

    #[test]
    fn a_lower_limit_is_kept() {
        assert!(peek_within(&frame(1025, OP_MSG, b""), 1024).is_err());
        assert!(peek_within(&frame(1024, OP_MSG, b""), 1024).is_ok());
    }

    #[test]
    fn a_header_byte_by_byte() {
        let bytes = frame(19, OP_QUERY, b"abc");
        for end in 0..HEADER {
            assert_eq!(peek(&bytes[..end]).unwrap(), None);
        }
        for end in HEADER..bytes.len() {
            assert_eq!(Frame::first(&bytes[..end]).unwrap(), None);
        }
        let whole = Frame::first(&bytes).unwrap().unwrap();
        assert_eq!(
            (whole.header.op_code, whole.body()),
            (OP_QUERY, &b"abc"[..])
        );
    }

    #[test]
    fn walks_whole_frames_only() {
        let mut bytes = frame(16, 1, b"");
        bytes.extend(frame(16, 2, b""));
        bytes.extend(&frame(20, 3, b"abcd")[..19]);
        let mut frames = Frames::new(&bytes);
        let codes: Vec<i32> = frames
            .by_ref()
            .map(|frame| frame.unwrap().header.op_code)
            .collect();
        assert_eq!(codes, [1, 2]);
        assert_eq!(frames.consumed(), 32);
        assert_eq!(frames.rest().len(), 19);
    }

    #[test]
    fn an_error_ends_the_walk() {
        let mut bytes = frame(16, 1, b"");
        bytes.extend(frame(0, 1, b""));
        let results: Vec<bool> = Frames::new(&bytes).map(|frame| frame.is_ok()).collect();
        assert_eq!(results, [true, false]);
    }
}
