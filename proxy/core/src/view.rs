//! What a wing lets others see of it: the admin console belongs to one wing, and shows all of them.

use std::sync::Arc;
use std::time::Duration;

use crate::clients::Clients;
use crate::pool::Census;
use crate::stats::PoolStats;

/// A wing as the admin console sees it.
pub trait View: Send + Sync + 'static {
    /// The protocol that its clients speak, in one word.
    fn protocol(&self) -> &'static str;

    /// Who is connected.
    fn clients(&self) -> &Arc<Clients>;

    /// The cursors that are open. An implementation MUST NOT wait for any of them.
    fn cursors(&self) -> Vec<Cursor>;

    /// The transactions that are open. An implementation MUST NOT wait for any of them.
    fn transactions(&self) -> Vec<Transaction>;

    /// The pools that are its own.
    fn pools(&self) -> Vec<Pool>;
}

/// Connections to one server.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Where the server is, and what the connections are for.
    pub server: String,
    /// Whom they are logged in as.
    pub user: String,
    /// The most there may be.
    pub size: usize,
    /// How many there are.
    pub census: Census,
    /// What they have done.
    pub stats: Arc<PoolStats>,
}

/// A cursor that outlives the command that opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its number, as the client knows it.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// What it reads; empty while it is read.
    pub namespace: String,
    /// The client's session, in hexadecimal digits.
    pub session: Option<String>,
    /// The transaction that it was opened in.
    pub transaction: Option<i64>,
    /// How long nobody has asked for more; `None` while somebody does.
    pub idle: Option<Duration>,
    /// The upstream connection that it can't leave.
    pub upstream: Option<u64>,
}

/// A transaction that outlives the command that began it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Whose it is.
    pub user: String,
    /// The client's session, in hexadecimal digits.
    pub session: String,
    /// Its number within the session.
    pub number: i64,
    /// How long no command has run in it; `None` while one does.
    pub idle: Option<Duration>,
    /// Its upstream connection; `None` while a command runs on it.
    pub upstream: Option<u64>,
}

/// A session's id as people write it.
#[must_use]
pub fn session(id: &[u8; 16]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_two_digits_for_each_byte() {
        let mut id = [0; 16];
        id[0] = 0xab;
        assert_eq!(session(&id), format!("ab{}", "0".repeat(30)));
    }
}
