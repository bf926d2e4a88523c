//! The user that servers run as: ourselves, or an ordinary user when we are root, since Postgres
//! refuses to run as root.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
};

use nix::unistd::{Uid, User};

use crate::error::{Error, Kind};

/// Whom Postgres runs as.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    Ourselves,
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    pub(crate) fn is_root() -> bool {
        Uid::effective().is_root()
    }

    /// Ourselves, or for root the user `postgres`, or `nobody`.
    pub(crate) fn choose() -> Result<Self, Error> {
        if !Self::is_root() {
            return Ok(Self::Ourselves);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self::Other {
                name: user.name,
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            })
            .ok_or_else(|| {
                Kind::NotFound(
                    "Postgres does not run as root, and there is no user `postgres` or `nobody`: \
                     run as another user"
                        .into(),
                )
                .into()
            })
    }

    /// A command that will run as this account, detached from our terminal's signals.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .process_group(0)
            .env_remove("PGDATA");
        if let Self::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Gives a folder or file to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid))
                .map_err(Error::io(format!("cannot hand over {}", path.display()))),
        }
    }

    /// Writes a file that belongs to this account and that nobody else reads.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<(), Error> {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};

        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(Error::io(format!("cannot write {}", path.display())))?;
        self.own(path)
    }

    /// Refuses a folder that this account can't enter, before Postgres does so less clearly.
    pub(crate) fn check_access(&self, folder: &Path) -> Result<(), Error> {
        let Self::Other { name, .. } = self else {
            return Ok(());
        };
        let reached = self
            .command("test")
            .args([OsStr::new("-x"), folder.as_os_str()])
            .status()
            .is_ok_and(|status| status.success());
        if reached {
            Ok(())
        } else {
            Err(Error::unreachable(folder, name))
        }
    }
}
