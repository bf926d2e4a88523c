//! BSON in place: what `bson`'s raw documents lack.
//!
//! A `&RawDocument` promises its length and its last byte only. What it
//! contains is checked as it is read, or all at once by [`validate`].

use std::ops::Range;

use bson::spec::ElementType;
use bson::{RawBsonRef, RawDocument};

use super::cursor::Cursor;
use crate::Error;

mod survey;

pub use survey::{Survey, fill_timestamps, survey};

/// How deep documents and arrays may nest in a message: what MongoDB takes. A
/// stored document may have 100 levels, and commands put some around it.
pub const MAX_DEPTH: usize = 200;

/// The empty document.
pub const EMPTY: &[u8] = b"\x05\0\0\0\0";

/// The shortest document's bytes.
pub(crate) const LEAST: usize = EMPTY.len();

const WHAT: &str = "BSON";

/// Takes `bytes` for one document; its length and its last byte are checked.
///
/// # Errors
/// [`Error::is_bson`].
#[inline]
pub fn document(bytes: &[u8]) -> Result<&RawDocument, Error> {
    RawDocument::from_bytes(bytes).map_err(bad)
}

/// Takes one document from the start of `bytes`, and gives the rest.
///
/// # Errors
/// [`Error::is_bson`].
#[inline]
pub fn split(bytes: &[u8]) -> Result<(&RawDocument, &[u8]), Error> {
    let length = bytes
        .first_chunk::<4>()
        .and_then(|length| usize::try_from(i32::from_le_bytes(*length)).ok())
        .ok_or_else(|| Error::bson("a document's length is missing or negative"))?;
    let (bytes, rest) = bytes
        .split_at_checked(length)
        .ok_or_else(|| Error::bson("a document's length is more than there is"))?;
    Ok((document(bytes)?, rest))
}

/// Walks documents that stand one after another, as in a kind-1 section.
///
/// After an error it yields nothing more.
#[derive(Debug, Clone)]
pub struct Documents<'a> {
    rest: &'a [u8],
}

impl<'a> Documents<'a> {
    /// Starts at the first byte of a document.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Documents<'a> {
    type Item = Result<&'a RawDocument, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = split(self.rest);
        self.rest = result.as_ref().map_or(&[], |(_, rest)| rest);
        Some(result.map(|(document, _)| document))
    }
}

/// Checks a document all the way down: lengths, types, UTF-8, booleans, and
/// that nothing nests deeper than `most` levels (the document is the first).
///
/// # Errors
/// [`Error::is_bson`]; [`Error::is_too_deep`].
pub fn validate(bytes: &[u8], most: usize) -> Result<&RawDocument, Error> {
    check(bytes, most, Text::Utf8)
}

/// As [`validate`], whatever bytes text consists of: MongoDB takes, keeps and gives back strings
/// that are no UTF-8, and so must who only passes them on.
///
/// # Errors
/// [`Error::is_bson`]; [`Error::is_too_deep`].
pub fn validate_structure(bytes: &[u8], most: usize) -> Result<&RawDocument, Error> {
    check(bytes, most, Text::Any)
}

/// What text may consist of.
#[derive(Debug, Clone, Copy)]
enum Text {
    Utf8,
    Any,
}

impl Text {
    fn check(self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Utf8 if std::str::from_utf8(bytes).is_err() => {
                Err(Error::bson("text is not UTF-8"))
            }
            Self::Utf8 | Self::Any => Ok(()),
        }
    }
}

fn check(bytes: &[u8], most: usize, text: Text) -> Result<&RawDocument, Error> {
    let document = document(bytes)?;
    elements(inside(bytes), most, text)?;
    Ok(document)
}

/// What stands between a document's length and its last byte.
fn inside(bytes: &[u8]) -> &[u8] {
    let end = bytes.len().saturating_sub(1);
    bytes.get(4..end).unwrap_or_default()
}

fn elements(inside: &[u8], depth: usize, text: Text) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or_else(Error::deep)?;
    let mut cursor = Cursor::new(WHAT, inside);
    while !cursor.rest().is_empty() {
        element(&mut cursor, depth, text).map_err(as_bson)?;
    }
    Ok(())
}

/// One element: type, name, value.
fn element(cursor: &mut Cursor<'_>, depth: usize, text: Text) -> Result<(), Error> {
    let kind = cursor.u8()?;
    text.check(cursor.cstr()?)?;
    match kind {
        // Undefined, null, min key, max key.
        0x06 | 0x0a | 0x7f | 0xff => {}
        // A boolean.
        0x08 => {
            if cursor.u8()? > 1 {
                return Err(Error::bson("a boolean is neither 0 nor 1"));
            }
        }
        // A 32-bit integer.
        0x10 => drop(cursor.take(4)?),
        // A double, a date, a timestamp, a 64-bit integer.
        0x01 | 0x09 | 0x11 | 0x12 => drop(cursor.take(8)?),
        // An ObjectId.
        0x07 => drop(cursor.take(12)?),
        // A decimal.
        0x13 => drop(cursor.take(16)?),
        // A string, code, a symbol.
        0x02 | 0x0d | 0x0e => string(cursor, text)?,
        // A document, an array.
        0x03 | 0x04 => elements(inside(cursor.document()?.as_bytes()), depth, text)?,
        0x05 => binary(cursor)?,
        // A regular expression and its options.
        0x0b => {
            text.check(cursor.cstr()?)?;
            text.check(cursor.cstr()?)?;
        }
        // A DBPointer.
        0x0c => {
            string(cursor, text)?;
            cursor.take(12)?;
        }
        0x0f => code_with_scope(cursor, depth, text)?,
        _ => return Err(Error::bson("an element is of an unknown type")),
    }
    Ok(())
}

fn string(cursor: &mut Cursor<'_>, text: Text) -> Result<(), Error> {
    let length = length(cursor)?;
    match cursor.take(length)?.split_last() {
        Some((0, bytes)) => text.check(bytes),
        _ => Err(Error::bson("a string does not end with a zero byte")),
    }
}

fn binary(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    let length = length(cursor)?;
    let subtype = cursor.u8()?;
    let bytes = cursor.take(length)?;
    // The old subtype repeats the length inside.
    if subtype == 2 {
        let mut inner = Cursor::new(WHAT, bytes);
        let length = self::length(&mut inner)?;
        inner.take(length)?;
        inner.end()?;
    }
    Ok(())
}

fn code_with_scope(cursor: &mut Cursor<'_>, depth: usize, text: Text) -> Result<(), Error> {
    let length = length(cursor)?;
    let rest = length
        .checked_sub(4)
        .ok_or_else(|| Error::bson("code with scope is too short"))?;
    let mut inner = Cursor::new(WHAT, cursor.take(rest)?);
    string(&mut inner, text)?;
    let scope = inner.document()?;
    inner.end()?;
    elements(inside(scope.as_bytes()), depth, text)
}

fn length(cursor: &mut Cursor<'_>) -> Result<usize, Error> {
    usize::try_from(cursor.i32()?).map_err(|_| Error::bson("a negative length"))
}

/// Where a field's value stands in a document's bytes, and its type; nothing is looked into.
pub fn place(document: &RawDocument, field: &str) -> Option<(ElementType, Range<usize>)> {
    let mut at = 4;
    for element in document.iter_elements() {
        let element = element.ok()?;
        let key = element.key().as_str();
        // The type, the name and its zero byte stand before the value.
        let start = at + 1 + key.len() + 1;
        at = start + element.size();
        if key == field {
            return Some((element.element_type(), start..at));
        }
    }
    None
}

/// A whole number, whichever of the numeric types it has; as MongoDB reads the
/// numbers of its commands. A double counts only if it has no fraction.
pub fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(number) => Some(number.into()),
        RawBsonRef::Int64(number) => Some(number),
        // Exactly the doubles for which the cast changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        RawBsonRef::Double(number)
            if number.fract() == 0.0
                && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
                    .contains(&number) =>
        {
            Some(number as i64)
        }
        _ => None,
    }
}

/// Whether a document has this field, and it says yes; not if it can't be read up to there.
pub fn asks(document: &RawDocument, field: &str) -> bool {
    document.get(field).ok().flatten().is_some_and(truth)
}

/// Does a flag say yes? `true` and every number but zero do; as drivers of all
/// ages write `hello: 1` and `hello: true`.
pub fn truth(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Boolean(value) => value,
        RawBsonRef::Int32(number) => number != 0,
        RawBsonRef::Int64(number) => number != 0,
        RawBsonRef::Double(number) => number != 0.0,
        _ => false,
    }
}

/// What `bson` has found, as an error of ours.
pub(crate) fn bad(error: bson::error::Error) -> Error {
    Error::bson(error.to_string())
}

fn as_bson(error: Error) -> Error {
    if error.is_bson() {
        error
    } else {
        Error::bson("an element is cut off")
    }
}

#[cfg(test)]
mod tests;
