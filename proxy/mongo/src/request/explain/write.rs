//! What a write reads, as the find that it begins with: it is explained by that, and nothing is written.

use twinport_wire::mongo::bson::raw::{RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, rawdoc};
use twinport_wire::mongo::document;

use super::run::number;
use crate::fault::{Fault, known};

/// A write to be explained.
pub(super) struct Write {
    /// What MongoDB calls it in a plan.
    pub(super) stage: &'static str,
    pub(super) find: RawDocumentBuf,
    upserts: bool,
    /// Whether its answer has the document.
    returns: bool,
}

impl Write {
    /// `None` if it is no write.
    pub(super) fn read(name: &str, command: &RawDocument) -> Result<Option<Self>, Fault> {
        let (statement, query) = match name {
            "update" => (only(command, "update", "updates")?, "q"),
            "delete" => (only(command, "delete", "deletes")?, "q"),
            "findAndModify" | "findandmodify" => (command, "query"),
            _ => return Ok(None),
        };
        let asks = |field: &str| document::asks(statement, field);
        let returns = query == "query";
        let deletes = name == "delete" || returns && asks("remove");
        let single = match name {
            "update" => !asks("multi"),
            "delete" => asks("limit"),
            _ => true,
        };
        let filter = match statement.get(query) {
            Ok(Some(RawBsonRef::Document(filter))) => filter.to_owned(),
            Ok(None | Some(RawBsonRef::Null)) if returns => rawdoc! {},
            Ok(None) => return Err(missing(name, query)),
            _ => return Err(Fault::field(name, query, "must be an object")),
        };
        let mut find = RawDocumentBuf::new();
        if let Some((_, collection)) = command.into_iter().next().and_then(Result::ok) {
            find.append(cstr!("find"), collection);
        }
        find.append(cstr!("filter"), filter);
        if single {
            find.append(cstr!("limit"), 1);
        }
        for element in statement {
            let (key, value) =
                element.map_err(|_| Fault::new(known::FAILED_TO_PARSE, "invalid BSON"))?;
            if matches!(key.as_str(), "sort" | "collation" | "hint") {
                find.append(key, value);
            }
        }
        if let Ok(Some(variables)) = command.get("let") {
            find.append(cstr!("let"), variables);
        }
        Ok(Some(Self {
            stage: if deletes { "DELETE" } else { "UPDATE" },
            find,
            upserts: asks("upsert"),
            returns,
        }))
    }

    /// How many documents its answer would have, of so many that are found.
    pub(super) fn returned(&self, found: f64) -> f64 {
        if self.returns { found } else { 0.0 }
    }

    /// What it would do with so many documents.
    pub(super) fn ran(&self, found: f64, reads: RawDocumentBuf) -> RawDocumentBuf {
        let mut out = rawdoc! {
            "stage": self.stage,
            "nReturned": number(self.returned(found)),
        };
        if self.stage == "DELETE" {
            out.append(cstr!("nWouldDelete"), number(found));
        } else {
            let upserts = self.upserts && found < 1.0;
            out.append(cstr!("nMatched"), number(found));
            out.append(cstr!("nWouldUpsert"), i32::from(upserts));
        }
        out.append(cstr!("inputStage"), reads);
        out
    }
}

/// The only statement of a write.
fn only<'a>(command: &'a RawDocument, name: &str, list: &str) -> Result<&'a RawDocument, Fault> {
    let statements = match command.get(list) {
        Ok(Some(RawBsonRef::Array(statements))) => statements,
        Ok(None) => return Err(missing(name, list)),
        _ => return Err(Fault::field(name, list, "must be an array")),
    };
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(Ok(RawBsonRef::Document(statement))), None) => Ok(statement),
        (Some(Ok(_)), None) => Err(Fault::field(name, list, "must hold objects")),
        _ => Err(Fault::new(
            known::INVALID_LENGTH,
            "explained write batches must be of size 1",
        )),
    }
}

fn missing(command: &str, field: &str) -> Fault {
    Fault::new(
        known::MISSING_FIELD,
        format_args!("BSON field '{command}.{field}' is missing but a required field"),
    )
}
