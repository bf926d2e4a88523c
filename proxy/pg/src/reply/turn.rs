//! What is due, and whose turn it is.

use super::{Expect, Replies};

/// Where the answer to a statement with a time of its own is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// There is none, or it has come.
    Over,
    /// Behind those to other statements.
    Later,
    /// The next to come.
    Next,
}

impl Replies {
    /// How much is due.
    pub fn due(&self) -> usize {
        self.due.len()
    }

    /// Where the answer to the statement is that has a time of its own: nothing that is run stands behind it.
    pub fn timed(&self) -> Timed {
        let mut run = self.due.iter().filter(|expect| expect.is_run());
        match run.next() {
            Some(first) if first.is_timed() => Timed::Next,
            _ if run.rev().any(Expect::is_timed) => Timed::Later,
            _ => Timed::Over,
        }
    }

    /// Whether nothing is due.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// How many ReadyForQuery are due.
    pub fn ready_due(&self) -> usize {
        self.due.ready()
    }

    /// How many of them the client waits for.
    pub fn ready_owed(&self) -> usize {
        let hidden =
            |expect: &&Expect| matches!(expect, Expect::Sync { shown: false } | Expect::Ours);
        self.ready_due() - self.due.iter().filter(hidden).count()
    }

    /// The server reads COPY data from here on, and passes over a Sync; libpq sends one with the Execute. What the
    /// client has sent in advance may have ended the COPY already: the Sync behind that counts.
    pub(super) fn begin_copy(&mut self) {
        if matches!(self.due.front(), Some(Expect::Execute { .. })) {
            self.due.drop_syncs();
            self.unsynced = !self.due.back().is_some_and(Expect::ends_with_ready);
        }
        self.copy_in = !matches!(self.due.iter().nth(1), Some(Expect::CopyEnd));
    }
}
