//! Rows whose last columns the server only packed: a DataRow in, the same with JSON in these columns out.
//!
//! A packed column is `bytea`. In binary format it is as the server packed it; in text format the server has written
//! it by the session's `bytea_output`. The first packed byte tells them apart: it is never a backslash, with which
//! both texts begin.

use twinport_rewriter::pg::fold::Fold;
use twinport_wire::Error;
use twinport_wire::pg::backend::{DATA_ROW, Values};
use twinport_wire::pg::frame::{HEADER, MAX_LENGTH};

/// Why a row did not become another.
#[derive(Debug)]
pub(crate) enum Unfolded {
    /// It is no row of the statement.
    Malformed(Error),
    /// It would be larger than a row can be.
    TooLarge,
}

impl From<Error> for Unfolded {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

/// Appends the row in `frame`, a whole DataRow, with its last columns folded, or nothing. `plain` is room to work
/// in.
pub(crate) fn row(
    frame: &[u8],
    columns: &[Fold],
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Unfolded> {
    let start = out.len();
    let folded = try_row(frame, columns, plain, out);
    if folded.is_err() {
        out.truncate(start);
    }
    folded
}

fn try_row(
    frame: &[u8],
    columns: &[Fold],
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Unfolded> {
    let body = frame.get(HEADER..).unwrap_or_default();
    let start = out.len();
    let mut values = Values::new(body)?;
    let count = body
        .first_chunk()
        .map_or(0, |count| u16::from_be_bytes(*count));
    let kept = usize::from(count)
        .checked_sub(columns.len())
        .ok_or_else(malformed)?;
    let mut end = 2;
    for value in values.by_ref().take(kept) {
        end += 4 + value?.map_or(0, <[u8]>::len);
    }
    out.extend_from_slice(&[DATA_ROW, 0, 0, 0, 0]);
    out.extend_from_slice(body.get(..end).unwrap_or_default());
    for fold in columns {
        let value = values.next().ok_or_else(malformed)??;
        column(value, fold, plain, out)?;
    }
    let length = out.len() - start - 1;
    if length > MAX_LENGTH {
        return Err(Unfolded::TooLarge);
    }
    put_length(out, start + 1, length);
    Ok(())
}

/// Appends one value with its length.
fn column(
    value: Option<&[u8]>,
    fold: &Fold,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Unfolded> {
    let start = out.len();
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    let packed = match value {
        Some(text) if text.first() == Some(&b'\\') => {
            unescape(text, plain).ok_or_else(malformed)?;
            Some(plain.as_slice())
        }
        other => other,
    };
    match fold.json(packed, out) {
        Ok(false) => {}
        Ok(true) => {
            let length = out.len() - start - 4;
            put_length(out, start, length);
        }
        Err(error) if error.is_too_large() => return Err(Unfolded::TooLarge),
        Err(_) => return Err(malformed()),
    }
    Ok(())
}

fn malformed() -> Unfolded {
    Error::expected("a row of the packed statement").into()
}

fn put_length(out: &mut [u8], at: usize, length: usize) {
    // Larger than this is refused when the whole row is measured.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// The bytes of a `bytea` in text format, `hex` or `escape`, in place of what `plain` held.
fn unescape(text: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    plain.clear();
    if let Some(digits) = text.strip_prefix(b"\\x") {
        let pairs = digits.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return None;
        }
        let mut wrong = 0;
        plain.extend(pairs.map(|pair| match pair {
            [high, low] => {
                let (high, low) = (nibble(*high), nibble(*low));
                wrong |= high | low;
                high << 4 | low & 0xf
            }
            _ => 0,
        }));
        return (wrong & 0xf0 == 0).then_some(());
    }
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            plain.push(*first);
        } else if let Some(after) = after.strip_prefix(b"\\") {
            plain.push(b'\\');
            rest = after;
        } else {
            let (digits, after) = after.split_first_chunk::<3>()?;
            let value = digits.iter().try_fold(0_u16, |value, digit| {
                matches!(digit, b'0'..=b'7').then(|| value * 8 + u16::from(digit - b'0'))
            })?;
            plain.push(u8::try_from(value).ok()?);
            rest = after;
        }
    }
    Some(())
}

/// What a hexadecimal digit, as the server writes it, stands for; over 15 if it is none.
#[inline]
fn nibble(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
    match (number < 10, letter < 6) {
        (true, _) => number,
        (_, true) => letter + 10,
        _ => 0xff,
    }
}

#[cfg(test)]
pub(crate) mod tests;
