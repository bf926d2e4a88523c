//! What an update would have put into an index, as far as its own words tell: no document is asked for, which might
//! be another one by now.

use twinport_wire::mongo::bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::{at, values};

/// The key that a statement of an `update` makes; `None` where the document that it changes decides.
pub(super) fn key(pattern: &RawDocument, statement: &RawDocument) -> Option<RawDocumentBuf> {
    let query = statement.get_document("q").ok()?;
    // A pipeline computes.
    let change = statement.get_document("u").ok()?;
    let first = change.into_iter().next()?.ok()?;
    let operators = first.0.as_str().starts_with('$');
    if !operators && !names_id(pattern) {
        return values(pattern, change);
    }
    let mut out = RawDocumentBuf::new();
    for element in pattern {
        let (path, _) = element.ok()?;
        let value = match operators {
            true => operated(change, path.as_str(), query)?,
            false if path.as_str() == "_id" => match change.get("_id").ok()? {
                Some(value) => value,
                None => equal(query, "_id")?,
            },
            false => at(change, path.as_str()).unwrap_or(RawBsonRef::Null),
        };
        if matches!(value, RawBsonRef::Array(_)) {
            return None;
        }
        out.append(path, value);
    }
    Some(out)
}

fn names_id(pattern: &RawDocument) -> bool {
    matches!(pattern.get("_id"), Ok(Some(_)))
}

/// What stands at a path behind these operators: what `$set` says, else what the query wants of it, unless another
/// operator changes it.
fn operated<'a>(
    change: &'a RawDocument,
    path: &str,
    query: &'a RawDocument,
) -> Option<RawBsonRef<'a>> {
    let mut set = None;
    for element in change {
        let (operator, fields) = element.ok()?;
        for element in fields.as_document()? {
            let (field, value) = element.ok()?;
            let within = below(path, field.as_str());
            match (operator.as_str(), within) {
                ("$set", Some("")) => set = Some(value),
                ("$set", Some(rest)) => {
                    let inner = value.as_document()?;
                    set = Some(at(inner, rest).unwrap_or(RawBsonRef::Null));
                }
                (_, Some(_)) => return None,
                (_, None) if below(field.as_str(), path).is_some() => return None,
                _ => {}
            }
        }
    }
    set.or_else(|| equal(query, path))
}

/// What is left of a path behind another one that it begins with.
fn below<'p>(path: &'p str, start: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(start)?;
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_prefix('.')
}

/// The value that a query wants a field to be equal to.
fn equal<'a>(query: &'a RawDocument, path: &str) -> Option<RawBsonRef<'a>> {
    match query.get(path).ok()?? {
        RawBsonRef::Document(inner) => {
            let first = inner.into_iter().next()?.ok()?;
            match first.0.as_str() {
                "$eq" => Some(first.1),
                operator if operator.starts_with('$') => None,
                _ => Some(RawBsonRef::Document(inner)),
            }
        }
        RawBsonRef::RegularExpression(_) => None,
        value => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinport_wire::mongo::bson::rawdoc;

    #[test]
    fn the_key_is_what_the_statement_says() {
        let one = rawdoc! { "email": 1 };
        let two = rawdoc! { "email": 1, "meta.team": 1 };
        let cases = [
            (
                &one,
                rawdoc! { "q": {}, "u": { "$set": { "email": "a" } } },
                Some(rawdoc! { "email": "a" }),
            ),
            (
                &one,
                rawdoc! { "q": {}, "u": { "email": "a", "x": 1 } },
                Some(rawdoc! { "email": "a" }),
            ),
            (
                &one,
                rawdoc! { "q": {}, "u": { "x": 1 } },
                Some(rawdoc! { "email": null_value() }),
            ),
            (
                &one,
                rawdoc! { "q": { "email": "a" }, "u": { "$set": { "x": 1 } } },
                Some(rawdoc! { "email": "a" }),
            ),
            (
                &one,
                rawdoc! { "q": { "email": { "$gt": "a" } }, "u": { "$set": { "x": 1 } } },
                None,
            ),
            (
                &one,
                rawdoc! { "q": { "email": "a" }, "u": { "$unset": { "email": 1 } } },
                None,
            ),
            (
                &one,
                rawdoc! { "q": {}, "u": { "$set": { "email": ["a"] } } },
                None,
            ),
            (
                &one,
                rawdoc! { "q": {}, "u": [{ "$set": { "email": "a" } }] },
                None,
            ),
            (&one, rawdoc! { "q": {}, "u": {} }, None),
            (&one, rawdoc! { "u": { "email": "a" } }, None),
            (
                &two,
                rawdoc! { "q": {}, "u": { "$set": { "email": "a", "meta": { "team": 1 } } } },
                Some(rawdoc! { "email": "a", "meta.team": 1 }),
            ),
            (
                &two,
                rawdoc! { "q": { "meta.team": { "$eq": 2 } }, "u": { "$set": { "email": "a" } } },
                Some(rawdoc! { "email": "a", "meta.team": 2 }),
            ),
            (
                &two,
                rawdoc! { "q": {}, "u": { "$set": { "email": "a" } } },
                None,
            ),
            (
                &two,
                rawdoc! { "q": {}, "u": { "$set": { "email": "a" }, "$inc": { "meta.team": 1 } } },
                None,
            ),
            (
                &two,
                rawdoc! { "q": {}, "u": { "$set": { "email": "a", "meta.team.x": 1 } } },
                None,
            ),
        ];
        for (pattern, statement, expected) in cases {
            assert_eq!(key(pattern, &statement), expected, "{statement:?}");
        }
        let id = rawdoc! { "_id": 1 };
        let replaced = rawdoc! { "q": { "_id": 7 }, "u": { "x": 1 } };
        assert_eq!(key(&id, &replaced), Some(rawdoc! { "_id": 7 }));
    }

    fn null_value() -> RawBsonRef<'static> {
        RawBsonRef::Null
    }
}
