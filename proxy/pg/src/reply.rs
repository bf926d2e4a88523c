//! What the server's answers mean to the session: which request each belongs to, and what the client sees.
//!
//! The session pushes one [`Expect`] for each request that it sends; [`Replies::take`] walks the frames that come
//! back, reads no more than their headers, and says what of them goes to the client. Answers to requests of our
//! own are dropped, answers to requests that never went upstream are put in at their place.

mod due;
mod expect;
mod rows;
mod walk;

pub use due::Timed;
pub use expect::{Bound, Expect};

use std::collections::VecDeque;
use std::sync::Arc;

use twinport_wire::pg::backend::{self, Fields, Status};
use twinport_wire::pg::frame::{self, Frame};

use crate::statement::Statement;
use crate::upstream::Upstream;
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

/// The state of the answers.
#[derive(Debug)]
pub struct Replies {
    queue: VecDeque<Expect>,
    /// Bytes of the current frame that are still to come and go straight on.
    passing: usize,
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
    /// Whether the client got something of the current batch.
    begun: bool,
    last_bound: Option<Bound>,
    /// Whether a batch has begun whose Sync has not been sent.
    pub unsynced: bool,
    /// Whether the server was told to send the answers to all that it has been sent, and need not wait for the Sync.
    pub flushed: bool,
    /// Statements whose result the client has been told of since the session last looked.
    pub described: Vec<u64>,
    /// Names whose Parse came to nothing since the session last looked.
    pub failed_names: Vec<Box<[u8]>>,
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
            queue: VecDeque::new(),
            passing: 0,
            folding: None,
            status: Status::Idle,
            copy_in: false,
            skipping: false,
            ready: 0,
            errors: 0,
            begun: false,
            last_bound: None,
            unsynced: false,
            flushed: false,
            described: Vec::new(),
            failed_names: Vec::new(),
            stale: None,
            outdated: Vec::new(),
            timed_out: None,
        }
    }
}

impl Replies {
    /// Notes an answer that is due.
    pub fn push(&mut self, expect: Expect) {
        if !matches!(expect, Expect::Own(_) | Expect::CopyEnd) {
            self.unsynced = !expect.ends_with_ready();
            self.flushed = false;
        }
        if let Expect::Bind(bound) = &expect {
            self.last_bound.clone_from(bound);
        }
        if self.folding.is_none() && expect.fold().is_some() {
            self.folding = Some(Box::default());
        }
        self.skipping = false;
        self.queue.push_back(expect);
    }

    /// The statement that was bound last.
    pub fn last_bound(&self) -> Option<Bound> {
        self.last_bound.clone()
    }

    /// Whether the client has got half a frame.
    pub fn is_mid_frame(&self) -> bool {
        self.passing > 0
    }

    /// Forgets everything that is due.
    pub fn clear(&mut self) {
        let queue = self.end();
        self.begin(queue);
    }

    /// Takes the room for what will be due.
    pub fn begin(&mut self, queue: VecDeque<Expect>) {
        self.queue = queue;
    }

    /// Forgets everything that is due and gives the room for it back.
    pub fn end(&mut self) -> VecDeque<Expect> {
        let mut queue = std::mem::take(&mut self.queue);
        queue.clear();
        *self = Self {
            status: self.status,
            ..Self::default()
        };
        queue
    }

    /// Puts out answers of our own that stand first and have nothing before them to wait for.
    pub fn flush_own(&mut self, out: &mut Vec<u8>) {
        while let Some(own) = self.pop_own() {
            out.extend_from_slice(&own);
        }
    }

    fn pop_own(&mut self) -> Option<Box<[u8]>> {
        let own = match self.queue.front_mut()? {
            Expect::Own(bytes) => std::mem::take(bytes),
            Expect::Parsed(_) => PARSE_COMPLETE.into(),
            Expect::CopyEnd => Box::default(),
            _ => return None,
        };
        self.queue.pop_front();
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
                walk.at += now;
                if self.passing > 0 {
                    return Ok(None);
                }
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
            let ours = matches!(self.queue.front(), Some(Expect::Ours));
            if streams(header.tag) && !ours {
                self.own_before(walk);
                self.begun = true;
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
            backend::ROW_DESCRIPTION => self.note_description(walk),
            backend::ERROR_RESPONSE => {
                self.own_before(walk);
                self.errors += 1;
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
                self.queue.pop_front();
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
                shown = !matches!(self.queue.pop_front(), Some(Expect::Sync { shown: false }));
                self.copy_in = false;
                self.begun = false;
                self.ready += usize::from(shown);
            }
            backend::PARSE_COMPLETE => {
                self.own_before(walk);
                if let Some(Expect::Parse { name, .. }) = self.queue.front() {
                    shown = name.is_some();
                    self.queue.pop_front();
                }
            }
            backend::CLOSE_COMPLETE => {
                self.own_before(walk);
                if let Some(Expect::Close | Expect::CloseOurs(_)) = self.queue.front() {
                    shown = matches!(self.queue.pop_front(), Some(Expect::Close));
                }
            }
            backend::BIND_COMPLETE => {
                self.own_before(walk);
                if let Some(Expect::Bind(_)) = self.queue.front() {
                    self.queue.pop_front();
                }
            }
            backend::ROW_DESCRIPTION => {
                self.own_before(walk);
                let json_tail = self.queue.front().map_or(0, Expect::json_tail);
                self.note_description(walk);
                if json_tail > 0 {
                    self.begun = true;
                    walk.replace(frame.bytes.len(), &describe_json(frame.bytes, json_tail));
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
            backend::NO_DATA => self.note_description(walk),
            backend::EMPTY_QUERY | backend::PORTAL_SUSPENDED | backend::COMMAND_COMPLETE => {
                self.own_before(walk);
                if let Some(Expect::Execute { .. }) = self.queue.front() {
                    self.queue.pop_front();
                    self.copy_in = false;
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

    /// Notes RowDescription or NoData.
    fn note_description(&mut self, walk: &mut Walk<'_>) {
        self.own_before(walk);
        if let Some(Expect::Describe(bound)) = self.queue.front() {
            self.described
                .extend(bound.as_ref().map(|bound| bound.statement.id));
            self.queue.pop_front();
        }
    }

    fn error(
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
        self.copy_in = false;
        if is_stale(&fields)
            && let Some(bound) = self.failing().cloned()
        {
            // A client that knows the columns must hear of it; any other gets a fresh plan without noticing.
            if retry && !bound.described && !self.begun && self.ready_due() == 1 {
                self.stale = Some(bound.statement);
                walk.skip(frame.bytes.len());
                return Some(Event::Stale);
            }
            self.outdated.push(bound.statement);
        }
        self.own_before(walk);
        let timed = self.timed();
        let mut replacement = None;
        if let Some(Expect::Query { refusal, .. } | Expect::Parse { refusal, .. }) =
            self.queue.front_mut()
        {
            replacement = refusal.take();
        }
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

    /// The server skips what comes before the next Sync: none of it is answered, or has happened.
    fn skip_to_ready(&mut self, upstream: &mut Upstream) {
        if self.queue.front().is_some_and(Expect::ends_with_ready) {
            return;
        }
        loop {
            // A Query in the middle of a batch is passed over, too.
            if let Some(Expect::Sync { .. }) = self.queue.front() {
                return;
            }
            match self.queue.pop_front() {
                None => break,
                Some(Expect::Parse { key, name, .. }) => {
                    if upstream.unnamed == Some(key) {
                        upstream.unnamed = None;
                    }
                    upstream.prepared.pop(&key);
                    self.failed_names.extend(name);
                }
                Some(Expect::Parsed(name)) => self.failed_names.push(name),
                Some(Expect::CloseOurs(number)) => upstream.unclosed.push(number),
                Some(_) => {}
            }
        }
        self.skipping = true;
        self.unsynced = true;
    }

    #[inline]
    fn own_before(&mut self, walk: &mut Walk<'_>) {
        // Most answers have none before them, and every frame asks.
        while let Some(Expect::Own(_) | Expect::Parsed(_) | Expect::CopyEnd) = self.queue.front() {
            if let Some(own) = self.pop_own() {
                walk.insert(&own);
            }
        }
    }
}

/// The whole message.
const PARSE_COMPLETE: &[u8] = &[backend::PARSE_COMPLETE, 0, 0, 0, 4];

/// Whether the server closes the connection behind an error.
fn is_last_word(fields: &Fields<'_>) -> bool {
    let severity = fields.get(b'V').or(fields.get(b'S'));
    matches!(severity, Some(b"FATAL" | b"PANIC"))
}

fn is_stale(fields: &Fields<'_>) -> bool {
    fields.code() == Some("0A000") && fields.get(b'R') == Some(b"RevalidateCachedQuery")
}

#[cfg(test)]
mod tests;
