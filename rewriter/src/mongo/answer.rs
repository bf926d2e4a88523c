//! The answer to an `update` in the shape of the `insert` that the client sent.

use bson::raw::{RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf};

use super::raw::{elements, get, integer, key};
use crate::error::Error;

/// How the answer to a rewritten command reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As it is. To a `find` that became an `aggregate` too: both answer with a cursor of the same shape.
    AsItIs,
    /// Through [`insert_answer`].
    Insert,
}

/// The answer to an upsert's `update`, as its `insert` is answered.
///
/// `n` is the number of documents that were inserted or updated, and a field that no driver reads tells which:
///
/// ```text
/// { n: 3, upsert: { inserted: [{ index: 0, _id: 7 }], matched: 2, modified: 1 }, ok: 1 }
/// ```
///
/// `inserted` has the places of those documents in the command that were not there yet; all others without a
/// write error matched a document, and `modified` of those were changed. The `upserted` and `nModified` of an
/// `update` are not passed on: some drivers count by them whatever command they sent.
///
/// ```
/// use bson::rawdoc;
/// use twinport_rewriter::mongo::insert_answer;
///
/// let update = rawdoc! { "n": 2, "nModified": 1, "upserted": [{ "index": 0, "_id": 7 }], "ok": 1.0 };
/// let insert = insert_answer(&update).unwrap();
/// assert_eq!(insert, rawdoc! {
///     "n": 2,
///     "upsert": { "inserted": [{ "index": 0, "_id": 7 }], "matched": 1_i64, "modified": 1_i64 },
///     "ok": 1.0,
/// });
/// ```
///
/// # Errors
///
/// If the answer is malformed.
pub fn insert_answer(update: &RawDocument) -> Result<RawDocumentBuf, Error> {
    let count = |name: &str| Ok::<_, Error>(get(update, name)?.and_then(integer));
    let (n, modified) = (count("n")?, count("nModified")?.unwrap_or(0));
    let inserted = match get(update, "upserted")? {
        Some(RawBsonRef::Array(list)) => list.to_owned(),
        _ => RawArrayBuf::new(),
    };
    let mut out = RawDocumentBuf::new();
    for element in elements(update) {
        let (name, value) = element?;
        match (name.as_str(), n) {
            ("nModified" | "upserted", _) => {}
            ("n", Some(n)) => {
                out.append(name, value);
                let places = i64::try_from(inserted.into_iter().count()).unwrap_or(i64::MAX);
                let mut told = RawDocumentBuf::new();
                told.append(key("inserted")?, &inserted);
                told.append(key("matched")?, n.saturating_sub(places).max(0));
                told.append(key("modified")?, modified);
                out.append(key("upsert")?, told);
            }
            _ => out.append(name, value),
        }
    }
    Ok(out)
}
