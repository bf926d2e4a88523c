//! Indexes, as they are made.

use std::time::Duration;

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::raw::{RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument};
use twinport_wire::mongo::document::{self, asks};

use super::{Context, Outcome, Place, in_time};
use crate::fault::{Fault, known};
use crate::reply::{Reply, code_of};
use crate::upstream as sql;

/// How long between two looks at an index that is being built: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// So many bytes of a collection may go through one index at once, in which time nobody writes to it: about 100 ms.
const AT_ONCE: i64 = 4 << 20;

/// So many times as long takes an index that has many entries for a document, and a unique one.
const MANY_ENTRIES: i64 = 8;
const UNIQUE: i64 = 4;

/// The extension builds indexes in the background, where it looks for something to do every two seconds; the answer
/// waits for them. Those of a small collection are built at once.
pub(super) async fn create_indexes(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    request.collection()?;
    let parameters = [Some(request.database.as_bytes()), Some(request.body())];
    if matches!(context.place, Place::Within(_)) {
        let created = context
            .call(sql::CREATE_INDEXES_WITHIN, &parameters)
            .await?;
        return index_answer(&created);
    }
    if let Some(reply) = at_once(context).await? {
        return Ok(reply);
    }
    let created = context.call(sql::CREATE_INDEXES, &parameters).await?;
    if created.boolean(0, 1) == Some(false) {
        return not_built(context, &created);
    }
    let wanted = created
        .get(0, 2)
        .filter(|wanted| *wanted != document::EMPTY);
    let Some(wanted) = wanted.map(<[u8]>::to_vec) else {
        return index_answer(&created);
    };
    let waiting = async {
        let mut pause = FIRST_LOOK;
        loop {
            let status = context.call(sql::INDEX_STATUS, &[Some(&wanted)]).await?;
            let failed = status.boolean(0, 1) == Some(false);
            if failed || status.boolean(0, 2) != Some(false) {
                return Ok((failed, status));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    };
    match in_time(request.bound(), waiting).await? {
        (true, status) => not_built(context, &status),
        (false, _) => index_answer(&created),
    }
}

/// Builds the indexes of a small collection; `None` if they are for the background, or for it to say what is wrong
/// with them.
async fn at_once(context: &mut Context<'_>) -> Result<Option<Reply>, Fault> {
    let request = context.request;
    let largest = AT_ONCE.checked_div(weight(request.command.body));
    let Some(largest) = largest.map(i64::to_be_bytes) else {
        return Ok(None);
    };
    let parameters = [
        Some(request.database.as_bytes()),
        Some(request.body()),
        Some(request.collection()?.as_bytes()),
        Some(&largest[..]),
    ];
    let fault = match context.call(sql::CREATE_INDEXES_NOW, &parameters).await {
        // One that is there may still be under way in the background.
        Ok(created) if created.is_empty() || !made_any(&created) => return Ok(None),
        Ok(created) => return index_answer(&created).map(Some),
        Err(fault) => fault,
    };
    if fault.unknown || matches!(fault.code, known::MAX_TIME_MS_EXPIRED | known::INTERRUPTED) {
        return Err(fault);
    }
    match (fault.code, only_unique(request.command.body)) {
        (known::DUPLICATE_KEY, Some(name)) => twice(context, name).map(Some),
        _ => Ok(None),
    }
}

/// The indexes that a command wants; where they can't be read, the extension says why.
pub(super) fn wanted(command: &RawDocument) -> impl Iterator<Item = &RawDocument> {
    let indexes = command.get_array("indexes").into_iter().flatten().flatten();
    indexes.filter_map(RawBsonRef::as_document)
}

/// What the indexes of a command cost beside a plain one.
fn weight(command: &RawDocument) -> i64 {
    let weights = wanted(command).map(|index| {
        let key = index.get_document("key").into_iter().flatten().flatten();
        let mut key = key.map(|(name, kind)| {
            let special = kind.as_str().is_some_and(|kind| kind != "hashed");
            special || name.as_str().contains("$**")
        });
        if key.any(|many| many) {
            MANY_ENTRIES
        } else if is_unique(index) {
            UNIQUE
        } else {
            1
        }
    });
    weights.sum()
}

pub(super) fn is_unique(index: &RawDocument) -> bool {
    asks(index, "unique")
}

/// The name of the unique index of a command, if it has only one.
fn only_unique(command: &RawDocument) -> Option<&str> {
    let mut unique = wanted(command).filter(|index| is_unique(index));
    let first = unique.next()?;
    unique
        .next()
        .is_none()
        .then(|| first.get_str("name").ok())?
}

/// Whether there are more indexes than before.
fn made_any(created: &Rows) -> bool {
    let answer = document::document(created.get(0, 0).unwrap_or_default()).ok();
    let answer = answer.and_then(shard);
    let count = |name| answer?.get(name).ok()?.and_then(document::integer);
    count("numIndexesAfter") > count("numIndexesBefore")
}

/// What the extension says for each shard, as one server says it.
fn index_answer(rows: &Rows) -> Outcome {
    let answer = document::document(rows.get(0, 0).unwrap_or_default());
    let answer = answer.map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
    let mut out = RawDocumentBuf::new();
    if let Some(shard) = shard(answer) {
        for element in shard {
            let (key, value) = element.map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
            if key.as_str() != "ok" {
                out.append(key, value);
            }
        }
    }
    out.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(out))
}

/// The answer to a `createIndexes` that has come to nothing. Of documents that are equal in a unique index it tells the
/// index; the extension doesn't tell what they have there.
fn not_built(context: &Context<'_>, rows: &Rows) -> Outcome {
    let fault = index_fault(rows);
    let name = fault.message.split_once("Index '");
    let name = name.and_then(|(_, rest)| Some(rest.rsplit_once('\'')?.0));
    let (known::DUPLICATE_KEY, Some(name)) = (fault.code, name) else {
        return Err(fault);
    };
    twice(context, name)
}

/// The answer where documents are equal in an index that is to be unique.
fn twice(context: &Context<'_>, name: &str) -> Outcome {
    let request = context.request;
    let mut told = Fault::new(
        known::DUPLICATE_KEY,
        format_args!(
            "Index build failed: E11000 duplicate key error collection: {}.{} index: {name}",
            request.database,
            request.collection()?
        ),
    )
    .to_document();
    let mut indexes = wanted(request.command.body);
    let index = indexes.find(|index| index.get_str("name").is_ok_and(|of| of == name));
    if let Some(key) = index.and_then(|index| index.get_document("key").ok()) {
        told.append(cstr!("keyPattern"), key.to_owned());
    }
    Ok(Reply::Document(told))
}

fn index_fault(rows: &Rows) -> Fault {
    let answer = document::document(rows.get(0, 0).unwrap_or_default()).ok();
    let found = answer.map(|answer| shard(answer).unwrap_or(answer));
    let code = found.and_then(|found| found.get_i32("code").ok());
    let text = found.and_then(|found| found.get_str("errmsg").ok());
    Fault::new(
        code.map_or(known::INTERNAL_ERROR, code_of),
        text.unwrap_or("the index could not be built"),
    )
}

fn shard(answer: &RawDocument) -> Option<&RawDocument> {
    let raw = answer.get_document("raw").ok()?;
    let (_, first) = raw.into_iter().next()?.ok()?;
    first.as_document()
}

#[cfg(test)]
mod tests {
    use twinport_wire::mongo::bson::rawdoc;

    use super::*;

    #[test]
    fn indexes_that_take_long_weigh_more() {
        let a = rawdoc! { "key": { "a": 1, "b": "hashed" } };
        let unique = rawdoc! { "key": { "a": 1 }, "unique": true };
        let text = rawdoc! { "key": { "a": 1, "b": "text" } };
        let all = rawdoc! { "key": { "a.$**": 1 } };
        for (expected, command) in [
            (0, rawdoc! { "indexes": [] }),
            (0, rawdoc! { "indexes": 5 }),
            (2, rawdoc! { "indexes": [a.clone(), a.clone()] }),
            (5, rawdoc! { "indexes": [a, unique] }),
            (16, rawdoc! { "indexes": [text, all] }),
        ] {
            assert_eq!(weight(&command), expected, "{command:?}");
        }
    }

    #[test]
    fn the_only_unique_index_is_known() {
        let unique = rawdoc! { "key": { "a": 1 }, "name": "a", "unique": true };
        let plain = rawdoc! { "key": { "b": 1 }, "name": "b" };
        let one = rawdoc! { "createIndexes": "c", "indexes": [plain, unique.clone()] };
        assert_eq!(only_unique(&one), Some("a"));
        let two = rawdoc! { "createIndexes": "c", "indexes": [unique.clone(), unique] };
        assert_eq!(only_unique(&two), None);
    }
}
