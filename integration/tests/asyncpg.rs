//! asyncpg's own test suite, straight at the server and through the port in transaction mode: the
//! same tests pass, save those that `asyncpg/differences.toml` lists with a reason.

use std::process::Stdio;

use anyhow::{Result, ensure};
use tokio::process::Command;
use twinport_integration::{Port, World, cache};

/// On the newest server, or on those that `TWINPORT_ASYNCPG_SERVERS` names: `15 18`.
#[tokio::test]
async fn own_suite_passes_alike_through_the_port() -> Result<()> {
    let servers = std::env::var("TWINPORT_ASYNCPG_SERVERS").unwrap_or_else(|_| "18".to_owned());
    for major in servers.split_whitespace() {
        compare(major.parse()?).await?;
    }
    Ok(())
}

async fn compare(major: u32) -> Result<()> {
    let world = World::start(major).await?;
    let port = Port::start(&world, 20).await?;
    let through = format!(
        "postgres://{}:{}@127.0.0.1:{}/postgres",
        world.server.superuser(),
        world.server.password(),
        port.address.port
    );
    let output = Command::new(cache()?.join("python/bin/python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/asyncpg/run.py"))
        .args(["--direct", &world.server.url(), "--port", &through])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    port.stop().await;
    let text = String::from_utf8_lossy(&output.stdout);
    let details = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "on Postgres {major}:\n{text}{details}"
    );
    print!("{text}");
    Ok(())
}
