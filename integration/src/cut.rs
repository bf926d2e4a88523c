//! Clients cut at any byte, and that they leave nothing.

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use crate::resident;

/// So many clients are cut before the first count, which lets caches and allocators fill.
const WARM_UP: usize = 150;

/// So many between the counts.
const CUTS: usize = 450;

/// What may be more after them, in bytes: a few hundred for each.
const SLACK: usize = CUTS * 512;

/// So often it is counted at most. A leak shows each time; caches and allocators, which fill late, don't.
const WALKS: usize = 5;

/// What leads to a port on this machine, and is cut when it has sent this many bytes.
///
/// # Errors
/// When nobody listens there.
pub async fn cut_after(port: u16, limit: usize) -> Result<DuplexStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(&mut far);
        let (mut back, mut forth) = socket.split();
        let sending = async {
            let mut bounded = AsyncReadExt::take(&mut from, limit as u64);
            let _ = tokio::io::copy(&mut bounded, &mut forth).await;
        };
        tokio::select! {
            () = sending => {}
            _ = tokio::io::copy(&mut back, &mut to) => {}
        }
        let _ = far.shutdown().await;
    });
    Ok(near)
}

/// Has clients cut, each after some number of bytes below `most`, and counts what this process holds, which must be
/// alone in it. `cut` gets the number; `at_rest` waits until nothing is left of them but memory.
///
/// # Errors
/// When one of these fails, or memory grows each time.
pub async fn leaves_no_memory(
    most: usize,
    mut cut: impl AsyncFnMut(usize) -> Result<()>,
    at_rest: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    // A fixed walk over the lengths, so that a failure comes again.
    let mut seed: u64 = 12345;
    let mut walk = async |clients| {
        for _ in 0..clients {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            cut(usize::try_from(seed >> 33)? % most).await?;
        }
        at_rest().await?;
        resident()
    };
    let mut before = walk(WARM_UP).await?;
    let mut held = vec![before];
    for _ in 0..WALKS {
        let after = walk(CUTS).await?;
        if after < before + SLACK {
            return Ok(());
        }
        held.push(after);
        before = after;
    }
    bail!("each {CUTS} clients leave more bytes held: {held:?}")
}
