//! Sessions and the ends of transactions.

use twinport_wire::mongo::Command;
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{RawBinaryRef, RawBsonRef, rawdoc};

use super::{Context, Outcome, in_time};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::session::Session;
use crate::transaction::{self, Owner};

pub(super) async fn start(_: &mut Context<'_>) -> Outcome {
    let mut id: [u8; 16] = rand::random();
    // The bits that make it a random UUID.
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut id;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let id = RawBinaryRef {
        subtype: BinarySubtype::Uuid,
        bytes: &id,
    };
    Ok(Reply::Document(rawdoc! {
        "id": { "id": RawBsonRef::Binary(id) },
        "timeoutMinutes": 30,
        "ok": 1.0,
    }))
}

pub(super) async fn refresh(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::ok())
}

/// `endSessions` and `killSessions`: closes what the sessions have open.
pub(crate) async fn end(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let Some(identity) = context.session.identity() else {
        // A driver says goodbye also where it never logged in.
        return Ok(Reply::ok());
    };
    let RawBsonRef::Array(list) = command.value else {
        return Err(Fault::field(command.name, command.name, "must be an array"));
    };
    let user = identity.user.clone();
    let wing = std::sync::Arc::clone(&context.session.wing);
    for each in list {
        if let Some(session) = each.ok().and_then(id) {
            let owner = (user.clone(), session);
            wing.transactions.end(&owner);
            if let Some(cluster) = wing.cluster() {
                cluster.forget(&owner);
            }
            wing.dismiss(wing.cursors.of_session(&owner));
        }
    }
    Ok(Reply::ok())
}

/// The identifier of a session as commands list it.
pub(crate) fn id(listed: RawBsonRef<'_>) -> Option<[u8; 16]> {
    let id = listed.as_document()?.get_binary("id").ok()?;
    id.bytes.try_into().ok()
}

/// Whether a `killAllSessions` is about this user.
pub(crate) fn names(user: &str, command: &Command<'_>) -> Result<bool, Fault> {
    let RawBsonRef::Array(list) = command.value else {
        return Err(Fault::field(command.name, command.name, "must be an array"));
    };
    let mut names = list.into_iter().flatten().filter_map(|each| {
        let each = each.as_document()?;
        each.get_str("user").ok()
    });
    Ok(list.is_empty() || names.any(|name| name == user))
}

/// `killAllSessions`: closes what the user has open; who is nobody else can't close others'.
pub(crate) async fn end_all(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let user = context.session.known(command.name)?.user.clone();
    if names(&user, command)? {
        let wing = std::sync::Arc::clone(&context.session.wing);
        wing.transactions.end_all(&user);
        wing.dismiss(wing.cursors.of_user(&user));
    }
    Ok(Reply::ok())
}

pub(super) async fn commit(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let owner = context.session.owner(command)?;
    let number = outside(transaction::number(command), command.name)?;
    let wing = &context.session.wing;
    let lease = in_time(context.bound(), context.session.lease(command.name));
    let token = transaction::recovery::token(command.body);
    let committed = wing
        .transactions
        .commit(&owner, number, token, &wing.ledger, lease)
        .await;
    close_cursors(context, &owner, number);
    committed.map(|()| Reply::ok())
}

pub(super) async fn abort(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let owner = context.session.owner(command)?;
    let number = outside(transaction::number(command), command.name)?;
    let transactions = &context.session.wing.transactions;
    let aborted = transactions.abort(&owner, number).await;
    close_cursors(context, &owner, number);
    aborted.map(|()| Reply::ok())
}

/// Closes what a transaction leaves open.
fn close_cursors(context: &Context<'_>, owner: &Owner, number: i64) {
    let wing = &context.session.wing;
    wing.dismiss(wing.cursors.of_transaction(owner, number));
}

fn outside(number: Result<i64, Fault>, name: &str) -> Result<i64, Fault> {
    number.map_err(|_| {
        Fault::new(
            known::INVALID_OPTIONS,
            format_args!("{name} must be run within a transaction"),
        )
    })
}

impl Session {
    /// Keeps the sessions alive that a command uses.
    pub(super) fn note_use(&self, command: &Command<'_>) {
        let Some(identity) = self.identity() else {
            return;
        };
        let cursors = &self.wing.cursors;
        if let Ok(Some(session)) = command.session() {
            cursors.used(&identity.user, session);
        }
        if let ("refreshSessions", RawBsonRef::Array(list)) = (command.name, command.value) {
            for session in list.into_iter().flatten().filter_map(id) {
                cursors.used(&identity.user, session);
            }
        }
    }

    /// The transaction that a command goes on with, which may hold a connection already.
    pub(crate) fn transaction(&self, command: &Command<'_>) -> Result<Option<(Owner, i64)>, Fault> {
        if !command.in_transaction() || command.start_transaction == Some(true) {
            return Ok(None);
        }
        let owner = self.owner(command);
        let part = owner.and_then(|owner| Ok((owner, transaction::number(command)?)));
        if self.wing.cluster().is_some() {
            // What is odd is for the server to judge.
            return Ok(part.ok());
        }
        part.map(Some)
    }
}
