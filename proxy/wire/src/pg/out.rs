//! How frames and fields are appended.

pub use crate::Out;

/// Appends a frame whose body `write` appends; the length is filled in after.
#[inline]
pub(crate) fn frame<O: Out>(out: &mut O, tag: u8, write: impl FnOnce(&mut O)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    write(out);
    // A body over 2 GiB can't be built: what goes into it came in frames that
    // were themselves bounded.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string and its zero byte. Text after a zero byte is cut off: it
/// would end the string in the reader's eyes and be taken for another field.
#[inline]
pub(crate) fn cstr<O: Out>(out: &mut O, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.put_slice(text.get(..end).unwrap_or_default());
    out.put_u8(0);
}

/// A count of fields as the wire carries it.
pub(crate) fn count(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The length of a value as the wire carries it.
pub(crate) fn length(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap_or(i32::MAX)
}
