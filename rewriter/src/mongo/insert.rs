//! The documents of an `insert`, wherever they lie: in the body or in a section of their own.

use bson::raw::{RawBsonRef, RawDocument};

use super::Sequence;
use super::raw::{get, malformed};
use crate::error::{Error, ErrorKind};

/// The name of the field or section.
pub(super) const DOCUMENTS: &str = "documents";

/// All documents, in their order.
pub(super) fn documents<'a>(
    body: &'a RawDocument,
    sequences: &[Sequence<'a>],
) -> Result<Vec<&'a RawDocument>, Error> {
    let wrong = |message: &str| Error::new(ErrorKind::TypeMismatch, message);
    let section = sequences
        .iter()
        .find(|section| section.identifier == DOCUMENTS);
    match (get(body, DOCUMENTS)?, section) {
        (None, Some(section)) => split(section.documents),
        (Some(RawBsonRef::Array(list)), None) => list
            .into_iter()
            .map(|item| {
                let item = item.map_err(|error| malformed(&error))?;
                item.as_document()
                    .ok_or_else(|| wrong("\"documents\" must hold documents only"))
            })
            .collect(),
        (Some(_), None) => Err(wrong("the field \"documents\" must be an array")),
        (None, None) => Err(Error::new(
            ErrorKind::Syntax,
            "the insert has no \"documents\"",
        )),
        (Some(_), Some(_)) => Err(Error::new(
            ErrorKind::Syntax,
            "the insert has \"documents\" twice",
        )),
    }
}

/// Documents one behind the other, as a section of kind 1 holds them.
fn split(mut bytes: &[u8]) -> Result<Vec<&RawDocument>, Error> {
    let mut documents = Vec::new();
    while let Some((length, _)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_le_bytes(*length)).unwrap_or_default();
        let Some((document, rest)) = bytes.split_at_checked(length) else {
            break;
        };
        documents.push(RawDocument::from_bytes(document).map_err(|error| malformed(&error))?);
        bytes = rest;
    }
    match bytes.is_empty() {
        true => Ok(documents),
        false => Err(Error::new(
            ErrorKind::Syntax,
            "the section \"documents\" ends inside a document",
        )),
    }
}
