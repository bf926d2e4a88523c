//! What the server's answers mean to the session: which request each belongs to, and what the client sees.
//!
//! The session pushes one [`Expect`] for each request that it sends; [`Replies::take`] walks the frames that come
//! back, reads no more than their headers, and says what of them goes to the client. Answers to requests of our
//! own are dropped, answers to requests that never went upstream are put in at their place.

mod due;
mod expect;
mod failure;
mod notes;
mod rows;
mod turn;
mod walk;

pub use expect::{Bound, Drops, Expect};
pub use turn::{Fate, Last, Timed};

use std::collections::VecDeque;
use std::sync::Arc;

use twinport_wire::pg::backend::{self, Fields, Status};
use twinport_wire::pg::frame::{self, Frame};

use crate::handles::{Change, Described};
use crate::statement::{Local, Statement};
use crate::upstream::{PreparedKey, Upstream};
use due::Due;
use rows::{Folding, Rows};
use walk::{Walk, describe_json, streams};

/// What [`Replies::take`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many bytes were handled; the rest is half a frame.
    pub consumed: usize,
    /// Whether all that was handled goes to the client as it is. Otherwise it is in the output already.
    pub whole: bool,
    /// Something that the session must look at.
    pub event: Option<Event>,
}

/// What the session must act on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The server said a last word (FATAL) and closes the connection: the whole ErrorResponse.
    Fatal(Vec<u8>),
    /// A statement was prepared under an older schema; the answer of its batch has not begun.
    Stale,
    /// A row whose packed columns should become JSON is too large to be held.
    TooLarge,
}

/// What the answers say about the session's prepared statements.
#[derive(Debug)]
pub enum Settled {
    /// A change never came about.
    Undone(Change),
    /// What was to be done here is due.
    Local(Local),
    /// The server has dropped all that have names.
    Cleared,
}

/// The state of the answers.
#[derive(Debug)]
pub struct Replies {
    due: Due,
    /// Bytes of the current frame that are still to come and go straight on.
    passing: usize,
    /// Whether they don't go on after all: they answer a question of our own.
    hiding: bool,
    /// There once a request of this lease has rows to fold.
    folding: Option<Box<Folding>>,
    /// What the last ReadyForQuery said.
    pub status: Status,
    /// Whether the server reads COPY data.
    pub copy_in: bool,
    /// Whether the server skips to the next Sync, which has not been sent yet: it answers nothing before, and
    /// nothing before may be sent that it would have to answer.
    pub skipping: bool,
    /// ReadyForQuery seen so far in this lease.
    pub ready: usize,
    /// Errors seen in this lease.
    pub errors: usize,
    /// What became of what was answered since the session last looked.
    pub fate: Fate,
    /// Whether the client got something of the current batch.
    begun: bool,
    /// Whether a batch has begun whose Sync has not been sent.
    pub unsynced: bool,
    /// Whether the server was told to send the answers to all that it has been sent, and need not wait for the Sync.
    pub flushed: bool,
    /// Statements whose result the client has been told of since the session last looked.
    pub described: Vec<Described>,
    /// What became of the session's prepared statements since it last looked, in order.
    pub settled: Vec<Settled>,
    /// The statement of the last [`Event::Stale`].
    pub stale: Option<Arc<Statement>>,
    /// Statements whose result type changed under a client that knows it: whoever prepares the text again must
    /// get a new one.
    pub outdated: Vec<Arc<Statement>>,
    /// Replaces the next "canceled" error: the statement's own time is over.
    pub timed_out: Option<Box<[u8]>>,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            due: Due::default(),
            passing: 0,
            hiding: false,
            folding: None,
            status: Status::Idle,
            copy_in: false,
            skipping: false,
            ready: 0,
            errors: 0,
            fate: Fate::default(),
            begun: false,
            unsynced: false,
            flushed: false,
            described: Vec::new(),
            settled: Vec::new(),
            stale: None,
            outdated: Vec::new(),
            timed_out: None,
        }
    }
}

impl Replies {
    /// Notes an answer that is due.
    pub fn push(&mut self, expect: Expect) {
        if !matches!(expect, Expect::Closed(_) | Expect::CopyEnd) {
            self.unsynced = !expect.ends_with_ready();
            self.flushed = false;
        }
        if self.folding.is_none() && expect.fold().is_some() {
            self.folding = Some(Box::default());
        }
        self.skipping = false;
        self.due.push(expect);
    }

    /// The server has failed where nothing was due, and skips the rest of the batch.
    pub fn skip(&mut self) {
        self.errors += 1;
        self.fate.last = Last::Failed;
        self.begun = true;
        self.skipping = true;
    }

    /// Whether it depends on an answer that is due what a name stands for.
    pub fn doubts_name(&self, name: &[u8]) -> bool {
        !self.due.is_empty() && (self.due.is_blocking() || self.due.doubts_name(name))
    }

    /// Whether it depends on the answer to an earlier batch that this is prepared.
    pub fn doubts_key(&self, key: PreparedKey) -> bool {
        self.due.doubts_key(key)
    }

    /// Whether the client is about to be told of the columns of this.
    pub fn describes(&self, key: PreparedKey) -> bool {
        let mut due = self.due.iter();
        due.any(|expect| matches!(expect, Expect::Describe(Some(bound)) if bound.key == key))
    }

    /// Whether the client has got half a frame.
    pub fn is_mid_frame(&self) -> bool {
        self.passing > 0 && !self.hiding
    }

    /// Forgets everything that is due: nobody will read it. What the session has to undo, in order.
    pub fn abandon(&mut self, upstream: Option<&mut Upstream>) -> Vec<Change> {
        let changes = self.due.abandon(upstream);
        let room = self.end();
        self.begin(room);
        changes
    }

    /// Takes the room for what will be due.
    pub fn begin(&mut self, room: VecDeque<Expect>) {
        self.due = Due::with_room(room);
    }

    /// Forgets everything that is due and gives the room for it back.
    pub fn end(&mut self) -> VecDeque<Expect> {
        let room = std::mem::take(&mut self.due).into_room();
        *self = Self {
            status: self.status,
            ..Self::default()
        };
        room
    }

    /// Puts out answers of our own that stand first and have nothing before them to wait for.
    pub fn flush_own(&mut self, out: &mut Vec<u8>) {
        while let Some(own) = self.pop_own() {
            out.extend_from_slice(own);
        }
    }

    fn pop_own(&mut self) -> Option<&'static [u8]> {
        if !self.due.front()?.is_own() {
            return None;
        }
        let own = match self.due.pop()? {
            Expect::CopyEnd => &[],
            Expect::Parsed(_) => PARSE_COMPLETE,
            _ => CLOSE_COMPLETE,
        };
        self.begun |= !own.is_empty();
        Some(own)
    }

    /// Walks `chunk`. What is not to go on as it is gets rebuilt into `out`.
    ///
    /// # Errors
    /// When the bytes are no protocol.
    pub fn take(
        &mut self,
        chunk: &[u8],
        upstream: &mut Upstream,
        retry: bool,
        out: &mut Vec<u8>,
    ) -> Result<Taken, twinport_wire::Error> {
        let mut walk = Walk {
            chunk,
            at: 0,
            shown_from: 0,
            cut: false,
            out,
        };
        let event = self.walk(&mut walk, upstream, retry)?;
        if event.is_none() && self.passing == 0 {
            // All before them has been answered; the client may have asked for it by a Flush.
            self.own_before(&mut walk);
        }
        let (consumed, cut) = (walk.at, walk.cut);
        if cut {
            walk.copy_up_to(consumed);
        }
        Ok(Taken {
            consumed,
            whole: !cut,
            event,
        })
    }

    fn walk(
        &mut self,
        walk: &mut Walk<'_>,
        upstream: &mut Upstream,
        retry: bool,
    ) -> Result<Option<Event>, twinport_wire::Error> {
        loop {
            if self.passing > 0 {
                let now = self.passing.min(walk.rest().len());
                self.passing -= now;
                if self.hiding {
                    walk.skip(now);
                } else {
                    walk.at += now;
                }
                if self.passing > 0 {
                    return Ok(None);
                }
                self.hiding = false;
            }
            if self.folding.is_some() {
                match self.fold_rows(walk)? {
                    Rows::Done => {}
                    Rows::More => return Ok(None),
                    Rows::TooLarge => return Ok(Some(Event::TooLarge)),
                }
            }
            let rest = walk.rest();
            let Some(header) = frame::peek(rest)? else {
                return Ok(None);
            };
            let ours = matches!(self.due.front(), Some(Expect::Ours));
            if streams(header.tag) && !ours {
                self.own_before(walk);
                self.hiding = header.tag == backend::PARAMETER_DESCRIPTION
                    && matches!(self.due.front(), Some(Expect::Columns(_)));
                self.begun |= !self.hiding;
                self.passing = header.len;
                continue;
            }
            let Some(bytes) = rest.get(..header.len) else {
                if header.len <= twinport_core::scratch::SIZE / 2 {
                    return Ok(None);
                }
                self.large(header.tag, walk, upstream);
                self.passing = header.len;
                continue;
            };
            let frame = Frame {
                tag: header.tag,
                bytes,
            };
            if ours && self.hides(frame, walk)? {
                continue;
            }
            if let Some(event) = self.frame(frame, walk, upstream, retry)? {
                return Ok(Some(event));
            }
        }
    }

    /// Notes a frame that means something but is too large to be held: it goes on as it is.
    fn large(&mut self, tag: u8, walk: &mut Walk<'_>, upstream: &mut Upstream) {
        match tag {
            backend::ROW_DESCRIPTION => {
                self.note_description(walk, None);
            }
            backend::ERROR_RESPONSE => {
                self.own_before(walk);
                self.errors += 1;
                self.fate.last = Last::Failed;
                self.copy_in = false;
                self.skip_to_ready(upstream);
            }
            _ => self.own_before(walk),
        }
        self.begun = true;
    }

    /// Passes over a frame of the answer to a Query of our own; whether it is of that answer.
    fn hides(
        &mut self,
        frame: Frame<'_>,
        walk: &mut Walk<'_>,
    ) -> Result<bool, twinport_wire::Error> {
        match frame.tag {
            backend::PARAMETER_STATUS | backend::NOTIFICATION_RESPONSE => return Ok(false),
            backend::ERROR_RESPONSE if is_last_word(&Fields::new(frame.body())) => {
                return Ok(false);
            }
            backend::READY_FOR_QUERY => {
                self.status = backend::ready_for_query(frame.body())?;
                self.due.pop();
            }
            _ => {}
        }
        walk.skip(frame.bytes.len());
        Ok(true)
    }

    /// Handles one whole frame of the kinds that mean something.
    fn frame(
        &mut self,
        frame: Frame<'_>,
        walk: &mut Walk<'_>,
        upstream: &mut Upstream,
        retry: bool,
    ) -> Result<Option<Event>, twinport_wire::Error> {
        let mut shown = true;
        match frame.tag {
            backend::ERROR_RESPONSE => return Ok(self.error(frame, walk, upstream, retry)),
            backend::PARAMETER_STATUS => upstream.note_parameter(frame.body()),
            backend::READY_FOR_QUERY => {
                self.own_before(walk);
                self.status = backend::ready_for_query(frame.body())?;
                let answered = self.due.pop();
                self.end_of_batch(answered.as_ref());
                shown = !matches!(answered, Some(Expect::Sync { shown: false }));
                self.copy_in = false;
                self.begun = false;
                self.ready += usize::from(shown);
            }
            backend::PARSE_COMPLETE | backend::BIND_COMPLETE | backend::CLOSE_COMPLETE => {
                self.own_before(walk);
                shown = self.complete(frame.tag);
            }
            backend::ROW_DESCRIPTION => {
                self.own_before(walk);
                let json_tail = self.due.front().map_or(0, Expect::json_tail);
                let patched = (json_tail > 0).then(|| describe_json(frame.bytes, json_tail));
                shown =
                    self.note_description(walk, Some(patched.as_deref().unwrap_or(frame.bytes)));
                if let Some(patched) = patched.filter(|_| shown) {
                    self.begun = true;
                    walk.replace(frame.bytes.len(), &patched);
                    return Ok(None);
                }
            }
            backend::NOTIFICATION_RESPONSE => {
                self.own_before(walk);
                if let Some(translated) = upstream.target.server.translate(frame.bytes) {
                    walk.replace(frame.bytes.len(), &translated);
                    return Ok(None);
                }
            }
            backend::NO_DATA => shown = self.note_description(walk, Some(frame.bytes)),
            backend::EMPTY_QUERY | backend::PORTAL_SUSPENDED | backend::COMMAND_COMPLETE => {
                self.own_before(walk);
                let replaced = self.note_completion(&frame, walk, upstream);
                if let Some(Expect::Execute { timed, .. }) = self.due.front() {
                    if *timed {
                        self.timed_out = None;
                    }
                    self.due.pop();
                    self.copy_in = false;
                }
                if replaced {
                    self.begun = true;
                    return Ok(None);
                }
            }
            backend::COPY_IN | backend::COPY_BOTH => {
                self.own_before(walk);
                self.begin_copy();
            }
            _ => self.own_before(walk),
        }
        if shown {
            self.begun |= !matches!(
                frame.tag,
                backend::READY_FOR_QUERY | backend::PARAMETER_STATUS
            );
            walk.at += frame.bytes.len();
        } else {
            walk.skip(frame.bytes.len());
        }
        Ok(None)
    }

    /// Notes that a request which brings nothing but this is done; whether it was the client's.
    fn complete(&mut self, tag: u8) -> bool {
        let shown = match (tag, self.due.front()) {
            (backend::PARSE_COMPLETE, Some(Expect::Parse { change, .. })) => change.is_some(),
            (backend::BIND_COMPLETE, Some(Expect::Bind(_)))
            | (backend::CLOSE_COMPLETE, Some(Expect::Close)) => true,
            (backend::CLOSE_COMPLETE, Some(Expect::CloseOurs(_))) => false,
            _ => return true,
        };
        if tag == backend::BIND_COMPLETE {
            // To plan a statement may run some of its functions.
            self.fate.last = Last::Other;
        }
        self.due.pop();
        shown
    }

    #[inline]
    fn own_before(&mut self, walk: &mut Walk<'_>) {
        // Most answers have none before them, and every frame asks.
        while self.due.front().is_some_and(Expect::is_own) {
            if let Some(own) = self.pop_own() {
                walk.insert(own);
            }
        }
    }
}

/// The whole message.
const PARSE_COMPLETE: &[u8] = &[backend::PARSE_COMPLETE, 0, 0, 0, 4];
/// As well.
const CLOSE_COMPLETE: &[u8] = &[backend::CLOSE_COMPLETE, 0, 0, 0, 4];

/// Whether the server closes the connection behind an error.
pub(crate) fn is_last_word(fields: &Fields<'_>) -> bool {
    let severity = fields.get(b'V').or(fields.get(b'S'));
    matches!(severity, Some(b"FATAL" | b"PANIC"))
}

#[cfg(test)]
mod tests;
