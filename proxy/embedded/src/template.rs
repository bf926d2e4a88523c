//! Makes data folders by copying one that `initdb` made before, which is ten times faster.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use tokio::sync::Mutex;

use crate::{
    account::Account,
    cache,
    error::{Error, Kind},
    finder::Installation,
    options::Options,
};

/// Keeps tests that start at once from running `initdb` all at once.
static INITDB: Mutex<()> = Mutex::const_new(());

/// Fills an empty data folder.
pub(crate) async fn fill(
    data: &Path,
    installation: &Installation,
    account: &Account,
    options: &Options,
) -> Result<(), Error> {
    let template = {
        let _one_at_a_time = INITDB.lock().await;
        match folder(account) {
            Ok(folder) => cached(&folder, installation, account, options).await?,
            Err(error) => {
                tracing::debug!(%error, "no folder for templates; running initdb in place");
                return initdb(data, installation, account, options).await;
            }
        }
    };
    let mut copy = account.command("cp");
    copy.arg("-Rp").arg(template.join(".")).arg(data);
    run(copy, "cp").await
}

/// The folder of all templates, which belongs to the account that copies them.
fn folder(account: &Account) -> io::Result<PathBuf> {
    let folder = cache::writable().join("templates");
    fs::create_dir_all(&folder)?;
    account.own(&folder).map_err(io::Error::other)?;
    // Whether we may write is only known by writing.
    tempfile::tempdir_in(&folder)?;
    account.check_access(&folder).map_err(io::Error::other)?;
    Ok(folder)
}

async fn cached(
    folder: &Path,
    installation: &Installation,
    account: &Account,
    options: &Options,
) -> Result<PathBuf, Error> {
    let template = folder.join(key(installation, options));
    if template.join("PG_VERSION").exists() {
        return Ok(template);
    }
    let temporary = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(folder)
        .map_err(Error::io(format!("cannot write to {}", folder.display())))?;
    account.own(temporary.path())?;
    let made = temporary.path().join("data");
    initdb(&made, installation, account, options).await?;
    if let Err(error) = fs::rename(&made, &template) {
        // Another process was faster; its template is as good.
        if !template.join("PG_VERSION").exists() {
            return Err(Error::io(format!("cannot make {}", template.display()))(
                error,
            ));
        }
    }
    Ok(template)
}

/// Names a template by all that `initdb` is told.
fn key(installation: &Installation, options: &Options) -> String {
    let mut hasher = DefaultHasher::new();
    installation.bin.hash(&mut hasher);
    options.superuser.hash(&mut hasher);
    options.password.hash(&mut hasher);
    options.auth.method().hash(&mut hasher);
    format!("{}-{:016x}", installation.version, hasher.finish())
}

async fn initdb(
    data: &Path,
    installation: &Installation,
    account: &Account,
    options: &Options,
) -> Result<(), Error> {
    let secret = tempfile::NamedTempFile::new().map_err(Error::io("cannot write the password"))?;
    account.write(secret.path(), &options.password)?;
    let locale = if cfg!(target_os = "linux") {
        "C.UTF-8"
    } else {
        "C"
    };
    let mut command = account.command(installation.bin.join("initdb"));
    command
        .args([
            "--no-sync",
            "--encoding=UTF8",
            "--username",
            &options.superuser,
        ])
        .arg(format!("--locale={locale}"))
        .arg(format!("--auth={}", options.auth.method()))
        .arg("--pwfile")
        .arg(secret.path())
        .arg("--pgdata")
        .arg(data);
    run(command, "initdb").await
}

/// Runs a program to its end; its output is for the error.
async fn run(command: Command, program: &str) -> Result<(), Error> {
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(Error::io(format!("cannot run `{program}`")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Kind::Command {
        program: program.to_owned(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    }
    .into())
}
