//! Going down in order: tell everybody, wait for what runs, within a bound; break off what is left.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// How long those who are broken off may take to say so, and to have stopped what they began.
const GRACE: Duration = Duration::from_secs(1);

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is going down.
    Serving,
    /// What runs may finish.
    Finishing,
    /// The bound has passed: what still runs is broken off.
    Ending,
}

/// The signal to go down, and the count of those who have not yet.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Shared {
    finish: CancellationToken,
    end: CancellationToken,
    /// The same as the tokens say, for a glance.
    phase: AtomicU8,
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

    /// Runs a task that the end waits for. If it does not end by itself when the bound has passed, it is dropped where
    /// it stands a second later.
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
        self.phase() != Phase::Serving
    }

    /// How far the end is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.shared.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Finishing,
            _ => Phase::Ending,
        }
    }

    /// Ready when work should end.
    pub fn draining(&self) -> WaitForCancellationFutureOwned {
        self.shared.finish.clone().cancelled_owned()
    }

    /// Ready when what still runs is to be broken off.
    pub fn ending(&self) -> WaitForCancellationFutureOwned {
        self.shared.end.clone().cancelled_owned()
    }

    /// For a task that has more to watch than this.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            drain: self.clone(),
            signal: None,
        }
    }

    /// How many tasks are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Tells everybody to finish and waits for them, `bound` at most; then has those left broken off.
    /// True if all finished by themselves.
    pub async fn finish(&self, bound: Duration) -> bool {
        self.go_to(Phase::Finishing);
        self.tasks.close();
        let in_time = tokio::select! {
            biased;
            () = self.tasks.wait() => true,
            () = self.shared.end.cancelled() => false,
            () = tokio::time::sleep(bound) => false,
        };
        if !in_time {
            self.end_now();
            if self.is_left_after(GRACE).await {
                let running: Vec<_> = self.shared.running.lock().values().cloned().collect();
                for task in running {
                    task.abort();
                }
                // What they have left to be tidied up.
                self.is_left_after(GRACE).await;
            }
        }
        in_time
    }

    async fn is_left_after(&self, bound: Duration) -> bool {
        let left = tokio::time::timeout(bound, self.tasks.wait()).await;
        left.is_err()
    }

    /// Has what still runs broken off now: [`Self::finish`] waits no longer.
    pub fn end_now(&self) {
        self.go_to(Phase::Ending);
    }

    fn go_to(&self, phase: Phase) {
        self.shared.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.shared.finish.cancel();
        if phase == Phase::Ending {
            self.shared.end.cancel();
        }
    }
}

/// Tells a task how far the end is, and wakes it when it comes nearer.
#[derive(Debug)]
pub struct Watch {
    drain: Drain,
    /// What wakes the task at the end of this phase.
    signal: Option<(Phase, Signal)>,
}

type Signal = Pin<Box<WaitForCancellationFutureOwned>>;

impl Watch {
    /// How far the end is. MUST always be asked by the same task, whose waker stays the same: it is noted once in a
    /// phase.
    pub fn phase(&mut self, cx: &mut Context<'_>) -> Phase {
        loop {
            let phase = self.drain.phase();
            let noted = self.signal.as_ref().is_some_and(|(of, _)| *of == phase);
            if noted || phase == Phase::Ending {
                return phase;
            }
            let mut signal = Box::pin(match phase {
                Phase::Serving => self.drain.draining(),
                _ => self.drain.ending(),
            });
            let next = signal.as_mut().poll(cx);
            self.signal = Some((phase, signal));
            if next == Poll::Pending {
                return phase;
            }
        }
    }

    /// Where tasks are started that the end waits for.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_is_left_at_the_bound_is_told_and_then_dropped() {
        let drain = Drain::new();
        let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
        let mut watch = drain.watch();
        drain.spawn(async move {
            let mut last = None;
            let ending = |cx: &mut Context<'_>| {
                let phase = watch.phase(cx);
                if last.replace(phase) != Some(phase) {
                    seen.send(phase).unwrap();
                }
                match phase {
                    Phase::Ending => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            };
            poll_fn(ending).await;
        });
        let deaf = Arc::new(());
        let held = Arc::clone(&deaf);
        drain.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        tokio::task::yield_now().await;
        assert!(!drain.finish(Duration::from_millis(50)).await);
        let all = [Phase::Serving, Phase::Finishing, Phase::Ending];
        assert_eq!(
            [sees.recv().await, sees.recv().await, sees.recv().await],
            all.map(Some)
        );
        assert_eq!(Arc::strong_count(&deaf), 1);
    }

    #[tokio::test]
    async fn a_second_signal_does_not_wait_for_the_bound() {
        let drain = Drain::new();
        drain.spawn(std::future::pending());
        let long = Duration::from_secs(600);
        let finishing = tokio::time::timeout(Duration::from_secs(60), drain.finish(long));
        let (finished, ()) = tokio::join!(finishing, async {
            tokio::task::yield_now().await;
            drain.end_now();
        });
        assert_eq!(finished, Ok(false));
    }
}
