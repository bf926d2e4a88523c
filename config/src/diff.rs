//! What a reload changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::entry::Entry;
use crate::key::{self, Reload};
use crate::settings::Settings;

/// Stands for the value of a key that one side doesn't have.
const ABSENT: &str = "(absent)";

/// The difference between two sets of settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// Every key whose value differs.
    pub changes: Vec<Change>,
    /// Names in `[databases]`, `*` among them, whose pools must be built, rebuilt or dropped.
    /// A change of `[pool]` counts for every database that it reaches.
    pub databases: BTreeSet<String>,
    /// Names in `[users]` that were added, changed or removed.
    pub users: BTreeSet<String>,
}

/// One key that differs. Secrets are masked in `old` and `new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key's path.
    pub key: String,
    /// The old value; `(absent)` if there was none.
    pub old: String,
    /// The new value; `(absent)` if there is none.
    pub new: String,
    /// What it needs to take effect.
    pub reload: Reload,
}

/// Compares two sets of settings.
pub fn diff(old: &Settings, new: &Settings) -> Diff {
    let (old_entries, new_entries) = (by_key(old), by_key(new));
    let keys: BTreeSet<&String> = old_entries.keys().chain(new_entries.keys()).collect();
    let mut diff = Diff::default();
    for key in keys {
        let (before, after) = (old_entries.get(key), new_entries.get(key));
        if before == after || differ_in_default_only(before, after) {
            continue;
        }
        let value = |entry: Option<&Entry>| {
            entry
                .map_or(ABSENT, |entry| entry.value.as_str())
                .to_owned()
        };
        diff.changes.push(Change {
            key: key.clone(),
            old: value(before),
            new: value(after),
            reload: before.or(after).map_or(Reload::Live, |entry| entry.reload),
        });
        match key::split(key).unwrap_or_default().as_slice() {
            [group, name, ..] if group == "databases" => {
                diff.databases.insert(name.clone());
            }
            [group, name, ..] if group == "users" => {
                diff.users.insert(name.clone());
            }
            _ => {}
        }
    }
    diff
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes that a reload can't apply.
    pub fn needs_restart(&self) -> impl Iterator<Item = &Change> {
        let restart = |change: &&Change| change.reload == Reload::Restart;
        self.changes.iter().filter(restart)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.key, self.old, self.new)?;
        match self.reload {
            Reload::Live => Ok(()),
            Reload::Restart => f.write_str(" (needs a restart)"),
        }
    }
}

fn by_key(settings: &Settings) -> BTreeMap<String, Entry> {
    let entries = settings.entries().into_iter();
    entries.map(|entry| (entry.key.clone(), entry)).collect()
}

/// A database's own value stays what it is when only `[pool]` changes under it.
fn differ_in_default_only(before: Option<&Entry>, after: Option<&Entry>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            let mut aligned = before.clone();
            aligned.default.clone_from(&after.default);
            aligned == *after
        }
        _ => false,
    }
}
