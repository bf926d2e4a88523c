//! Small help with raw BSON: what is read is copied as it is, element by element, and never decoded as a whole.

use bson::RawArrayBuf;
use bson::raw::{BindRawBsonRef, CStr, RawBsonRef, RawDocument, RawDocumentBuf};

use crate::error::{Error, ErrorKind};

/// The error for BSON that can't be read.
pub(super) fn malformed(error: &bson::error::Error) -> Error {
    Error::new(
        ErrorKind::Syntax,
        format!("the command is not well-formed BSON: {error}"),
    )
}

/// The elements of a document, in their order.
pub(super) fn elements(
    document: &RawDocument,
) -> impl Iterator<Item = Result<(&CStr, RawBsonRef<'_>), Error>> {
    document.iter_elements().map(|element| {
        let element = element.map_err(|error| malformed(&error))?;
        let value = element.value().map_err(|error| malformed(&error))?;
        Ok((element.key(), value))
    })
}

/// The value of a key, if it is there.
pub(super) fn get<'a>(
    document: &'a RawDocument,
    key: &str,
) -> Result<Option<RawBsonRef<'a>>, Error> {
    document.get(key).map_err(|error| malformed(&error))
}

/// A text as a key. Keys are C strings, which end at the first zero byte.
pub(super) fn key(text: &str) -> Result<&CStr, Error> {
    <&CStr>::try_from(text).map_err(|_| {
        let message = format!("\"{}\" has a zero byte in it", text.escape_debug());
        Error::new(ErrorKind::InvalidValue, message)
    })
}

/// A document of one element.
pub(super) fn one(name: &str, value: impl BindRawBsonRef) -> Result<RawDocumentBuf, Error> {
    let mut document = RawDocumentBuf::new();
    document.append(key(name)?, value);
    Ok(document)
}

/// Documents as an array.
pub(super) fn array(documents: &[RawDocumentBuf]) -> RawArrayBuf {
    documents.iter().collect()
}

/// A number of any type as a whole one.
pub(super) fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(number) => Some(i64::from(number)),
        RawBsonRef::Int64(number) => Some(number),
        RawBsonRef::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            // In range and whole, as just tested.
            Some(number as i64)
        }
        _ => None,
    }
}

/// A number or boolean as a truth; `None` for all else.
pub(super) fn truth(value: RawBsonRef<'_>) -> Option<bool> {
    match value {
        RawBsonRef::Boolean(yes) => Some(yes),
        RawBsonRef::Int32(number) => Some(number != 0),
        RawBsonRef::Int64(number) => Some(number != 0),
        RawBsonRef::Double(number) => Some(number != 0.0),
        RawBsonRef::Decimal128(number) => {
            let text = number.to_string();
            let digits = text.split('E').next().unwrap_or_default();
            Some(digits.contains(|digit| !"+-.0".contains(digit)))
        }
        _ => None,
    }
}

/// Whether a value says nothing: absent, null, false, zero or an empty document.
pub(super) fn is_idle(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Null => true,
        RawBsonRef::Document(document) => document.is_empty(),
        other => truth(other) == Some(false),
    }
}
