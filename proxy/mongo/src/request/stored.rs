//! What MongoDB does to documents before it stores them, and the extension doesn't: it refuses one with two `_id`s,
//! and puts the time in the place of `Timestamp(0, 0)` at the top level, in inserts and replacements.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::spec::ElementType;
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::command::Field;
use twinport_wire::mongo::document::{self, Documents, fill_timestamps, survey, truth};

use super::batch::statements;
use super::crud::without;
use super::instead::{self, Next};
use super::{Context, Outcome, Place, Request};
use crate::fault::{Fault, known};
use crate::reply::Reply;

/// Whether all documents of an insert are stored as they are.
pub(super) fn is_plain(request: &Request<'_>) -> bool {
    all(request, "documents", |document| survey(document).is_plain())
}

/// Whether no replacement of an update has to be filled.
pub(super) fn fills_nothing(request: &Request<'_>) -> bool {
    all(request, "updates", |each| replaces(each, "u").is_none())
}

/// Whether all that a write brings under this name is so; not if it can't be read.
fn all(request: &Request<'_>, name: &str, is_so: impl Fn(&RawDocument) -> bool) -> bool {
    if let Some(bytes) = request.sequence(name) {
        return Documents::new(bytes).all(|each| each.is_ok_and(&is_so));
    }
    let mut fields = request.command.fields().iter();
    let listed = fields.find(|field| field.name() == name);
    let Some(Ok(RawBsonRef::Array(listed))) = listed.map(Field::value) else {
        return false;
    };
    let mut listed = listed.into_iter();
    listed.all(|each| {
        let each = each.ok().and_then(RawBsonRef::as_document);
        each.is_some_and(&is_so)
    })
}

/// Runs an insert of which not all is stored as it is.
pub(super) async fn inserts(context: &mut Context<'_>, next: Next) -> Outcome {
    context.request.collection()?;
    let Some(odd) = Odd::of(context.request) else {
        return next(context).await;
    };
    let rest = match odd.kept.is_empty() {
        true => Reply::Document(rawdoc! { "n": 0, "ok": 1.0 }),
        false => {
            let bytes = odd.sequence();
            replaced(context, "documents", &bytes, next).await?
        }
    };
    if odd.refused.is_empty() {
        return Ok(rest);
    }
    // As with every write that fails.
    if matches!(context.place, Place::Within(_)) {
        context.spoiled = true;
    }
    odd.answer(rest.document()?).map(Reply::Document)
}

/// Runs an update, whose replacements are filled.
pub(super) async fn updates(context: &mut Context<'_>, next: Next) -> Outcome {
    let Some(statements) = statements(context.request, "updates") else {
        // The extension says why they can't be read.
        return next(context).await;
    };
    let bytes = statements.into_iter().flat_map(|each| filled(each, "u"));
    let bytes: Vec<u8> = bytes.collect();
    replaced(context, "updates", &bytes, next).await
}

/// Runs a `findAndModify`, whose replacement is filled.
pub(super) async fn modifies(context: &mut Context<'_>, next: Next) -> Outcome {
    let bytes = filled(context.request.command.body, "update");
    let body = document::document(&bytes).map_err(|error| Fault::protocol(&error))?;
    instead::run(context, body, None, next).await
}

/// Runs a command with other statements in the place of those under this name.
async fn replaced(context: &mut Context<'_>, name: &str, bytes: &[u8], next: Next) -> Outcome {
    let body = without(context.request.command.body, name)?;
    instead::run(context, &body, Some((name, bytes)), next).await
}

/// The documents of an insert of which some can't be stored as they are.
struct Odd<'a> {
    /// Those that go to the database, and their places.
    kept: Vec<(usize, &'a RawDocument)>,
    /// Places of those that are refused.
    refused: Vec<usize>,
    /// The first that fails is the last.
    ordered: bool,
}

impl<'a> Odd<'a> {
    /// `None` if all go as they are, or the database is to say what is wrong with them.
    fn of(request: &Request<'a>) -> Option<Self> {
        let all = statements(request, "documents")?;
        let surveys: Vec<_> = all.iter().map(|document| survey(document)).collect();
        if surveys.iter().all(|survey| survey.is_plain()) {
            return None;
        }
        let ordered = request.command.body.get("ordered").ok()?.is_none_or(truth);
        let mut odd = Self {
            kept: Vec::with_capacity(all.len()),
            refused: Vec::new(),
            ordered,
        };
        for (at, (document, survey)) in all.into_iter().zip(surveys).enumerate() {
            if !survey.repeats_id {
                odd.kept.push((at, document));
                continue;
            }
            odd.refused.push(at);
            if ordered {
                break;
            }
        }
        Some(odd)
    }

    /// What goes to the database.
    fn sequence(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (_, document) in &self.kept {
            let start = bytes.len();
            bytes.extend_from_slice(document.as_bytes());
            fill_timestamps(bytes.get_mut(start..).unwrap_or_default(), next_time);
        }
        bytes
    }

    /// The database's answer, with those that were refused here; an ordered insert ends with what fails first.
    fn answer(&self, answer: &RawDocument) -> Result<RawDocumentBuf, Fault> {
        let malformed = |error| Fault::new(known::INTERNAL_ERROR, error);
        let mut out = RawDocumentBuf::new();
        let mut errors = BTreeMap::new();
        for element in answer {
            match element.map_err(malformed)? {
                (key, RawBsonRef::Array(failed)) if key.as_str() == "writeErrors" => {
                    for error in failed.into_iter().flatten() {
                        let (at, error) = self.placed(error).unwrap_or_default();
                        errors.insert(at, error);
                    }
                }
                (key, _) if key.as_str() == "ok" => {}
                (key, value) => out.append(key, value),
            }
        }
        let ended = self.ordered && !errors.is_empty();
        for at in self.refused.iter().filter(|_| !ended) {
            let error = rawdoc! {
                "index": i32::try_from(*at).unwrap_or(i32::MAX),
                "code": known::BAD_VALUE,
                "errmsg": "can't have multiple _id fields in one document",
            };
            errors.insert(*at, error);
        }
        out.append(
            cstr!("writeErrors"),
            errors.into_values().collect::<RawArrayBuf>(),
        );
        out.append(cstr!("ok"), 1.0);
        Ok(out)
    }

    /// An error of the database's, with its place in the command.
    fn placed(&self, error: RawBsonRef<'_>) -> Option<(usize, RawDocumentBuf)> {
        let error = error.as_document()?;
        let index = usize::try_from(error.get_i32("index").ok()?).ok()?;
        let (at, _) = *self.kept.get(index)?;
        let mut out = RawDocumentBuf::new();
        for (key, value) in error.into_iter().flatten() {
            match key.as_str() {
                "index" => out.append(key, i32::try_from(at).unwrap_or(i32::MAX)),
                _ => out.append(key, value),
            }
        }
        Some((at, out))
    }
}

/// Whether the replacement of a `findAndModify` has to be filled.
pub(super) fn is_filled(request: &Request<'_>) -> bool {
    replaces(request.command.body, "update").is_some()
}

/// The replacement in an update, if something of it is to be filled.
fn replaces<'a>(statement: &'a RawDocument, name: &str) -> Option<&'a RawDocument> {
    let replacement = statement.get_document(name).ok()?;
    let first = replacement.iter_elements().next()?.ok()?;
    let fits = !first.key().as_str().starts_with('$') && survey(replacement).has_zero_timestamp;
    fits.then_some(replacement)
}

/// The bytes of an update with its replacement filled, if it has one.
fn filled(statement: &RawDocument, name: &str) -> Vec<u8> {
    let mut bytes = statement.as_bytes().to_vec();
    if replaces(statement, name).is_some()
        && let Some((ElementType::EmbeddedDocument, range)) = document::place(statement, name)
        && let Some(replacement) = bytes.get_mut(range)
    {
        fill_timestamps(replacement, next_time);
    }
    bytes
}

/// The time as a `Timestamp`, each later than the one before: seconds, and a number among those of a second.
fn next_time() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs()) << 32;
    let later = |last: u64| last.max(now) + 1;
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(later(last))
    });
    later(last.unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use twinport_wire::mongo::bson::Timestamp;

    use super::*;

    const ZERO: Timestamp = Timestamp {
        time: 0,
        increment: 0,
    };

    #[test]
    fn each_time_is_later_than_the_one_before() {
        let times: Vec<u64> = (0..100).map(|_| next_time()).collect();
        assert!(times.is_sorted_by(|a, b| a < b));
        let seconds = times.first().map(|first| first >> 32);
        assert!(seconds.is_some_and(|seconds| seconds > 1_700_000_000));
    }

    #[test]
    fn replacements_are_filled_and_nothing_else() {
        let taken = rawdoc! { "q": {}, "u": { "a": 1, "t": ZERO } };
        let bytes = filled(&taken, "u");
        let replacement = document::document(&bytes).unwrap();
        let replacement = replacement.get_document("u").unwrap();
        assert!(replacement.get_timestamp("t").unwrap().time > 0);
        for other in [
            rawdoc! { "q": { "t": ZERO }, "u": { "a": 1 } },
            rawdoc! { "q": {}, "u": { "$set": { "t": ZERO } } },
            rawdoc! { "q": {}, "u": [{ "$set": { "t": ZERO } }] },
            rawdoc! { "q": {}, "u": { "a": { "t": ZERO } } },
            rawdoc! { "q": {}, "u": {} },
            rawdoc! { "q": {} },
        ] {
            assert_eq!(filled(&other, "u"), other.as_bytes(), "{other:?}");
        }
    }

    fn refused(ordered: bool) -> Odd<'static> {
        Odd {
            kept: match ordered {
                true => vec![(0, empty())],
                false => vec![(0, empty()), (2, empty())],
            },
            refused: vec![1],
            ordered,
        }
    }

    fn empty() -> &'static RawDocument {
        document::document(document::EMPTY).unwrap()
    }

    /// The places and codes of the errors of an answer.
    fn errors(answer: &RawDocument) -> Vec<(i32, i32)> {
        let errors = answer.get_array("writeErrors").unwrap().into_iter();
        let errors = errors.map(|error| {
            let error = error.unwrap().as_document().unwrap();
            let number = |name| error.get_i32(name).unwrap();
            (number("index"), number("code"))
        });
        errors.collect()
    }

    #[test]
    fn errors_stand_where_their_documents_do() {
        let fine = rawdoc! { "n": 1, "ok": 1.0 };
        let answer = refused(true).answer(&fine).unwrap();
        assert_eq!(errors(&answer), [(1, 2)]);
        assert_eq!(
            (answer.get_i32("n").ok(), answer.get_f64("ok").ok()),
            (Some(1), Some(1.0))
        );
        let failed = |index: i32| {
            let error = rawdoc! { "index": index, "code": 11_000, "errmsg": "E11000" };
            rawdoc! { "n": 0, "writeErrors": [error], "ok": 1.0 }
        };
        // What failed before is the end of an ordered insert.
        assert_eq!(
            errors(&refused(true).answer(&failed(0)).unwrap()),
            [(0, 11_000)]
        );
        assert_eq!(
            errors(&refused(false).answer(&failed(1)).unwrap()),
            [(1, 2), (2, 11_000)]
        );
        let none = Odd {
            kept: Vec::new(),
            refused: vec![0],
            ordered: true,
        };
        assert_eq!(
            errors(&none.answer(&rawdoc! { "n": 0, "ok": 1.0 }).unwrap()),
            [(0, 2)]
        );
    }
}
