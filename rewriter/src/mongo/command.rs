//! A command as the rules read it: its name, its collection and its comment, in place.

use bson::raw::{RawBsonRef, RawDocument};

use super::raw::{elements, get};
use crate::directive::{Wanted, is_annotation};
use crate::error::{Error, ErrorKind};

/// A command's first element.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// The command's name.
    pub(super) name: &'a str,
    /// What it is given: most often a collection.
    pub(super) value: RawBsonRef<'a>,
}

impl<'a> Head<'a> {
    pub(super) fn of(body: &'a RawDocument) -> Result<Self, Error> {
        match elements(body).next().transpose()? {
            Some((name, value)) => Ok(Self {
                name: name.as_str(),
                value,
            }),
            None => Err(Error::new(ErrorKind::Syntax, "the command is empty")),
        }
    }

    /// The collection it is for.
    pub(super) fn collection(&self) -> Result<&'a str, Error> {
        match self.value {
            RawBsonRef::String(name) if !name.is_empty() => Ok(name),
            _ => Err(Error::new(
                ErrorKind::NotSupported,
                format!(
                    "a directive can't be used on \"{}\" without a collection",
                    self.name
                ),
            )),
        }
    }

    /// Refuses directives on commands that they have no meaning for.
    pub(super) fn check(&self, wanted: &Wanted) -> Result<(), Error> {
        let inner = match (self.name, self.value) {
            ("explain", RawBsonRef::Document(inner)) => Some(Head::of(inner)?),
            _ => None,
        };
        let name = inner.as_ref().map_or(self.name, |inner| inner.name);
        let refuse = |directive: &str, at: usize, hint: &str| {
            let message = format!("{directive} can't be used on \"{}\"", self.name);
            Err(Error::new(ErrorKind::NotSupported, message)
                .at(at)
                .hinted(hint))
        };
        match (&wanted.include, &wanted.upsert) {
            (Some((_, at)), _) if !matches!(name, "find" | "aggregate") => {
                refuse("@include", *at, "It belongs to find and aggregate.")
            }
            (_, Some((_, at))) if name != "insert" || inner.is_some() => {
                refuse("@upsert", *at, "It belongs to insert.")
            }
            _ => Ok(()),
        }
    }
}

/// Whether drivers send along a comment that was meant for the command before: a `getMore` repeats its cursor's.
fn repeats(name: &str) -> bool {
    matches!(
        name,
        "getMore" | "killCursors" | "commitTransaction" | "abortTransaction" | "endSessions"
    )
}

/// The annotation of a command: its `comment` if that is a text whose first character other than blanks is `@`.
/// In an `explain`, the comment of what is explained counts too.
///
/// This is a walk over the command's keys. Malformed BSON has no annotation: it is the server's to refuse.
///
/// ```
/// use bson::rawdoc;
/// use twinport_rewriter::mongo::annotation;
///
/// let find = rawdoc! { "find": "authors", "comment": "@include(books)" };
/// assert_eq!(annotation(&find), Some("@include(books)"));
/// assert_eq!(annotation(&rawdoc! { "find": "authors", "comment": "by hand" }), None);
/// ```
pub fn annotation(body: &RawDocument) -> Option<&str> {
    let head = Head::of(body).ok()?;
    if repeats(head.name) {
        return None;
    }
    if let ("explain", RawBsonRef::Document(inner)) = (head.name, head.value)
        && let Some(text) = own_annotation(inner)
    {
        return Some(text);
    }
    own_annotation(body)
}

fn own_annotation(body: &RawDocument) -> Option<&str> {
    let text = get(body, "comment").ok()??.as_str()?;
    is_annotation(text).then_some(text)
}
