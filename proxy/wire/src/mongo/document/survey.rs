//! What a document has at its top level that MongoDB doesn't store as it is.

use std::ops::Range;

use bson::RawDocument;

use super::inside;

const TIMESTAMP: u8 = 0x11;

/// What [`survey`] has found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// There is more than one `_id`.
    pub repeats_id: bool,
    /// There is a `Timestamp(0, 0)` other than the `_id`.
    pub has_zero_timestamp: bool,
}

impl Survey {
    /// Whether it can be stored as it is.
    pub const fn is_plain(self) -> bool {
        !self.repeats_id && !self.has_zero_timestamp
    }
}

/// Looks at the top level of a document that has been validated; of another it tells what comes before the fault.
pub fn survey(document: &RawDocument) -> Survey {
    let mut found = Survey::default();
    let mut ids = 0_u32;
    let _ = walk(document.as_bytes(), |kind, name, value, _| {
        if name == b"_id" {
            ids += 1;
            found.repeats_id = ids > 1;
        } else if is_zero(kind, value) {
            found.has_zero_timestamp = true;
        }
    });
    found
}

/// Puts what `next` gives in the place of each `Timestamp(0, 0)` at the top level, the `_id` left alone.
pub fn fill_timestamps(document: &mut [u8], mut next: impl FnMut() -> u64) {
    let mut places: Vec<Range<usize>> = Vec::new();
    let _ = walk(document, |kind, name, value, at| {
        if name != b"_id" && is_zero(kind, value) {
            places.push(at..at + value.len());
        }
    });
    for place in places {
        if let Some(place) = document.get_mut(place) {
            place.copy_from_slice(&next().to_le_bytes());
        }
    }
}

fn is_zero(kind: u8, value: &[u8]) -> bool {
    kind == TIMESTAMP && value == [0; 8]
}

/// Shows each field's type, name and value, and where that stands; ends where something is cut off.
fn walk<'a>(document: &'a [u8], mut show: impl FnMut(u8, &'a [u8], &'a [u8], usize)) -> Option<()> {
    let inside = inside(document);
    let mut rest = inside;
    while let Some((&kind, named)) = rest.split_first() {
        let (name, value) = named.split_at_checked(end(named)?)?;
        let value = value.get(1..)?;
        let at = size_of::<i32>() + inside.len() - value.len();
        let (value, after) = value.split_at_checked(size(kind, value)?)?;
        show(kind, name, value, at);
        rest = after;
    }
    Some(())
}

/// Where a name ends. Most are short: eight bytes are looked at together.
#[inline]
fn end(named: &[u8]) -> Option<usize> {
    if let Some(first) = named.first_chunk() {
        let first = u64::from_le_bytes(*first);
        // The lowest byte that is zero has its highest bit set.
        let zeros = first.wrapping_sub(0x0101_0101_0101_0101) & !first & 0x8080_8080_8080_8080;
        if zeros != 0 {
            return usize::try_from(zeros.trailing_zeros() / 8).ok();
        }
    }
    memchr::memchr(0, named)
}

/// The bytes of a value.
#[inline]
fn size(kind: u8, value: &[u8]) -> Option<usize> {
    Some(match kind {
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x08 => 1,
        0x10 => 4,
        0x01 | 0x09 | TIMESTAMP | 0x12 => 8,
        0x07 => 12,
        0x13 => 16,
        0x02 | 0x0d | 0x0e => length(value)?.checked_add(4)?,
        0x03 | 0x04 | 0x0f => length(value)?,
        0x05 => length(value)?.checked_add(5)?,
        0x0b => {
            let pattern = memchr::memchr(0, value)?;
            let options = memchr::memchr(0, value.get(pattern + 1..)?)?;
            pattern + options + 2
        }
        0x0c => length(value)?.checked_add(4 + 12)?,
        _ => return None,
    })
}

/// The length that a value begins with.
fn length(value: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*value.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::raw::cstr;
    use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};

    use super::*;

    const ZERO: Timestamp = Timestamp {
        time: 0,
        increment: 0,
    };

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    /// A value of each type.
    fn each() -> Document {
        doc! {
            "double": 1.5, "text": "a", "document": { "_id": 1, "t": ZERO }, "array": [ZERO, 1],
            "bytes": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] },
            "undefined": Bson::Undefined, "id": ObjectId::new(), "boolean": true, "date": bson::DateTime::now(),
            "null": Bson::Null, "regex": bson::Regex { pattern: cstr!("a").into(), options: cstr!("i").into() },
            "code": Bson::JavaScriptCode("f".to_owned()),
            "scope": bson::JavaScriptCodeWithScope { code: "f".to_owned(), scope: doc! { "t": ZERO } },
            "int": 1, "later": Timestamp { time: 0, increment: 1 }, "long": 0_i64,
            "decimal": bson::Decimal128::from_bytes([0; 16]),
            "least": Bson::MinKey, "most": Bson::MaxKey,
        }
    }

    #[test]
    fn fields_of_all_types_are_passed() {
        let mut document = each();
        assert!(survey(&raw(&document)).is_plain());
        document.insert("t", ZERO);
        assert!(survey(&raw(&document)).has_zero_timestamp);
        assert!(!survey(&raw(&document)).repeats_id);
        let mut document = raw(&doc! { "_id": ZERO, "a": 1 });
        assert!(survey(&document).is_plain());
        document.append(cstr!("_id"), 1);
        assert!(survey(&document).repeats_id);
    }

    #[test]
    fn timestamps_are_filled() {
        let mut document = each();
        document.insert("t", ZERO);
        document.insert("_id", ZERO);
        document.insert("u", ZERO);
        let mut bytes = raw(&document).into_bytes();
        let mut next = 6_u64 << 32;
        fill_timestamps(&mut bytes, || {
            next += 1;
            next
        });
        for (name, increment) in [("t", 1), ("u", 2)] {
            document.insert(name, Timestamp { time: 6, increment });
        }
        assert_eq!(bytes, raw(&document).into_bytes());
    }

    #[test]
    fn what_is_cut_off_does_no_harm() {
        let mut whole = each();
        whole.insert("t", ZERO);
        let whole = raw(&whole).into_bytes();
        for end in 0..whole.len() {
            let mut cut = whole.get(..end).unwrap().to_vec();
            fill_timestamps(&mut cut, || 1);
            assert_eq!(Some(&*cut), whole.get(..end));
        }
    }
}
