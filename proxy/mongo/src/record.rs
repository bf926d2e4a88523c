//! What a write or a commit that may be sent again is recorded under, and who records a write.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::transaction::Owner;

/// What a session's write or transaction of one number is recorded under.
#[derive(Clone)]
pub(crate) struct Record {
    /// Whose it is.
    pub(crate) user: Arc<str>,
    pub(crate) id: Vec<u8>,
}

impl Record {
    pub(crate) fn of((user, session): &Owner, number: i64) -> Self {
        let mut id = Vec::with_capacity(user.len() + 25);
        id.extend_from_slice(user.as_bytes());
        id.push(0);
        id.extend_from_slice(session);
        id.extend_from_slice(&number.to_be_bytes());
        Self {
            user: Arc::clone(user),
            id,
        }
    }
}

/// Who records a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorder {
    /// The table of records, by the statement that writes.
    Table,
    /// The extension.
    Extension,
}

/// Who records a write, however often it is sent: neither knows what the other has recorded, and by both it would be
/// applied twice.
#[derive(Default)]
pub(crate) struct Recording(Mutex<State>);

#[derive(Default)]
struct State {
    /// How often the write was sent.
    sent: u32,
    /// Who records it, and which of those it was sent as has said so.
    chosen: Option<(Recorder, u32)>,
}

/// In place of the number of a part that is not the first: as nothing is sent by it, it can't withdraw.
const NOT_FIRST: u32 = 0;

/// A write that may be sent again, as it is sent once.
pub(crate) struct Attempt {
    pub(crate) record: Record,
    recording: Arc<Recording>,
    number: u32,
}

impl Attempt {
    pub(crate) fn of(record: Record, recording: Arc<Recording>) -> Self {
        let number = {
            let mut state = recording.0.lock();
            state.sent = state.sent.saturating_add(1);
            state.sent
        };
        Self {
            record,
            recording,
            number,
        }
    }

    /// A part of it: what is sent anew of it after the first answer. The same records it, for good.
    pub(crate) fn part(&self, part: u32) -> Self {
        let mut record = self.record.clone();
        if part > 0 {
            record.id.extend_from_slice(&part.to_be_bytes());
        }
        Self {
            record,
            recording: Arc::clone(&self.recording),
            number: if part > 0 { NOT_FIRST } else { self.number },
        }
    }

    /// Who records the write: this one, unless it was sent by another before.
    pub(crate) fn recorder(&self, wanted: Recorder) -> Recorder {
        let mut state = self.recording.0.lock();
        state.chosen.get_or_insert((wanted, self.number)).0
    }

    /// Lets another record it, as nothing has come of this try; `false` if another try may have gone better.
    pub(crate) fn withdraw(&self) -> bool {
        let mut state = self.recording.0.lock();
        let alone = state.sent == self.number
            && state
                .chosen
                .is_none_or(|(_, chooser)| chooser == self.number);
        if alone {
            state.chosen = None;
        }
        alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(recording: &Arc<Recording>) -> Attempt {
        let record = Record::of(&("ann".into(), [7; 16]), 1);
        Attempt::of(record, Arc::clone(recording))
    }

    #[test]
    fn who_records_a_write_stays() {
        let recording = Arc::default();
        let first = attempt(&recording);
        assert_eq!(first.recorder(Recorder::Table), Recorder::Table);
        assert_eq!(first.recorder(Recorder::Extension), Recorder::Table);
        let again = attempt(&recording);
        assert_eq!(again.recorder(Recorder::Extension), Recorder::Table);
    }

    #[test]
    fn another_may_record_what_was_sent_once_and_came_to_nothing() {
        let recording = Arc::default();
        let first = attempt(&recording);
        assert_eq!(first.recorder(Recorder::Table), Recorder::Table);
        assert!(first.withdraw());
        assert_eq!(first.recorder(Recorder::Extension), Recorder::Extension);
        let again = attempt(&recording);
        assert_eq!(again.recorder(Recorder::Table), Recorder::Extension);
    }

    #[test]
    fn nobody_withdraws_what_was_done_in_part() {
        let recording = Arc::default();
        let first = attempt(&recording);
        assert_eq!(first.part(0).recorder(Recorder::Table), Recorder::Table);
        let next = first.part(1);
        assert!(!next.withdraw());
        assert_ne!(next.record.id, first.record.id);
        assert_eq!(next.recorder(Recorder::Extension), Recorder::Table);
    }

    #[test]
    fn nobody_withdraws_what_was_sent_was_sent_twice() {
        let recording = Arc::default();
        let first = attempt(&recording);
        assert_eq!(first.recorder(Recorder::Table), Recorder::Table);
        let again = attempt(&recording);
        assert!(!again.withdraw());
        assert!(!first.withdraw());
        assert_eq!(again.recorder(Recorder::Extension), Recorder::Table);
    }
}
