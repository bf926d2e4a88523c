//! PyMongo's own test suite and the drivers' unified specs that it carries, through two proxies on one Postgres
//! with DocumentDB, as it would through two mongos: what fails stands in `pymongo/expected.toml` with a reason.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use twinport::Running;
use twinport_config::Settings;
use twinport_integration::mongo::MongoWorld;
use twinport_integration::{PASSWORD, USER, cache};

/// The chosen modules, or with `TWINPORT_PYMONGO=all` every module, or those that it names with commas between;
/// `TWINPORT_PYMONGO_REPORT` names a file for the results.
#[tokio::test]
async fn own_suite_fails_only_as_listed() -> Result<()> {
    let world = MongoWorld::start().await?;
    let (port, one, other) = mongoses(&world).await?;
    let mut command = Command::new(cache()?.join("python/bin/python"));
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/pymongo/run.py"))
        .args([
            "--url",
            &format!("mongodb://{USER}:{PASSWORD}@127.0.0.1:{port}"),
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match std::env::var("TWINPORT_PYMONGO") {
        Ok(which) if which == "all" => {
            command.arg("--all");
        }
        Ok(modules) => {
            command.args(["--modules", &modules]);
        }
        Err(_) => {}
    }
    if let Ok(file) = std::env::var("TWINPORT_PYMONGO_REPORT") {
        command.args(["--report", &file]);
    }
    let output = command.output().await?;
    for proxy in [one, other] {
        proxy.finish(Duration::from_secs(1)).await;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let details = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{text}{details}");
    print!("{text}");
    Ok(())
}

/// Two proxies on neighbouring ports, where PyMongo's suite looks for a second mongos; the number of the first.
async fn mongoses(world: &MongoWorld) -> Result<(u16, Running, Running)> {
    for _ in 0..100 {
        let port = free_port()?;
        let Some(next) = port.checked_add(1) else {
            continue;
        };
        let one = twinport::start(settings(world, port)?).await;
        let other = twinport::start(settings(world, next)?).await;
        match (one, other) {
            (Ok(one), Ok(other)) => return Ok((port, one, other)),
            (one, other) => {
                for proxy in [one, other].into_iter().flatten() {
                    proxy.finish(Duration::ZERO).await;
                }
            }
        }
    }
    bail!("no two neighbouring ports are free")
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// Without TLS towards the clients: the suite would bring its own authority.
fn settings(world: &MongoWorld, port: u16) -> Result<Settings> {
    let text = format!(
        r#"
            [postgres]
            listen = ["127.0.0.1:0"]
            [admin]
            http = "off"
            [pool]
            size = 20
            [users.{USER}]
            password = "{PASSWORD}"
            [mongo]
            listen = ["127.0.0.1:{port}"]
            upstream = "postgres://{superuser}:{password}@localhost:{database}/postgres?sslmode=verify-full&sslrootcert={ca}"
            test_commands = true
            "#,
        superuser = world.server.superuser(),
        password = world.server.password(),
        database = world.server.port(),
        ca = world.ca().display(),
    );
    Ok(Settings::parse(&text, "test.toml")?)
}
