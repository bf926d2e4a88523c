//! What clients have running, so that others can interrupt it: by the session and the user that it runs for.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::transaction::Owner;

/// All clients, by the numbers of their connections.
#[derive(Default)]
pub(crate) struct Operations(Mutex<HashMap<i32, Arc<Running>>>);

/// What one client has running.
#[derive(Default)]
struct Running {
    state: Mutex<State>,
    interrupted: Notify,
}

#[derive(Default)]
struct State {
    /// For whom it runs; none if nothing does that could be interrupted.
    owner: Option<Owner>,
    interrupted: bool,
}

/// A client's place among all, until it goes.
pub(crate) struct Seat {
    operations: Arc<Operations>,
    client: i32,
    running: Arc<Running>,
}

/// An operation while it runs.
pub(crate) struct Operation(Arc<Running>);

impl Operations {
    /// Gives a client its place.
    pub(crate) fn enter(self: &Arc<Self>, client: i32) -> Seat {
        let running = Arc::<Running>::default();
        self.0.lock().insert(client, Arc::clone(&running));
        Seat {
            operations: Arc::clone(self),
            client,
            running,
        }
    }

    /// Interrupts what runs for those of whom `is_meant` says so; not what `asker` has running, which asks for it.
    pub(crate) fn interrupt(&self, asker: i32, is_meant: impl Fn(&Owner) -> bool) {
        for (client, running) in &*self.0.lock() {
            if *client == asker {
                continue;
            }
            let mut state = running.state.lock();
            if state.owner.as_ref().is_some_and(&is_meant) {
                state.interrupted = true;
                running.interrupted.notify_one();
            }
        }
    }
}

impl Seat {
    /// Notes that an operation begins.
    pub(crate) fn begin(&self, owner: Owner) -> Operation {
        *self.running.state.lock() = State {
            owner: Some(owner),
            interrupted: false,
        };
        Operation(Arc::clone(&self.running))
    }
}

impl Operation {
    /// Waits until somebody interrupts it.
    pub(crate) async fn interrupted(&self) {
        // What is told may be of the operation before.
        while !self.0.state.lock().interrupted {
            self.0.interrupted.notified().await;
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.0.state.lock().owner = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.operations.0.lock();
        // The number may be another's by now.
        if all
            .get(&self.client)
            .is_some_and(|running| Arc::ptr_eq(running, &self.running))
        {
            all.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn owner(user: &str, session: u8) -> Owner {
        (user.into(), [session; 16])
    }

    async fn is_interrupted(operation: &Operation) -> bool {
        let wait = tokio::time::timeout(Duration::from_millis(1), operation.interrupted());
        wait.await.is_ok()
    }

    #[tokio::test]
    async fn an_operation_is_interrupted_by_others_and_for_its_owner_alone() {
        let operations = Arc::<Operations>::default();
        let (one, two) = (operations.enter(1), operations.enter(2));
        let (first, second) = (one.begin(owner("ann", 1)), two.begin(owner("bob", 1)));
        operations.interrupt(1, |meant| *meant == owner("ann", 1));
        operations.interrupt(3, |meant| *meant == owner("ann", 2));
        assert!(!is_interrupted(&first).await && !is_interrupted(&second).await);
        operations.interrupt(3, |meant| *meant == owner("ann", 1));
        assert!(is_interrupted(&first).await && !is_interrupted(&second).await);
        drop(first);
        // The next one is another.
        operations.interrupt(3, |meant| *meant == owner("ann", 1));
        let next = one.begin(owner("ann", 1));
        assert!(!is_interrupted(&next).await);
        drop((next, one));
        assert_eq!(operations.0.lock().len(), 1);
    }
}
