//! Moves bytes: both sockets watched at once, every buffer bounded, nothing held while idle.
//!
//! Bytes are read into the thread's scratch buffer and written on from there. Only what a slow peer has not
//! taken, or half a frame, is copied to a buffer of the session.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use twinport_core::drain::Phase;
use twinport_core::scratch;
use twinport_core::stream::Stream;
use twinport_wire::pg::backend::Status;
use twinport_wire::pg::frame::Frame;

use crate::fault::Fault;
use crate::reply::{Event, Timed};
use crate::session::{Clock, Session, Step};
use crate::upstream::Upstream;

/// So many bytes for the upstream, or for the client, may wait before the client is no longer read.
const BOUND: usize = 256 * 1024;

/// So many answers may be due before the client is no longer read.
const MOST_DUE: usize = 4096;

/// So often bytes are moved before the thread looks again at what is ready: one way that always has more must starve
/// neither the other way, nor other sessions.
const TURNS: usize = 4;

/// What one look at a socket brought.
enum Look {
    /// Nothing to do there.
    Nothing,
    /// Some bytes were moved.
    Moved,
    /// The session's loop is needed.
    Step(Step),
}

impl Session {
    /// Moves bytes both ways until the session's loop is needed, or nothing more can be moved.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Clock::Cancels(cancel) = &mut self.clock
            && Pin::new(cancel).poll(cx).is_ready()
        {
            self.clock = Clock::Off;
        }
        self.poll_learning(cx);
        for turn in 0.. {
            if turn == TURNS {
                // Ready only once it is polled again.
                let _ = pin!(yield_now()).poll(cx);
                break;
            }
            let mut moved = false;
            if self.client_holds {
                match is_flushed(&mut self.client, cx) {
                    Ok(flushed) => self.client_holds = !flushed,
                    Err(_) => return Poll::Ready(Step::ClientGone),
                }
            }
            if !self.to_client.is_empty() {
                match write_from(
                    &mut self.client,
                    &mut self.to_client,
                    &mut self.client_holds,
                    cx,
                ) {
                    Poll::Ready(Ok(())) => {
                        moved = true;
                        if self.to_client.is_empty() {
                            self.to_client = Vec::new();
                        }
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Step::ClientGone),
                    Poll::Pending => {}
                }
            }
            if self.held.is_some() && self.to_client.is_empty() {
                match self.look_upstream(cx) {
                    Look::Nothing => {}
                    Look::Moved => moved = true,
                    Look::Step(step) => return Poll::Ready(step),
                }
                if self.is_over() {
                    return Poll::Ready(Step::Release);
                }
            }
            // What waits for an answer can't be handled before it has come.
            let stalled = self.stalled && !self.replies.is_empty();
            if self.replies.due() >= MOST_DUE {
                self.hurry();
            } else if self.to_upstream.len() < BOUND && self.to_client.len() < BOUND && !stalled {
                match self.look_client(cx) {
                    Look::Nothing => {}
                    Look::Moved => moved = true,
                    Look::Step(step) => return Poll::Ready(step),
                }
            }
            if let Some(held) = &mut self.held {
                let Upstream { stream, holds, .. } = &mut *held.upstream;
                let flushed = if *holds {
                    is_flushed(stream, cx)
                } else {
                    Ok(true)
                };
                let written = match flushed {
                    Err(error) => Poll::Ready(Err(error)),
                    Ok(flushed) => {
                        *holds = !flushed;
                        write_from(stream, &mut self.to_upstream, holds, cx)
                    }
                };
                match written {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(error)) => return self.write_failed(&error, cx),
                    Poll::Pending => {}
                }
            }
            if !moved {
                break;
            }
        }
        self.poll_clocks(cx)
    }

    /// A server that goes says why before it closes: that is better to know than that a write failed.
    fn write_failed(&mut self, error: &io::Error, cx: &mut Context<'_>) -> Poll<Step> {
        self.to_upstream.clear();
        loop {
            match self.look_upstream(cx) {
                Look::Moved => {}
                Look::Step(step) => return Poll::Ready(step),
                Look::Nothing => {
                    return Poll::Ready(Step::UpstreamLost(Fault::upstream_lost(error).into()));
                }
            }
        }
    }

    /// Whether more is known of what functions do, where that is waited for.
    fn poll_learning(&mut self, cx: &mut Context<'_>) {
        if let Some(held) = &mut self.held
            && let Some(unjudged) = &mut held.unjudged
            && let Some(learning) = &mut unjudged.learning
            && learning.as_mut().poll(cx).is_ready()
        {
            unjudged.learning = None;
        }
    }

    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.is_out_of_time(cx) {
            return Poll::Ready(Step::TimedOut);
        }
        let at_rest = self.replies.is_empty()
            && self.replies.status == Status::Idle
            && self.pending.is_empty();
        let at_rest = at_rest && !self.replies.unsynced && self.to_client.is_empty();
        match self.going_down.phase(cx) {
            Phase::Finishing if !at_rest => {}
            Phase::Serving => {}
            Phase::Finishing | Phase::Ending => {
                return Poll::Ready(Step::End(Fault::going_down().into()));
            }
        }
        self.poll_silence(cx)
    }

    /// Whether the time of the statement that the server is at is over.
    fn is_out_of_time(&mut self, cx: &mut Context<'_>) -> bool {
        let after = match &mut self.clock {
            Clock::Off | Clock::Cancels(_) => return false,
            Clock::Set(after) | Clock::Runs(after, _) => *after,
        };
        match self.replies.timed() {
            Timed::Over => self.clock = Clock::Off,
            Timed::Later => {}
            Timed::Next => {
                if let Clock::Set(_) = self.clock {
                    self.clock = Clock::Runs(after, Box::pin(tokio::time::sleep(after)));
                }
                if let Clock::Runs(_, sleep) = &mut self.clock {
                    return sleep.as_mut().poll(cx).is_ready();
                }
            }
        }
        false
    }

    /// Ends a client that is silent for too long, in a transaction or outside.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if !self.replies.is_empty() {
            self.silence = None;
            return Poll::Pending;
        }
        let settings = self.wing.settings.load();
        let in_transaction = self.replies.status != Status::Idle;
        let (bound, code, message) = if in_transaction {
            let message = "terminating connection due to idle_transaction_timeout";
            (settings.postgres.idle_transaction_timeout, "25P03", message)
        } else {
            let message = "terminating connection due to client_idle_timeout";
            (settings.postgres.client_idle_timeout, "57P05", message)
        };
        let Some(bound) = bound else {
            self.silence = None;
            return Poll::Pending;
        };
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(bound)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Step::End(Fault::fatal(code, message).into()))
    }

    /// Whether the transaction, and all that was asked for, is over.
    fn is_over(&self) -> bool {
        let Some(held) = &self.held else {
            return false;
        };
        let done = self.replies.is_empty()
            && !self.replies.unsynced
            && self.replies.status == Status::Idle
            && self.passing == 0
            && self.to_upstream.is_empty()
            && !self.has_work();
        // A pinned session keeps its lease; only what may have changed its state makes us look again.
        let unjudged = held.unjudged.as_ref();
        let learning = unjudged.is_some_and(|unjudged| unjudged.learning.is_some());
        let may_change =
            !held.effects.is_empty() || self.pinned.is_to_be_asked(self.replies.ready, learning);
        done && !self.session_mode && (self.pinned.is_none() || may_change)
    }

    /// Whether bytes of the client wait that can be handled now.
    fn has_work(&self) -> bool {
        let first = self.pending.first();
        self.pending.len() >= self.needed.max(1)
            && (self.passing > 0 || !first.is_some_and(|tag| self.is_held_back(*tag)))
    }

    fn look_upstream(&mut self, cx: &mut Context<'_>) -> Look {
        scratch::with(|buffer| {
            let Some(held) = &mut self.held else {
                return Look::Nothing;
            };
            let upstream = &mut *held.upstream;
            let kept = upstream.inbound.len();
            let Some((before, free)) = buffer.split_at_mut_checked(kept) else {
                return Look::Step(Step::UpstreamLost(
                    Fault::upstream_lost("an answer is too long").into(),
                ));
            };
            before.copy_from_slice(&upstream.inbound);
            let mut read = ReadBuf::new(free);
            let filled = match Pin::new(&mut upstream.stream).poll_read(cx, &mut read) {
                Poll::Pending if kept > 0 && matches!(Frame::first(before), Ok(Some(_))) => kept,
                Poll::Pending => return Look::Nothing,
                Poll::Ready(Err(error)) => {
                    return Look::Step(Step::UpstreamLost(Fault::upstream_lost(error).into()));
                }
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    return Look::Step(Step::UpstreamLost(
                        Fault::upstream_lost("the server closed it").into(),
                    ));
                }
                Poll::Ready(Ok(())) => kept + read.filled().len(),
            };
            upstream.inbound.clear();
            let chunk = buffer.get(..filled).unwrap_or_default();
            self.take_replies(chunk, cx)
        })
    }

    fn take_replies(&mut self, chunk: &[u8], cx: &mut Context<'_>) -> Look {
        let Some(held) = &mut self.held else {
            return Look::Nothing;
        };
        let ready_before = self.replies.ready;
        let retry = self.batch.is_kept();
        let upstream = &mut *held.upstream;
        let taken = match self
            .replies
            .take(chunk, upstream, retry, &mut self.to_client)
        {
            Ok(taken) => taken,
            Err(error) => {
                return Look::Step(Step::UpstreamLost(Fault::upstream_lost(error).into()));
            }
        };
        let (seen, rest) = chunk
            .split_at_checked(taken.consumed)
            .unwrap_or((chunk, &[]));
        upstream.inbound.extend_from_slice(rest);
        let stats = self.pool.stats();
        stats.sent.add(seen.len() as u64);
        let rereads = std::mem::take(&mut upstream.rereads);
        if self.replies.ready > ready_before {
            self.batch.forget();
            if self.replies.status == Status::Idle {
                self.names_now = None;
                if self.replies.is_empty() && !self.replies.unsynced {
                    self.portals.clear();
                }
                stats
                    .transactions
                    .add((self.replies.ready - ready_before) as u64);
            }
        }
        if rereads {
            self.note_reading();
        } else if self.replies.ready > ready_before {
            self.settle_reading();
        }
        for described in self.replies.described.drain(..) {
            self.handles.note_described(&described);
        }
        for statement in self.replies.outdated.drain(..) {
            self.wing.statements.retire(&statement);
        }
        for settled in self.replies.settled.drain(..) {
            self.handles.settle(settled);
        }
        self.stalled = false;
        if taken.whole && !seen.is_empty() {
            let (left, holds) = (&mut self.to_client, &mut self.client_holds);
            if write_direct(&mut self.client, seen, left, holds, cx).is_err() {
                return Look::Step(Step::ClientGone);
            }
        }
        match taken.event {
            None => Look::Moved,
            Some(Event::Stale) => Look::Step(Step::Retry),
            Some(Event::TooLarge) => Look::Step(Step::End(Fault::row_too_large().into())),
            Some(Event::Fatal(frame)) => {
                Look::Step(Step::UpstreamLost(Fault::last_word(&frame).into()))
            }
        }
    }

    fn look_client(&mut self, cx: &mut Context<'_>) -> Look {
        // What waits is looked at first: it may have waited for a lease.
        if self.has_work() {
            let pending = std::mem::take(&mut self.pending);
            return self.handle_requests(&pending);
        }
        let first = self.pending.first();
        let waits = first.is_some_and(|tag| self.is_held_back(*tag));
        if waits && self.pending.len() >= BOUND {
            return Look::Nothing;
        }
        scratch::with(|buffer| {
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut self.client).poll_read(cx, &mut read) {
                Poll::Pending => return Look::Nothing,
                Poll::Ready(Err(_)) => return Look::Step(Step::ClientGone),
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    return Look::Step(Step::ClientGone);
                }
                Poll::Ready(Ok(())) => {}
            }
            self.silence = None;
            self.pool.stats().received.add(read.filled().len() as u64);
            if self.pending.is_empty() {
                return self.handle_requests(read.filled());
            }
            self.pending.extend_from_slice(read.filled());
            if waits || self.pending.len() < self.needed {
                return Look::Moved;
            }
            let pending = std::mem::take(&mut self.pending);
            self.handle_requests(&pending)
        })
    }

    /// Handles whole frames and keeps the rest.
    fn handle_requests(&mut self, bytes: &[u8]) -> Look {
        self.needed = 0;
        let (consumed, step) = self.take_requests(bytes);
        let rest = bytes.get(consumed..).unwrap_or_default();
        if !rest.is_empty() {
            self.pending.extend_from_slice(rest);
        }
        match step {
            Some(step) => Look::Step(step),
            None => Look::Moved,
        }
    }
}

/// Writes as much of `from` as the peer takes; ready when something was written. `holds` becomes true if the stream
/// itself has kept something of it.
fn write_from(
    stream: &mut Stream,
    from: &mut Vec<u8>,
    holds: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let mut written = 0;
    while let Some(rest) = from.get(written..).filter(|rest| !rest.is_empty()) {
        match Pin::new(&mut *stream).poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => written += n,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => break,
        }
    }
    if written == 0 {
        return Poll::Pending;
    }
    if written == from.len() {
        from.clear();
        match is_flushed(stream, cx) {
            Ok(flushed) => *holds = !flushed,
            Err(error) => return Poll::Ready(Err(error)),
        }
    } else {
        from.drain(..written);
    }
    Poll::Ready(Ok(()))
}

/// Writes `bytes` at once and keeps in `left` what the peer does not take, behind what it has not taken before.
fn write_direct(
    stream: &mut Stream,
    bytes: &[u8],
    left: &mut Vec<u8>,
    holds: &mut bool,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    if !left.is_empty() {
        left.extend_from_slice(bytes);
        return Ok(());
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                left.extend_from_slice(rest);
                return Ok(());
            }
        }
    }
    *holds = !is_flushed(stream, cx)?;
    Ok(())
}

/// Whether all that was written is out. TLS holds back what a slow peer has not taken, and goes on with it only when
/// it is asked to.
fn is_flushed(stream: &mut Stream, cx: &mut Context<'_>) -> io::Result<bool> {
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(flushed) => flushed.map(|()| true),
        Poll::Pending => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_a_slow_client_has_not_taken_goes_first() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut stream = Stream::Memory(ours);
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = b"older, ".to_vec();
        let mut holds = false;
        write_direct(&mut stream, b"newer", &mut left, &mut holds, &mut cx).unwrap();
        assert_eq!(left, b"older, newer");
        assert!(write_from(&mut stream, &mut left, &mut holds, &mut cx).is_ready());
        let mut got = [0; 12];
        theirs.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"older, newer");
    }
}
