//! `insert`, `update`, `delete`, `findAndModify`.

use std::time::Duration;

use twinport_core::sql::{Rows, SqlError};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::document::{self, asks, integer};

use super::batch::{Batch, CONFLICTS, HASTY, RACES, has_raced, is_upsert_by_other};
use super::instead::Next;
use super::point::Straight;
use super::{
    Context, Ended, Outcome, Place, Request, duplicate, point, settle, stored, within_bound_sql,
};
use crate::fault::{Fault, known};
use crate::points::INSERTED;
use crate::record::Attempt;
use crate::reply::{Reply, write_result};
use crate::upstream as sql;

pub(super) async fn insert(context: &mut Context<'_>) -> Outcome {
    if stored::is_plain(context.request) {
        return write(context, "documents", &sql::INSERT).await;
    }
    let insert: Next = |context| Box::pin(write(context, "documents", &sql::INSERT));
    stored::inserts(context, insert).await
}

pub(super) async fn update(context: &mut Context<'_>) -> Outcome {
    if stored::fills_nothing(context.request) {
        return write(context, "updates", &sql::UPDATE).await;
    }
    let update: Next = |context| Box::pin(write(context, "updates", &sql::UPDATE));
    stored::updates(context, update).await
}

pub(super) async fn delete(context: &mut Context<'_>) -> Outcome {
    write(context, "deletes", &sql::DELETE).await
}

pub(super) async fn find_and_modify(context: &mut Context<'_>) -> Outcome {
    if !stored::is_filled(context.request) {
        return modify(context).await;
    }
    stored::modifies(context, |context| Box::pin(modify(context))).await
}

async fn modify(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let body = modern(context)?;
    let body = body.as_ref().map_or(request.body(), |body| body.as_bytes());
    let parameters = [Some(request.database.as_bytes()), Some(body)];
    let attempt = context.attempt()?;
    let hasty = match is_upsert_by_other(request.command.body, "query") {
        true => HASTY,
        false => 0,
    };
    let write = match asks(request.command.body, "remove") {
        true => &sql::FIND_AND_REMOVE,
        false => &sql::FIND_AND_MODIFY,
    };
    let mut races = 0;
    loop {
        let sent = send(context, write, hasty, &parameters, attempt.as_ref());
        return match sent.await {
            Ok(rows) => Reply::row(rows, 0),
            Err(fault) if fault.code == known::DUPLICATE_KEY => {
                let free = matches!(context.place, Place::Free);
                if free && races < RACES && has_raced(request.command.body, "query", &fault.message)
                {
                    races += 1;
                    continue;
                }
                duplicate::failed(context, fault).await
            }
            Err(fault) => Err(fault),
        };
    }
}

/// The command under the name that the extension knows; `None` if it has it.
fn modern(context: &Context<'_>) -> Result<Option<RawDocumentBuf>, Fault> {
    let command = &context.request.command;
    if command.name == "findAndModify" {
        return Ok(None);
    }
    let mut out = RawDocumentBuf::new();
    let mut elements = command.body.into_iter();
    let malformed = |_| Fault::new(known::FAILED_TO_PARSE, "invalid BSON");
    if let Some(first) = elements.next() {
        let (_, value) = first.map_err(malformed)?;
        out.append(
            twinport_wire::mongo::bson::raw::cstr!("findAndModify"),
            value,
        );
    }
    for element in elements {
        let (key, value) = element.map_err(malformed)?;
        out.append(key, value);
    }
    Ok(Some(out))
}

async fn write(context: &mut Context<'_>, sequence: &str, write: &sql::Write) -> Outcome {
    let request = context.request;
    request.collection()?;
    let attempt = context.attempt()?;
    let attempt = attempt.as_ref();
    let straight = match sequence {
        "documents" => point::insert(context, attempt).await?,
        _ => Straight::Left,
    };
    let (rows, refused) = match straight {
        Straight::Done(rows) => (rows, None),
        Straight::Inserted => (inserted(), None),
        Straight::Left => (run(context, sequence, write, attempt).await?, None),
        Straight::Refused(refused) => {
            (run(context, sequence, write, attempt).await?, Some(refused))
        }
    };
    let (mut reply, failed) = write_result(rows)?;
    let fails = failed.is_some();
    if !fails && let Some(refused) = refused {
        refused.was_taken(&context.session.wing.points);
    }
    if let Some(fault) = failed
        .as_ref()
        .filter(|fault| fault.code == known::UNAUTHORIZED)
        && nothing_allowed(reply.document()?)
    {
        return Err(denied(request, fault));
    }
    // As MongoDB does: a write that fails ends the transaction, though the answer tells of it inside; a conflict
    // is the whole command's.
    if let (Place::Within(_), Some(fault)) = (&context.place, failed) {
        if fault.code == known::WRITE_CONFLICT {
            return Err(fault);
        }
        context.spoiled = true;
    }
    if fails {
        reply = duplicate::explained(context, reply).await?;
    }
    Ok(reply)
}

/// What a database says of one document that was inserted.
fn inserted() -> Rows {
    let mut rows = Rows::default();
    rows.push([Some(INSERTED), Some(&[1][..])]);
    rows
}

/// Whether nothing was written, for want of rights alone.
fn nothing_allowed(answer: &RawDocument) -> bool {
    let none = answer.get("n").ok().flatten().and_then(integer) == Some(0);
    let errors = answer.get_array("writeErrors").into_iter().flatten();
    let is_denied = |error: RawBsonRef<'_>| {
        let code = error.as_document().map(|error| error.get_i32("code"));
        matches!(code, Some(Ok(known::UNAUTHORIZED)))
    };
    none && errors.flatten().all(is_denied)
}

/// As MongoDB, which asks for the right before it begins, and so refuses the whole command.
fn denied(request: &Request<'_>, fault: &Fault) -> Fault {
    Fault::new(
        known::UNAUTHORIZED,
        format_args!(
            "not authorized on {} to execute command {}: {}",
            request.database, request.command.name, fault.message
        ),
    )
}

/// Runs the statements of a write: all at once, and then those that have not had their locks.
async fn run(
    context: &mut Context<'_>,
    sequence: &str,
    write: &sql::Write,
    attempt: Option<&Attempt>,
) -> Result<Rows, Fault> {
    let request = context.request;
    let [database, body] = [request.database.as_bytes(), request.body()];
    let as_it_came = [Some(database), Some(body), request.sequence(sequence)];
    let batch = match context.place {
        Place::Free => Batch::read(request, sequence),
        Place::Within(_) => None,
    };
    let Some(mut batch) = batch else {
        return send(context, write, 0, &as_it_came, attempt).await;
    };
    let mut part = 0_u32;
    loop {
        let attempt = attempt.map(|attempt| attempt.part(part));
        let attempt = attempt.as_ref();
        let hasty = u32::from(batch.is_hasty());
        let ones = sequence == "deletes" && batch.deletes_ones();
        let write = if ones { &sql::DELETE_ONES } else { write };
        let whole = batch.is_as_it_came();
        let rows = if whole {
            send(context, write, hasty, &as_it_came, attempt).await?
        } else {
            let (body, statements) = (without(request.command.body, sequence)?, batch.sequence());
            let parameters = [Some(database), Some(body.as_bytes()), Some(&*statements)];
            send(context, write, hasty, &parameters, attempt).await?
        };
        let Ok(answer) = document::document(rows.get(0, 0).unwrap_or_default()) else {
            return Ok(rows);
        };
        batch.take(answer);
        if batch.is_done() {
            let untouched = whole && part == 0;
            return Ok(if untouched { rows } else { batch.rows() });
        }
        if batch.tries() > 0 {
            pause(batch.tries()).await;
        }
        part = part.saturating_add(1);
    }
}

/// A command without one of its fields, as without statements that go beside it.
pub(super) fn without(command: &RawDocument, field: &str) -> Result<RawDocumentBuf, Fault> {
    let mut out = RawDocumentBuf::new();
    for element in command {
        let (key, value) =
            element.map_err(|_| Fault::new(known::FAILED_TO_PARSE, "invalid BSON"))?;
        if key.as_str() != field {
            out.append(key, value);
        }
    }
    Ok(out)
}

/// Runs a write, so many times in haste; again if it came to nothing for want of a lock.
async fn send(
    context: &mut Context<'_>,
    write: &sql::Write,
    hasty: u32,
    parameters: &[Option<&[u8]>],
    attempt: Option<&Attempt>,
) -> Result<Rows, Fault> {
    if let Place::Within(_) = context.place {
        return context.call(write.within, parameters).await;
    }
    let mut tries = 0;
    loop {
        let haste = write.hasty.as_ref().filter(|_| tries < hasty);
        let way = haste.unwrap_or(&write.patient);
        let error = match apply(context, way, parameters, attempt).await? {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let again = match error.code() {
            Some("40P01" | "40001") => tries < hasty + CONFLICTS,
            Some("55P03") => haste.is_some(),
            _ => false,
        };
        if !again {
            return Err(error.into());
        }
        tries += 1;
        pause(tries).await;
    }
}

/// Waits a little, so that those who were in each other's way come one after the other.
async fn pause(tries: u32) {
    let most = 4_u64 << tries.min(5);
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..=most))).await;
}

/// Runs a write once, or gives the server's refusal; one that may be sent again is recorded, so that it is applied
/// once.
async fn apply(
    context: &mut Context<'_>,
    way: &sql::Way,
    parameters: &[Option<&[u8]>],
    attempt: Option<&Attempt>,
) -> Result<Result<Rows, SqlError>, Fault> {
    let mut connection = context.lease().await?;
    let result = match attempt {
        None => {
            let work = way.run(&mut connection, parameters);
            within_bound_sql(context.bound(), work).await
        }
        Some(attempt) => {
            let ledger = &context.session.wing.ledger;
            let work = ledger.once(&mut connection, way, parameters, attempt);
            within_bound_sql(context.bound(), work).await
        }
    };
    if let Err(Ended::Failed(error @ SqlError::Server { fatal: false, .. })) = result {
        connection.release();
        return Ok(Err(error));
    }
    let (rows, connection) = settle(result, connection)?;
    connection.release();
    Ok(Ok(rows))
}

impl Context<'_> {
    /// A write that may be sent again; `None` if it may not.
    fn attempt(&self) -> Result<Option<Attempt>, Fault> {
        let command = &self.request.command;
        let (Some(number), Place::Free) = (command.txn_number, &self.place) else {
            return Ok(None);
        };
        let owner = self.session.owner(command)?;
        let attempt = self.session.wing.transactions.write(&owner, number)?;
        Ok(Some(attempt))
    }
}
