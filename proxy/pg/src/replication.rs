//! Replication connections: a connection of their own, and bytes passed through both ways.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use crate::cancel::Target;
use crate::fault::Fault;
use crate::handshake::{Login, Replication};
use crate::login::{Admitted, welcome};
use crate::parameters::Reported;
use crate::wing::Wing;

/// Serves a replication connection until either side closes it.
pub(crate) async fn serve(wing: &Arc<Wing>, mut login: Login, admitted: Admitted) {
    let backend = admitted.pool.connector();
    let kind = match login.replication {
        Some(Replication::Physical) => "true",
        _ => "database",
    };
    let mut parameters: Vec<(&str, &str)> = vec![("replication", kind)];
    parameters.extend(
        login
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let mut upstream = match backend.open(&parameters).await {
        Ok(connected) => connected,
        Err(error) => {
            login.turn_away(&Fault::connect(&error)).await;
            return;
        }
    };
    wing.stats.logins.add(1);
    admitted.presence.set_pin(Some("replication".into()));
    admitted.key.slot.arm(Arc::new(Target {
        server: Arc::clone(backend.server()),
        holder: backend.server().enter(upstream.pid),
        pid: upstream.pid,
        secret: upstream.secret.clone(),
    }));
    let mut first = welcome(
        std::mem::take(&mut login.owed),
        &Reported::from_pairs(std::mem::take(&mut upstream.parameters)),
        &admitted.key,
    );
    first.extend_from_slice(&upstream.leftover);
    let passed = async {
        login.stream.write_all(&first).await?;
        login.stream.flush().await?;
        upstream.stream.write_all(&login.leftover).await?;
        upstream.stream.flush().await?;
        tokio::io::copy_bidirectional(&mut login.stream, &mut upstream.stream).await
    };
    tokio::select! {
        passed = passed => if let Err(error) = passed {
            tracing::debug!(%error, "replication connection ended");
        },
        () = wing.drain.draining() => {}
    }
    let _ = admitted.key.slot.disarm();
}
