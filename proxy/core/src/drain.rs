//! Going down in order: tell everybody, wait for what runs, within a bound.

use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// The signal to go down, and the count of those who have not yet.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    finish: CancellationToken,
    now: CancellationToken,
    tasks: TaskTracker,
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
        let now = self.now.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = task => {}
                () = now.cancelled() => {}
            }
        });
    }

    /// Whether work should end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.finish.is_cancelled()
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
        self.finish.cancel();
        self.tasks.close();
        let in_time = tokio::time::timeout(bound, self.tasks.wait()).await.is_ok();
        self.end_now();
        self.tasks.wait().await;
        in_time
    }

    /// Ends at once what still runs.
    pub fn end_now(&self) {
        self.finish.cancel();
        self.now.cancel();
    }
}
