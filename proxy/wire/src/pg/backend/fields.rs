//! ErrorResponse and NoticeResponse.

use super::super::cursor::Cursor;
use crate::Error;

/// The fields of an ErrorResponse or NoticeResponse: a letter and a text each.
///
/// Ends quietly at the end of the message or where it is broken: an error's
/// text is for people, and half of it is better than none.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(Cursor<'a>);

impl<'a> Fields<'a> {
    /// Reads a body.
    pub const fn new(body: &'a [u8]) -> Self {
        Self(Cursor::new("ErrorResponse", body))
    }

    /// The first field of this letter.
    pub fn get(&self, letter: u8) -> Option<&'a [u8]> {
        let mut fields = *self;
        fields.find_map(|(found, text)| (found == letter).then_some(text))
    }

    /// The SQLSTATE, if it is there and looks like one.
    pub fn code(&self) -> Option<&'a str> {
        let code = std::str::from_utf8(self.get(b'C')?).ok()?;
        let valid = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        valid.then_some(code)
    }

    /// Does every field end as it must?
    ///
    /// # Errors
    /// [`Error::is_malformed`].
    pub fn check(&self) -> Result<(), Error> {
        let mut cursor = self.0;
        while cursor.u8()? != 0 {
            cursor.cstr()?;
        }
        cursor.end()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let letter = self.0.u8().ok().filter(|letter| *letter != 0)?;
        Some((letter, self.0.cstr().ok()?))
    }
}

/// An error or notice of our own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report<'a> {
    /// `ERROR`, `FATAL`, `WARNING`, `NOTICE`, …; not localized.
    pub severity: &'a str,
    /// SQLSTATE.
    pub code: &'a str,
    /// One line: what is wrong.
    pub message: &'a str,
    /// More about it.
    pub detail: Option<&'a str>,
    /// What to do.
    pub hint: Option<&'a str>,
    /// Where in the client's statement, in characters from 1.
    pub position: Option<usize>,
    /// The server's function that reports it: drivers know some errors by that.
    pub routine: Option<&'a str>,
}
