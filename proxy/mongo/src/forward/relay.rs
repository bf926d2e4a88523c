//! A request's way to a server and back.

use std::sync::Arc;

use twinport_core::pool::AcquireError;
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::compressed::is_never_compressed;
use twinport_wire::mongo::document::truth;

use super::connection::{Arrived, Begun, Lost, Parts, Received};
use super::description::Kind;
use super::masked::masked;
use super::passing::{Page, Passing};
use super::pins::{Part, Place};
use super::seen::Seen;
use super::select::{Want, preference};
use super::server::{ConnectError, Lease, Server, compressor};
use super::{Cluster, Remote, cursor};
use super::{outgoing, owners};
use crate::fault::{Fault, RETRYABLE_WRITE, TRANSIENT_TRANSACTION, UNKNOWN_COMMIT, known};
use crate::handles::{Cursor, Standing};
use crate::reply::Reply;
use crate::request::{Context, Outcome, Request, in_time};
use crate::stream::WHOLE;
use crate::transaction::{self, Owner};

/// How often a command that was surely not run is sent to the next primary.
const TRIES: usize = 3;

/// Forwards a command, and keeps what its answer opens.
pub(crate) async fn relay(context: &mut Context<'_>) -> Outcome {
    let Some(cluster) = context.session.wing.cluster() else {
        return Err(Fault::new(known::INTERNAL_ERROR, "no upstream of MongoDB"));
    };
    let request = context.request;
    let user = &context.session.known(request.command.name)?.user;
    let session = request.command.session();
    if let Some(session) = session.map_err(|error| Fault::protocol(&error))? {
        cluster.owners.claim(user, session)?;
    }
    let outcome = match request.command.name {
        "getMore" => cursor::get_more(context, &cluster).await,
        "killCursors" => cursor::kill(context, &cluster).await,
        "endSessions" | "killSessions" => owners::end(context, &cluster).await,
        "killAllSessions" => owners::end_all(context, &cluster).await,
        "killAllSessionsByPattern" => Err(owners::refused()),
        _ if request.command.in_transaction() => within(context, &cluster).await,
        _ => free(context, &cluster).await,
    };
    match outcome {
        Ok(Reply::Upstream(received)) => Ok(masked(received)),
        outcome => outcome,
    }
}

/// A command outside of transactions.
pub(super) async fn free(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let request = context.request;
    if let Some(number) = request.command.txn_number {
        let owner = context.session.owner(&request.command);
        // What is odd is for the server to judge.
        if let Ok(owner) = owner {
            cluster.pins.overtake(&owner, number);
        }
    }
    let want = cluster.want(request)?;
    // What has gone on while it came can't be sent again.
    let tries = if request.begun.is_some() { 1 } else { TRIES };
    for last in (1..=tries).map(|attempt| attempt == tries) {
        let (server, mut lease) = in_time(request.bound(), cluster.reach(&want)).await?;
        let received = cluster
            .exchange(&server, &mut lease, request, &want)
            .await?;
        let received = match received {
            None => {
                lease.release();
                return Ok(Reply::ok());
            }
            Some(Arrived::Begun(begun)) => return pass(context, cluster, server, lease, begun),
            Some(Arrived::Whole(received)) => received,
        };
        let seen = Seen::read(&received)?;
        cluster.observe(&server, &seen);
        if seen.is_not_primary()
            && outgoing::may_repeat(request, seen.code)
            && !last
            && !cluster.topology.is_direct()
        {
            lease.release();
            continue;
        }
        return keep(context, (cluster, &server), lease, received, &seen);
    }
    Err(Fault::new(known::INTERNAL_ERROR, "no try was made"))
}

/// A command inside a transaction, or one that ends it.
async fn within(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let command = &context.request.command;
    let owner = context.session.owner(command)?;
    let number = transaction::number(command)?;
    let part = match command.name {
        "commitTransaction" | "abortTransaction" => Part::Last,
        _ if command.start_transaction == Some(true) => Part::First,
        _ => Part::Further,
    };
    let client = context.session.number;
    let place = cluster.pins.enter(&owner, number, part, client)?;
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
    let mut unanswered = cluster.pins.unanswered(owner, number);
    // What finds no connection has not begun; what has goes on.
    unanswered.is_over = request.command.start_transaction == Some(true);
    let (server, mut lease) = in_time(request.bound(), cluster.board(place)).await?;
    let want = Want::Writable;
    // Whose connection is gone is told by the place.
    unanswered.is_over = server.description().kind != Kind::Balanced;
    let received = cluster.exchange(&server, &mut lease, request, &want);
    let received = received.await?;
    unanswered.is_over = false;
    let received = match received {
        None => {
            lease.release();
            return Ok(Reply::ok());
        }
        Some(Arrived::Begun(begun)) => {
            if server.description().kind == Kind::Mongos {
                let place = Place::At(Arc::clone(&server));
                cluster.pins.stay(owner, number, place);
            }
            return pass(context, cluster, server, lease, begun);
        }
        Some(Arrived::Whole(received)) => received,
    };
    let seen = Seen::read(&received)?;
    cluster.observe(&server, &seen);
    let ends = matches!(
        request.command.name,
        "commitTransaction" | "abortTransaction"
    );
    let over = seen.ends_transaction();
    if ends && seen.ok || over {
        cluster.pins.end(owner, number);
    }
    match server.description().kind {
        Kind::Balanced if !ends && !over => {
            let reply = note(context, (cluster, &server), received, &seen, None);
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
            note(context, (cluster, &server), received, &seen, None)
        }
    }
}

/// What failed on the way, in a transaction; whom no connection was free for, too: a driver gives up a transaction
/// that nobody tells it to try again.
fn labelled(fault: Fault, command: &str) -> Fault {
    let lost = matches!(
        fault.code,
        known::HOST_UNREACHABLE | known::FAILED_TO_SATISFY_READ_PREFERENCE | known::OVERLOAD
    );
    let late = fault.code == known::MAX_TIME_MS_EXPIRED;
    if !lost && !late {
        return fault;
    }
    match command {
        "commitTransaction" if late => fault.label(UNKNOWN_COMMIT),
        _ if late => fault,
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
            Place::At(_) | Place::Free | Place::Taken => self.reach(&Want::Writable).await,
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

    /// Sends a request and waits for its answer, or the beginning of one that may go on while it comes; none where
    /// the client wants none.
    pub(super) async fn exchange(
        &self,
        server: &Server,
        lease: &mut Lease,
        request: &Request<'_>,
        want: &Want,
    ) -> Result<Option<Arrived>, Fault> {
        let (kind, direct) = (server.description().kind, self.topology.is_direct());
        let added = outgoing::added_preference(&request.command, want, kind, direct);
        let (number, mut room) = (lease.next_number(), Vec::new());
        let parts = match &request.begun {
            Some(begun) => outgoing::beginning(begun, number, added.as_ref(), &mut room),
            None => outgoing::message(request, number, added.as_ref(), &mut room)?,
        };
        let secret = is_never_compressed(request.command.name);
        let exchanged = async {
            match &request.begun {
                Some(begun) => lease.send_begun(parts, &begun.rest).await?,
                None => self.send(lease, parts, secret).await?,
            }
            if request.is_silent() {
                // The client's next command may go by another connection, and must not overtake this one.
                lease.settle(number).await?;
                return Ok(None);
            }
            lease.arrive(number, whole(request, kind)).await.map(Some)
        };
        let exchanged = server.unless_silent(exchanged).await;
        exchanged.map_err(|why| self.lost(server, &why))
    }

    /// As [`Cluster::exchange`], for a command that was changed; the answer comes whole.
    pub(super) async fn exchange_built(
        &self,
        server: &Server,
        lease: &mut Lease,
        body: &RawDocumentBuf,
    ) -> Result<Received, Fault> {
        let arrived = self.converse(server, lease, body, usize::MAX).await?;
        arrived.whole().map_err(|why| self.lost(server, &why))
    }

    /// As [`Cluster::exchange_built`]; of an answer of more than `whole` bytes only the beginning.
    pub(super) async fn converse(
        &self,
        server: &Server,
        lease: &mut Lease,
        body: &RawDocumentBuf,
        whole: usize,
    ) -> Result<Arrived, Fault> {
        let (number, mut room) = (lease.next_number(), Vec::new());
        let parts = outgoing::built(body, number, &mut room)?;
        let arrived = async {
            self.send(lease, parts, false).await?;
            lease.arrive(number, whole).await
        };
        let arrived = server.unless_silent(arrived).await;
        arrived.map_err(|why| self.lost(server, &why))
    }

    async fn send(&self, lease: &mut Lease, parts: Parts<'_>, secret: bool) -> Result<(), Lost> {
        match compressor(lease, &self.settings).filter(|_| !secret) {
            Some(compressor) => lease.send_compressed(parts, compressor).await?,
            None => lease.send_parts(parts).await?,
        }
        Ok(())
    }

    /// The connection broke: nobody knows whether the command was run.
    pub(super) fn lost(&self, server: &Server, why: &Lost) -> Fault {
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

/// Where an answer comes from.
type At<'a> = (&'a Arc<Cluster>, &'a Arc<Server>);

/// Gives the connection back, or keeps it for the cursor, and notes what was opened.
fn keep(
    context: &mut Context<'_>,
    at: At<'_>,
    lease: Lease,
    received: Received,
    seen: &Seen,
) -> Outcome {
    let opens = matches!(seen.cursor, Some((id, _)) if id != 0);
    if opens && at.1.description().kind == Kind::Balanced {
        return note(context, at, received, seen, Some(lease));
    }
    lease.release();
    note(context, at, received, seen, None)
}

/// Notes the cursor that an answer opens, and gives it a number that no other has.
fn note(
    context: &mut Context<'_>,
    at: At<'_>,
    mut received: Received,
    seen: &Seen,
    held: Option<Lease>,
) -> Outcome {
    let Some((id, place)) = seen.cursor.clone().filter(|(id, _)| *id != 0) else {
        return Ok(Reply::Upstream(received));
    };
    let mut cursor = cursor(context, at, held)?;
    cursor.id = context.session.wing.cursors.number_for(id);
    cursor.namespace.clone_from(&seen.namespace);
    if let Standing::Upstream(remote) = &mut cursor.standing {
        remote.id = id;
    }
    let (wing, ours) = (&context.session.wing, cursor.id);
    let most = wing.current().mongo.max_cursors;
    if let Err((cursor, fault)) = wing.cursors.keep(cursor, most) {
        wing.dismiss([*cursor]);
        return Err(fault);
    }
    if ours != id {
        received.write(&place, &ours.to_le_bytes());
    }
    Ok(Reply::Upstream(received))
}

/// The cursor that a command may open. Its numbers are not known yet, and it may read something else than what the
/// command names.
fn cursor(
    context: &Context<'_>,
    (cluster, server): At<'_>,
    held: Option<Lease>,
) -> Result<Cursor, Fault> {
    let command = &context.request.command;
    let patient = command.body.get("noCursorTimeout");
    let (database, collection) = (context.request.database, command.collection());
    Ok(Cursor {
        id: 0,
        identity: context.session.known(command.name)?.clone(),
        session: command.session().map_err(|error| Fault::protocol(&error))?,
        transaction: command.txn_number.filter(|_| command.in_transaction()),
        client: context.session.number,
        database: database.to_owned(),
        namespace: format!("{database}.{}", collection.unwrap_or_default()),
        standing: Standing::Upstream(Remote {
            cluster: Arc::clone(cluster),
            server: Arc::clone(server),
            id: 0,
            held,
            awaits: outgoing::awaits(command),
            lsid: command.lsid.map(ToOwned::to_owned),
        }),
        patient: matches!(patient, Ok(Some(value)) if truth(value)),
        filed: false,
    })
}

/// Passes on an answer that has begun.
fn pass(
    context: &Context<'_>,
    cluster: &Arc<Cluster>,
    server: Arc<Server>,
    lease: Lease,
    begun: Begun,
) -> Outcome {
    let page = Page::First(Box::new(cursor(context, (cluster, &server), None)?));
    Ok(Reply::Passing(Box::new(Passing {
        wing: Arc::clone(&context.session.wing),
        cluster: Arc::clone(cluster),
        server,
        lease: Some(lease),
        begun,
        page,
    })))
}

/// The most bytes of an answer that is held whole before it goes on. Behind a balancer what it opens keeps its
/// connection, and so it is looked into first.
pub(super) fn whole(request: &Request<'_>, kind: Kind) -> usize {
    match kind {
        Kind::Balanced => usize::MAX,
        _ if request.passes => WHOLE,
        _ => usize::MAX,
    }
}

/// Whether a command of this name may go on before it is all there: nothing but its beginning decides its way.
pub(crate) fn passes(command: &str) -> bool {
    !matches!(
        command,
        "getMore" | "killCursors" | "endSessions" | "killSessions" | "killAllSessions" | "explain"
    )
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
