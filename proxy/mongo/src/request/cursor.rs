//! Cursors: a first page, `getMore`, `killCursors`.

use std::sync::Arc;

use twinport_core::sql::{Connection, Identity, Rows, SqlError};
use twinport_wire::mongo::Command;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::document::truth;

use super::{Context, Outcome, Place, Request};
use crate::fault::{Fault, known};
use crate::handles::{Borrowed, Cursor, Killed, Standing, no_file};
use crate::reply::Reply;
use crate::upstream as sql;
use crate::wing::Wing;

/// Runs a command that opens a cursor and answers with its first page.
pub(super) async fn first_page(context: &mut Context<'_>, statement: &'static str) -> Outcome {
    let body = context.request.body();
    first_page_of(context, statement, body).await
}

/// As [`first_page`], with another body in the place of the command's.
pub(super) async fn first_page_of(
    context: &mut Context<'_>,
    statement: &'static str,
    body: &[u8],
) -> Outcome {
    let request = context.request;
    let expected = Expected::new(context)?;
    let id = expected.id.to_be_bytes();
    let parameters = [Some(request.database.as_bytes()), Some(body), Some(&id[..])];
    let held = context.call_held(statement, &parameters).await;
    expected.came(&held);
    let (rows, connection) = held.map_err(|fault| match fault.code {
        known::CURSOR_IN_USE => no_file(),
        _ => fault,
    })?;
    let Some(continuation) = rows.get(0, 1).map(<[u8]>::to_vec) else {
        give_back(connection, false).await;
        return Reply::row(rows, 0);
    };
    let persists = rows.boolean(0, 2) == Some(true);
    let held = match connection {
        Some(connection) if persists => Some(connection),
        other => {
            give_back(other, false).await;
            None
        }
    };
    let filed = is_filed(&continuation);
    let standing = Standing::Continued {
        continuation,
        connection: held,
    };
    let cursor = Cursor {
        filed,
        ..opened(context, &rows, standing)?
    };
    let wing = &context.session.wing;
    let most = wing.current().mongo.max_cursors;
    let files = rows.get(0, 4).and_then(number);
    if let Err((cursor, fault)) = wing.cursors.keep_within(cursor, most, files) {
        wing.dismiss([*cursor]);
        return Err(fault);
    }
    Reply::row(rows, 0)
}

/// A cursor whose first page is asked for. If nobody takes the answer, it may be open all the same.
struct Expected {
    wing: Arc<Wing>,
    identity: Identity,
    id: i64,
    /// Transactions close theirs themselves.
    within: bool,
    came: bool,
}

impl Expected {
    fn new(context: &Context<'_>) -> Result<Self, Fault> {
        Ok(Self {
            wing: Arc::clone(&context.session.wing),
            identity: context.session.known(context.request.command.name)?.clone(),
            id: rand::random_range(1..=i64::MAX),
            within: matches!(context.place, Place::Within(_)),
            came: false,
        })
    }

    /// Notes what has come of the statement. One that was refused has opened nothing.
    fn came<T>(mut self, held: &Result<T, Fault>) {
        let lost = [known::HOST_UNREACHABLE, known::MAX_TIME_MS_EXPIRED];
        self.came = !matches!(held, Err(fault) if lost.contains(&fault.code));
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        if !self.came && !self.within {
            self.wing.doom_unheard(self.identity.clone(), self.id);
        }
    }
}

fn opened(context: &Context<'_>, rows: &Rows, standing: Standing) -> Result<Cursor, Fault> {
    let request = context.request;
    let command = &request.command;
    let id = rows
        .get(0, 3)
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
        .map(i64::from_be_bytes)
        .ok_or_else(|| Fault::new(known::INTERNAL_ERROR, "a cursor without a number"))?;
    let transaction = match context.place {
        Place::Within(_) => command.txn_number,
        Place::Free => None,
    };
    let page = twinport_wire::mongo::document::document(rows.get(0, 0).unwrap_or_default());
    let namespace = page
        .ok()
        .and_then(|page| page.get_document("cursor").ok())
        .and_then(|cursor| cursor.get_str("ns").ok())
        .unwrap_or_default();
    let patient = matches!(command.body.get("noCursorTimeout"), Ok(Some(value)) if truth(value));
    Ok(Cursor {
        id,
        identity: context.session.known(command.name)?.clone(),
        session: command.session().map_err(|error| Fault::protocol(&error))?,
        transaction,
        client: context.session.number,
        database: request.database.to_owned(),
        namespace: namespace.to_owned(),
        standing,
        patient,
        filed: false,
    })
}

/// Whether the database keeps a cursor's documents in a file.
fn is_filed(continuation: &[u8]) -> bool {
    let continuation = RawDocument::from_bytes(continuation);
    continuation.is_ok_and(|continuation| matches!(continuation.get("qf"), Ok(Some(_))))
}

/// A setting that is a number.
fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Gives a connection back; `used` tells that a cursor may be open on it.
async fn give_back(connection: Option<Box<dyn Connection>>, used: bool) {
    let Some(mut connection) = connection else {
        return;
    };
    if !used || connection.command("CLOSE ALL").await.is_ok() {
        connection.release();
    }
}

pub(super) async fn get_more(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let command = &request.command;
    let id = command.cursor().map_err(|error| Fault::protocol(&error))?;
    let wing = Arc::clone(&context.session.wing);
    let user = context.session.known(command.name)?.user.clone();
    let mut borrowed = wing.cursors.borrow(id, &user)?;
    let within = matches!(context.place, Place::Within(_)).then_some(command.txn_number);
    if let Err(fault) = check(request, within.flatten(), &mut borrowed) {
        borrowed.lay_back();
        return Err(fault);
    }
    let result = match borrowed.cursor() {
        Some(cursor) => next_page(context, cursor).await,
        None => Err(Failed::Over(gone())),
    };
    let rows = match result {
        Ok(rows) => rows,
        Err(Failed::Over(fault)) => {
            let cursor = borrowed.end();
            wing.dismiss(cursor.map(|cursor| *cursor));
            return Err(fault);
        }
        // It stands where it stood, and can be asked again.
        Err(Failed::Kept(fault)) => {
            borrowed.lay_back();
            return Err(fault);
        }
    };
    match (rows.get(0, 1), borrowed.cursor()) {
        (Some(continuation), Some(cursor)) => {
            if let Standing::Continued {
                continuation: at, ..
            } = &mut cursor.standing
            {
                *at = continuation.to_vec();
            }
            borrowed.lay_back();
        }
        _ => {
            if let Some(cursor) = borrowed.end()
                && let Standing::Continued { connection, .. } = cursor.standing
            {
                give_back(connection, true).await;
            }
        }
    }
    Reply::row(rows, 0)
}

/// Whether a getMore, in this transaction or none, fits its cursor.
pub(crate) fn check(
    request: &Request<'_>,
    within: Option<i64>,
    borrowed: &mut Borrowed,
) -> Result<(), Fault> {
    let collection = request.collection()?;
    let Some(cursor) = borrowed.cursor() else {
        return Ok(());
    };
    let asked = format!("{}.{collection}", request.database);
    if !cursor.namespace.is_empty() && cursor.namespace != asked {
        return Err(Fault::new(
            known::UNAUTHORIZED,
            format_args!(
                "Requested getMore on namespace '{asked}', but cursor belongs to a different namespace {}",
                cursor.namespace
            ),
        ));
    }
    let session = request.command.session();
    let session = session.map_err(|error| Fault::protocol(&error))?;
    let (id, cannot) = (cursor.id, "Cannot run getMore on cursor");
    // The codes are those of MongoDB's servers.
    match (session, cursor.session) {
        (Some(_), None) => Err(Fault::new(
            50_736,
            format_args!("{cannot} {id}, which was not created in a session, in a session"),
        )),
        (None, Some(_)) => Err(Fault::new(
            50_737,
            format_args!("{cannot} {id}, which was created in a session, without an lsid"),
        )),
        (Some(asks), Some(has)) if asks != has => Err(Fault::new(
            50_738,
            format_args!("{cannot} {id}, which was created in another session"),
        )),
        _ => match (within, cursor.transaction) {
            (Some(_), None) => Err(Fault::new(
                50_739,
                format_args!(
                    "{cannot} {id}, which was not created in a transaction, in a transaction"
                ),
            )),
            (None, Some(_)) => Err(Fault::new(
                50_740,
                format_args!(
                    "{cannot} {id}, which was created in a transaction, without a txnNumber"
                ),
            )),
            (asks, has) if asks != has => Err(Fault::new(
                50_741,
                format_args!("{cannot} {id}, which was created in another transaction"),
            )),
            _ => Ok(()),
        },
    }
}

/// Why there is no next page.
enum Failed {
    /// The cursor is over.
    Over(Fault),
    /// The cursor is as it was.
    Kept(Fault),
}

impl Failed {
    fn of(fault: Fault) -> Self {
        if is_gone(fault.code) {
            Self::Over(fault)
        } else {
            Self::Kept(fault)
        }
    }
}

/// Whether a code says that the server does not know the cursor any more: killed, behind its data, or never there.
pub(crate) fn is_gone(code: i32) -> bool {
    matches!(
        code,
        known::CURSOR_NOT_FOUND | 136 | known::QUERY_PLAN_KILLED | 237 | 280 | 286
    )
}

fn gone() -> Fault {
    Fault::new(known::CURSOR_NOT_FOUND, "cursor is gone")
}

async fn next_page(context: &mut Context<'_>, cursor: &mut Cursor) -> Result<Rows, Failed> {
    let database = cursor.database.clone();
    let (continuation, connection) = match &mut cursor.standing {
        Standing::Continued {
            continuation,
            connection,
        } => (continuation, connection),
        Standing::Lost(why) => {
            return Err(Failed::Over(Fault::new(
                known::QUERY_PLAN_KILLED,
                format_args!("PlanExecutor error during getMore :: caused by :: {why}"),
            )));
        }
        Standing::Upstream(_) => {
            return Err(Failed::Over(Fault::new(
                known::CURSOR_NOT_FOUND,
                "the cursor is on a server that is not in use any more",
            )));
        }
    };
    let parameters = [
        Some(database.as_bytes()),
        Some(context.request.body()),
        Some(&**continuation),
    ];
    let Some(mut held) = connection.take() else {
        let rows = context.call(sql::GET_MORE, &parameters).await;
        return rows.map_err(Failed::of);
    };
    match held.run(sql::GET_MORE, &parameters).await {
        Ok(rows) => {
            *connection = Some(held);
            Ok(rows)
        }
        Err(error @ SqlError::Server { fatal: false, .. }) => {
            *connection = Some(held);
            Err(Failed::of(error.into()))
        }
        Err(error) => Err(Failed::Over(error.into())),
    }
}

pub(super) async fn kill(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let user = context.session.known(command.name)?.user.clone();
    let wing = Arc::clone(&context.session.wing);
    let (mut killed, mut unknown) = (RawArrayBuf::new(), RawArrayBuf::new());
    let mut gone = Vec::new();
    for id in listed(command)? {
        match wing.cursors.kill(id, &user) {
            Killed::Now(cursor) => {
                killed.push(id);
                gone.push(*cursor);
            }
            Killed::Soon => killed.push(id),
            Killed::NotFound => unknown.push(id),
        }
    }
    wing.dismiss(gone);
    Ok(self::killed(killed, unknown))
}

/// The cursors that a `killCursors` lists: all of them, or it kills none.
pub(crate) fn listed(command: &Command<'_>) -> Result<Vec<i64>, Fault> {
    let ids = command.cursors().and_then(Iterator::collect);
    ids.map_err(|error| Fault::protocol(&error))
}

/// The answer to `killCursors`.
pub(crate) fn killed(killed: RawArrayBuf, unknown: RawArrayBuf) -> Reply {
    Reply::Document(rawdoc! {
        "cursorsKilled": killed,
        "cursorsNotFound": unknown,
        "cursorsAlive": [],
        "cursorsUnknown": [],
        "ok": 1.0,
    })
}
