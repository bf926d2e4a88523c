//! Sleeping on a thread of its own.
//!
//! A runtime in which any timer is set reads the clock twice, and works out how long it may wait, each time that it
//! waits for its sockets: an eighth of what a short transaction costs in user space. What happens about once a second
//! waits here instead, so that the runtime that serves clients need not know of time while all goes well.

use std::future::pending;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

/// `None` if the system has no thread for it.
static CLOCK: LazyLock<Option<Handle>> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build().ok()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("clock".to_owned())
        .spawn(move || runtime.block_on(pending::<()>()))
        .ok()?;
    Some(handle)
});

/// As [`tokio::time::sleep`], for what is not urgent and not frequent: the end comes from another thread. A sleep
/// that is given up goes on over there; it SHOULD be of some seconds at most.
pub async fn sleep(duration: Duration) {
    match &*CLOCK {
        // A timer belongs to the runtime on which it is made.
        Some(clock) => drop(
            clock
                .spawn(async move { tokio::time::sleep(duration).await })
                .await,
        ),
        None => tokio::time::sleep(duration).await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn sleeps_as_long_as_asked() {
        let began = Instant::now();
        sleep(Duration::from_millis(20)).await;
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}
