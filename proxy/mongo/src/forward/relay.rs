//! A request's way to a server and back.

use std::ops::Range;
use std::sync::Arc;

use twinport_core::pool::AcquireError;
use twinport_wire::mongo::bson::spec::ElementType;
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::compressed::is_never_compressed;
use twinport_wire::mongo::document::{self, integer, truth};

use super::connection::{Lost, Parts, Received};
use super::description::Kind;
use super::outgoing;
use super::pins::Place;
use super::select::{Want, preference};
use super::server::{ConnectError, Lease, Server, compressor};
use super::{Cluster, Remote, cursor};
use crate::fault::{Fault, RETRYABLE_WRITE, TRANSIENT_TRANSACTION, UNKNOWN_COMMIT, known};
use crate::handles::{Cursor, Standing};
use crate::reply::Reply;
use crate::request::{Context, Outcome, Request, sessions};
use crate::transaction::{self, Owner};

/// How often a command that was surely not run is sent to the next primary.
const TRIES: usize = 3;

/// What a server says that is not, or not any more, the primary: the command was not run.
const NOT_PRIMARY: [i64; 3] = [10_107, 13_435, 13_436];
/// What a server says that changes its place, or goes: the command may have been run.
const CHANGING: [i64; 4] = [91, 189, 11_600, 11_602];

/// Forwards a command, and keeps what its answer opens.
pub(crate) async fn relay(context: &mut Context<'_>) -> Outcome {
    let Some(cluster) = context.session.wing.cluster() else {
        return Err(Fault::new(known::INTERNAL_ERROR, "no upstream of MongoDB"));
    };
    let request = context.request;
    context.session.known(request.command.name)?;
    match request.command.name {
        "getMore" => cursor::get_more(context, &cluster).await,
        "killCursors" => cursor::kill(context, &cluster).await,
        "endSessions" | "killSessions" => {
            sessions::end(context).await?;
            free(context, &cluster).await
        }
        _ if request.command.in_transaction() => within(context, &cluster).await,
        _ => free(context, &cluster).await,
    }
}

/// A command outside of transactions.
async fn free(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let request = context.request;
    let want = cluster.want(request)?;
    for last in (1..=TRIES).map(|attempt| attempt == TRIES) {
        let (server, mut lease) = cluster.reach(&want).await?;
        let received = cluster
            .exchange(&server, &mut lease, request, &want)
            .await?;
        let Some(received) = received else {
            lease.release();
            return Ok(Reply::ok());
        };
        let seen = Seen::read(&received)?;
        cluster.observe(&server, &seen);
        if seen.is_not_primary() && !last && !cluster.topology.is_direct() {
            lease.release();
            continue;
        }
        return keep(context, &server, lease, received, &seen).await;
    }
    Err(Fault::new(known::INTERNAL_ERROR, "no try was made"))
}

/// A command inside a transaction, or one that ends it.
async fn within(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let command = &context.request.command;
    let owner = context.session.owner(command)?;
    let number = transaction::number(command)?;
    let starts = command.start_transaction == Some(true);
    let client = context.session.number;
    let place = cluster.pins.enter(&owner, number, starts, client)?;
    let outcome = run_within(context, cluster, (&owner, number), place).await;
    outcome.map_err(|fault| labelled(fault, context.request.command.name))
}

async fn run_within(
    context: &mut Context<'_>,
    cluster: &Arc<Cluster>,
    (owner, number): (&Owner, i64),
    place: Place,
) -> Outcome {
    let request = context.request;
    let (server, mut lease) = cluster.board(place).await?;
    let want = Want::Writable;
    let received = cluster
        .exchange(&server, &mut lease, request, &want)
        .await?;
    let Some(received) = received else {
        lease.release();
        return Ok(Reply::ok());
    };
    let seen = Seen::read(&received)?;
    cluster.observe(&server, &seen);
    let ends = matches!(
        request.command.name,
        "commitTransaction" | "abortTransaction"
    );
    if ends && seen.ok {
        cluster.pins.end(owner, number);
    }
    match server.description().kind {
        Kind::Balanced if !ends => {
            let reply = note(context, &server, received, &seen, None);
            let place = Place::On(Arc::clone(&server), lease);
            cluster.pins.stay(owner, number, place);
            reply
        }
        kind => {
            if kind == Kind::Mongos {
                cluster
                    .pins
                    .stay(owner, number, Place::At(Arc::clone(&server)));
            }
            lease.release();
            note(context, &server, received, &seen, None)
        }
    }
}

/// What failed on the way, in a transaction.
fn labelled(fault: Fault, command: &str) -> Fault {
    let lost = matches!(
        fault.code,
        known::HOST_UNREACHABLE | known::FAILED_TO_SATISFY_READ_PREFERENCE
    );
    if !lost {
        return fault;
    }
    match command {
        "commitTransaction" => fault.label(RETRYABLE_WRITE).label(UNKNOWN_COMMIT),
        "abortTransaction" => fault.label(RETRYABLE_WRITE),
        _ => fault.label(TRANSIENT_TRANSACTION),
    }
}

/// What a connection is wanted for.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// A command that is answered as soon as it is done.
    Prompt,
    /// One that waits for data to come.
    Patient,
}

/// What is looked at in an answer; the rest goes on unread.
pub(super) struct Seen {
    ok: bool,
    code: i64,
    /// The cursor's id, and where it stands in the body.
    pub(super) cursor: Option<(i64, Range<usize>)>,
    namespace: String,
}

impl Seen {
    pub(super) fn read(received: &Received) -> Result<Self, Fault> {
        let body = received.body().map_err(|error| Fault::protocol(&error))?;
        let ok = matches!(body.get("ok"), Ok(Some(value)) if truth(value));
        let failed = if ok {
            body.get_document("writeConcernError").ok()
        } else {
            Some(body)
        };
        let code = failed.and_then(|failed| failed.get("code").ok()?.and_then(integer));
        let (cursor, namespace) = cursor_in(body);
        Ok(Self {
            ok,
            code: code.unwrap_or_default(),
            cursor,
            namespace,
        })
    }

    /// The command was not run, since the server is not the primary.
    fn is_not_primary(&self) -> bool {
        !self.ok && NOT_PRIMARY.contains(&self.code)
    }

    /// The server does not know the cursor any more: killed, behind its data, or never there.
    pub(super) fn is_cursor_gone(&self) -> bool {
        const GONE: [i64; 6] = [43, 136, 175, 237, 280, 286];
        !self.ok && GONE.contains(&self.code)
    }

    fn is_other_than_thought(&self) -> bool {
        NOT_PRIMARY.contains(&self.code) || CHANGING.contains(&self.code)
    }
}

fn cursor_in(body: &RawDocument) -> (Option<(i64, Range<usize>)>, String) {
    let Some((ElementType::EmbeddedDocument, at)) = document::place(body, "cursor") else {
        return (None, String::new());
    };
    let bytes = body.as_bytes().get(at.clone()).unwrap_or_default();
    let Ok(inner) = document::document(bytes) else {
        return (None, String::new());
    };
    let Some((ElementType::Int64, place)) = document::place(inner, "id") else {
        return (None, String::new());
    };
    let id = inner.get_i64("id").unwrap_or_default();
    let place = at.start + place.start..at.start + place.end;
    let namespace = inner.get_str("ns").unwrap_or_default().to_owned();
    (Some((id, place)), namespace)
}

impl Cluster {
    /// What a command needs of a server.
    fn want(&self, request: &Request<'_>) -> Result<Want, Fault> {
        let command = &request.command;
        if !outgoing::reads(command) {
            return Ok(Want::Writable);
        }
        let preference = match command.read_preference {
            Some(document) => preference(document)?,
            None => self.settings.read_preference.clone(),
        };
        Ok(match preference.mode {
            twinport_config::ReadMode::Primary => Want::Writable,
            _ => Want::Readable(preference),
        })
    }

    /// The server and the connection of a transaction's next command.
    pub(super) async fn board(&self, place: Place) -> Result<(Arc<Server>, Lease), Fault> {
        match place {
            Place::On(server, lease) => Ok((server, lease)),
            // Another mongos can finish it by the recovery token.
            Place::At(server) if server.description().kind != Kind::Unknown => {
                let lease = self.acquire(&server, Class::Prompt).await?;
                Ok((server, lease))
            }
            Place::At(_) | Place::Free => self.reach(&Want::Writable).await,
        }
    }

    /// A server that fits and a connection to it. One that can't be reached is not what it was thought to be, and
    /// another may have taken its place.
    pub(super) async fn reach(&self, want: &Want) -> Result<(Arc<Server>, Lease), Fault> {
        let mut tries = TRIES;
        loop {
            let server = self.topology.select(want).await?;
            tries -= 1;
            match self.acquire(&server, Class::Prompt).await {
                Ok(lease) => return Ok((server, lease)),
                Err(fault) if tries > 0 && fault.code == known::HOST_UNREACHABLE => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// A connection of a server, after those who came before.
    pub(super) async fn acquire(&self, server: &Server, class: Class) -> Result<Lease, Fault> {
        let pool = match class {
            Class::Prompt => &server.pool,
            Class::Patient => &server.patient,
        };
        pool.acquire(&()).await.map_err(|error| match error {
            AcquireError::Timeout(bound) => Fault::overloaded(format_args!(
                "no connection to the upstream became free within {bound:?} (pool.wait_timeout)"
            )),
            AcquireError::Connect(error @ ConnectError::Denied(..)) => {
                Fault::new(known::UNAUTHORIZED, error)
                    .hint("See user, password and authSource in mongo.upstream")
            }
            AcquireError::Connect(error) => {
                self.topology.distrust(server);
                Fault::new(known::HOST_UNREACHABLE, error)
            }
            AcquireError::Closed => Fault::new(
                known::HOST_UNREACHABLE,
                format_args!("{} is not a part of the upstream any more", server.place),
            ),
        })
    }

    /// Sends a request and waits for its answer; none where the client wants none.
    pub(super) async fn exchange(
        &self,
        server: &Server,
        lease: &mut Lease,
        request: &Request<'_>,
        want: &Want,
    ) -> Result<Option<Received>, Fault> {
        let (kind, direct) = (server.description().kind, self.topology.is_direct());
        let added = outgoing::added_preference(&request.command, want, kind, direct);
        let (number, mut room) = (lease.next_number(), Vec::new());
        let parts = outgoing::message(request, number, added.as_ref(), &mut room)?;
        let secret = is_never_compressed(request.command.name);
        let sent = self.send(lease, parts, secret).await;
        if request.is_silent() {
            // The client's next command may go by another connection, and must not overtake this one.
            let settled = match sent {
                Ok(()) => lease.settle(number).await,
                Err(lost) => Err(lost),
            };
            return settled
                .map(|()| None)
                .map_err(|why| self.lost(server, &why));
        }
        let received = match sent {
            Ok(()) => lease.receive(number).await,
            Err(lost) => Err(lost),
        };
        received.map(Some).map_err(|why| self.lost(server, &why))
    }

    /// As [`Cluster::exchange`], for a command that was changed.
    pub(super) async fn exchange_built(
        &self,
        server: &Server,
        lease: &mut Lease,
        body: &RawDocumentBuf,
    ) -> Result<Received, Fault> {
        let (number, mut room) = (lease.next_number(), Vec::new());
        let parts = outgoing::built(body, number, &mut room)?;
        let received = match self.send(lease, parts, false).await {
            Ok(()) => lease.receive(number).await,
            Err(lost) => Err(lost),
        };
        received.map_err(|why| self.lost(server, &why))
    }

    async fn send(&self, lease: &mut Lease, parts: Parts<'_>, secret: bool) -> Result<(), Lost> {
        match compressor(lease, &self.settings).filter(|_| !secret) {
            Some(compressor) => lease.send_compressed(parts, compressor).await?,
            None => lease.send_parts(parts).await?,
        }
        Ok(())
    }

    /// The connection broke: nobody knows whether the command was run.
    fn lost(&self, server: &Server, why: &Lost) -> Fault {
        self.topology.distrust(server);
        Fault {
            unknown: true,
            ..Fault::new(
                known::HOST_UNREACHABLE,
                format_args!("the connection to {} was lost: {why}", server.place),
            )
        }
    }

    /// Learns from an answer what the server is not any more.
    pub(super) fn observe(&self, server: &Server, seen: &Seen) {
        if seen.is_other_than_thought() && !self.topology.is_direct() {
            self.topology.distrust(server);
        }
    }
}

/// Gives the connection back, or keeps it for the cursor, and notes what was opened.
async fn keep(
    context: &mut Context<'_>,
    server: &Arc<Server>,
    lease: Lease,
    received: Received,
    seen: &Seen,
) -> Outcome {
    let opens = matches!(seen.cursor, Some((id, _)) if id != 0);
    if opens && server.description().kind == Kind::Balanced {
        return note(context, server, received, seen, Some(lease));
    }
    lease.release();
    note(context, server, received, seen, None)
}

/// Notes the cursor that an answer opens, and gives it a number that no other has.
fn note(
    context: &mut Context<'_>,
    server: &Arc<Server>,
    mut received: Received,
    seen: &Seen,
    held: Option<Lease>,
) -> Outcome {
    let Some((id, place)) = seen.cursor.clone().filter(|(id, _)| *id != 0) else {
        return Ok(Reply::Upstream(received));
    };
    let command = &context.request.command;
    let patient = command.body.get("noCursorTimeout");
    let cursor = Cursor {
        id,
        identity: context.session.known(command.name)?.clone(),
        session: command.session().map_err(|error| Fault::protocol(&error))?,
        transaction: command.txn_number.filter(|_| command.in_transaction()),
        client: context.session.number,
        database: context.request.database.to_owned(),
        namespace: seen.namespace.clone(),
        standing: Standing::Upstream(Remote {
            server: Arc::clone(server),
            id,
            held,
            awaits: outgoing::awaits(command),
            lsid: command.lsid.map(ToOwned::to_owned),
        }),
        patient: matches!(patient, Ok(Some(value)) if truth(value)),
    };
    let wing = &context.session.wing;
    let most = wing.current().mongo.max_cursors;
    match wing.cursors.keep_renamed(cursor, most) {
        Ok(ours) if ours == id => {}
        Ok(ours) => received.write(&place, &ours.to_le_bytes()),
        Err((cursor, fault)) => {
            wing.dismiss([*cursor]);
            return Err(fault);
        }
    }
    Ok(Reply::Upstream(received))
}

/// Whether an answer's document says that all is well.
pub(super) fn is_ok(body: &RawDocument) -> bool {
    matches!(body.get("ok"), Ok(Some(value)) if truth(value))
}

/// Copies a command with another value for one of its fields.
pub(super) fn with_field(
    body: &RawDocument,
    field: &str,
    value: impl Into<twinport_wire::mongo::bson::RawBson>,
) -> Result<RawDocumentBuf, Fault> {
    let mut value = Some(value.into());
    let mut out = RawDocumentBuf::new();
    for element in body {
        let (key, old): (_, RawBsonRef<'_>) =
            element.map_err(|_| Fault::new(known::FAILED_TO_PARSE, "invalid BSON"))?;
        match value.take_if(|_| key.as_str() == field) {
            Some(new) => out.append(key, new),
            None => out.append(key, old),
        }
    }
    Ok(out)
}
