//! Twinport: built as users get it, with the settings that the comparison needs.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::{
    flags::Plan,
    ground::{Ground, NAME},
};

/// The binary asked for, or a release build of it.
pub(super) fn binary(plan: &Plan) -> anyhow::Result<PathBuf> {
    if let Some(path) = &plan.twinport {
        if !path.is_file() {
            bail!("--twinport {}: there is no such file", path.display());
        }
        return Ok(path.clone());
    }
    let beside = beside()?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = std::process::Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "twinport"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .is_ok_and(|status| status.success());
    match (built, beside.is_file()) {
        (true, true) => Ok(beside),
        (false, true) => {
            eprintln!("the build failed: {} is what was there", beside.display());
            Ok(beside)
        }
        (_, false) => bail!(
            "no binary at {}: run `cargo build --release -p twinport`, or name it by --twinport",
            beside.display()
        ),
    }
}

/// Where cargo puts the release build, seen from ours, be that a release build or not.
fn beside() -> anyhow::Result<PathBuf> {
    let ours = env::current_exe()?;
    let target = ours.ancestors().nth(2).context("we live in no folder")?;
    Ok(target.join("release").join("twinport"))
}

pub(super) fn version(binary: &Path) -> String {
    let output = std::process::Command::new(binary).arg("--version").output();
    output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

pub(super) fn command(
    binary: &Path,
    ground: &Ground,
    plan: &Plan,
    port: u16,
) -> anyhow::Result<Command> {
    ground.write("twinport.crt", &ground.identity.certificate)?;
    ground.write("twinport.key", &ground.identity.key)?;
    let workers = match plan.workers.parse::<u32>() {
        Ok(number) => number.to_string(),
        Err(_) => format!("\"{}\"", plan.workers),
    };
    let settings = format!(
        r#"workers = {workers}

[postgres]
listen = ["127.0.0.1:{port}"]
max_clients = 12000

[postgres.tls]
mode = "allow"
certificate = "twinport.crt"
key = "twinport.key"

[pool]
mode = "transaction"
size = {pool}

[databases.{NAME}]
url = "{upstream}"

[users.{NAME}]
verifier = "{verifier}"

[admin]
http = "off"

[log]
level = "warn"
"#,
        pool = plan.pool,
        upstream = ground.upstream(),
        verifier = ground.verifier,
    );
    let file = ground.write(&format!("twinport-{port}.toml"), &settings)?;
    Ok(with_settings(binary, &file))
}

/// The binary with these settings and no others.
pub(crate) fn with_settings(binary: &Path, file: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("--config").arg(file);
    // Settings of the machine's own must not change the comparison.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TWINPORT_") {
            command.env_remove(name);
        }
    }
    command
}
