//! `insert`, `update`, `delete`, `findAndModify`.

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::document::integer;

use super::point::Straight;
use super::{Context, Outcome, Place, Request, duplicate, point, settle, within_bound_sql};
use crate::fault::{Fault, known};
use crate::points::INSERTED;
use crate::record::Attempt;
use crate::reply::{Reply, write_result};
use crate::upstream as sql;

pub(super) async fn insert(context: &mut Context<'_>) -> Outcome {
    write(context, "documents", sql::INSERT).await
}

pub(super) async fn update(context: &mut Context<'_>) -> Outcome {
    write(context, "updates", sql::UPDATE).await
}

pub(super) async fn delete(context: &mut Context<'_>) -> Outcome {
    write(context, "deletes", sql::DELETE).await
}

pub(super) async fn find_and_modify(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let body = modern(context)?;
    let body = body.as_ref().map_or(request.body(), |body| body.as_bytes());
    let parameters = [Some(request.database.as_bytes()), Some(body)];
    let attempt = context.attempt()?;
    match apply(context, sql::FIND_AND_MODIFY, &parameters, attempt.as_ref()).await {
        Ok(rows) => Reply::row(rows, 0),
        Err(fault) if fault.code == known::DUPLICATE_KEY => duplicate::failed(context, fault).await,
        Err(fault) => Err(fault),
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

async fn write(context: &mut Context<'_>, sequence: &str, write: sql::Write) -> Outcome {
    let request = context.request;
    request.collection()?;
    let parameters = [
        Some(request.database.as_bytes()),
        Some(request.body()),
        request.sequence(sequence),
    ];
    let attempt = context.attempt()?;
    let attempt = attempt.as_ref();
    let straight = match sequence {
        "documents" => point::insert(context, attempt).await?,
        _ => Straight::Left,
    };
    let (rows, refused) = match straight {
        Straight::Done(rows) => (rows, None),
        Straight::Inserted => (inserted(), None),
        Straight::Left => (apply(context, write, &parameters, attempt).await?, None),
        Straight::Refused(refused) => {
            let rows = apply(context, write, &parameters, attempt).await?;
            (rows, Some(refused))
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

/// Runs a write; one that may be sent again is recorded, so that it is applied once.
async fn apply(
    context: &mut Context<'_>,
    write: sql::Write,
    parameters: &[Option<&[u8]>],
    attempt: Option<&Attempt>,
) -> Result<Rows, Fault> {
    let Some(attempt) = attempt else {
        return context.call(write.plain, parameters).await;
    };
    let mut connection = context.lease().await?;
    let ledger = &context.session.wing.ledger;
    let work = ledger.once(&mut connection, write, parameters, attempt);
    let (rows, connection) = settle(within_bound_sql(context.bound(), work).await, connection)?;
    connection.release();
    Ok(rows)
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
