//! How frames and fields are appended.

pub use crate::Out;

/// Appends a frame whose body `write` appends; the length is filled in after.
#[inline]
pub(crate) fn frame<O: Out>(
    out: &mut O,
    request_id: i32,
    response_to: i32,
    op_code: i32,
    write: impl FnOnce(&mut O),
) {
    let start = out.len();
    out.put_i32_le(0);
    out.put_i32_le(request_id);
    out.put_i32_le(response_to);
    out.put_i32_le(op_code);
    write(out);
    fill_length(out, start);
}

/// Writes the distance from `start` to the end into the four bytes at `start`.
#[inline]
pub(crate) fn fill_length<O: Out>(out: &mut O, start: usize) {
    // What goes into a body came in frames that were themselves bounded, so it
    // can't reach 2 GiB.
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Appends a string and its zero byte. Text after a zero byte is cut off: it
/// would end the string in the reader's eyes and be taken for another field.
#[inline]
pub(crate) fn cstr<O: Out>(out: &mut O, text: &str) {
    let text = text.as_bytes();
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.put_slice(text.get(..end).unwrap_or_default());
    out.put_u8(0);
}
