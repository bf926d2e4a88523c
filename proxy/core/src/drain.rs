//! Going down in order: tell everybody, wait for what runs, within a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// The signal to go down, and the count of those who have not yet.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    finish: CancellationToken,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Shared {
    /// The same as the token says, for a glance.
    draining: AtomicBool,
    next: AtomicU64,
    running: Mutex<HashMap<u64, AbortHandle>>,
}

/// Takes a task off the list when it ends, in whatever way.
struct Listed(u64, Arc<Shared>);

impl Drop for Listed {
    fn drop(&mut self) {
        self.1.running.lock().remove(&self.0);
    }
}

impl Drain {
    /// Nothing is going down yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task that the end waits for; it is dropped where it stands if the bound passes.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let listed = Listed(id, Arc::clone(&self.shared));
        // Under the lock the task can't take itself off before it is on.
        let mut running = self.shared.running.lock();
        let handle = self.tasks.spawn(async move {
            let _listed = listed;
            task.await;
        });
        running.insert(id, handle.abort_handle());
    }

    /// Whether work should end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Ready when work should end.
    pub fn draining(&self) -> WaitForCancellationFutureOwned {
        self.finish.clone().cancelled_owned()
    }

    /// How many tasks are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Tells everybody to finish and waits for them, `bound` at most; then ends those left.
    /// True if all finished by themselves.
    pub async fn finish(&self, bound: Duration) -> bool {
        self.begin();
        self.tasks.close();
        let in_time = tokio::time::timeout(bound, self.tasks.wait()).await.is_ok();
        self.end_now();
        self.tasks.wait().await;
        in_time
    }

    /// Ends at once what still runs.
    pub fn end_now(&self) {
        self.begin();
        let running: Vec<_> = self.shared.running.lock().values().cloned().collect();
        for task in running {
            task.abort();
        }
    }

    fn begin(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.finish.cancel();
    }
}
