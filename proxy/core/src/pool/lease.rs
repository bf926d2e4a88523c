//! A connection while a session holds it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use super::{Connect, Connection, Pool};

/// A leased connection. Dropped without [`Lease::release`], it is closed: nothing half-done goes back.
pub struct Lease<C: Connect> {
    pool: Arc<Pool<C>>,
    // On the heap, since it goes from hand to hand in every transaction.
    connection: Option<Box<C::Connection>>,
    generation: u64,
}

impl<C: Connect> Lease<C> {
    pub(super) fn new(pool: Arc<Pool<C>>, connection: Box<C::Connection>, generation: u64) -> Self {
        Self {
            pool,
            connection: Some(connection),
            generation,
        }
    }

    /// The pool that the connection belongs to.
    pub fn pool(&self) -> &Arc<Pool<C>> {
        &self.pool
    }

    /// Gives a clean connection back, unless it can't be used any more, is too old, or the pool has become smaller.
    pub fn release(self) {
        self.release_at(Instant::now());
    }

    /// As [`Lease::release`], for who knows what time it is.
    pub fn release_at(mut self, now: Instant) {
        // It may go straight to who waits for it.
        let alive = self.connection.as_mut().is_some_and(|c| c.is_alive());
        if !alive {
            self.close();
            return;
        }
        let settings = self.pool.settings.load();
        let too_old = settings.max_age.is_some_and(|max| {
            self.connection
                .as_ref()
                .is_some_and(|connection| now.saturating_duration_since(connection.opened()) > max)
        });
        let size = settings.size;
        drop(settings);
        if too_old {
            self.close();
            return;
        }
        let pool = Arc::clone(&self.pool);
        pool.hand_over(self, size, now);
    }

    /// Closes the connection and frees its place.
    pub fn close(mut self) {
        self.end();
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn take(&mut self) -> Option<Box<C::Connection>> {
        self.connection.take()
    }

    fn end(&mut self) {
        if self.connection.take().is_some() {
            self.pool.lost();
        }
    }

    /// How long the connection has been open.
    pub fn age(&self) -> std::time::Duration {
        self.connection
            .as_ref()
            .map_or_else(Default::default, |c| c.opened().elapsed())
    }
}

impl<C: Connect> Drop for Lease<C> {
    fn drop(&mut self) {
        self.end();
    }
}

// A lease holds its connection from `new` until one of the methods that consume it.
#[expect(
    clippy::expect_used,
    reason = "the connection is only taken by methods that consume the lease"
)]
impl<C: Connect> Deref for Lease<C> {
    type Target = C::Connection;
    fn deref(&self) -> &C::Connection {
        self.connection
            .as_deref()
            .expect("a lease holds a connection")
    }
}

#[expect(
    clippy::expect_used,
    reason = "the connection is only taken by methods that consume the lease"
)]
impl<C: Connect> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        self.connection
            .as_deref_mut()
            .expect("a lease holds a connection")
    }
}
