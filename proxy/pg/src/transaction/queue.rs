//! The wait for a lease: it ends with one, or when the client is gone, cancels, or has waited for too long.

use std::sync::Arc;

use twinport_core::clients::Activity;
use twinport_core::pool::{AcquireError, Lease};
use twinport_core::scratch;
use twinport_core::stream::Stream;

use crate::fault::Fault;
use crate::pools::Backend;
use crate::session::Session;

impl Session {
    /// Waits, not for long, until it is known which functions leave something behind.
    pub(crate) async fn learn(&self) {
        let learned = self.pool.connector().catalog.learned();
        learned.learn(&self.wing, &self.pool).await;
    }

    /// After a reload, takes the pool that has come in the place of one that was closed.
    fn change_pool(&mut self) -> bool {
        let settings = self.wing.settings();
        let backend = self.pool.connector();
        let Some(database) = settings.database(backend.database()) else {
            return false;
        };
        let user = &self.presence.user;
        match self
            .wing
            .pools
            .get(&settings, &database, user, self.wing.shared(), false)
        {
            Ok(pool) if !Arc::ptr_eq(&pool, &self.pool) => {
                pool.connector().learn(&backend.credentials());
                self.pool = pool;
                true
            }
            _ => false,
        }
    }

    /// Waits in the pool's queue; `None` if the client goes in the meantime.
    pub(super) async fn wait_for_lease(&mut self) -> Option<Result<Lease<Backend>, Fault>> {
        self.presence.set_activity(Activity::Waiting);
        let acquired = tokio::select! {
            biased;
            acquired = self.pool.acquire(&self.settings) => Some(acquired),
            () = self.key.slot.cancelled() => None,
            () = client_gone(&mut self.client, &mut self.pending) => return None,
            () = self.wing.drain.ending() => {
                self.say_last(&Fault::going_down()).await;
                return None;
            }
        };
        let _ = self.key.slot.disarm();
        self.presence.set_activity(Activity::Idle);
        let Some(acquired) = acquired else {
            return Some(Err(Fault::cancelled()));
        };
        if matches!(acquired, Err(AcquireError::Closed))
            && !self.wing.drain.is_draining()
            && self.change_pool()
        {
            return Box::pin(self.wait_for_lease()).await;
        }
        Some(acquired.map_err(|error| Fault::no_upstream(&error)))
    }
}

/// Ready when the client is gone; what it sends in the meantime is kept, up to a bound.
async fn client_gone(client: &mut Stream, pending: &mut Vec<u8>) {
    const BOUND: usize = 64 * 1024;
    while pending.len() < BOUND {
        if !matches!(scratch::read(client, pending).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}
