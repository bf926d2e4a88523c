//! What a look-up of one document answers.

use twinport_wire::mongo::bson::RawDocumentBuf;
use twinport_wire::mongo::bson::raw::RawDocument;
use twinport_wire::mongo::document;

use crate::catalogs::Place;
use crate::fault::{Fault, known};
use crate::reply::Reply;

/// The answer to a find, as the extension gives it; written at once, as documents inside of documents would be copied
/// for each level.
pub(super) fn page(place: &Place, found: Option<&[u8]>) -> Result<Reply, Fault> {
    let malformed = || Fault::new(known::INTERNAL_ERROR, "the database gave no document");
    let found = found.map(document::document).transpose();
    let found = found.map_err(|_| malformed())?;
    let found = found.map_or(&[][..], RawDocument::as_bytes);
    let (database, collection) = (place.database.as_bytes(), place.collection.as_bytes());
    let mut out = Vec::with_capacity(found.len() + database.len() + collection.len() + 96);
    nest(&mut out, |out| {
        out.extend_from_slice(b"\x03cursor\0");
        nest(out, |out| {
            out.extend_from_slice(b"\x12id\0\0\0\0\0\0\0\0\0\x02ns\0");
            let length = database.len() + 1 + collection.len() + 1;
            out.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes());
            for part in [database, b".", collection, b"\0\x04firstBatch\0"] {
                out.extend_from_slice(part);
            }
            nest(out, |out| {
                if !found.is_empty() {
                    out.extend_from_slice(b"\x030\0");
                    out.extend_from_slice(found);
                }
            });
        });
        out.extend_from_slice(b"\x01ok\0");
        out.extend_from_slice(&1_f64.to_le_bytes());
    });
    let reply = RawDocumentBuf::from_bytes(out).map_err(|_| malformed())?;
    Ok(Reply::Document(reply))
}

/// Appends a document or an array whose elements `write` appends.
fn nest(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    out.push(0);
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use twinport_wire::mongo::bson::{RawArrayBuf, rawdoc};

    use super::*;

    #[test]
    fn an_answer_has_the_shape_of_the_extensions() {
        let place = Place {
            user: "ann".into(),
            database: "library".to_owned(),
            collection: "books".to_owned(),
        };
        let document = rawdoc! { "_id": 1, "title": "Emma" };
        for found in [None, Some(&document)] {
            let batch: RawArrayBuf = found.into_iter().cloned().collect();
            let wanted = rawdoc! {
                "cursor": { "id": 0_i64, "ns": "library.books", "firstBatch": batch },
                "ok": 1.0,
            };
            let reply = page(&place, found.map(|found| found.as_bytes()));
            let reply = reply.unwrap();
            assert_eq!(reply.document().unwrap(), &*wanted);
        }
        assert!(page(&place, Some(b"no document")).is_err());
    }
}
