//! JSON from rows that the server only packs: the work that an `@include` spares the server.
//!
//! With [`JsonColumns::Packed`](super::JsonColumns::Packed) the added columns hold no JSON but `bytea`: the values
//! of the related rows one behind another, each as the server's binary format has it. [`Fold::json`] makes of
//! such a value the very bytes that the same statement gives with [`JsonColumns::Text`](super::JsonColumns::Text).
//!
//! # The bytes
//!
//! | what | bytes |
//! |---|---|
//! | a list | for each row `01` and the row; in a row, `00` behind the last |
//! | a row of a to-one relation | `01` and the row; if there is none, NULL, or `00` in a row |
//! | a row | its members, one behind another |
//! | a member | see `Value` in the source |
//!
//! A text ends with `00 01`, which no text can hold; `00 00` with no text before it is NULL. A value of fixed
//! length is NULL if it is one that its type can't have.

mod calendar;
mod number;
mod read;
mod text;

use std::fmt;

use read::Reader;

/// What one packed column becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fold {
    /// An array.
    Many(Object),
    /// An object, or NULL.
    One(Object),
}

/// What a packed row becomes: a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    members: Vec<Member>,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    /// All that stands before the value: `{"id":` or `,"title":`.
    key: Box<[u8]>,
    value: Value,
}

/// How a member's value is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// One byte: 0, 1, or 2 for NULL.
    Bool,
    /// Eight bytes; the least number is NULL.
    Int,
    /// `01` and eight bytes, or `00`.
    BigInt,
    /// A text to stand as it is, such as JSON.
    Raw,
    /// A number's text; quoted unless it is finite.
    Number,
    /// As `numeric_send` writes it; a sign of `ffff` is NULL.
    Numeric,
    /// A text to be quoted and escaped.
    String,
    /// Days since 2000 in four bytes.
    Date,
    /// Microseconds of the day in eight bytes.
    Time,
    /// Microseconds since 2000 in eight bytes.
    Timestamp,
    /// The same in UTC, then in the session's time zone; or, where the first is NULL's, the text of the value.
    TimestampTz,
    /// `01` and sixteen bytes, or `00`.
    Uuid,
    /// A list.
    Many(Object),
    /// A row, or none.
    One(Object),
}

impl Fold {
    /// Appends the JSON of a packed value, which is `None` for NULL; whether that gives a value, and not NULL.
    ///
    /// # Errors
    ///
    /// If the bytes are not those of the statement that this belongs to, or if `out` grows over a gigabyte, which no
    /// value can have. Some JSON may have been written.
    pub fn json(&self, packed: Option<&[u8]>, out: &mut Vec<u8>) -> Result<bool, Error> {
        let Some(packed) = packed else {
            return Ok(match self {
                Self::Many(_) => {
                    out.extend_from_slice(b"[]");
                    true
                }
                Self::One(_) => false,
            });
        };
        let mut reader = Reader::new(packed);
        let done = match self {
            Self::Many(object) => object.list(&mut reader, None, out),
            Self::One(object) => (reader.byte() == Some(1))
                .then_some(())
                .and_then(|()| object.row(&mut reader, out)),
        };
        match done {
            Some(()) if reader.is_at_end() => Ok(true),
            _ if out.len() > MOST => Err(Error(Kind::TooLarge)),
            _ => Err(Error(Kind::Malformed)),
        }
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Many(object) => write!(f, "[{object}]"),
            Self::One(object) => write!(f, "{object}"),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Member { key, value } in &self.members {
            f.write_str(&String::from_utf8_lossy(key))?;
            match value {
                Value::Many(object) => write!(f, "[{object}]")?,
                Value::One(object) => write!(f, "{object}")?,
                plain => write!(f, "{plain:?}")?,
            }
        }
        f.write_str(if self.members.is_empty() { "{}" } else { "}" })
    }
}

/// The largest value that the server could give.
const MOST: usize = 0x3fff_ffff;

/// Why there is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Error(Kind);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Kind {
    #[error("a packed value is malformed")]
    Malformed,
    #[error("a value is over 1 GiB")]
    TooLarge,
}

impl Error {
    /// The bytes were not packed by the statement.
    pub const fn is_malformed(&self) -> bool {
        matches!(self.0, Kind::Malformed)
    }

    /// The JSON is larger than a value can be.
    pub const fn is_too_large(&self) -> bool {
        matches!(self.0, Kind::TooLarge)
    }
}

impl Object {
    /// An object of members with these names.
    pub(crate) fn new(members: impl IntoIterator<Item = (String, Value)>) -> Self {
        let members = members
            .into_iter()
            .enumerate()
            .map(|(index, (name, value))| {
                let mut key = vec![if index == 0 { b'{' } else { b',' }];
                text::string(name.as_bytes(), &mut key);
                key.push(b':');
                Member {
                    key: key.into(),
                    value,
                }
            })
            .collect();
        Self { members }
    }

    /// Rows up to the byte that ends the list, or to the end of all.
    fn list(&self, reader: &mut Reader<'_>, end: Option<u8>, out: &mut Vec<u8>) -> Option<()> {
        let mut before = b'[';
        loop {
            match reader.byte() {
                Some(1) => {
                    out.push(before);
                    before = b',';
                    self.row(reader, out)?;
                }
                other if other == end => break,
                _ => return None,
            }
        }
        if before == b'[' {
            out.push(b'[');
        }
        out.push(b']');
        Some(())
    }

    fn row(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
        if self.members.is_empty() {
            out.push(b'{');
        }
        for member in &self.members {
            out.extend_from_slice(&member.key);
            match &member.value {
                Value::Many(object) => object.list(reader, Some(0), out)?,
                Value::One(object) => match reader.byte()? {
                    1 => object.row(reader, out)?,
                    0 => out.extend_from_slice(b"null"),
                    _ => return None,
                },
                plain => read::value(plain, reader, out)?,
            }
        }
        out.push(b'}');
        (out.len() <= MOST).then_some(())
    }
}

#[cfg(test)]
mod tests;
