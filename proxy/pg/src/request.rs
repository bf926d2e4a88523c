//! What the client's messages mean: which go on with their original bytes, which are changed, which are
//! answered here.

use twinport_rewriter::scan::Effects;
use twinport_wire::pg::backend::{self, Status};
use twinport_wire::pg::frame::{self, HEADER};
use twinport_wire::pg::frontend::{self, Target, build};

use crate::fault::Fault;
use crate::reply::{Expect, Timed};
use crate::session::{Clock, Refusing, Session, Step};

mod extended;
mod reset;
mod simple;
mod standing;

pub(crate) use standing::{NamesNow, Unready};

/// A frame from the client that isn't streamed must fit in memory.
const MAX_MESSAGE: usize = 0x3fff_ffff;

/// From this size on a Bind is passed on piece by piece.
const LARGE_BIND: usize = 16 * 1024;

/// What became of a frame.
pub(crate) enum Did {
    /// It is done with.
    Done,
    /// It has to wait for this.
    Wait(Step),
    /// It has to wait for an answer that is due.
    Later,
}

impl Session {
    /// Handles the requests in `bytes`; how many bytes are done with, and what stopped it.
    pub(crate) fn take_requests(&mut self, bytes: &[u8]) -> (usize, Option<Step>) {
        let mut at = 0;
        if self.held.is_some() {
            self.reserve(bytes.len());
        }
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if self.passing > 0 {
                let now = self.passing.min(rest.len());
                self.pass(now, rest);
                at += now;
                if self.passing > 0 {
                    return (at, None);
                }
                continue;
            }
            let header = match frame::peek(rest) {
                Ok(Some(header)) => header,
                Ok(None) => {
                    self.needed = HEADER;
                    return (at, None);
                }
                Err(error) => return (at, Some(Step::End(Fault::protocol(&error).into()))),
            };
            if self.is_held_back(header.tag) {
                self.hurry();
                return (at, None);
            }
            if self.held.is_none() {
                match self.without_lease(header.tag, header.len, rest) {
                    Unleased::Done => at += header.len,
                    Unleased::Skip => self.passing = header.len,
                    // Nobody is kept from a connection meanwhile.
                    Unleased::Step(Step::Lease) if self.must_learn(header.tag) => {
                        return (at, Some(Step::Learn));
                    }
                    // The usual case: nothing has to wait, or be kept.
                    Unleased::Step(Step::Lease) if self.lease_at_once() => {
                        self.reserve(rest.len());
                    }
                    Unleased::Step(step) => return (at, Some(step)),
                    Unleased::More => {
                        self.needed = header.len;
                        return (at, None);
                    }
                }
                continue;
            }
            let Some(whole) = rest.get(..header.len) else {
                if let Some(handled) = self.begin_stream(header.tag, header.len, rest) {
                    at += handled;
                    continue;
                }
                if header.len > MAX_MESSAGE {
                    let fault = Fault::fatal("54000", "a message over 1 GiB can't be handled");
                    return (at, Some(Step::End(fault.into())));
                }
                self.needed = header.len;
                return (at, None);
            };
            match self.request(header.tag, whole) {
                Ok(Did::Done) => at += header.len,
                Ok(Did::Wait(step)) => return (at, Some(step)),
                Ok(Did::Later) => {
                    self.hold_back();
                    return (at, None);
                }
                Err(fault) => return (at, Some(Step::End(fault.into()))),
            }
        }
    }

    /// Whether a message has to wait: for the end of a statement with a time of its own, which nothing follows that a
    /// late cancel could hit; or because somebody waits for the connection, which a client that always has something
    /// under way would never let go.
    pub(crate) fn is_held_back(&self, tag: u8) -> bool {
        let is_timed = match &self.clock {
            Clock::Off => false,
            Clock::Set(_) | Clock::Runs(..) => {
                !goes_along(tag) && self.replies.timed() != Timed::Over
            }
            Clock::Cancels(_) => tag != frontend::TERMINATE,
        };
        is_timed || self.lets_go()
    }

    /// Whether no further batch is begun, so that the lease comes to its end.
    fn lets_go(&self) -> bool {
        let replies = &self.replies;
        let has_served = replies.ready > 0 || !replies.is_empty();
        let at_end = !replies.unsynced && !replies.copy_in && replies.status == Status::Idle;
        let is_free = at_end && has_served && self.passing == 0;
        is_free
            && self.held.is_some()
            && self.pinned.is_none()
            && !self.session_mode
            && self.pool.is_waited_for()
    }

    /// Has the server send what it has answered so far, where the client's next message waits for that.
    pub(crate) fn hurry(&mut self) {
        if self.held.is_some() && self.replies.unsynced && !self.replies.flushed {
            self.replies.flushed = true;
            build::flush(&mut self.to_upstream);
        }
    }

    /// Makes room for that much from the client at once, and not frame by frame.
    fn reserve(&mut self, len: usize) {
        self.to_upstream.reserve(len + 64);
    }

    fn pass(&mut self, now: usize, rest: &[u8]) {
        self.passing -= now;
        // Without a lease the frame belongs to nobody any more: the rest of a COPY that failed.
        if self.held.is_some() {
            self.to_upstream
                .extend_from_slice(rest.get(..now).unwrap_or_default());
        }
    }

    /// Starts to pass on a frame that is not all there, if its kind needs no more than is there; how many bytes
    /// of it are handled already.
    fn begin_stream(&mut self, tag: u8, len: usize, rest: &[u8]) -> Option<usize> {
        match tag {
            // What the server passes over may as well be sent.
            _ if self.replies.skipping && is_skipped(tag) => {
                self.passing = len;
                Some(0)
            }
            frontend::COPY_DATA => {
                self.passing = len;
                Some(0)
            }
            frontend::BIND if len > LARGE_BIND && rest.len() >= LARGE_BIND / 2 => {
                self.begin_large_bind(len, rest)
            }
            _ => None,
        }
    }

    /// Handles one whole message under a lease.
    fn request(&mut self, tag: u8, bytes: &[u8]) -> Result<Did, Fault> {
        if self.replies.skipping && is_skipped(tag) {
            return Ok(Did::Done);
        }
        if self.must_learn(tag) {
            return Ok(Did::Wait(Step::Learn));
        }
        let body = bytes.get(HEADER..).unwrap_or_default();
        let malformed = |error: twinport_wire::Error| Fault::protocol(&error);
        match tag {
            frontend::QUERY => {
                return Ok(self.query(frontend::query(body).map_err(malformed)?, bytes));
            }
            frontend::PARSE => {
                let parse = frontend::Parse::decode(body).map_err(malformed)?;
                // What is parsed afresh can't be out of date.
                if !parse.name.is_empty() {
                    self.keep_for_retry(bytes);
                }
                let did = self.parse(parse);
                return Ok(self.kept(did, bytes));
            }
            frontend::BIND => {
                self.keep_for_retry(bytes);
                let did = self.bind(frontend::Bind::decode(body).map_err(malformed)?);
                return Ok(self.kept(did, bytes));
            }
            frontend::DESCRIBE => {
                self.keep_for_retry(bytes);
                let did = self.describe(Target::decode(body).map_err(malformed)?, bytes);
                return Ok(self.kept(did, bytes));
            }
            frontend::EXECUTE => {
                self.keep_for_retry(bytes);
                self.execute(frontend::Execute::decode(body).map_err(malformed)?, bytes);
            }
            frontend::CLOSE => {
                self.keep_for_retry(bytes);
                let did = self.close(Target::decode(body).map_err(malformed)?, bytes);
                return Ok(self.kept(did, bytes));
            }
            frontend::FLUSH => {
                self.keep_for_retry(bytes);
                self.to_upstream.extend_from_slice(bytes);
                self.replies.flushed = true;
                self.replies.flush_own(&mut self.to_client);
            }
            frontend::SYNC => {
                self.keep_for_retry(bytes);
                self.to_upstream.extend_from_slice(bytes);
                // While it copies the server ignores a Sync, so no answer is due.
                if !self.replies.copy_in {
                    self.replies.push(Expect::Sync { shown: true });
                    if let Some(held) = &mut self.held
                        && std::mem::take(&mut held.resets)
                    {
                        self.restore_behind_batch();
                    }
                }
            }
            frontend::FUNCTION_CALL => {
                self.note_function(body);
                self.to_upstream.extend_from_slice(bytes);
                self.replies.push(Expect::Function);
            }
            frontend::COPY_DATA => self.to_upstream.extend_from_slice(bytes),
            frontend::COPY_DONE | frontend::COPY_FAIL => {
                self.to_upstream.extend_from_slice(bytes);
                if !self.replies.copy_in && !self.replies.is_empty() {
                    self.replies.push(Expect::CopyEnd);
                }
                self.replies.copy_in = false;
            }
            frontend::TERMINATE => return Ok(Did::Wait(Step::ClientGone)),
            other => {
                return Err(Fault::fatal(
                    "08P01",
                    format_args!("invalid frontend message type {other}"),
                ));
            }
        }
        Ok(Did::Done)
    }

    /// Keeps a message of a batch that begins outside a transaction, so that it can be sent again.
    fn keep_for_retry(&mut self, bytes: &[u8]) {
        if !self.batch.is_kept() {
            let fresh = self.replies.is_empty()
                && !self.replies.unsynced
                && self.replies.status == Status::Idle;
            if !fresh {
                return;
            }
            self.batch.begin();
        }
        self.batch.add(bytes);
    }

    /// A message that has to wait will come again, and is kept then.
    fn kept(&mut self, did: Did, bytes: &[u8]) -> Did {
        if !matches!(did, Did::Done) {
            self.batch.drop_last(bytes.len());
        }
        did
    }

    /// Reads no more from the client until the server has said more. What it was sent without a Sync it would
    /// not answer by itself.
    fn hold_back(&mut self) {
        if self.replies.unsynced {
            build::flush(&mut self.to_upstream);
        }
        self.stalled = true;
    }

    /// Handles a message while no upstream connection is held: some need none.
    fn without_lease(&mut self, tag: u8, len: usize, rest: &[u8]) -> Unleased {
        if tag == frontend::TERMINATE {
            return Unleased::Step(Step::ClientGone);
        }
        // Data of a COPY that failed before the client knew.
        if matches!(
            tag,
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL
        ) {
            return Unleased::Skip;
        }
        if let Some(refusing) = self.refusing {
            if refusing == Refusing::Message || tag == frontend::SYNC {
                backend::build::ready_for_query(&mut self.to_client, Status::Idle);
                self.refusing = None;
            }
            return Unleased::Skip;
        }
        let Some(whole) = rest.get(..len) else {
            // Large messages wait for their lease here and not in our memory.
            return if len > LARGE_BIND {
                Unleased::Step(Step::Lease)
            } else {
                Unleased::More
            };
        };
        match tag {
            frontend::SYNC => {
                backend::build::ready_for_query(&mut self.to_client, Status::Idle);
                Unleased::Done
            }
            frontend::FLUSH => Unleased::Done,
            frontend::CLOSE => self.close_without_lease(whole),
            _ => Unleased::Step(Step::Lease),
        }
    }

    /// Without a lease nothing is known upstream that the client could name, and no answer is due.
    fn close_without_lease(&mut self, whole: &[u8]) -> Unleased {
        match Target::decode(whole.get(HEADER..).unwrap_or_default()) {
            Ok(target) => {
                if let Target::Statement(name) = target {
                    self.handles.remove(name);
                }
                backend::build::close_complete(&mut self.to_client);
                Unleased::Done
            }
            Err(error) => Unleased::Step(Step::End(Fault::protocol(&error).into())),
        }
    }

    /// Notes what a statement that is sent now may leave behind.
    pub(crate) fn note_effects(&mut self, effects: Effects) {
        if let Some(held) = &mut self.held {
            held.effects |= effects;
        }
        if effects.intersects(Effects::SETTINGS | Effects::LOCAL) {
            self.names_now = None;
        }
    }
}

/// Whether a message belongs to the statement before it, or ends its batch.
fn goes_along(tag: u8) -> bool {
    matches!(
        tag,
        frontend::SYNC
            | frontend::FLUSH
            | frontend::COPY_DATA
            | frontend::COPY_DONE
            | frontend::COPY_FAIL
            | frontend::TERMINATE
    )
}

/// Whether the server passes over such a message after an error, up to the Sync.
fn is_skipped(tag: u8) -> bool {
    !matches!(tag, frontend::SYNC | frontend::TERMINATE)
}

/// What became of a message without a lease.
enum Unleased {
    Done,
    /// The frame is passed over as it comes.
    Skip,
    /// It isn't all there.
    More,
    Step(Step),
}
