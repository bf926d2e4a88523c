//! OP_MSGs that we send, in both directions.
//!
//! None of them has a checksum, and no answer says that more will come.

use bson::RawDocument;

use super::super::frame::{Frame, HEADER, OP_MSG};
use super::super::out::{Out, cstr, fill_length, frame};
use super::{BODY, CHECKSUM_PRESENT, Message, SEQUENCE, Sequence};

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

/// Appends a message as it came, under other numbers; without its checksum,
/// which they make wrong.
pub fn forward<O: Out>(
    out: &mut O,
    original: &Frame<'_>,
    message: &Message<'_>,
    request_id: i32,
    response_to: i32,
) {
    frame(out, request_id, response_to, OP_MSG, |out| {
        out.put_u32_le(message.flags & !CHECKSUM_PRESENT);
        let end = original.bytes.len() - if message.checksum.is_some() { 4 } else { 0 };
        let sections = original.bytes.get(HEADER + 4..end);
        out.put_slice(sections.unwrap_or_default());
    });
}
