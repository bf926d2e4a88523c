//! One pass over a chunk of answers.

use std::hash::{DefaultHasher, Hash, Hasher};

use twinport_wire::pg::backend;
use twinport_wire::pg::frame::HEADER;

/// Where in a chunk of answers the walk is, and what of it the client sees.
pub(super) struct Walk<'a> {
    pub(super) chunk: &'a [u8],
    pub(super) at: usize,
    pub(super) shown_from: usize,
    pub(super) cut: bool,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'a> Walk<'a> {
    /// What is not walked yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.chunk.get(self.at..).unwrap_or_default()
    }

    /// From here on the output is rebuilt: what was shown so far is copied to it.
    pub(super) fn copy_up_to(&mut self, end: usize) {
        self.out
            .extend_from_slice(self.chunk.get(self.shown_from..end).unwrap_or_default());
        self.shown_from = end;
        self.cut = true;
    }

    /// Passes over bytes that the client does not see.
    pub(super) fn skip(&mut self, len: usize) {
        self.copy_up_to(self.at);
        self.at += len;
        self.shown_from = self.at;
    }

    /// Puts bytes of our own here.
    pub(super) fn insert(&mut self, bytes: &[u8]) {
        self.copy_up_to(self.at);
        self.out.extend_from_slice(bytes);
    }

    /// Puts bytes of our own in place of the next `len`.
    pub(super) fn replace(&mut self, len: usize, bytes: &[u8]) {
        self.insert(bytes);
        self.at += len;
        self.shown_from = self.at;
    }
}

/// Frames of which nothing but the header matters, and which may be large.
pub(super) fn streams(tag: u8) -> bool {
    matches!(
        tag,
        backend::DATA_ROW
            | backend::COPY_DATA
            | backend::NOTICE_RESPONSE
            | backend::FUNCTION_CALL_RESPONSE
            | backend::PARAMETER_DESCRIPTION
    )
}

/// Bytes of a column's description after its name: table, number, type, size, modifier, format.
const COLUMN: usize = 18;

/// Where the type's OID stands in them.
const TYPE: std::ops::Range<usize> = 6..10;

/// The OID of `json`, whose values look the same as those of `text` in both formats.
const JSON: u32 = 114;

/// Where the columns of a RowDescription begin, each behind its name; and that name.
fn ends_of_names(frame: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = HEADER + 2;
    std::iter::from_fn(move || {
        let rest = frame.get(at..)?;
        let len = memchr::memchr(0, rest)?;
        let end = at + len + 1;
        at = end + COLUMN;
        Some((end, rest.get(..len)?))
    })
}

/// A RowDescription whose last `tail` columns are `json`.
pub(super) fn describe_json(frame: &[u8], tail: usize) -> Vec<u8> {
    let columns: Vec<usize> = ends_of_names(frame).map(|(at, _)| at).collect();
    let mut out = frame.to_vec();
    for &column in columns.iter().rev().take(tail) {
        if let Some(oid) = out.get_mut(column + TYPE.start..column + TYPE.end) {
            oid.copy_from_slice(&JSON.to_be_bytes());
        }
    }
    out
}

/// A number that is equal for equal names and types of a RowDescription's columns, or for NoData.
pub(super) fn columns(frame: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    if frame.first() == Some(&backend::ROW_DESCRIPTION) {
        for (at, name) in ends_of_names(frame) {
            (name, frame.get(at + TYPE.start..at + TYPE.end)).hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use twinport_wire::pg::backend::build;
    use twinport_wire::pg::backend::{Column, Columns};

    use super::*;

    #[test]
    fn only_the_last_columns_become_json() {
        let mut frame = Vec::new();
        build::row_description(
            &mut frame,
            &[Column::text(b"a"), Column::text(b"b"), Column::text(b"c")],
        );
        let patched = describe_json(&frame, 2);
        let types: Vec<u32> = Columns::new(patched.get(HEADER..).unwrap())
            .unwrap()
            .map(|column| column.unwrap().type_oid)
            .collect();
        assert_eq!(types, [25, 114, 114]);
        assert_eq!(patched.len(), frame.len());
        assert_eq!(columns(&frame), columns(&frame.clone()));
        assert_ne!(columns(&frame), columns(&patched));
    }
}
