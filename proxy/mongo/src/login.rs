//! From an accepted connection to its session: limits, TLS, the first message.

use std::sync::Arc;

use tokio::time::timeout;
use twinport_config::Mongo;
use twinport_core::clients::{Arrival, Bounds, Full, Presence};
use twinport_core::sql::Identity;
use twinport_core::stream::Stream;

use crate::fault::Fault;
use crate::handshake;
use crate::session::Session;
use crate::stream::Channel;
use crate::wing::Wing;

/// Serves a connection from its first byte to its last.
pub(crate) async fn serve(wing: Arc<Wing>, stream: Stream, number: i32) {
    let gate = wing.gate.load_full();
    let peer = stream.peer();
    let secured = async {
        let _permit = wing.logins.acquire().await;
        timeout(gate.timeout, handshake::secure(stream, &gate)).await
    };
    let stream = match Box::pin(secured).await {
        Ok(Some(stream)) => stream,
        Ok(None) => {
            wing.stats.logins_failed.add(1);
            return;
        }
        Err(_) => {
            tracing::info!(%peer, "login refused: it took too long (mongo.login_timeout)");
            wing.stats.logins_failed.add(1);
            return;
        }
    };
    let arrival = Arrival {
        peer: peer.to_string(),
        tls: stream.is_tls(),
        ..Arrival::default()
    };
    let bounds = Bounds {
        all: Some(wing.current().mongo.max_clients),
        ..Bounds::default()
    };
    let presence = match wing.clients.enter(arrival, bounds) {
        Ok(presence) => presence,
        Err(full) => {
            wing.stats.refused.add(1);
            tracing::info!(%peer, reason = too_many(full).message, "client refused");
            return;
        }
    };
    let certificate = stream.peer_certificate().cloned();
    let session = Session::new(wing, number, presence, certificate);
    session.run(Channel::new(stream)).await;
}

/// Counts a client that has proven who it is, if no bound is reached.
pub(crate) fn admit(
    wing: &Wing,
    identity: &Identity,
    presence: &mut Presence,
) -> Result<(), Fault> {
    let current = wing.current();
    let place = current.mongo.upstream.database();
    let bounds = Bounds {
        user: current
            .settings
            .users
            .get(&*identity.user)
            .and_then(|user| user.max_clients),
        database: place.and_then(|place| place.max_clients),
        ..Bounds::default()
    };
    let database = place.map_or(Mongo::OWN, |place| &place.name);
    let counted = presence.log_in(&identity.user, database, bounds);
    counted.map_err(too_many)
}

fn too_many(full: Full) -> Fault {
    let (bound, what, key) = match full {
        Full::All(bound) => (bound, "", "mongo.max_clients"),
        Full::User(bound) => (bound, " of this user", "users.NAME.max_clients"),
        Full::Database(bound) => (bound, " of this database", "databases.NAME.max_clients"),
    };
    Fault::overloaded(format_args!(
        "too many clients{what}: {bound} are connected"
    ))
    .hint(format_args!("Close connections, or raise {key}"))
}
