//! Packed values, one after another.

use super::{Value, calendar, number, text};

/// What is left of a packed value.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Self {
        Self { rest: packed }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    #[inline]
    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    #[inline]
    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    /// Whether a value follows, by the byte before it.
    #[inline]
    fn is_there(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Whether the text that ended was a value; the byte behind its `00` says so.
    #[inline]
    fn text_end(&mut self, is_empty: bool) -> Option<bool> {
        match self.byte()? {
            1 => Some(true),
            0 if is_empty => Some(false),
            _ => None,
        }
    }

    /// A text up to its end; `Some(None)` is NULL.
    #[inline]
    fn text(&mut self) -> Option<Option<&'a [u8]>> {
        let end = memchr::memchr(0, self.rest)?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(self.text_end(text.is_empty())?.then_some(text))
    }

    /// A text written as a JSON string while its end is looked for.
    #[inline]
    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        out.push(b'"');
        let length = text::escaped_until_zero(self.rest, out)?;
        self.rest = self.rest.get(length + 1..)?;
        if self.text_end(length == 0)? {
            out.push(b'"');
        } else {
            out.truncate(start);
            null(out);
        }
        Some(())
    }
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

/// Writes the JSON of the next value, which is none of an object or a list.
#[inline]
pub(super) fn value(kind: &Value, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Value::Bool => match reader.byte()? {
            0 => out.extend_from_slice(b"false"),
            1 => out.extend_from_slice(b"true"),
            2 => null(out),
            _ => return None,
        },
        Value::Int => match reader.i64()? {
            i64::MIN => null(out),
            number => number::integer(number, out),
        },
        Value::BigInt => match reader.is_there()? {
            true => number::integer(reader.i64()?, out),
            false => null(out),
        },
        Value::Raw => match reader.text()? {
            Some(text) => out.extend_from_slice(text),
            None => null(out),
        },
        Value::Number => match reader.text()? {
            Some(text) => number::finite_or_quoted(text, out),
            None => null(out),
        },
        Value::Numeric => return number::numeric(reader, out),
        Value::String => return reader.string(out),
        Value::Date => calendar::date(i32::from_be_bytes(reader.take()?), out),
        Value::Time => calendar::time(reader.i64()?, out),
        Value::Timestamp => calendar::timestamp(reader.i64()?, None, out),
        Value::TimestampTz => match reader.i64()? {
            calendar::NO_TIMESTAMP => return self::value(&Value::Raw, reader, out),
            utc => {
                let local = reader.i64()?;
                calendar::timestamp(local, Some(local.checked_sub(utc)?), out);
            }
        },
        Value::Uuid => match reader.is_there()? {
            true => text::uuid(u128::from_be_bytes(reader.take()?), out),
            false => null(out),
        },
        Value::Many(_) | Value::One(_) => return None,
    }
    Some(())
}
