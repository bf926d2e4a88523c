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

/// `endSessions` and `killSessions`: closes what the sessions have open; the second ends also what runs for them.
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
    let interrupts = command.name == "killSessions";
    for each in list {
        if let Some(session) = each.ok().and_then(id) {
            end_one(context.session, &(user.clone(), session), interrupts);
        }
    }
    Ok(Reply::ok())
}

fn end_one(asker: &Session, owner: &Owner, interrupts: bool) {
    let wing = &asker.wing;
    wing.transactions.end(owner);
    if let Some(cluster) = wing.cluster() {
        cluster.forget(owner);
    }
    wing.dismiss(wing.cursors.of_session(owner));
    if interrupts {
        wing.operations
            .interrupt(asker.number, |meant| meant == owner);
    }
}

/// Ends all sessions of a user, and what runs for them.
fn end_users(asker: &Session, user: &str) {
    let wing = &asker.wing;
    wing.transactions.end_all(user);
    wing.dismiss(wing.cursors.of_user(user));
    wing.operations
        .interrupt(asker.number, |(meant, _)| **meant == *user);
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
        end_users(context.session, &user);
    }
    Ok(Reply::ok())
}

/// `killAllSessionsByPattern`: as [`end_all`], by sessions or users.
pub(super) async fn end_by_pattern(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let user = context.session.known(command.name)?.user.clone();
    let RawBsonRef::Array(patterns) = command.value else {
        return Err(Fault::field(command.name, command.name, "must be an array"));
    };
    let mut meant = Vec::new();
    for pattern in patterns {
        let pattern = pattern
            .ok()
            .and_then(|pattern| Pattern::read(pattern, &user));
        meant.push(pattern.ok_or_else(|| {
            Fault::new(
                known::BAD_VALUE,
                "a pattern of sessions must be one of { lsid: { id: <UUID> } } and { users: [{ user, db }] }",
            )
        })?);
    }
    let asker = &*context.session;
    if meant.is_empty() {
        end_users(asker, &user);
    }
    for pattern in meant {
        match pattern {
            Pattern::Session(session) => end_one(asker, &(user.clone(), session), true),
            Pattern::Own => end_users(asker, &user),
            Pattern::Others => {}
        }
    }
    Ok(Reply::ok())
}

/// Whose sessions a `killAllSessionsByPattern` is about.
enum Pattern {
    Session([u8; 16]),
    /// All of the user who asks.
    Own,
    /// Those of others alone, which are for them to end.
    Others,
}

impl Pattern {
    fn read(pattern: RawBsonRef<'_>, user: &str) -> Option<Self> {
        let mut fields = pattern.as_document()?.into_iter();
        let (key, value) = fields.next()?.ok()?;
        if fields.next().is_some() {
            return None;
        }
        match key.as_str() {
            "lsid" => id(value).map(Self::Session),
            "users" => {
                let mut names = value.as_array()?.into_iter().flatten().map(|each| {
                    let each = each.as_document()?;
                    each.get_str("user").ok()
                });
                Some(match names.any(|name| name == Some(user)) {
                    true => Self::Own,
                    false => Self::Others,
                })
            }
            _ => None,
        }
    }
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
