//! A `find` of one document by its `_id`, and an `insert` of one, straight at the collection's table: by the extension
//! a read costs the server half as much again, and an insert twice as much.

use std::sync::Arc;
use std::time::Instant;

use twinport_core::sql::{Connection, Rows, SqlError};
use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::bson::raw::{RawDocumentBuf, cstr};
use twinport_wire::mongo::{Command, document};

use super::{Context, Ended, Place as Standing, Request, settle, within_bound_sql};
use crate::catalogs::Place;
use crate::fault::Fault;
use crate::points::group::inserts::{self, Insert};
use crate::points::group::reads::Read;
use crate::points::group::{Went, Work};
use crate::points::{FIND_TABLE, Found, Points, Table, Version, Way, is_gone, is_in_the_way};
use crate::record::Attempt;
use crate::reply::Reply;

mod page;

use page::page;

/// Larger documents gain nothing by it. In bytes.
const LARGEST: usize = 1 << 20;

/// Answers a find that is nothing but such a look-up; `None` if it is more, or can't be answered so.
pub(super) async fn read(context: &mut Context<'_>) -> Result<Option<Reply>, Fault> {
    // A statement that fails would end the transaction.
    if matches!(context.place, Standing::Within(_)) {
        return Ok(None);
    }
    let request = context.request;
    let Some(id) = wanted(&request.command) else {
        return Ok(None);
    };
    let place = place(context)?;
    let Way::Table {
        table, reads: true, ..
    } = way(context, &place).await?
    else {
        return Ok(None);
    };
    let key = key(id);
    let read = || Read(key.as_bytes().to_vec());
    let _seat = match turn(context, &table, true, read).await? {
        Went::Together(found) => return page(&place, found.document()).map(Some),
        Went::Alone(seat) => seat,
    };
    let parameters = [Some(key.as_bytes())];
    let mut connection = context.lease().await?;
    let began = Instant::now();
    let run = connection.run_made(&table.read, &parameters);
    let result = within_bound_sql(context.bound(), run).await;
    let points = &context.session.wing.points;
    match finish(result, connection)? {
        Ok(rows) if !rows.is_empty() => {
            table.has_read(began);
            return page(&place, rows.get(0, 0)).map(Some);
        }
        Ok(_) => points.forget(&place),
        Err(code) if is_gone(&code) => points.forget(&place),
        Err(code) if is_of_table(&code) => drop(points.learn(place, None)),
        Err(_) => (),
    }
    Ok(None)
}

/// What became of an insert.
pub(super) enum Straight {
    Done(Rows),
    /// It was done, and there is nothing more to say of it.
    Inserted,
    /// Nothing was done: it is for the extension.
    Left,
    /// Nothing was done, and it is for the extension to say why.
    Refused(Refused),
}

/// An insert that the table has not taken.
pub(super) struct Refused {
    place: Place,
    why: Why,
}

/// Why a table has not taken an insert.
enum Why {
    /// There is such a document.
    Met,
    /// The collection is another one by now; or there is such a document.
    Stale,
    /// For a reason that need not be the extension's.
    Failed,
}

impl Refused {
    /// Learns from it that the extension has taken the document.
    pub(super) fn was_taken(self, points: &Points) {
        match self.why {
            // It is gone by now.
            Why::Met => (),
            Why::Stale => points.forget(&self.place),
            Why::Failed => points.leave_inserts(self.place),
        }
    }
}

/// Runs an insert of one document that the extension would take as it is.
pub(super) async fn insert(
    context: &mut Context<'_>,
    attempt: Option<&Attempt>,
) -> Result<Straight, Fault> {
    // A statement that fails would end the transaction.
    if matches!(context.place, Standing::Within(_)) {
        return Ok(Straight::Left);
    }
    let request = context.request;
    let Some((id, document)) = inserted(request) else {
        return Ok(Straight::Left);
    };
    let place = place(context)?;
    let Way::Table {
        table,
        inserts: true,
        ..
    } = way(context, &place).await?
    else {
        return Ok(Straight::Left);
    };
    let key = key(id);
    if attempt.is_some_and(|attempt| !context.session.wing.ledger.has_table(attempt)) {
        return Ok(Straight::Left);
    }
    let record = attempt.map(|attempt| &attempt.record);
    let insert = || Insert {
        key: key.as_bytes().to_vec(),
        document: document.to_vec(),
        record: record.cloned(),
    };
    let fits = document.len() <= inserts::LARGEST;
    let _seat = match turn(context, &table, fits, insert).await? {
        Went::Together(()) => return Ok(Straight::Inserted),
        Went::Alone(seat) => seat,
    };
    let wary = table.is_wary();
    let single = if wary { &table.wary } else { &table.bold };
    let mut connection = context.lease().await?;
    let result = match record {
        None => {
            let parameters = [Some(key.as_bytes()), Some(document)];
            let run = connection.run_made(&single.plain, &parameters);
            within_bound_sql(context.bound(), run).await
        }
        Some(record) => {
            let parameters = [Some(key.as_bytes()), Some(document), Some(&*record.id)];
            let ledger = &context.session.wing.ledger;
            let run = ledger.once_made(&mut connection, &single.recorded, &parameters, record);
            within_bound_sql(context.bound(), run).await
        }
    };
    let why = match finish(result, connection)? {
        Ok(rows) if !rows.is_empty() => return Ok(Straight::Done(rows)),
        Ok(_) if !wary => return Ok(Straight::Inserted),
        Ok(_) => Why::Stale,
        Err(code) if is_of_the_moment(&code) => return Ok(Straight::Left),
        Err(code) if is_gone(&code) => Why::Stale,
        Err(code) if is_in_the_way(&code) => {
            table.has_met();
            Why::Met
        }
        Err(_) => Why::Failed,
    };
    Ok(Straight::Refused(Refused { place, why }))
}

/// Lets a command go together with others, if it may; one with a time limit waits for nobody.
async fn turn<W: Work>(
    context: &mut Context<'_>,
    table: &Arc<Table>,
    may: bool,
    work: impl FnOnce() -> W,
) -> Result<Went<W>, Fault> {
    if !may || context.bound().is_some() {
        return Ok(Went::Alone(None));
    }
    let identity = context.session.known(context.request.command.name)?;
    let turn = table.turn(&context.session.wing, identity, work);
    Ok(turn.await?)
}

/// The collection of a command, and who asks.
fn place(context: &Context<'_>) -> Result<Place, Fault> {
    let request = context.request;
    Ok(Place {
        user: context.session.known(request.command.name)?.user.clone(),
        database: request.database.to_owned(),
        collection: request.collection()?.to_owned(),
    })
}

/// How to reach a collection: as it is known, or as the database says.
async fn way(context: &mut Context<'_>, place: &Place) -> Result<Way, Fault> {
    if let Some(way) = context.session.wing.points.way(place) {
        return Ok(way);
    }
    let names = [
        Some(place.database.as_bytes()),
        Some(place.collection.as_bytes()),
    ];
    let mut connection = context.lease().await?;
    let run = connection.run(FIND_TABLE, &names);
    let result = within_bound_sql(context.bound(), run).await;
    let found = match finish(result, connection)? {
        Ok(rows) => found(&rows),
        Err(code) if is_of_table(&code) => None,
        Err(_) => return Ok(Way::Extension),
    };
    let points = &context.session.wing.points;
    Ok(points.learn(place.clone(), found))
}

/// Whether the server speaks of the table or of the right to it, its layout, what works on it; and not of a lock, a
/// conflict, a lack of memory, which say nothing of the next statement.
fn is_of_table(code: &str) -> bool {
    is_of_class(code, &["42", "3F", "0A"])
}

/// Whether the server speaks of a conflict, of a lock, or of what it lacks just now: nothing to remember of the
/// collection.
fn is_of_the_moment(code: &str) -> bool {
    is_of_class(code, &["40", "53", "55"])
}

fn is_of_class(code: &str, classes: &[&str]) -> bool {
    classes.iter().any(|class| code.starts_with(class))
}

/// Gives the connection back. A SQLSTATE if the server has refused for a reason that need not be the extension's: no
/// right to the table, no such table, another layout of it. Then the extension says what is wrong, if anything is.
fn finish(
    result: Result<Rows, Ended>,
    connection: Box<dyn Connection>,
) -> Result<Result<Rows, String>, Fault> {
    match result {
        // Class 57: somebody has stopped it.
        Err(Ended::Failed(SqlError::Server {
            fatal: false, code, ..
        })) if !code.starts_with("57") => {
            connection.release();
            Ok(Err(code))
        }
        result => {
            let (rows, connection) = settle(result, connection)?;
            connection.release();
            Ok(Ok(rows))
        }
    }
}

fn found(rows: &Rows) -> Option<Found> {
    let text = |column| std::str::from_utf8(rows.get(0, column)?).ok();
    Some(Found {
        version: Version {
            collection: rows.get(0, 0)?.try_into().ok().map(i64::from_be_bytes)?,
            place: text(1)?.to_owned(),
            made_by: text(2)?.to_owned(),
        },
        reads: rows.boolean(0, 3)?,
        inserts: rows.boolean(0, 4)?,
    })
}

/// A key as the table has it.
fn key(id: RawBsonRef<'_>) -> RawDocumentBuf {
    let mut key = RawDocumentBuf::new();
    key.append(cstr!(""), id);
    key
}

/// The document of an insert, with its `_id`, if it is one document and nothing has to be done to it.
fn inserted<'a>(request: &Request<'a>) -> Option<(RawBsonRef<'a>, &'a [u8])> {
    let mut document = request.sequence("documents");
    for field in request.command.fields() {
        let value = || field.value().ok();
        let fits = match field.name() {
            "$db" | "lsid" | "txnNumber" | "$clusterTime" | "comment" => true,
            "insert" => !value()?.as_str()?.starts_with("system."),
            "documents" if document.is_none() => {
                document = Some(first_of(value()?)?);
                true
            }
            "ordered" => matches!(value()?, RawBsonRef::Boolean(_)),
            "maxTimeMS" => whole(value()?, 0),
            "writeConcern" => matches!(value()?, RawBsonRef::Document(_)),
            _ => false,
        };
        if !fits {
            return None;
        }
    }
    let bytes = document?;
    let (document, rest) = document::split(bytes).ok()?;
    let (key, id) = document.into_iter().next()?.ok()?;
    let fits = rest.is_empty() && key.as_str() == "_id" && is_plain(&id);
    (fits && bytes.len() <= LARGEST).then_some((id, bytes))
}

/// The only document of an array.
fn first_of(documents: RawBsonRef<'_>) -> Option<&[u8]> {
    let mut all = documents.as_array()?.into_iter();
    let first = all.next()?.ok()?.as_document()?;
    all.next().is_none().then_some(first.as_bytes())
}

/// The `_id`, if nothing but the document of this one is wanted.
fn wanted<'a>(command: &Command<'a>) -> Option<RawBsonRef<'a>> {
    let mut id = None;
    for field in command.fields() {
        let value = || field.value().ok();
        let fits = match field.name() {
            "find" | "$db" | "lsid" | "$clusterTime" | "$readPreference" | "comment" => true,
            "filter" if id.is_none() => {
                id = Some(only_id(value()?)?);
                true
            }
            "limit" => whole(value()?, 0),
            "batchSize" => whole(value()?, 1),
            "maxTimeMS" => whole(value()?, 0),
            "singleBatch" => matches!(value()?, RawBsonRef::Boolean(_)),
            "readConcern" => settled(value()?),
            _ => false,
        };
        if !fits {
            return None;
        }
    }
    id
}

/// The value in `{ _id: value }` or `{ _id: { $eq: value } }`.
fn only_id(filter: RawBsonRef<'_>) -> Option<RawBsonRef<'_>> {
    match only(filter, "_id")? {
        value @ RawBsonRef::Document(_) => only(value, "$eq").filter(is_plain),
        value => Some(value).filter(is_plain),
    }
}

/// The value of a document's only field, if it has this name.
fn only<'a>(document: RawBsonRef<'a>, name: &str) -> Option<RawBsonRef<'a>> {
    let mut fields = document.as_document()?.into_iter();
    let (key, value) = fields.next()?.ok()?;
    (key.as_str() == name && fields.next().is_none()).then_some(value)
}

/// Whether a value in a filter means itself, and is compared with keys as a whole.
fn is_plain(value: &RawBsonRef<'_>) -> bool {
    matches!(
        value,
        RawBsonRef::ObjectId(_)
            | RawBsonRef::String(_)
            | RawBsonRef::Int32(_)
            | RawBsonRef::Int64(_)
            | RawBsonRef::Double(_)
            | RawBsonRef::DateTime(_)
            | RawBsonRef::Binary(_)
            | RawBsonRef::Boolean(_)
    )
}

/// Whether a number is whole, and not under `least` nor over what MongoDB takes.
fn whole(value: RawBsonRef<'_>, least: i64) -> bool {
    let number = match value {
        RawBsonRef::Int32(number) => i64::from(number),
        RawBsonRef::Int64(number) => number,
        _ => return false,
    };
    (least..=i64::from(i32::MAX)).contains(&number)
}

/// Whether a read concern asks for no more than what is committed.
fn settled(value: RawBsonRef<'_>) -> bool {
    let level = only(value, "level").and_then(RawBsonRef::as_str);
    matches!(level, Some("local" | "majority"))
}

#[cfg(test)]
mod tests {
    use twinport_wire::mongo::bson::rawdoc;

    use super::*;

    #[test]
    fn only_look_ups_by_id_are_taken() {
        let taken = |body: RawDocumentBuf| {
            Command::read(&body).is_ok_and(|command| wanted(&command).is_some())
        };
        assert!(taken(
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "limit": 1, "singleBatch": true, "$db": "d" }
        ));
        assert!(taken(
            rawdoc! { "find": "c", "filter": { "_id": { "$eq": "x" } } }
        ));
        assert!(taken(
            rawdoc! { "find": "c", "filter": { "_id": 1.5 }, "readConcern": { "level": "majority" } }
        ));
        for other in [
            rawdoc! { "find": "c" },
            rawdoc! { "find": "c", "filter": {} },
            rawdoc! { "find": "c", "filter": { "a": 1 } },
            rawdoc! { "find": "c", "filter": { "_id": 1, "a": 1 } },
            rawdoc! { "find": "c", "filter": { "_id": { "$gt": 1 } } },
            rawdoc! { "find": "c", "filter": { "_id": { "$eq": 1, "$lt": 2 } } },
            rawdoc! { "find": "c", "filter": { "_id": { "$eq": { "a": 1 } } } },
            rawdoc! { "find": "c", "filter": { "_id": {} } },
            rawdoc! { "find": "c", "filter": { "_id": [1] } },
            rawdoc! { "find": "c", "filter": { "_id": null } },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "filter": { "_id": 2 } },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "limit": -1 },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "limit": 1.0 },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "batchSize": 0 },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "projection": { "a": 1 } },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "skip": 0 },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "readConcern": { "level": "linearizable" } },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "readConcern": { "afterClusterTime": 1 } },
            rawdoc! { "find": "c", "filter": { "_id": 1 }, "txnNumber": 1_i64, "autocommit": false },
        ] {
            assert!(!taken(other.clone()), "{other:?}");
        }
    }

    #[test]
    fn a_page_looks_as_the_extension_writes_it() {
        let place = Place {
            user: "ann".into(),
            database: "library".to_owned(),
            collection: "books".to_owned(),
        };
        let found = rawdoc! { "_id": 1, "a": "b" };
        let reply = page(&place, Some(found.as_bytes())).unwrap();
        let expected = rawdoc! {
            "cursor": { "id": 0_i64, "ns": "library.books", "firstBatch": [{ "_id": 1, "a": "b" }] },
            "ok": 1.0,
        };
        assert_eq!(reply.document().unwrap(), &*expected);
        let none = page(&place, None).unwrap();
        let cursor = none.document().unwrap().get_document("cursor").unwrap();
        assert!(cursor.get_array("firstBatch").unwrap().is_empty());
        assert!(page(&place, Some(b"no document")).is_err());
    }
}
