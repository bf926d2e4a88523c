//! Errors among the answers: what the server passes over after one, and which of them the client doesn't see.

use twinport_wire::pg::backend::Fields;
use twinport_wire::pg::frame::Frame;

use super::walk::Walk;
use super::{Bound, Event, Expect, Last, Replies, Settled, Timed, is_last_word};
use crate::upstream::Upstream;

impl Replies {
    pub(super) fn error(
        &mut self,
        frame: Frame<'_>,
        walk: &mut Walk<'_>,
        upstream: &mut Upstream,
        retry: bool,
    ) -> Option<Event> {
        let fields = Fields::new(frame.body());
        if is_last_word(&fields) {
            walk.skip(frame.bytes.len());
            return Some(Event::Fatal(frame.bytes.to_vec()));
        }
        self.errors += 1;
        self.fate.last = Last::Failed;
        self.copy_in = false;
        if is_stale(&fields)
            && let Some(bound) = self.failing().cloned()
        {
            // A client that knows the columns must hear of it; any other gets a fresh plan without noticing.
            if retry && !bound.described && self.can_begin_again() {
                self.stale = Some(bound.statement);
                walk.skip(frame.bytes.len());
                return Some(Event::Stale);
            }
            self.outdated.push(bound.statement);
        }
        if is_missing(&fields) {
            // Dropped where nobody could see it: none of them is counted on any more.
            upstream.forget_prepared();
            if retry && self.failing().is_some() && self.can_begin_again() {
                walk.skip(frame.bytes.len());
                return Some(Event::Stale);
            }
        }
        self.own_before(walk);
        let timed = self.timed();
        let mut replacement = match self.due.front() {
            Some(Expect::Query {
                refusal: Some(own), ..
            })
            | Some(Expect::Refused(own, _)) => Some(own.clone()),
            _ => None,
        };
        if fields.code() == Some("57014")
            && timed == Timed::Next
            && let Some(own) = self.timed_out.take()
        {
            replacement = Some(own);
        }
        self.skip_to_ready(upstream);
        match replacement {
            Some(own) => walk.replace(frame.bytes.len(), &own),
            None => walk.at += frame.bytes.len(),
        }
        None
    }

    /// Whether what was sent is one batch, of which the client has seen nothing.
    fn can_begin_again(&self) -> bool {
        !self.begun && !self.unsynced && self.ready_due() == 1
    }

    /// The request that the server answers next.
    fn failing(&self) -> Option<&Bound> {
        match self.due.iter().find(|expect| !expect.is_own()) {
            Some(Expect::Bind(bound) | Expect::Describe(bound)) => bound.as_ref(),
            Some(Expect::Columns(bound)) => Some(bound),
            _ => None,
        }
    }

    /// The server skips what comes before the next Sync: none of it is answered, or has happened.
    pub(super) fn skip_to_ready(&mut self, upstream: &mut Upstream) {
        if self.due.front().is_some_and(Expect::ends_with_ready) {
            return;
        }
        let first = self.settled.len();
        let mut failed = true;
        loop {
            // A Query in the middle of a batch is passed over, too.
            if let Some(Expect::Sync { .. }) = self.due.front() {
                break;
            }
            let Some(expect) = self.due.pop() else {
                self.skipping = true;
                self.unsynced = true;
                break;
            };
            match &expect {
                Expect::Parse { key, number, .. } => upstream.missing(*key, *number),
                Expect::CloseOurs(number) => upstream.unclosed.push(*number),
                _ => {}
            }
            if let Some(mut change) = expect.into_change() {
                if failed && change.name().is_empty() {
                    // To prepare another unnamed statement drops the one that was there, even where it fails.
                    change.is_final();
                }
                self.settled
                    .extend(self.due.forget(change).map(Settled::Undone));
            }
            failed = false;
        }
        if let Some(undone) = self.settled.get_mut(first..) {
            undone.reverse();
        }
    }
}

/// Whether one of the statements is gone that we have prepared.
fn is_missing(fields: &Fields<'_>) -> bool {
    fields.code() == Some("26000")
        && fields
            .get(b'M')
            .is_some_and(|text| memchr::memmem::find(text, b"\"_tp").is_some())
}

fn is_stale(fields: &Fields<'_>) -> bool {
    fields.code() == Some("0A000") && fields.get(b'R') == Some(b"RevalidateCachedQuery")
}
