//! `getMore` and `killCursors`, where the cursors are.

use std::collections::BTreeMap;
use std::sync::Arc;

use twinport_config::HostPort;
use twinport_wire::mongo::bson::raw::RawArrayBuf;
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::document::integer;

use super::connection::{Arrived, Begun, Received};
use super::description::Kind;
use super::passing::{Page, Passing};
use super::pins::{Part, Place};
use super::relay::{self, Class, is_ok, with_field};
use super::seen::Seen;
use super::select::Want;
use super::server::{Lease, Server};
use super::{Cluster, Remote};
use crate::fault::{Fault, known};
use crate::handles::{Cursor, Killed, Standing};
use crate::reply::Reply;
use crate::request::cursor::{check, killed};
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
    match pin {
        Some((owner, number)) if server.description().kind == Kind::Balanced => {
            cluster.pins.stay(&owner, number, Place::On(server, lease));
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

pub(super) async fn kill(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let request = context.request;
    let command = &request.command;
    let user = context.session.known(command.name)?.user.clone();
    let wing = Arc::clone(&context.session.wing);
    let (mut gone, mut unknown) = (RawArrayBuf::new(), RawArrayBuf::new());
    let mut by_server: BTreeMap<HostPort, Vec<Cursor>> = BTreeMap::new();
    for id in command.cursors().map_err(|error| Fault::protocol(&error))? {
        let id = id.map_err(|error| Fault::protocol(&error))?;
        match wing.cursors.kill(id, &user) {
            Killed::Now(cursor) => match &cursor.standing {
                Standing::Upstream(remote) => {
                    let place = remote.server.place.clone();
                    by_server.entry(place).or_default().push(*cursor);
                }
                Standing::Continued { .. } => unknown.push(id),
            },
            Killed::Soon => gone.push(id),
            Killed::NotFound => unknown.push(id),
        }
    }
    for (_, cursors) in by_server {
        for (id, died) in kill_at(cluster, request, cursors).await? {
            if died {
                gone.push(id);
            } else {
                unknown.push(id);
            }
        }
    }
    Ok(killed(gone, unknown))
}

/// Kills cursors of one server; gives each with whether it was there.
async fn kill_at(
    cluster: &Arc<Cluster>,
    request: &Request<'_>,
    mut cursors: Vec<Cursor>,
) -> Result<Vec<(i64, bool)>, Fault> {
    let mut ids = Vec::new();
    let mut list = RawArrayBuf::new();
    let mut way = None;
    for cursor in &mut cursors {
        if let Standing::Upstream(remote) = &mut cursor.standing {
            ids.push((cursor.id, remote.id));
            list.push(remote.id);
            let held = remote.held.take();
            let server = Arc::clone(&remote.server);
            match (&mut way, held) {
                (None, held) => way = Some((server, held)),
                // Behind a balancer every cursor has its own connection, which ends with it.
                (Some(_), held) => drop(held),
            }
        }
    }
    let Some((server, held)) = way else {
        return Ok(Vec::new());
    };
    let mut lease = match held {
        Some(lease) => lease,
        None => cluster.acquire(&server, Class::Prompt).await?,
    };
    let body = with_field(request.command.body, "cursors", list)?;
    let received = cluster.exchange_built(&server, &mut lease, &body).await?;
    lease.release();
    let answer = received.body().map_err(|error| Fault::protocol(&error))?;
    let died: Vec<i64> = answer
        .get_array("cursorsKilled")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(integer)
        .collect();
    let each = ids.into_iter();
    Ok(each
        .map(|(ours, theirs)| (ours, died.contains(&theirs)))
        .collect())
}

/// Kills a cursor that nobody wants any more, in a task of its own.
pub(crate) fn dismiss(wing: &Arc<Wing>, namespace: &str, remote: Remote) {
    let (Some(cluster), Some((database, collection))) = (wing.cluster(), namespace.split_once('.'))
    else {
        return;
    };
    let mut command = rawdoc! { "killCursors": collection, "cursors": [remote.id] };
    if let Some(lsid) = &remote.lsid {
        command.append(twinport_wire::mongo::bson::raw::cstr!("lsid"), lsid.clone());
    }
    command.append(twinport_wire::mongo::bson::raw::cstr!("$db"), database);
    tokio::spawn(async move {
        let server = remote.server;
        let killed = async {
            let mut lease = match remote.held {
                Some(lease) => lease,
                None => cluster.acquire(&server, Class::Prompt).await?,
            };
            let answer = cluster
                .exchange_built(&server, &mut lease, &command)
                .await?;
            lease.release();
            let body = answer.body().map_err(|error| Fault::protocol(&error))?;
            Ok::<_, Fault>(is_ok(body))
        };
        if !matches!(killed.await, Ok(true)) {
            tracing::debug!(server = %server.place, "a cursor stays until the upstream closes it");
        }
    });
}
