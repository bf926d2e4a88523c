//! Waiting for what comes by itself.

use std::time::Duration;

use anyhow::{Result, bail};

/// How often it is asked for, and how many times: twenty seconds are enough for a busy machine.
const PAUSE: Duration = Duration::from_millis(100);
const TIMES: u32 = 200;

/// Asks until it holds.
///
/// # Errors
/// When it can't be asked for, or doesn't hold within twenty seconds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..TIMES {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{what}: not within {:?}", PAUSE * TIMES)
}
