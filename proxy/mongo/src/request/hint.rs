//! Hints of updates and deletes: the extension carries them out whatever index is named.

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::document::{self, integer, truth};

use super::{Context, Outcome, Request, batch, crud};
use crate::fault::{Fault, known};
use crate::reply::Reply;

/// The indexes of a collection, by their names and keys.
pub(super) const INDEXES: &str = "SELECT (i.index_spec).index_name, (i.index_spec).index_key \
     FROM documentdb_api_catalog.collection_indexes i \
     JOIN documentdb_api_catalog.collections c USING (collection_id) \
     WHERE c.database_name = $1::text AND c.collection_name = $2::text";

pub(super) async fn update(context: &mut Context<'_>) -> Outcome {
    match refused(context, "updates").await? {
        Some(reply) => Ok(reply),
        None => crud::update(context).await,
    }
}

pub(super) async fn delete(context: &mut Context<'_>) -> Outcome {
    match refused(context, "deletes").await? {
        Some(reply) => Ok(reply),
        None => crud::delete(context).await,
    }
}

/// The answer to a write that names an index that isn't there, or the command's refusal if others of its writes would
/// have to be carried out.
async fn refused(context: &mut Context<'_>, name: &str) -> Result<Option<Reply>, Fault> {
    let request = context.request;
    let (hints, writes) = hints(request, name);
    if hints.is_empty() {
        return Ok(None);
    }
    let parameters = [
        Some(request.database.as_bytes()),
        Some(request.collection()?.as_bytes()),
    ];
    let indexes = context.call(INDEXES, &parameters).await?;
    // Without a collection there is nothing to look for.
    if indexes.is_empty() {
        return Ok(None);
    }
    let wrong = hints.iter().find(|(_, hint)| !names(&indexes, *hint));
    let Some(&(at, _)) = wrong else {
        return Ok(None);
    };
    let what = "hint provided does not correspond to an existing index";
    let ordered = request.command.body.get("ordered").ok().flatten();
    let ordered = ordered.is_none_or(truth);
    if at > 0 || !(ordered || writes == 1) {
        return Err(Fault::new(
            known::BAD_VALUE,
            format_args!("{what}, in {name}.{at}; nothing was written"),
        ));
    }
    let mut answer = rawdoc! { "n": 0 };
    if name == "updates" {
        answer.append(cstr!("nModified"), 0);
    }
    let error = rawdoc! { "index": 0, "code": known::BAD_VALUE, "errmsg": what };
    answer.append(
        cstr!("writeErrors"),
        [error].into_iter().collect::<RawArrayBuf>(),
    );
    answer.append(cstr!("ok"), 1.0);
    context.spoiled = true;
    Ok(Some(Reply::Document(answer)))
}

/// The hints of a command's writes with their places, and how many writes there are.
fn hints<'a>(request: &Request<'a>, name: &str) -> (Vec<(usize, RawBsonRef<'a>)>, usize) {
    // Where they can't be read, the extension says why.
    let writes = batch::statements(request, name).unwrap_or_default();
    let hint = |write: &&'a RawDocument| write.get("hint").ok().flatten();
    let hints = writes.iter().enumerate();
    let hints = hints.filter_map(|(at, write)| Some((at, hint(write)?)));
    (hints.collect(), writes.len())
}

/// Whether a hint names one of these indexes, or none at all.
fn names(indexes: &Rows, hint: RawBsonRef<'_>) -> bool {
    match hint {
        RawBsonRef::String(name) => {
            (0..indexes.len()).any(|row| indexes.get(row, 0) == Some(name.as_bytes()))
        }
        RawBsonRef::Document(key) => {
            let first = key.into_iter().next().and_then(Result::ok);
            let natural = first.is_none_or(|(name, _)| name.as_str() == "$natural");
            natural
                || (0..indexes.len()).any(|row| {
                    let index = document::document(indexes.get(row, 1).unwrap_or_default());
                    index.is_ok_and(|index| is_same(index, key))
                })
        }
        // What it is then, the extension says.
        _ => true,
    }
}

/// Whether two keys of indexes are the same, whatever types their numbers have.
fn is_same(one: &RawDocument, other: &RawDocument) -> bool {
    let (mut one, mut other) = (one.into_iter().flatten(), other.into_iter().flatten());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some((a, x)), Some((b, y))) if a == b => {
                let number = integer(x).is_some() && integer(x) == integer(y);
                if !number && x != y {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_by_what_they_mean() {
        let key = rawdoc! { "a": 1, "b": -1, "t": "text" };
        let same = rawdoc! { "a": 1_i64, "b": -1.0, "t": "text" };
        assert!(is_same(&key, &same));
        for other in [
            rawdoc! { "a": 1, "b": -1 },
            rawdoc! { "a": 1, "b": 1, "t": "text" },
            rawdoc! { "b": -1, "a": 1, "t": "text" },
            rawdoc! { "a": 1, "b": -1, "t": "hashed" },
            rawdoc! { "a": 1, "b": -1, "t": "text", "u": 1 },
        ] {
            assert!(!is_same(&key, &other), "{other:?}");
        }
    }
}
