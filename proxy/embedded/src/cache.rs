//! Where things that are costly to make are kept between runs.

use std::{env, path::PathBuf};

use crate::account::Account;

/// The folders that may hold our downloads, ours first.
pub(crate) fn readable() -> Vec<PathBuf> {
    let mut folders = Vec::from_iter(personal());
    folders.push(shared());
    folders
}

/// The folder to put new things in. For root it is a place that other users can enter, for
/// Postgres does not run as root.
pub(crate) fn writable() -> PathBuf {
    match (Account::is_root(), personal()) {
        (false, Some(folder)) => folder,
        _ => shared(),
    }
}

fn shared() -> PathBuf {
    PathBuf::from("/var/cache/twinport")
}

fn personal() -> Option<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|folder| folder.join("twinport"))
}
