//! What each SHOW answers.

mod connections;
mod kept;
mod pools;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use time::OffsetDateTime;
use twinport_config::{PoolMode, Reload};

use super::command::{COMMANDS, Subject};
use super::table::Kind::{Int, Text};
use super::table::{Heading, Rows};
use crate::wing::Wing;

/// The columns that a SHOW answers with.
pub(super) fn headings(subject: Subject) -> &'static [Heading] {
    match subject {
        Subject::Clients => connections::CLIENTS,
        Subject::Config => CONFIG,
        Subject::Cursors => kept::CURSORS,
        Subject::Databases => pools::DATABASES,
        Subject::Help => HELP,
        Subject::Lists => LISTS,
        Subject::Pools => pools::POOLS,
        Subject::Servers => connections::SERVERS,
        Subject::Stats => pools::STATS,
        Subject::StatsTotals => pools::STATS_TOTALS,
        Subject::Transactions => kept::TRANSACTIONS,
        Subject::Users => USERS,
        Subject::Version => VERSION,
    }
}

/// Its rows, as things are now.
pub(super) fn rows(subject: Subject, wing: &Arc<Wing>) -> Rows {
    match subject {
        Subject::Clients => connections::clients(wing),
        Subject::Config => config(wing),
        Subject::Cursors => kept::cursors(wing),
        Subject::Databases => pools::databases(wing),
        Subject::Help => help(),
        Subject::Lists => lists(wing),
        Subject::Pools => pools::pools(wing),
        Subject::Servers => connections::servers(wing),
        Subject::Stats => pools::stats(wing),
        Subject::StatsTotals => pools::stats_totals(wing),
        Subject::Transactions => kept::transactions(wing),
        Subject::Users => users(wing),
        Subject::Version => version(),
    }
}

const CONFIG: &[Heading] = &[
    ("key", Text),
    ("value", Text),
    ("default", Text),
    ("changeable", Text),
];

fn config(wing: &Wing) -> Rows {
    let entries = wing.settings().entries();
    Box::new(entries.into_iter().map(|entry| {
        let changeable = match entry.reload {
            Reload::Live => "yes",
            Reload::Restart => "no",
        };
        vec![
            entry.key.into(),
            entry.value.into(),
            entry.default.into(),
            changeable.into(),
        ]
    }))
}

const HELP: &[Heading] = &[("command", Text), ("does", Text)];

fn help() -> Rows {
    Box::new(
        COMMANDS
            .into_iter()
            .map(|(name, does)| vec![name.into(), does.into()]),
    )
}

const VERSION: &[Heading] = &[("version", Text)];

fn version() -> Rows {
    let version = concat!("Twinport ", env!("CARGO_PKG_VERSION"));
    Box::new(std::iter::once(vec![version.into()]))
}

const LISTS: &[Heading] = &[("list", Text), ("items", Int)];

fn lists(wing: &Wing) -> Rows {
    let settings = wing.settings();
    let logins = settings
        .postgres
        .max_logins
        .saturating_sub(wing.gate.load().logins.available_permits());
    let views = wing.views();
    let others: usize = views.iter().map(|view| view.clients().count()).sum();
    let cursors: usize = views.iter().map(|view| view.cursors().len()).sum();
    let transactions: usize = views.iter().map(|view| view.transactions().len()).sum();
    let lists = [
        ("databases", settings.databases.len()),
        ("users", settings.users.len()),
        ("pools", wing.pools.list().len()),
        ("used_clients", wing.clients.count() + others),
        ("login_clients", logins),
        ("used_servers", wing.pools.connections().list().len()),
        ("statements", wing.statements.count()),
        ("cursors", cursors),
        ("transactions", transactions),
    ];
    Box::new(
        lists
            .into_iter()
            .map(|(name, count)| vec![name.into(), count.into()]),
    )
}

const USERS: &[Heading] = &[
    ("name", Text),
    ("pool_size", Int),
    ("pool_mode", Text),
    ("current_connections", Int),
    ("max_user_client_connections", Int),
    ("current_client_connections", Int),
    ("admin", Text),
];

fn users(wing: &Wing) -> Rows {
    let settings = wing.settings();
    let tally = wing.tally();
    let connections = wing.pools.connections().list();
    let mut names: BTreeSet<String> = settings
        .users
        .keys()
        .chain(&settings.admin.users)
        .cloned()
        .collect();
    names.extend(tally.users().map(str::to_owned));
    Box::new(names.into_iter().map(move |name| {
        let user = settings.users.get(&name);
        let held = connections.iter().filter(|open| open.user == name).count();
        vec![
            name.as_str().into(),
            user.and_then(|user| user.pool_size).into(),
            user.and_then(|user| user.pool_mode).map(mode).into(),
            held.into(),
            user.and_then(|user| user.max_clients).into(),
            tally.user(&name).into(),
            if settings.is_admin(&name) {
                "yes"
            } else {
                "no"
            }
            .into(),
        ]
    }))
}

fn mode(mode: PoolMode) -> &'static str {
    match mode {
        PoolMode::Transaction => "transaction",
        PoolMode::Session => "session",
    }
}

/// A moment as PgBouncer writes it.
fn moment(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_written_in_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_210_096);
        assert_eq!(moment(time), "2024-02-29 12:34:56 UTC");
    }

    #[test]
    fn the_rows_of_what_never_changes_have_their_columns() {
        for (rows, headings) in [(help(), HELP), (version(), VERSION)] {
            assert!(rows.into_iter().all(|row| row.len() == headings.len()));
        }
    }
}
