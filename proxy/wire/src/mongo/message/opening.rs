//! Requests that go on before they are all there: how they begin, and the sections that follow, in pieces.

use bson::RawDocument;

use super::super::cursor::Cursor;
use super::super::document::{LEAST, bad, split};
use super::super::frame::{Header, OP_MSG, peek};
use super::build::PREFIX;
use super::{BODY, CHECKSUM_PRESENT, MAX_SEQUENCES, MORE_TO_COME, REQUIRED, SEQUENCE, WHAT};
use crate::Error;

/// The most fields of a command whose sections can be checked in pieces.
const MAX_FIELDS: usize = 64;

/// The longest name of a section that is checked in pieces, in bytes. The longest that MongoDB knows
/// has nine.
const MAX_NAME: usize = 64;

/// The beginning of a message, up to the end of its kind-0 section.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// What its first bytes say of all of it.
    pub header: Header,
    /// All flag bits.
    pub flags: u32,
    /// The kind-0 section: the command, or the answer.
    pub body: &'a RawDocument,
}

impl<'a> Opening<'a> {
    /// Reads the beginning of a message; `None` if it does not reach to the end of the kind-0
    /// section yet.
    ///
    /// # Errors
    /// What can be judged only when it is all there: another message than an OP_MSG, one with a
    /// checksum, or whose first section is not of kind 0; and what is wrong anyway.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, Error> {
        let Some(header) = peek(bytes)? else {
            return Ok(None);
        };
        let Some((start, rest)) = bytes.split_at_checked(PREFIX) else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(WHAT, start.get(start.len() - 4..).unwrap_or_default());
        let flags = cursor.u32()?;
        if header.op_code != OP_MSG || flags & REQUIRED & !MORE_TO_COME != 0 {
            return Err(Error::expected("an OP_MSG without a checksum"));
        }
        let Some((&kind, rest)) = rest.split_first() else {
            return Ok(None);
        };
        if kind != BODY {
            return Err(Error::expected("the kind-0 section first"));
        }
        let Some(&length) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(i32::from_le_bytes(length)).unwrap_or_default();
        if length < LEAST || PREFIX + 1 + length > header.len {
            return Err(Error::malformed(WHAT, "the body's length does not fit"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let (body, _) = split(rest)?;
        Ok(Some(Self {
            header,
            flags,
            body,
        }))
    }

    /// Where the other sections begin.
    pub fn end(&self) -> usize {
        PREFIX + 1 + self.body.as_bytes().len()
    }

    /// What stands before the sections of the message as it goes on, as in
    /// [`parts`](super::build::parts), if its body is to have so many bytes.
    pub fn prefix(&self, request_id: i32, without: u32, body: usize) -> [u8; PREFIX] {
        let length = self.header.len - self.body.as_bytes().len() + body;
        let flags = self.flags & !(CHECKSUM_PRESENT | without);
        super::build::prefix(length, request_id, 0, flags)
    }
}

/// Checks the sections that follow a kind-0 section as they pass, as
/// [`Message::decode`](super::Message::decode) does with all of them at once.
#[derive(Debug)]
pub struct Sections {
    at: At,
    /// Bytes of the message that have not passed yet.
    left: usize,
    /// The body's fields and the sections so far: each name may stand there once.
    names: Vec<Box<[u8]>>,
    /// How many sections there were.
    count: usize,
}

/// What comes next; `left` are the section's bytes from there on.
#[derive(Debug)]
enum At {
    Kind,
    Length(Word),
    Name {
        name: Vec<u8>,
        left: usize,
    },
    /// A document's length, or the section's end.
    Document {
        length: Word,
        left: usize,
    },
    /// A document's last bytes.
    Inside {
        rest: usize,
        left: usize,
    },
}

/// Four bytes that may come one by one.
#[derive(Debug, Default, Clone, Copy)]
struct Word {
    bytes: [u8; 4],
    filled: usize,
}

impl Word {
    /// Takes what is missing from the start of `piece`; gives the number when it is all there.
    fn take(&mut self, piece: &mut &[u8]) -> Option<i32> {
        while let Some(place) = self.bytes.get_mut(self.filled) {
            let (byte, rest) = piece.split_first()?;
            (*place, *piece) = (*byte, rest);
            self.filled += 1;
        }
        Some(i32::from_le_bytes(self.bytes))
    }
}

impl Sections {
    /// For the sections after this opening.
    ///
    /// # Errors
    /// [`Error::is_malformed`] if the body has more fields than can be kept in mind;
    /// [`Error::is_bson`] if they can't be read.
    pub fn after(opening: &Opening<'_>) -> Result<Self, Error> {
        let mut names = Vec::new();
        for field in opening.body.iter_elements() {
            if names.len() == MAX_FIELDS {
                return Err(Error::malformed(WHAT, "a body of too many fields"));
            }
            names.push(field.map_err(bad)?.key().as_str().as_bytes().into());
        }
        Ok(Self {
            at: At::Kind,
            left: opening.header.len - opening.end(),
            names,
            count: 0,
        })
    }

    /// How many bytes have still to pass.
    pub const fn left(&self) -> usize {
        self.left
    }

    /// Checks the next bytes, which must not go beyond the message.
    ///
    /// # Errors
    /// [`Error::is_malformed`]: as [`Message::decode`](super::Message::decode), and a name that is
    /// far too long. What is wrong is told before the message's last byte has passed.
    pub fn pass(&mut self, mut piece: &[u8]) -> Result<(), Error> {
        self.left = self
            .left
            .checked_sub(piece.len())
            .ok_or_else(|| wrong("bytes after its end"))?;
        while !piece.is_empty() {
            self.step(&mut piece)?;
        }
        match self.at {
            At::Kind => Ok(()),
            _ if self.left == 0 => Err(wrong("message too short")),
            _ => Ok(()),
        }
    }

    fn step(&mut self, piece: &mut &[u8]) -> Result<(), Error> {
        match &mut self.at {
            At::Kind => {
                let kind = piece.split_off_first();
                match kind {
                    Some(&SEQUENCE) => self.at = At::Length(Word::default()),
                    Some(&BODY) => return Err(wrong("two kind-0 sections")),
                    Some(_) => return Err(wrong("a section of unknown kind")),
                    None => {}
                }
            }
            At::Length(word) => {
                if let Some(length) = word.take(piece) {
                    let left = inside(length, 4)?;
                    if left > piece.len() + self.left {
                        return Err(wrong("message too short"));
                    }
                    let name = Vec::new();
                    self.at = At::Name { name, left };
                }
            }
            At::Name { name, left } => {
                let Some(&byte) = piece.split_off_first() else {
                    return Ok(());
                };
                *left = left
                    .checked_sub(1)
                    .ok_or_else(|| wrong("unterminated string"))?;
                if byte != 0 {
                    name.push(byte);
                    return match name.len() {
                        ..=MAX_NAME => Ok(()),
                        _ => Err(wrong("a section's name is too long")),
                    };
                }
                let (name, left) = (std::mem::take(name), *left);
                self.begin(name)?;
                self.at = document_or_end(left);
            }
            At::Document { length, left } => {
                if let Some(length) = length.take(piece) {
                    let rest = inside(length, 4)?;
                    let after = left.checked_sub(4 + rest);
                    let left = after.ok_or_else(|| wrong("message too short"))?;
                    if rest + 4 < LEAST {
                        return Err(Error::bson("a document's length is below 5"));
                    }
                    self.at = At::Inside { rest, left };
                }
            }
            At::Inside { rest, left } => {
                let taken = piece.split_off(..(*rest).min(piece.len()));
                let taken = taken.unwrap_or_default();
                *rest -= taken.len();
                if *rest == 0 {
                    if taken.last() != Some(&0) {
                        return Err(Error::bson("a document does not end with a zero byte"));
                    }
                    self.at = document_or_end(*left);
                }
            }
        }
        Ok(())
    }

    /// Notes a section that begins.
    fn begin(&mut self, name: Vec<u8>) -> Result<(), Error> {
        std::str::from_utf8(&name).map_err(|_| wrong("text is not UTF-8"))?;
        if self.count == MAX_SEQUENCES {
            return Err(wrong("too many sections"));
        }
        if self.names.iter().any(|seen| **seen == *name) {
            return Err(wrong("a section has the name of a field, or of another"));
        }
        self.names.push(name.into());
        self.count += 1;
        Ok(())
    }
}

fn document_or_end(left: usize) -> At {
    match left {
        0 => At::Kind,
        left => At::Document {
            length: Word::default(),
            left,
        },
    }
}

/// What a declared length leaves after the `own` bytes that it counts of itself.
fn inside(length: i32, own: usize) -> Result<usize, Error> {
    let length = usize::try_from(length).ok();
    let left = length.and_then(|length| length.checked_sub(own));
    left.ok_or_else(|| wrong("a length is below 4"))
}

const fn wrong(why: &'static str) -> Error {
    Error::malformed(WHAT, why)
}

#[cfg(test)]
mod tests;
