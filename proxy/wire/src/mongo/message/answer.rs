//! Answers that go on before they are all there: what the proxy has to know of them, read as they pass.

use std::ops::Range;

use bson::RawBsonRef;
use bson::spec::ElementType;

use super::super::cursor::Cursor;
use super::super::document::{LEAST, integer, truth};
use super::super::frame::{HEADER, Header, OP_MSG, peek};
use super::build::PREFIX;
use super::{BODY, REQUIRED, WHAT};
use crate::Error;

/// The most bytes of a field that must be there at once: its name, and a value that is read, or
/// whose length has to be found.
pub const MAX_FIELD: usize = 8 * 1024;

/// How an answer begins that can go on before it is all there.
#[derive(Debug)]
pub struct Begun {
    /// What its first bytes say of all of it.
    pub header: Header,
    /// What reads its body, which begins [`BODY_AT`] bytes after the message.
    pub answer: Answer,
}

/// Bytes of a message before the body of an answer.
pub const BODY_AT: usize = PREFIX + 1;

impl Begun {
    /// Reads the first bytes of a message; `None` if there are too few of them.
    ///
    /// # Errors
    /// What can be judged only when it is all there: anything but an OP_MSG that has no checksum, is
    /// the last answer, and has one section, of kind 0.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let unfit = || Error::expected("an answer of one section");
        let Some(header) = peek(bytes)? else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(WHAT, bytes.get(HEADER..).unwrap_or_default());
        let (Ok(flags), Ok(kind), Ok(length)) = (cursor.u32(), cursor.u8(), cursor.i32()) else {
            return Ok(None);
        };
        let body = usize::try_from(length).map_err(|_| unfit())?;
        let fits = body >= LEAST && BODY_AT + body == header.len;
        if header.op_code != OP_MSG || flags & REQUIRED != 0 || kind != BODY || !fits {
            return Err(unfit());
        }
        Ok(Some(Self {
            header,
            answer: Answer::new(body),
        }))
    }
}

/// Reads the kind-0 section of an answer, in pieces.
#[derive(Debug)]
pub struct Answer {
    /// The documents that what comes next is in, the outermost first, with the bytes each has left.
    inner: Option<(Inner, usize)>,
    body: usize,
    /// Bytes of a value that nobody looks at.
    skip: usize,
    begun: bool,
    seen: Seen,
}

/// What an answer says.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Seen {
    /// `ok`.
    pub ok: bool,
    /// `code`, or that of `writeConcernError` if there is no other.
    pub code: Option<i64>,
    /// `cursor.id`.
    pub cursor: Option<i64>,
    /// `cursor.ns`.
    pub namespace: String,
}

/// A document that is looked into.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Inner {
    Cursor,
    Concern,
}

/// How far one look went.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Looked {
    /// So many bytes may go on; the rest have to be shown again, with more after them.
    pub passed: usize,
    /// Where among these the number of the cursor stands.
    pub cursor: Option<Range<usize>>,
}

/// A field whose value begins at `at` and has `size` bytes.
struct Field<'a> {
    kind: ElementType,
    name: &'a [u8],
    at: usize,
    size: usize,
}

impl Answer {
    /// For a body of so many bytes, none of which has passed.
    fn new(body: usize) -> Self {
        Self {
            inner: None,
            body,
            skip: 0,
            begun: false,
            seen: Seen::default(),
        }
    }

    /// How many bytes have still to pass.
    pub const fn left(&self) -> usize {
        self.body
    }

    /// What has been seen; all of it when nothing is left.
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Looks at the next bytes of the body, and at nothing behind its end.
    ///
    /// # Errors
    /// [`Error::is_bson`]: lengths that don't fit, a field of an unknown type, or one that does not
    /// end within [`MAX_FIELD`] bytes.
    pub fn look(&mut self, bytes: &[u8]) -> Result<Looked, Error> {
        let mut looked = Looked::default();
        let bytes = bytes.get(..self.body).unwrap_or(bytes);
        while let Some(rest) = bytes.get(looked.passed..).filter(|rest| !rest.is_empty()) {
            let step = if self.skip > 0 {
                let step = self.skip.min(rest.len());
                self.skip -= step;
                Some(step)
            } else if self.begun {
                self.field(rest, &mut looked)?
            } else {
                self.begun = rest.len() >= 4;
                self.begun.then_some(4)
            };
            let Some(step) = step else {
                break;
            };
            self.count(step)?;
            looked.passed += step;
        }
        Ok(looked)
    }

    /// Takes bytes off what the documents have left.
    fn count(&mut self, step: usize) -> Result<(), Error> {
        let short = || Error::bson("a field goes beyond its document");
        self.body = self.body.checked_sub(step).ok_or_else(short)?;
        if let Some((_, left)) = &mut self.inner {
            *left = left.checked_sub(step).ok_or_else(short)?;
            if *left == 0 {
                self.inner = None;
            }
        }
        Ok(())
    }

    /// Reads a field, or a document's end; how many bytes of it may pass, or `None` if it is not
    /// all there.
    fn field(&mut self, rest: &[u8], looked: &mut Looked) -> Result<Option<usize>, Error> {
        let inside = self.inner.map_or(self.body, |(_, left)| left);
        match (inside, rest.first()) {
            (1, Some(0)) => return Ok(Some(1)),
            (1, _) | (_, Some(0)) => return Err(Error::bson("a document ends elsewhere")),
            _ => {}
        }
        let Some(field) = Field::read(rest)? else {
            return more(rest);
        };
        // The document's last byte comes after its fields.
        if field.at + field.size >= inside {
            return Err(Error::bson("a field goes beyond its document"));
        }
        let inner = match (self.inner, field.name, field.kind) {
            (None, b"cursor", ElementType::EmbeddedDocument) => Some(Inner::Cursor),
            (None, b"writeConcernError", ElementType::EmbeddedDocument) => Some(Inner::Concern),
            _ => None,
        };
        if let Some(inner) = inner.filter(|_| field.size > 4) {
            // What counts from here on is taken off with the rest of this step.
            self.inner = Some((inner, field.at + field.size));
            return Ok(Some(field.at + 4));
        }
        if !self.wants(&field) {
            self.skip = field.size;
            return Ok(Some(field.at));
        }
        let Some(value) = rest.get(field.at..field.at + field.size) else {
            return more(rest);
        };
        self.take(&field, value, looked);
        Ok(Some(field.at + field.size))
    }

    fn wants(&self, field: &Field<'_>) -> bool {
        use ElementType::{Boolean, Double, Int32, Int64, String};
        match (self.inner.map(|(inner, _)| inner), field.name) {
            (None, b"ok" | b"code") | (Some(Inner::Concern), b"code") => {
                matches!(field.kind, Boolean | Double | Int32 | Int64)
            }
            (Some(Inner::Cursor), b"id") => field.kind == Int64 && self.seen.cursor.is_none(),
            (Some(Inner::Cursor), b"ns") => field.kind == String && field.size <= MAX_FIELD / 2,
            _ => false,
        }
    }

    fn take(&mut self, field: &Field<'_>, value: &[u8], looked: &mut Looked) {
        match (self.inner.map(|(inner, _)| inner), field.name) {
            (None, b"ok") => self.seen.ok = scalar(field.kind, value).is_some_and(truth),
            (None, _) => {
                let code = scalar(field.kind, value).and_then(integer);
                self.seen.code = code.or(self.seen.code);
            }
            (Some(Inner::Concern), _) => {
                let code = scalar(field.kind, value).and_then(integer);
                self.seen.code = self.seen.code.or(code);
            }
            (Some(Inner::Cursor), b"id") => {
                self.seen.cursor = scalar(field.kind, value).and_then(integer);
                let start = looked.passed + field.at;
                looked.cursor = Some(start..start + field.size);
            }
            (Some(Inner::Cursor), _) => {
                let text = value.get(4..value.len().saturating_sub(1));
                let text = std::str::from_utf8(text.unwrap_or_default());
                text.unwrap_or_default()
                    .clone_into(&mut self.seen.namespace);
            }
        }
    }
}

impl<'a> Field<'a> {
    /// Reads type, name, and how long the value is; `None` if that is not all there.
    fn read(bytes: &'a [u8]) -> Result<Option<Self>, Error> {
        let Some((&kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let kind = ElementType::from(kind)
            .ok_or_else(|| Error::bson("an element is of an unknown type"))?;
        let Some(end) = memchr::memchr(0, rest) else {
            return Ok(None);
        };
        let (name, value) = rest.split_at(end);
        let value = value.get(1..).unwrap_or_default();
        let size = size(kind, value)?;
        Ok(size.map(|size| Self {
            kind,
            name,
            at: 1 + end + 1,
            size,
        }))
    }
}

/// How many bytes a value has that begins here; `None` if too little of it is there to know.
fn size(kind: ElementType, value: &[u8]) -> Result<Option<usize>, Error> {
    use ElementType as Kind;
    let declared = |least: i32, more: usize| {
        let Some(&length) = value.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = i32::from_le_bytes(length);
        let size = usize::try_from(length).ok().filter(|_| length >= least);
        let size = size.ok_or_else(|| Error::bson("a value's length is too small"))?;
        Ok(Some(size + more))
    };
    match kind {
        Kind::Undefined | Kind::Null | Kind::MinKey | Kind::MaxKey => Ok(Some(0)),
        Kind::Boolean => Ok(Some(1)),
        Kind::Int32 => Ok(Some(4)),
        Kind::Double | Kind::DateTime | Kind::Timestamp | Kind::Int64 => Ok(Some(8)),
        Kind::ObjectId => Ok(Some(12)),
        Kind::Decimal128 => Ok(Some(16)),
        Kind::String | Kind::JavaScriptCode | Kind::Symbol => declared(1, 4),
        Kind::EmbeddedDocument | Kind::Array => declared(5, 0),
        Kind::Binary => declared(0, 5),
        Kind::DbPointer => declared(1, 16),
        Kind::JavaScriptCodeWithScope => declared(14, 0),
        Kind::RegularExpression => {
            let mut ends = memchr::memchr_iter(0, value);
            Ok(ends.nth(1).map(|end| end + 1))
        }
    }
}

/// Not all of a field is there: it may come, unless there is too much of it already.
fn more(rest: &[u8]) -> Result<Option<usize>, Error> {
    match rest.len() {
        ..MAX_FIELD => Ok(None),
        _ => Err(Error::bson("a field's name or value is too long")),
    }
}

fn scalar(kind: ElementType, value: &[u8]) -> Option<RawBsonRef<'static>> {
    Some(match kind {
        ElementType::Boolean => RawBsonRef::Boolean(value != [0]),
        ElementType::Int32 => RawBsonRef::Int32(i32::from_le_bytes(value.try_into().ok()?)),
        ElementType::Int64 => RawBsonRef::Int64(i64::from_le_bytes(value.try_into().ok()?)),
        ElementType::Double => RawBsonRef::Double(f64::from_le_bytes(value.try_into().ok()?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
