//! What MongoDB tells of a duplicate key beside the code: the index, its fields, and the value that is there already.
//! Object mappers make their validation errors of it.

mod update;

use std::collections::HashMap;
use std::fmt::Write as _;

use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{Bson, rawdoc};
use twinport_wire::mongo::document;

use super::batch::statements;
use super::{Context, Outcome, Place};
use crate::fault::{Fault, known};
use crate::reply::Reply;

const BY_NAME: &str = "SELECT (i.index_spec).index_key FROM documentdb_api_catalog.collection_indexes i \
     JOIN documentdb_api_catalog.collections c USING (collection_id) \
     WHERE c.database_name = $1::text AND c.collection_name = $2::text \
     AND (i.index_spec).index_name = $3::text";
const BY_NUMBER: &str = "SELECT (index_spec).index_key, (index_spec).index_name \
     FROM documentdb_api_catalog.collection_indexes WHERE index_id = $1::text::int";

/// An index, and what of a document is in it.
struct Conflict {
    index: String,
    pattern: Option<RawDocumentBuf>,
    value: Option<RawDocumentBuf>,
}

/// The answer of a write, in which errors of duplicate keys tell what MongoDB's tell.
pub(super) async fn explained(context: &mut Context<'_>, reply: Reply) -> Outcome {
    let answer = reply.document()?;
    let Ok(errors) = answer.get_array("writeErrors") else {
        return Ok(reply);
    };
    let mut explained = RawArrayBuf::new();
    let mut patterns = HashMap::new();
    let written = written(context);
    for error in errors
        .into_iter()
        .flatten()
        .filter_map(RawBsonRef::as_document)
    {
        let conflict = match error.get_i32("code") {
            Ok(known::DUPLICATE_KEY) => of_error(context, error, &written, &mut patterns).await,
            _ => None,
        };
        explained.push(match conflict {
            Some(conflict) => conflict.told(context, error)?,
            None => error.to_owned(),
        });
    }
    let mut out = RawDocumentBuf::new();
    for element in answer {
        let (key, value) = element.map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
        if key.as_str() == "writeErrors" {
            out.append(key, RawBsonRef::Array(&explained));
        } else {
            out.append(key, value);
        }
    }
    Ok(Reply::Document(out))
}

/// The answer of a command that has failed on a duplicate key as a whole.
pub(super) async fn failed(context: &mut Context<'_>, fault: Fault) -> Outcome {
    let conflict = of_constraint(context, &fault.message).await;
    let document = fault.to_document();
    let Some(conflict) = conflict else {
        return Err(fault);
    };
    // An answer and no fault, which has no room for it: so it has to be said that the transaction can't go on.
    context.spoiled = true;
    conflict.told(context, &document).map(Reply::Document)
}

/// What a write brings: the documents of an insert, the statements of an update.
fn written<'a>(context: &Context<'a>) -> Vec<&'a RawDocument> {
    let request = context.request;
    let name = match request.command.name {
        "insert" => "documents",
        _ => "updates",
    };
    statements(request, name).unwrap_or_default()
}

/// From the extension's text in a write error: `… Index 'NAME'`.
async fn of_error(
    context: &mut Context<'_>,
    error: &RawDocument,
    written: &[&RawDocument],
    patterns: &mut HashMap<String, Option<RawDocumentBuf>>,
) -> Option<Conflict> {
    let text = error.get_str("errmsg").ok()?;
    let (_, rest) = text.split_once("Index '")?;
    let (name, _) = rest.rsplit_once('\'')?;
    let pattern = match patterns.get(name) {
        Some(known) => known.clone(),
        None => {
            let found = pattern(context, name).await;
            patterns.insert(name.to_owned(), found.clone());
            found
        }
    };
    let at = usize::try_from(error.get_i32("index").ok()?).ok()?;
    let value = pattern.as_ref().zip(written.get(at));
    let of = match context.request.command.name {
        "insert" => values,
        _ => update::key,
    };
    Some(Conflict {
        index: name.to_owned(),
        value: value.and_then(|(pattern, document)| of(pattern, document)),
        pattern,
    })
}

async fn pattern(context: &mut Context<'_>, index: &str) -> Option<RawDocumentBuf> {
    if index == "_id_" {
        return Some(rawdoc! { "_id": 1 });
    }
    let request = context.request;
    let parameters = [
        Some(request.database.as_bytes()),
        Some(request.collection().ok()?.as_bytes()),
        Some(index.as_bytes()),
    ];
    let rows = context.call(BY_NAME, &parameters).await.ok()?;
    Some(document::document(rows.get(0, 0)?).ok()?.to_owned())
}

/// From the text of Postgres, which names the constraint and shows the key.
async fn of_constraint(context: &mut Context<'_>, text: &str) -> Option<Conflict> {
    let shown = shown(text)?;
    if text.contains("\"collection_pk_") {
        // The identifier stands under an empty name.
        let mut value = RawDocumentBuf::new();
        value.append(cstr!("_id"), shown.into_iter().next()?.ok()?.1);
        return Some(Conflict {
            index: "_id_".to_owned(),
            pattern: Some(rawdoc! { "_id": 1 }),
            value: Some(value),
        });
    }
    let (_, rest) = text.split_once("documents_rum_index_")?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    if matches!(context.place, Place::Within(_)) {
        // Postgres takes no further statement in this transaction.
        return None;
    }
    let rows = context
        .call(BY_NUMBER, &[Some(number.as_bytes())])
        .await
        .ok()?;
    let pattern = document::document(rows.get(0, 0)?).ok()?;
    Some(Conflict {
        index: String::from_utf8(rows.get(0, 1)?.to_vec()).ok()?,
        value: values(pattern, &shown),
        pattern: Some(pattern.to_owned()),
    })
}

/// The first document that stands in a text of Postgres.
fn shown(text: &str) -> Option<RawDocumentBuf> {
    let (_, values) = text.split_once(")=(")?;
    let (_, hex) = values.split_once("BSONHEX")?;
    let digits: Vec<u8> = hex
        .chars()
        .map_while(|c| c.to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    let bytes = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
    RawDocumentBuf::from_bytes(bytes.collect()).ok()
}

/// What of a document is in an index; `None` where an array stands, of which it may be any element.
fn values(pattern: &RawDocument, document: &RawDocument) -> Option<RawDocumentBuf> {
    let mut out = RawDocumentBuf::new();
    for element in pattern {
        let (path, _) = element.ok()?;
        let value = at(document, path.as_str()).unwrap_or(RawBsonRef::Null);
        if matches!(value, RawBsonRef::Array(_)) {
            return None;
        }
        out.append(path, value);
    }
    Some(out)
}

/// What stands at a path, or the array that is in its way.
fn at<'a>(document: &'a RawDocument, path: &str) -> Option<RawBsonRef<'a>> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (document.get(first).ok()??, rest) {
        (RawBsonRef::Document(inner), Some(rest)) => at(inner, rest),
        (array @ RawBsonRef::Array(_), _) => Some(array),
        (_, Some(_)) => None,
        (value, None) => Some(value),
    }
}

impl Conflict {
    /// The error with what is known.
    fn told(&self, context: &Context<'_>, error: &RawDocument) -> Result<RawDocumentBuf, Fault> {
        let request = context.request;
        let mut text = format!(
            "E11000 duplicate key error collection: {}.{} index: {}",
            request.database,
            request.collection()?,
            self.index
        );
        if let Some(value) = &self.value {
            text.push_str(" dup key: ");
            text.push_str(&key(value));
        }
        let mut out = RawDocumentBuf::new();
        for element in error {
            let (name, value) =
                element.map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
            if name.as_str() == "errmsg" {
                out.append(cstr!("errmsg"), text.as_str());
            } else {
                out.append(name, value);
            }
        }
        if let Some(pattern) = &self.pattern {
            out.append(cstr!("keyPattern"), pattern.clone());
        }
        if let Some(value) = &self.value {
            out.append(cstr!("keyValue"), value.clone());
        }
        Ok(out)
    }
}

/// As MongoDB's shell writes it.
fn key(value: &RawDocument) -> String {
    let mut text = String::from("{");
    for (name, value) in value.into_iter().flatten() {
        let shown =
            Bson::try_from(value).map_or_else(|_| "?".to_owned(), |value| value.to_string());
        let separator = if text.len() > 1 { "," } else { "" };
        // Writing into a text can't fail.
        let _ = write!(text, "{separator} {name}: {shown}", name = name.as_str());
    }
    text + " }"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_out_of_a_document() {
        let pattern = rawdoc! { "a": 1, "b.c": -1, "gone": 1 };
        let document = rawdoc! { "_id": 7, "a": 1, "b": { "c": "foo" } };
        let found = values(&pattern, &document).unwrap();
        assert_eq!(key(&found), r#"{ a: 1, b.c: "foo", gone: null }"#);
        assert_eq!(values(&pattern, &rawdoc! { "b": [{ "c": 1 }] }), None);
    }

    #[test]
    fn a_document_is_found_in_the_text_of_postgres() {
        let text = "E11000 duplicate key error: duplicate key value violates unique constraint \
             \"collection_pk_469\" (Key (shard_key_value, object_id)=(469, BSONHEX0b00000010000700000000) already exists.)";
        assert_eq!(shown(text), Some(rawdoc! { "": 7 }));
        for text in [
            "",
            ")=(",
            ")=(BSONHEX",
            ")=(BSONHEX0b0",
            ")=(BSONHEXé",
            "BSONHEX0500000000",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
