//! `getMore` and `killCursors`, where the cursors are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use twinport_config::HostPort;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::document::integer;

use super::connection::{Arrived, Begun, Received};
use super::description::Kind;
use super::doomed::Kill;
use super::passing::{Page, Passing};
use super::pins::{Part, Place};
use super::relay::{self, Class, with_field};
use super::seen::Seen;
use super::select::Want;
use super::server::{Lease, Server};
use super::{Cluster, Remote};
use crate::fault::{Fault, known};
use crate::handles::{Cursor, Killed, Standing};
use crate::reply::Reply;
use crate::request::cursor::{check, killed, listed};
use crate::request::{Context, Outcome, Request};
use crate::transaction;
use crate::wing::Wing;

pub(super) async fn get_more(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let command = &context.request.command;
    let id = command.cursor().map_err(|error| Fault::protocol(&error))?;
    let wing = Arc::clone(&context.session.wing);
    let user = context.session.known(command.name)?.user.clone();
    let mut borrowed = wing.cursors.borrow(id, &user)?;
    let number = command.txn_number.filter(|_| command.in_transaction());
    if let Err(fault) = check(context.request, number, &mut borrowed) {
        borrowed.lay_back();
        return Err(fault);
    }
    let killed = borrowed.killed();
    let Some(Standing::Upstream(remote)) = borrowed.cursor().map(|cursor| &mut cursor.standing)
    else {
        return Err(Fault::new(known::CURSOR_NOT_FOUND, "cursor is gone"));
    };
    let page = tokio::select! {
        biased;
        page = next_page(context, cluster, remote, id) => page,
        // Dropped, the request is stopped by the end of its connection; the cursor is closed soon.
        () = killed.notified() => {
            borrowed.lay_back();
            return Err(Fault::new(
                known::CURSOR_KILLED,
                format_args!("cursor id {id} was killed while a getMore waited"),
            ));
        }
    };
    match page {
        Ok(Next::Open(received)) => {
            borrowed.lay_back();
            Ok(Reply::Upstream(received))
        }
        Ok(Next::Last(received)) => {
            if let Some(cursor) = borrowed.end() {
                release(*cursor);
            }
            Ok(Reply::Upstream(received))
        }
        Ok(Next::Begun(lease, begun)) => {
            let server = Arc::clone(&remote.server);
            Ok(Reply::Passing(Box::new(Passing {
                wing,
                cluster: Arc::clone(cluster),
                server,
                lease: Some(lease),
                begun,
                page: Page::Next(borrowed, id),
            })))
        }
        Err(fault) => {
            // Where it can be reached again it may go on, unless its connection is what was lost.
            if matches!(borrowed.cursor(), Some(cursor) if is_held(cursor)) {
                borrowed.end();
            } else {
                borrowed.lay_back();
            }
            Err(fault)
        }
    }
}

/// A page.
enum Next {
    /// There are more.
    Open(Received),
    Last(Received),
    /// It goes on while it comes.
    Begun(Lease, Begun),
}

/// Asks for the next page.
async fn next_page(
    context: &mut Context<'_>,
    cluster: &Arc<Cluster>,
    remote: &mut Remote,
    ours: i64,
) -> Result<Next, Fault> {
    let request = context.request;
    let server = Arc::clone(&remote.server);
    let pin = match request.command.in_transaction() {
        true => Some((
            context.session.owner(&request.command)?,
            transaction::number(&request.command)?,
        )),
        false => None,
    };
    let client = context.session.number;
    // Meanwhile the transaction is not idle.
    let _running = pin.as_ref().map(|(owner, number)| {
        let mut running = cluster.pins.unanswered(owner, *number);
        running.is_over = false;
        running
    });
    let mut lease = match (&pin, remote.held.take()) {
        (_, Some(lease)) => lease,
        (Some((owner, number)), None) if server.description().kind == Kind::Balanced => {
            let place = cluster.pins.enter(owner, *number, Part::Further, client)?;
            cluster.board(place).await?.1
        }
        (_, None) if remote.awaits => cluster.acquire(&server, Class::Patient).await?,
        (_, None) => cluster.acquire(&server, Class::Prompt).await?,
    };
    let renamed = remote.id != ours;
    let mut received = match ask(cluster, &server, &mut lease, request, remote, renamed).await? {
        Arrived::Begun(begun) => return Ok(Next::Begun(lease, begun)),
        Arrived::Whole(received) => received,
    };
    let seen = Seen::read(&received)?;
    cluster.observe(&server, &seen);
    let open = seen.is_open();
    match &pin {
        Some((owner, number)) if server.description().kind == Kind::Balanced => {
            cluster.pins.stay(owner, *number, Place::On(server, lease));
        }
        None if server.description().kind == Kind::Balanced && open => remote.held = Some(lease),
        _ => lease.release(),
    }
    if renamed && let Some((id, place)) = seen.cursor.filter(|(id, _)| *id != 0) {
        debug_assert_eq!(id, remote.id);
        received.write(&place, &ours.to_le_bytes());
    }
    Ok(match open {
        true => Next::Open(received),
        false => Next::Last(received),
    })
}

async fn ask(
    cluster: &Cluster,
    server: &Server,
    lease: &mut Lease,
    request: &Request<'_>,
    remote: &Remote,
    renamed: bool,
) -> Result<Arrived, Fault> {
    if renamed {
        let body = with_field(request.command.body, "getMore", remote.id)?;
        let whole = relay::whole(request, server.description().kind);
        return cluster.converse(server, lease, &body, whole).await;
    }
    let received = cluster.exchange(server, lease, request, &Want::Writable);
    let silent = || Fault::new(known::INTERNAL_ERROR, "a getMore that wants no answer");
    received.await?.ok_or_else(silent)
}

fn is_held(cursor: &Cursor) -> bool {
    let Standing::Upstream(remote) = &cursor.standing else {
        return true;
    };
    remote.server.description().kind == Kind::Balanced && cursor.transaction.is_none()
}

/// Gives back the connection of a cursor that is over.
fn release(cursor: Cursor) {
    if let Standing::Upstream(Remote {
        held: Some(lease), ..
    }) = cursor.standing
    {
        lease.release();
    }
}

/// Who asks for cursors to be killed waits no longer for a connection: what is off the list here is killed when one
/// is free.
const PATIENCE: Duration = Duration::from_secs(1);

/// A longer command, in bytes, is not kept as it came until there is a connection.
const LARGEST: usize = 16 * 1024;

pub(super) async fn kill(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let request = context.request;
    let command = &request.command;
    let user = context.session.known(command.name)?.user.clone();
    let wing = Arc::clone(&context.session.wing);
    let (mut gone, mut unknown) = (RawArrayBuf::new(), RawArrayBuf::new());
    let mut by_server: BTreeMap<HostPort, Vec<Cursor>> = BTreeMap::new();
    for id in listed(command)? {
        match wing.cursors.kill(id, &user) {
            Killed::Now(cursor) => match &cursor.standing {
                Standing::Upstream(remote) => {
                    let place = remote.server.place.clone();
                    by_server.entry(place).or_default().push(*cursor);
                }
                Standing::Continued { .. } | Standing::Lost(_) => unknown.push(id),
            },
            Killed::Soon => gone.push(id),
            Killed::NotFound => unknown.push(id),
        }
    }
    let most = wing.current().mongo.max_cursors;
    let mut asked = Vec::new();
    for (_, cursors) in by_server {
        asked.extend(kill_at(cluster, request, cursors, most)?);
    }
    let patience = request.bound().unwrap_or(PATIENCE).min(PATIENCE);
    let deadline = Instant::now() + patience;
    for (ids, answer) in asked {
        let died = match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Some(died(&answer)?),
            // They will be.
            Ok(Err(_)) | Err(_) => None,
        };
        for (ours, theirs) in ids {
            if died.as_ref().is_none_or(|died| died.contains(&theirs)) {
                gone.push(ours);
            } else {
                unknown.push(ours);
            }
        }
    }
    Ok(killed(gone, unknown))
}

/// Cursors by their numbers here and there, and what their server will say.
type Asked = (Vec<(i64, i64)>, oneshot::Receiver<Received>);

/// Has cursors of one server killed.
fn kill_at(
    cluster: &Arc<Cluster>,
    request: &Request<'_>,
    mut cursors: Vec<Cursor>,
    most: usize,
) -> Result<Option<Asked>, Fault> {
    let mut ids = Vec::new();
    let mut list = RawArrayBuf::new();
    let mut first: Option<(&str, &Remote)> = None;
    let mut held = None;
    for cursor in &mut cursors {
        if let Standing::Upstream(remote) = &mut cursor.standing {
            ids.push((cursor.id, remote.id));
            list.push(remote.id);
            // Behind a balancer every cursor has its own connection, which ends with it.
            let lease = remote.held.take();
            held = held.or(lease);
            first = first.or(Some((&cursor.namespace, remote)));
        }
    }
    let Some((namespace, remote)) = first else {
        return Ok(None);
    };
    let body = request.command.body;
    let command = if body.as_bytes().len() > LARGEST {
        bare(namespace, remote, list)
    } else {
        Some(with_field(body, "cursors", list)?)
    };
    let Some(command) = command else {
        return Ok(None);
    };
    let (asker, answer) = oneshot::channel();
    let kill = Kill {
        command,
        held,
        asker: Some(asker),
    };
    cluster.doom(&remote.server, kill, most);
    Ok(Some((ids, answer)))
}

/// The cursors that a server has killed, by its numbers.
fn died(answer: &Received) -> Result<Vec<i64>, Fault> {
    let answer = answer.body().map_err(|error| Fault::protocol(&error))?;
    let killed = answer.get_array("cursorsKilled").into_iter();
    Ok(killed.flatten().flatten().filter_map(integer).collect())
}

/// Kills a cursor that nobody wants any more.
pub(crate) fn dismiss(wing: &Arc<Wing>, namespace: &str, mut remote: Remote) {
    let list = RawArrayBuf::from_iter([remote.id]);
    let Some(command) = bare(namespace, &remote, list) else {
        return;
    };
    let kill = Kill {
        command,
        held: remote.held.take(),
        asker: None,
    };
    let most = wing.current().mongo.max_cursors;
    remote.cluster.doom(&remote.server, kill, most);
}

/// What kills cursors on a server, and no more.
fn bare(namespace: &str, remote: &Remote, list: RawArrayBuf) -> Option<RawDocumentBuf> {
    let (database, collection) = namespace.split_once('.')?;
    let mut command = rawdoc! { "killCursors": collection, "cursors": list };
    if let Some(lsid) = &remote.lsid {
        command.append(cstr!("lsid"), lsid.clone());
    }
    command.append(cstr!("$db"), database);
    Some(command)
}
