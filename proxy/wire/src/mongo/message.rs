//! OP_MSG: commands and their answers.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/message/OP_MSG.md>.

use bson::RawDocument;

use super::cursor::Cursor;
use super::document::Documents;
use super::frame::{Frame, HEADER, OP_MSG};
use crate::Error;

pub mod answer;
pub mod build;
pub mod opening;

/// A checksum follows the sections.
pub const CHECKSUM_PRESENT: u32 = 1;
/// Another message follows without being asked for.
pub const MORE_TO_COME: u32 = 1 << 1;
/// The client would take several answers to this one request.
pub const EXHAUST_ALLOWED: u32 = 1 << 16;

/// The low half of the flags: who doesn't know one of them must refuse it.
const REQUIRED: u32 = 0xffff;

/// The most kind-1 sections in a message. No command has more than two; without
/// a bound, looking for two of one name could take for ever.
pub const MAX_SEQUENCES: usize = 16;

const WHAT: &str = "OP_MSG";
const BODY: u8 = 0;
const SEQUENCE: u8 = 1;

/// An OP_MSG, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The sender's number for it.
    pub request_id: i32,
    /// In an answer: the number of what is answered.
    pub response_to: i32,
    /// All flag bits, also those of which nothing is known.
    pub flags: u32,
    /// The kind-0 section: the command, or the answer.
    pub body: &'a RawDocument,
    /// The checksum, which was right.
    pub checksum: Option<u32>,
    sections: &'a [u8],
}

impl<'a> Message<'a> {
    /// Decodes a frame. The documents' lengths are checked, not what they
    /// contain: see [`super::document::validate`].
    ///
    /// # Errors
    /// [`Error::is_repeated`]: two sections of one name, or one with the name of a field.
    /// [`Error::is_malformed`]: not an OP_MSG, an unknown flag among the low
    /// sixteen, not exactly one kind-0 section, more than [`MAX_SEQUENCES`], a wrong checksum,
    /// lengths that don't fit.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, Error> {
        frame.expect(OP_MSG, WHAT)?;
        let mut cursor = Cursor::new(WHAT, frame.body());
        let flags = cursor.u32()?;
        if flags & REQUIRED & !(CHECKSUM_PRESENT | MORE_TO_COME) != 0 {
            return Err(cursor.error("a flag of which nothing is known"));
        }
        let (sections, checksum) = if flags & CHECKSUM_PRESENT == 0 {
            (cursor.rest(), None)
        } else {
            let (sections, checksum) = checked(frame.bytes)?;
            (sections, Some(checksum))
        };
        Ok(Self {
            request_id: frame.header.request_id,
            response_to: frame.header.response_to,
            flags,
            body: body(sections)?,
            checksum,
            sections,
        })
    }

    /// The sender wants no answer (in a request), or sends more (in an answer).
    pub const fn more_to_come(&self) -> bool {
        self.flags & MORE_TO_COME != 0
    }

    /// The kind-1 sections in their order.
    pub const fn sequences(&self) -> Sequences<'a> {
        Sequences {
            rest: self.sections,
        }
    }

    /// The kind-1 section of this name.
    pub fn sequence(&self, identifier: &str) -> Option<Sequence<'a>> {
        self.sequences()
            .find(|sequence| sequence.identifier == identifier)
    }
}

/// A kind-1 section: documents in the place of an array of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence<'a> {
    /// The field that it stands for, such as `documents`.
    pub identifier: &'a str,
    /// The documents, one after another.
    pub bytes: &'a [u8],
}

impl<'a> Sequence<'a> {
    /// The documents.
    pub const fn documents(&self) -> Documents<'a> {
        Documents::new(self.bytes)
    }
}

/// Walks the kind-1 sections of a decoded message.
#[derive(Debug, Clone)]
pub struct Sequences<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Sequences<'a> {
    type Item = Sequence<'a>;

    fn next(&mut self) -> Option<Sequence<'a>> {
        let mut cursor = Cursor::new(WHAT, self.rest);
        while !cursor.rest().is_empty() {
            // Decoding has seen that nothing is wrong here.
            let section = Section::read(&mut cursor).ok()?;
            self.rest = cursor.rest();
            if let Section::Sequence(sequence) = section {
                return Some(sequence);
            }
        }
        None
    }
}

enum Section<'a> {
    Body(&'a RawDocument),
    Sequence(Sequence<'a>),
}

impl<'a> Section<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        match cursor.u8()? {
            BODY => cursor.document().map(Self::Body),
            SEQUENCE => {
                let length = cursor
                    .i32()?
                    .checked_sub(4)
                    .and_then(|length| usize::try_from(length).ok())
                    .ok_or_else(|| cursor.error("a section's length is below 4"))?;
                let mut inner = Cursor::new(WHAT, cursor.take(length)?);
                Ok(Self::Sequence(Sequence {
                    identifier: inner.text()?,
                    bytes: inner.rest(),
                }))
            }
            _ => Err(cursor.error("a section of unknown kind")),
        }
    }
}

/// Finds the body among the sections, and checks all of them.
fn body(sections: &[u8]) -> Result<&RawDocument, Error> {
    let mut cursor = Cursor::new(WHAT, sections);
    let mut body = None;
    let mut names = [""; MAX_SEQUENCES];
    let mut count = 0;
    while !cursor.rest().is_empty() {
        match Section::read(&mut cursor)? {
            Section::Body(document) if body.is_none() => body = Some(document),
            Section::Body(_) => return Err(cursor.error("two kind-0 sections")),
            Section::Sequence(sequence) => {
                sequence.documents().try_for_each(|each| each.map(drop))?;
                let name = sequence.identifier;
                if names.iter().take(count).any(|seen| *seen == name) {
                    return Err(twice(name));
                }
                *names
                    .get_mut(count)
                    .ok_or_else(|| cursor.error("too many sections"))? = name;
                count += 1;
            }
        }
    }
    let body = body.ok_or_else(|| cursor.error("no kind-0 section"))?;
    if count > 0 {
        for element in body.iter_elements() {
            let key = element.map_err(super::document::bad)?.key().as_str();
            if names.iter().take(count).any(|name| *name == key) {
                return Err(inside_and_outside(key));
            }
        }
    }
    Ok(body)
}

fn twice(name: &str) -> Error {
    Error::repeated(40_431, format!("Duplicate document sequence: {name}"))
}

fn inside_and_outside(name: &str) -> Error {
    let text = format!("Duplicate field between body and document sequence {name}");
    Error::repeated(40_433, text)
}

/// Checks and cuts off the last four bytes; gives the sections.
fn checked(bytes: &[u8]) -> Result<(&[u8], u32), Error> {
    let short = || Error::malformed(WHAT, "message too short");
    let (covered, checksum) = bytes.split_last_chunk::<4>().ok_or_else(short)?;
    let checksum = u32::from_le_bytes(*checksum);
    if crc32c::crc32c(covered) != checksum {
        return Err(Error::checksum());
    }
    Ok((covered.get(HEADER + 4..).ok_or_else(short)?, checksum))
}

#[cfg(test)]
mod tests;
