//! Answers that go on while they come, so that none of a large one is held.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use twinport_wire::mongo::message::answer::{BODY_AT, MAX_FIELD};
use twinport_wire::mongo::message::build::PREFIX;

use super::Cluster;
use super::connection::Begun;
use super::seen::Seen;
use super::server::{Lease, Server};
use crate::handles::{Borrowed, Cursor, Standing};
use crate::stream::{Broken, Channel, PIECE};
use crate::wing::Wing;

/// An answer whose beginning is here. Dropped before its end, it takes its connection with it.
pub(crate) struct Passing {
    pub(super) wing: Arc<Wing>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) server: Arc<Server>,
    pub(super) lease: Option<Lease>,
    pub(super) begun: Begun,
    pub(super) page: Page,
}

/// The cursor whose page the answer may be.
pub(crate) enum Page {
    /// Its first; the number is not known yet.
    First(Box<Cursor>),
    /// A later one, of the cursor with this number here.
    Next(Borrowed, i64),
    /// Nothing is to be done any more.
    Done,
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passing({})", self.server.place)
    }
}

impl Passing {
    /// Passes it on, under this number as the answer to that. What it leaves behind is settled before the client
    /// has its last byte; an error ends the client's connection, for half of an answer can't be taken back.
    pub(crate) async fn pass(
        mut self,
        channel: &mut Channel,
        number: i32,
        to: i32,
    ) -> Result<(), Broken> {
        let mut bytes = std::mem::take(&mut self.begun.bytes);
        address(&mut bytes, number, to);
        // The room for a piece, and what has to wait for the bytes after it.
        bytes.reserve(PIECE + MAX_FIELD);
        let mut looked_at = BODY_AT;
        loop {
            let follow = bytes.get(looked_at..).unwrap_or_default();
            let looked = self.begun.answer.look(follow)?;
            if let Some(Range { start, end }) = looked.cursor {
                let place = bytes.get_mut(looked_at + start..looked_at + end);
                self.number(place.unwrap_or_default());
            }
            let ready = looked_at + looked.passed;
            let left = self.begun.answer.left();
            if left == 0 {
                self.settle()?;
            }
            channel
                .send_piece(bytes.get(..ready).unwrap_or_default())
                .await?;
            if left == 0 {
                return Ok(());
            }
            bytes.drain(..ready);
            looked_at = 0;
            let missing = left - bytes.len();
            tokio::select! {
                biased;
                read = self.more(&mut bytes, missing) => read?,
                () = channel.gone() => return Err(Broken::Gone),
            }
        }
    }

    /// Reads on.
    async fn more(&mut self, bytes: &mut Vec<u8>, missing: usize) -> Result<(), Broken> {
        let Some(lease) = &mut self.lease else {
            return Err(Broken::Gone);
        };
        let more = async { Ok(lease.more(bytes, missing).await?) };
        let Err(why) = self.server.unless_silent(more).await else {
            return Ok(());
        };
        let fault = self.cluster.lost(&self.server, &why);
        tracing::info!(error = fault.message, "an answer broke off");
        if matches!(self.page, Page::Next(..))
            && let Page::Next(borrowed, _) = std::mem::replace(&mut self.page, Page::Done)
        {
            // It goes on by another connection.
            borrowed.lay_back();
        }
        Err(Broken::Gone)
    }

    /// Gives the cursor the number by which the client will know it.
    fn number(&mut self, place: &mut [u8]) {
        let Some(id) = self.begun.answer.seen().cursor.filter(|id| *id != 0) else {
            return;
        };
        let ours = match &mut self.page {
            Page::First(cursor) => {
                cursor.id = self.wing.cursors.number_for(id);
                if let Standing::Upstream(remote) = &mut cursor.standing {
                    remote.id = id;
                }
                cursor.id
            }
            Page::Next(_, ours) => *ours,
            Page::Done => return,
        };
        if place.len() == size_of::<i64>() {
            place.copy_from_slice(&ours.to_le_bytes());
        }
    }

    /// Tells the cursor what it reads, as far as the answer has said so.
    fn name(&self, cursor: &mut Cursor) {
        let told = &self.begun.answer.seen().namespace;
        if !told.is_empty() {
            cursor.namespace.clone_from(told);
        }
    }

    /// Gives the connection back, and keeps or forgets the cursor.
    fn settle(&mut self) -> Result<(), Broken> {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
        let seen = Seen::passed(self.begun.answer.seen());
        self.cluster.observe(&self.server, &seen);
        match std::mem::replace(&mut self.page, Page::Done) {
            Page::First(mut cursor) if cursor.id != 0 => {
                self.name(&mut cursor);
                let most = self.wing.current().mongo.max_cursors;
                let kept = self.wing.cursors.keep_new(*cursor, most);
                kept.map_err(|(cursor, fault)| {
                    tracing::info!(error = fault.message, "an answer broke off");
                    self.wing.dismiss([*cursor]);
                    Broken::Gone
                })
            }
            Page::Next(borrowed, _) if seen.is_open() => {
                borrowed.lay_back();
                Ok(())
            }
            Page::Next(borrowed, _) => {
                borrowed.end();
                Ok(())
            }
            Page::First(_) | Page::Done => Ok(()),
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // Nobody will ask for its next page.
        if let Page::First(mut cursor) = std::mem::replace(&mut self.page, Page::Done)
            && cursor.id != 0
        {
            self.name(&mut cursor);
            self.wing.dismiss([*cursor]);
        }
    }
}

/// Writes the numbers into the message's header.
fn address(bytes: &mut [u8], number: i32, to: i32) {
    let words = bytes.get_mut(4..PREFIX).unwrap_or_default();
    for (place, word) in words.chunks_exact_mut(4).zip([number, to]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}
