//! Whose the sessions are. Upstream all clients are one user, so nobody but us keeps them apart.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{RawBinaryRef, RawBsonRef, rawdoc};

use super::relay::with_field;
use super::select::Want;
use super::{Cluster, relay};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::request::{Context, Outcome, in_time, sessions};

/// So long a session lives that nobody uses.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Sessions that are remembered.
const MOST: u64 = 200_000;

/// The sessions that were used a while ago, with their users.
pub(crate) struct Owners {
    sessions: Cache<[u8; 16], Arc<str>>,
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            sessions: Cache::builder()
                .max_capacity(MOST)
                .time_to_idle(IDLE)
                .build(),
        }
    }
}

impl Owners {
    /// Gives a session that nobody has used to this user.
    pub(super) fn claim(&self, user: &Arc<str>, session: [u8; 16]) -> Result<(), Fault> {
        let owner = self.sessions.get_with(session, || Arc::clone(user));
        if owner == *user {
            return Ok(());
        }
        Err(Fault::new(
            known::UNAUTHORIZED,
            "the session belongs to another user",
        ))
    }

    fn owner(&self, session: &[u8; 16]) -> Option<Arc<str>> {
        self.sessions.get(session)
    }

    fn of_user(&self, user: &str) -> Vec<[u8; 16]> {
        let own = self.sessions.iter().filter(|(_, owner)| **owner == *user);
        own.map(|(session, _)| *session).collect()
    }
}

/// `endSessions` and `killSessions`: others' sessions are left out.
pub(super) async fn end(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    sessions::end(context).await?;
    let command = &context.request.command;
    let user = &context.session.known(command.name)?.user;
    let RawBsonRef::Array(list) = command.value else {
        return Err(Fault::field(command.name, command.name, "must be an array"));
    };
    let (mut own, mut others) = (RawArrayBuf::new(), 0);
    for each in list {
        let each = each.map_err(|_| Fault::new(known::FAILED_TO_PARSE, "invalid BSON"))?;
        let owner = sessions::id(each).and_then(|session| cluster.owners.owner(&session));
        let ends = match owner {
            Some(owner) => owner == *user,
            // It may have come by another proxy. To end what nobody uses does no harm.
            None => command.name == "endSessions",
        };
        if ends {
            own.push(each);
        } else {
            others += 1;
        }
    }
    if others == 0 {
        return relay::free(context, cluster).await;
    }
    let body = with_field(command.body, command.name, own)?;
    ask(cluster, context.bound(), &body).await
}

/// `killAllSessions`: those of the user.
pub(super) async fn end_all(context: &mut Context<'_>, cluster: &Arc<Cluster>) -> Outcome {
    let command = &context.request.command;
    let user = context.session.known(command.name)?.user.clone();
    if !sessions::names(&user, command)? {
        return Ok(Reply::ok());
    }
    sessions::end_all(context).await?;
    let mut list = RawArrayBuf::new();
    for session in cluster.owners.of_user(&user) {
        cluster.forget(&(Arc::clone(&user), session));
        let id = RawBsonRef::Binary(RawBinaryRef {
            subtype: BinarySubtype::Uuid,
            bytes: &session,
        });
        list.push(rawdoc! { "id": id });
    }
    let mut body = RawDocumentBuf::new();
    body.append(cstr!("killSessions"), list);
    body.append(cstr!("$db"), context.request.database);
    ask(cluster, context.bound(), &body).await
}

/// A pattern would find others' sessions: upstream they are all one user's.
pub(super) fn refused() -> Fault {
    Fault::new(
        known::UNAUTHORIZED,
        "killAllSessionsByPattern is not forwarded",
    )
    .hint("killSessions and killAllSessions end your own sessions")
}

async fn ask(cluster: &Cluster, bound: Option<Duration>, body: &RawDocumentBuf) -> Outcome {
    let (server, mut lease) = in_time(bound, cluster.reach(&Want::Writable)).await?;
    let received = cluster.exchange_built(&server, &mut lease, body).await?;
    lease.release();
    Ok(Reply::Upstream(received))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_first_users() {
        let owners = Owners::default();
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        owners.claim(&ann, [1; 16]).unwrap();
        owners.claim(&bob, [2; 16]).unwrap();
        owners.claim(&ann, [1; 16]).unwrap();
        let other = owners.claim(&bob, [1; 16]).unwrap_err();
        assert_eq!(other.code, known::UNAUTHORIZED);
        assert_eq!(owners.of_user("ann"), [[1; 16]]);
        assert_eq!(owners.owner(&[3; 16]), None);
    }
}
