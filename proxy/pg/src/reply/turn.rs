//! What is due, and whose turn it is.

use twinport_wire::pg::backend::{self, Status};
use twinport_wire::pg::frame::Frame;

use super::{Bound, Expect, Replies};

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

/// What the server did last, as far as it says what was left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Last {
    /// Anything else.
    #[default]
    Other,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`, or a `COMMIT` of what had failed.
    Rollback,
    /// `RESET`, of one setting or of all.
    Reset,
    /// `DISCARD ALL`.
    DiscardAll,
    /// An error.
    Failed,
}

impl Last {
    /// By the answer that a statement is done.
    pub(super) fn of(frame: &Frame<'_>) -> Self {
        match frame.body() {
            _ if frame.tag != backend::COMMAND_COMPLETE => Self::Other,
            b"COMMIT\0" => Self::Commit,
            b"ROLLBACK\0" => Self::Rollback,
            b"RESET\0" => Self::Reset,
            b"DISCARD ALL\0" => Self::DiscardAll,
            _ => Self::Other,
        }
    }
}

/// What became of the statements that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// What the server did last.
    pub last: Last,
    /// Whether any transaction may have ended otherwise than by an error or a ROLLBACK.
    pub lasted: bool,
}

impl Fate {
    pub(super) fn note(&mut self, last: Last) {
        self.last = last;
        self.lasted |= last == Last::Commit;
    }
}

impl Replies {
    /// Notes ReadyForQuery, with which this was answered.
    pub(super) fn end_of_batch(&mut self, answered: Option<&Expect>) {
        match answered {
            Some(Expect::Query { timed: true, .. }) => self.timed_out = None,
            Some(Expect::Function) if self.fate.last != Last::Failed => {
                self.fate.last = Last::Other;
            }
            _ => {}
        }
        let undone = matches!(self.fate.last, Last::Rollback | Last::Failed);
        self.fate.lasted |= self.status == Status::Idle && !undone;
    }

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

    /// Whether an open transaction is at one statement, and nothing else is under way.
    pub fn is_one_in_transaction(&self) -> bool {
        let run =
            |expect: &&Expect| matches!(expect, Expect::Execute { .. } | Expect::Query { .. });
        self.status == Status::Transaction
            && !self.begun
            && self.due.ready() == 1
            && self.due.iter().filter(run).count() == 1
    }

    /// What was bound last before something is executed.
    pub fn bound(&self) -> Option<&Bound> {
        let mut due = self.due.iter().rev();
        due.find(|expect| matches!(expect, Expect::Execute { .. }))?;
        due.find_map(|expect| match expect {
            Expect::Bind(bound) => bound.as_ref(),
            _ => None,
        })
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
