//! Unique indexes, as `listIndexes` tells of them: what an upsert's key needs.

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::raw::{elements, get, truth};
use crate::error::Error;

/// A unique index of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct UniqueIndex {
    /// Its name.
    pub name: String,
    /// The paths of its fields, in their order.
    pub fields: Vec<String>,
    /// Whether it leaves out documents by a `partialFilterExpression`.
    pub partial: bool,
    /// Its collation, if it is not that of plain bytes: what is equal to it.
    pub collation: Option<RawDocumentBuf>,
}

impl UniqueIndex {
    /// Reads one document of what `listIndexes` answers; `None` if it is not a unique index. The index on `_id`,
    /// which is not marked as unique, is left out: it is always there.
    ///
    /// ```
    /// use bson::rawdoc;
    /// use twinport_rewriter::mongo::UniqueIndex;
    ///
    /// let told = rawdoc! { "v": 2, "key": { "email": 1 }, "name": "email_1", "unique": true };
    /// assert_eq!(UniqueIndex::read(&told).unwrap().unwrap().fields, ["email"]);
    /// ```
    ///
    /// # Errors
    ///
    /// If the document is malformed.
    pub fn read(index: &RawDocument) -> Result<Option<Self>, Error> {
        let unique = get(index, "unique")?.and_then(truth) == Some(true);
        let (true, Some(RawBsonRef::Document(key))) = (unique, get(index, "key")?) else {
            return Ok(None);
        };
        let fields = elements(key)
            .map(|field| field.map(|(name, _)| name.as_str().to_owned()))
            .collect::<Result<Vec<_>, Error>>()?;
        let collation = get(index, "collation")?.and_then(RawBsonRef::as_document);
        Ok(Some(Self {
            name: get(index, "name")?
                .and_then(RawBsonRef::as_str)
                .unwrap_or_default()
                .to_owned(),
            fields,
            partial: get(index, "partialFilterExpression")?.is_some(),
            collation: collation.map(RawDocument::to_owned),
        }))
    }

    /// Whether its fields are these, in any order.
    pub(super) fn is_over(&self, paths: &[&str]) -> bool {
        self.fields.len() == paths.len()
            && self
                .fields
                .iter()
                .all(|field| paths.contains(&field.as_str()))
    }
}
