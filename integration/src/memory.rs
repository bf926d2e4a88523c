//! What this process holds in memory.

use anyhow::{Context, Result};

/// Bytes of this process in memory.
///
/// # Errors
/// When `/proc` can't be read, or has another form.
pub fn resident() -> Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).context("statm has another form")?;
    Ok(pages.parse::<usize>()? * 4096)
}
