//! The answers that are due, in their order, and what of them is still in doubt.

use std::collections::VecDeque;

use super::expect::{Drops, Expect};
use crate::handles::Change;
use crate::upstream::{PreparedKey, Upstream};

/// Answers that are due.
#[derive(Debug, Default)]
pub(super) struct Due {
    queue: VecDeque<Expect>,
    tally: Tally,
}

/// How many there are of those that are looked for: mostly none, so that nothing is searched.
#[derive(Debug, Default)]
struct Tally {
    /// That end with ReadyForQuery.
    ready: usize,
    /// That prepare something.
    parses: usize,
    /// That change what a name stands for.
    changes: usize,
    /// That hold everything up until they are there.
    blocking: usize,
}

impl Tally {
    fn count(&mut self, expect: &Expect, by: impl Fn(&mut usize)) {
        if matches!(expect, Expect::Parse { .. }) {
            by(&mut self.parses);
        } else if matches!(expect, Expect::Columns(_)) || !matches!(expect.drops(), Drops::Nothing)
        {
            by(&mut self.blocking);
        }
        if expect.ends_with_ready() {
            by(&mut self.ready);
        } else if expect.changes().is_some() {
            by(&mut self.changes);
        }
    }
}

impl Due {
    /// With the room that another one needed.
    pub(super) fn with_room(queue: VecDeque<Expect>) -> Self {
        Self {
            queue,
            tally: Tally::default(),
        }
    }

    /// Forgets everything; the room.
    pub(super) fn into_room(mut self) -> VecDeque<Expect> {
        self.queue.clear();
        self.queue
    }

    pub(super) fn push(&mut self, expect: Expect) {
        self.tally.count(&expect, |count| *count += 1);
        self.queue.push_back(expect);
    }

    pub(super) fn pop(&mut self) -> Option<Expect> {
        let expect = self.queue.pop_front()?;
        self.tally
            .count(&expect, |count| *count = count.saturating_sub(1));
        Some(expect)
    }

    /// Takes away the Syncs right behind the first.
    pub(super) fn drop_syncs(&mut self) {
        let is_sync = |expect: &&Expect| matches!(expect, Expect::Sync { .. });
        let count = self.queue.iter().skip(1).take_while(is_sync).count();
        self.queue.drain(1..=count);
        self.tally.ready = self.tally.ready.saturating_sub(count);
    }

    pub(super) fn back(&self) -> Option<&Expect> {
        self.queue.back()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn front(&self) -> Option<&Expect> {
        self.queue.front()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Expect> {
        self.queue.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many ReadyForQuery are due.
    pub(super) fn ready(&self) -> usize {
        self.tally.ready
    }

    /// Whether something is due without which nobody can say what any name stands for.
    pub(super) fn is_blocking(&self) -> bool {
        self.tally.blocking > 0
    }

    /// Whether it depends on the answer to an earlier batch what a name stands for. Within a batch it doesn't:
    /// after an error all that follows is passed over.
    pub(super) fn doubts_name(&self, name: &[u8]) -> bool {
        self.tally.ready > 0
            && self.tally.changes > 0
            && self.is_earlier(|expect| expect.changes().is_some_and(|changed| changed == name))
    }

    /// Whether it depends on the answer to an earlier batch that this is prepared.
    pub(super) fn doubts_key(&self, wanted: PreparedKey) -> bool {
        self.tally.ready > 0
            && self.tally.parses > 0
            && self
                .is_earlier(|expect| matches!(expect, Expect::Parse { key, .. } if *key == wanted))
    }

    /// Whether the last such is part of an earlier batch than the one that is being sent.
    fn is_earlier(&self, is_such: impl Fn(&Expect) -> bool) -> bool {
        let mut earlier = false;
        for expect in self.queue.iter().rev() {
            if is_such(expect) {
                return earlier;
            }
            earlier |= expect.ends_with_ready();
        }
        false
    }

    /// A change never came about: a later one of the same name must not bring back what it made.
    pub(super) fn forget(&mut self, mut change: Change) -> Option<Change> {
        let mut later = self.queue.iter_mut().filter_map(Expect::change);
        let taken_over = change.name().is_empty() && later.any(|later| later.forget(&mut change));
        (!taken_over).then_some(change)
    }

    /// Nobody will read what is due: of what is to be prepared on this connection nothing is relied on. What the session changed in the
    /// meantime, the last first.
    pub(super) fn abandon(&mut self, mut upstream: Option<&mut Upstream>) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(expect) = self.pop() {
            match (&expect, &mut upstream) {
                (Expect::Parse { key, number, .. }, Some(upstream)) => {
                    upstream.doubt(*key, *number);
                }
                (Expect::CloseOurs(number), Some(upstream)) => upstream.unclosed.push(*number),
                _ => {}
            }
            changes.extend(expect.into_change());
        }
        changes.reverse();
        changes
    }
}
