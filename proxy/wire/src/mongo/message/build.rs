//! OP_MSGs that we send, in both directions.
//!
//! None of them has a checksum, and no answer says that more will come.

use bson::RawDocument;

use super::super::frame::{Frame, HEADER, OP_MSG};
use super::super::out::{Out, cstr, fill_length, frame};
use super::{BODY, CHECKSUM_PRESENT, Message, SEQUENCE, Sequence};

/// Bytes before the sections: the header and the flags.
pub const PREFIX: usize = HEADER + 4;

/// Appends an answer to `response_to`.
pub fn reply<O: Out>(out: &mut O, request_id: i32, response_to: i32, body: &RawDocument) {
    reply_with(out, request_id, response_to, |out| {
        out.put_slice(body.as_bytes());
    });
}

/// As [`reply`]; `write` appends the body, which must be one document.
pub fn reply_with<O: Out>(
    out: &mut O,
    request_id: i32,
    response_to: i32,
    write: impl FnOnce(&mut O),
) {
    frame(out, request_id, response_to, OP_MSG, |out| {
        out.put_u32_le(0);
        out.put_u8(BODY);
        write(out);
    });
}

/// Appends a request.
pub fn request<'a, O: Out>(
    out: &mut O,
    request_id: i32,
    flags: u32,
    body: &RawDocument,
    sequences: impl IntoIterator<Item = Sequence<'a>>,
) {
    frame(out, request_id, 0, OP_MSG, |out| {
        out.put_u32_le(flags & !CHECKSUM_PRESENT);
        out.put_u8(BODY);
        out.put_slice(body.as_bytes());
        for sequence in sequences {
            out.put_u8(SEQUENCE);
            let start = out.len();
            out.put_u32_le(0);
            cstr(out, sequence.identifier);
            out.put_slice(sequence.bytes);
            fill_length(out, start);
        }
    });
}

/// What stands before the sections of a message as it came, under other numbers and without the
/// flags in `without`, and the sections themselves: to be sent one after the other, with no copy of
/// the second. The checksum, which the numbers make wrong, is left out.
pub fn parts<'a>(
    original: &Frame<'a>,
    message: &Message<'a>,
    request_id: i32,
    response_to: i32,
    without: u32,
) -> ([u8; PREFIX], &'a [u8]) {
    let end = original.bytes.len() - if message.checksum.is_some() { 4 } else { 0 };
    let sections = original.bytes.get(PREFIX..end).unwrap_or_default();
    let flags = message.flags & !(CHECKSUM_PRESENT | without);
    let prefix = prefix(PREFIX + sections.len(), request_id, response_to, flags);
    (prefix, sections)
}

/// What stands before the sections of a message of `length` bytes.
pub(super) fn prefix(length: usize, request_id: i32, response_to: i32, flags: u32) -> [u8; PREFIX] {
    // A frame's length is bounded far below 2 GiB.
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    let mut prefix = [0; PREFIX];
    let words = [length, request_id, response_to, OP_MSG].map(i32::to_le_bytes);
    let words = words.into_iter().chain([flags.to_le_bytes()]);
    for (place, word) in prefix.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word);
    }
    prefix
}

/// Gives a whole OP_MSG other numbers, in place; its checksum, which they make wrong, is cut off.
/// `false`, and nothing is changed, if it is none.
pub fn readdress(bytes: &mut Vec<u8>, request_id: i32, response_to: i32) -> bool {
    let Ok(Some(frame)) = Frame::first(bytes) else {
        return false;
    };
    let Ok(message) = Message::decode(&frame) else {
        return false;
    };
    let (prefix, sections) = parts(&frame, &message, request_id, response_to, 0);
    let length = PREFIX + sections.len();
    bytes.truncate(length);
    if let Some(place) = bytes.get_mut(..PREFIX) {
        place.copy_from_slice(&prefix);
    }
    true
}
