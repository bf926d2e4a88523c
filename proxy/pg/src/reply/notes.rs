//! What answers tell about prepared statements: their columns, and that they are gone.

use twinport_wire::pg::backend;
use twinport_wire::pg::frame::Frame;

use super::walk::{Walk, columns};
use super::{Drops, Expect, Last, Replies, Settled};
use crate::handles::Described;
use crate::upstream::Upstream;

impl Replies {
    /// Notes RowDescription or NoData, as the client sees it if it was looked at. Whether the client does.
    pub(super) fn note_description(&mut self, walk: &mut Walk<'_>, seen: Option<&[u8]>) -> bool {
        self.own_before(walk);
        match self.due.front() {
            Some(Expect::Describe(_)) => {
                if let Some(Expect::Describe(Some(bound))) = self.due.pop() {
                    let columns = seen
                        .filter(|_| bound.named && !bound.described)
                        .map(columns);
                    if let Some(columns) = columns {
                        bound.statement.note_columns(bound.view, columns);
                    }
                    if !bound.described {
                        self.described.push(Described {
                            key: bound.key,
                            view: bound.view,
                            columns,
                        });
                    }
                }
                true
            }
            Some(Expect::Columns(_)) => {
                if let Some(Expect::Columns(bound)) = self.due.pop() {
                    let columns = seen.map_or(0, columns);
                    bound.statement.note_columns(bound.view, columns);
                }
                false
            }
            _ => true,
        }
    }

    /// Notes what a statement that is done has done to prepared statements. Whether its answer was replaced.
    pub(super) fn note_completion(
        &mut self,
        frame: &Frame<'_>,
        walk: &mut Walk<'_>,
        upstream: &mut Upstream,
    ) -> bool {
        self.fate.note(Last::of(frame));
        if frame.tag != backend::COMMAND_COMPLETE {
            return false;
        }
        if let Some(Drops::Ours(local)) = self.due.front().map(Expect::drops) {
            let local = local.clone();
            let mut own = Vec::new();
            backend::build::command_complete(&mut own, local.tag());
            walk.replace(frame.bytes.len(), &own);
            self.settled.push(Settled::Local(local));
            return true;
        }
        if matches!(frame.body(), b"DEALLOCATE ALL\0" | b"DISCARD ALL\0") {
            upstream.dropped_all();
            self.settled.push(Settled::Cleared);
        }
        false
    }
}
