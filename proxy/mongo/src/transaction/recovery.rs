//! What became of a transaction whose commit had no answer, or was sent by way of another proxy.
//!
//! The answers inside a transaction carry a `recoveryToken`, as those of mongos do; drivers send it with the commit.
//! It holds Postgres's number of the transaction, by which any connection can ask how that ended.

use std::time::Duration;

use twinport_core::sql::{Connection, SqlError};
use twinport_wire::mongo::bson::raw::{RawDocument, cstr};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::document::integer;

use super::unknown;
use crate::fault::{Fault, known};
use crate::record::Record;
use crate::reply::Reply;
use crate::upstream::Ledger;

const FIELD: &str = "recoveryToken";
const NUMBER: &str = "xid";

/// Postgres's number of the transaction that is open.
const CURRENT: &str = "SELECT pg_catalog.pg_current_xact_id()::text::bigint";
const STATUS: &str = "SELECT pg_catalog.pg_xact_status($1::text::pg_catalog.xid8)";

/// How often and how long apart it is asked after a transaction that is still open: a connection that was lost is
/// cleared away by the server at once, unless nobody has told it.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a command gives its transaction something to commit.
pub(super) fn writes(command: &str) -> bool {
    matches!(
        command,
        "insert"
            | "update"
            | "delete"
            | "findAndModify"
            | "findandmodify"
            | "create"
            | "createIndexes"
    )
}

/// Asks for the number of the transaction that is open on a connection.
pub(super) async fn number(connection: &mut Box<dyn Connection>) -> Result<i64, SqlError> {
    let rows = connection.run(CURRENT, &[]).await?;
    let bytes = rows.get(0, 0).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(i64::from_be_bytes)
        .ok_or_else(|| SqlError::Lost("the database gave no number of a transaction".to_owned()))
}

/// The answer with a token.
pub(super) fn with_token(reply: &Reply, number: i64) -> Result<Reply, Fault> {
    let mut document = reply.document()?.to_owned();
    document.append(cstr!("recoveryToken"), rawdoc! { "xid": number });
    Ok(Reply::Document(document))
}

/// The number in the token that a command brings.
pub(crate) fn token(body: &RawDocument) -> Option<i64> {
    let token = body.get_document(FIELD).ok()?;
    integer(token.get(NUMBER).ok()??)
}

/// What is known of a transaction of which it has to be said whether it was committed.
pub(super) struct Question<'a> {
    pub(super) ledger: &'a Ledger,
    /// What its note stands under.
    pub(super) record: &'a Record,
    /// It was noted here.
    pub(super) noted: bool,
    /// Postgres's number of it.
    pub(super) number: Option<i64>,
}

impl Question<'_> {
    /// Whether the transaction was committed, by a connection of its own.
    ///
    /// # Errors
    /// When that can't be said: it is open elsewhere, or too long ago.
    pub(super) async fn is_committed(
        &self,
        lease: impl Future<Output = Result<Box<dyn Connection>, Fault>>,
    ) -> Result<bool, Fault> {
        let asked = async {
            let mut connection = lease.await?;
            let committed = self.ask(&mut connection).await?;
            connection.release();
            Ok::<_, Fault>(committed)
        };
        let committed = asked.await.map_err(unknown)?;
        committed.ok_or_else(|| {
            unknown(Fault::new(
                known::EXCEEDED_TIME_LIMIT,
                "nobody can say yet whether the transaction was committed",
            ))
        })
    }

    async fn ask(&self, connection: &mut Box<dyn Connection>) -> Result<Option<bool>, SqlError> {
        let notes = self.noted || self.ledger.prepare(connection, &self.record.user).await;
        if notes {
            let committed = self.ledger.was_committed(connection, self.record).await?;
            if committed || self.noted {
                return Ok(Some(committed));
            }
        }
        let Some(number) = self.number else {
            return Ok(None);
        };
        let committed = status(connection, number).await?;
        // Where all others leave a note and this one has not, its number may have been given to another since: a
        // server that is killed forgets numbers whose log was not on disk.
        Ok(committed.filter(|&committed| !(committed && notes)))
    }
}

/// What Postgres knows of a transaction by its number; `None` if that is nothing, or not yet.
async fn status(
    connection: &mut Box<dyn Connection>,
    number: i64,
) -> Result<Option<bool>, SqlError> {
    let number = number.to_string();
    for _ in 0..TRIES {
        let rows = match connection.run(STATUS, &[Some(number.as_bytes())]).await {
            // A number that was never given, or has been forgotten.
            Err(error) if error.code() == Some("22023") => return Ok(Some(false)),
            rows => rows?,
        };
        match rows.get(0, 0) {
            Some(b"committed") => return Ok(Some(true)),
            Some(b"aborted") => return Ok(Some(false)),
            Some(_) => tokio::time::sleep(PAUSE).await,
            None => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        let reply = with_token(&Reply::ok(), 1 << 40).unwrap();
        assert_eq!(token(reply.document().unwrap()), Some(1 << 40));
        assert_eq!(token(&rawdoc! { "recoveryToken": { "xid": "no" } }), None);
        assert_eq!(token(&rawdoc! { "recoveryToken": {} }), None);
        assert_eq!(token(&rawdoc! { "commitTransaction": 1 }), None);
    }
}
