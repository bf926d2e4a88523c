//! The folders of one server: its data and its socket.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    account::Account,
    error::{Error, Kind},
    options::Options,
};

/// Owns the temporary folder, so that it goes when this value goes.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) data: PathBuf,
    pub(crate) sockets: PathBuf,
    pub(crate) temporary_data: bool,
    root: TempDir,
}

impl Layout {
    pub(crate) fn make(options: &Options, account: &Account) -> Result<Self, Error> {
        let root = tempfile::Builder::new()
            .prefix("twinport-")
            .tempdir()
            .map_err(Error::io("cannot make a temporary folder"))?;
        account.own(root.path())?;
        account.check_access(root.path())?;
        let data = match &options.data {
            Some(data) => kept(data, account)?,
            None => made(&root.path().join("data"), account)?,
        };
        let sockets = match &options.socket_dir {
            Some(folder) => folder.clone(),
            None => made(&root.path().join("run"), account)?,
        };
        Ok(Self {
            data,
            sockets,
            temporary_data: options.data.is_none(),
            root,
        })
    }

    /// What disappears with the server.
    pub(crate) fn temporary(&self) -> &Path {
        self.root.path()
    }

    /// The major version of the cluster in the data folder, if there is one.
    pub(crate) fn cluster(&self) -> Option<u32> {
        fs::read_to_string(self.data.join("PG_VERSION"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.data.join("server.log")
    }
}

fn made(folder: &Path, account: &Account) -> Result<PathBuf, Error> {
    let action = || format!("cannot make {}", folder.display());
    fs::create_dir_all(folder).map_err(Error::io(action()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(Error::io(action()))?;
    account.own(folder)?;
    Ok(folder.to_owned())
}

fn kept(folder: &Path, account: &Account) -> Result<PathBuf, Error> {
    let folder = std::path::absolute(folder)
        .map_err(Error::io(format!("cannot find {}", folder.display())))?;
    if !folder.join("PG_VERSION").exists() {
        if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Kind::NotEmpty(folder.display().to_string()).into());
        }
        made(&folder, account)?;
    }
    account.check_access(&folder)?;
    Ok(folder)
}
