//! The admin console: a database that is none, whose commands show and steer the server.
//!
//! Column names are PgBouncer's where the meaning is the same, so that tools made for it can read ours.
//! Source: <https://www.pgbouncer.org/usage.html>.

mod command;
mod console;
pub mod count;
pub(crate) mod registry;
mod show;
mod table;

use std::sync::Arc;

use crate::fault::Fault;
use crate::handshake::Login;
use crate::login::welcome;
use crate::parameters::Reported;
use crate::wing::Wing;
use console::Console;

/// Bytes of a cancel key's secret. There is nothing to cancel here, but drivers expect a key.
const SECRET: usize = 4;

/// What drivers want to know of a server before they talk to it. They read the version to learn what its
/// dialect can do, and must not be told of one that they take for too old.
const REPORTED: [(&str, &str); 8] = [
    (
        "server_version",
        concat!("15.0 (twinport ", env!("CARGO_PKG_VERSION"), ")"),
    ),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// Serves an admin's connection.
pub(crate) async fn serve(wing: &Arc<Wing>, mut login: Login) {
    if let Err(fault) = admit(wing, &login) {
        wing.stats.refused.add(1);
        tracing::info!(
            peer = %login.stream.peer(), user = login.user, code = fault.code,
            reason = fault.message, "refused at the admin console"
        );
        login.turn_away(&fault).await;
        return;
    }
    wing.stats.logins.add(1);
    tracing::info!(peer = %login.stream.peer(), user = login.user, "at the admin console");
    let key = wing.keys.issue(SECRET);
    let owed = std::mem::take(&mut login.owed);
    let welcome = welcome(owed, &Reported::from_pairs(REPORTED), &key);
    Console::new(wing, login, welcome).run().await;
}

fn admit(wing: &Wing, login: &Login) -> Result<(), Fault> {
    if !wing.settings().is_admin(&login.user) {
        let refused = format!("user \"{}\" may not use the admin console", login.user);
        return Err(Fault::fatal("42501", refused)
            .hint("Add the user to admin.users, or set users.NAME.admin, in the settings."));
    }
    if login.replication.is_some() {
        return Err(Fault::fatal(
            "0A000",
            "the admin console can't be replicated",
        ));
    }
    Ok(())
}
