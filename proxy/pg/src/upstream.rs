//! An upstream connection: what it carries, and short exchanges of our own with it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use lru::LruCache;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use twinport_core::pool::Connection;
use twinport_core::scratch;
use twinport_core::stream::Stream;
use twinport_wire::pg::backend::{self, Fields, Status, Values};
use twinport_wire::pg::frame::{Frame, Frames};
use twinport_wire::pg::frontend::{Target as Closed, build};

use crate::admin::registry::Registered;
use crate::buffers::Buffers;
use crate::cancel::Target;
use crate::parameters::{Overrides, Reported};
use crate::reply::is_last_word;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// More bytes than this nobody sends unasked while a connection is idle.
const UNASKED: usize = 64 * 1024;

/// So much room for answers an idle connection keeps, in bytes.
const KEPT: usize = 4 * 1024;

/// What a statement is prepared under: its entry, and what its names mean.
pub type PreparedKey = (u64, u64);

/// A connection to the server.
pub struct Upstream {
    /// A number of its own, for the admin console.
    pub id: u64,
    /// The socket.
    pub stream: Stream,
    /// The socket holds something back that was written to it.
    pub holds: bool,
    /// How to cancel what runs on it.
    pub target: Arc<Target>,
    /// What the server has reported.
    pub reported: Arc<Reported>,
    /// The search path that it began with, where the server doesn't report it.
    pub search_path: Option<Box<str>>,
    /// What was last applied to it.
    pub settings: Arc<Overrides>,
    /// Prepared statements by entry, with the number in their upstream name; the least used first to go.
    pub prepared: LruCache<PreparedKey, u32>,
    /// Bytes read and not yet handled: half a frame, or what came behind the last answer.
    pub inbound: Vec<u8>,
    /// Notifications that came while we asked something of our own: they are the session's.
    pub aside: Vec<u8>,
    /// Numbers of statements that we gave up and that are still to be closed on the server.
    pub unclosed: Vec<u32>,
    /// The entry in the unnamed statement's place.
    pub unnamed: Option<PreparedKey>,
    /// What the session that holds the connection works with.
    pub buffers: Buffers,
    next_name: u32,
    opened: Instant,
    /// Its place among the open connections.
    pub(crate) registered: Option<Registered>,
}

/// Why an exchange of our own failed.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// The socket broke, or was closed.
    #[error("the upstream connection was lost: {0}")]
    Io(#[from] io::Error),
    /// Bytes that are no protocol.
    #[error("the upstream sent a malformed message: {0}")]
    Wire(#[from] twinport_wire::Error),
    /// The server answered with an error.
    #[error("{code}: {message}")]
    Server {
        /// SQLSTATE.
        code: String,
        /// The server's words.
        message: String,
        /// The whole ErrorResponse.
        frame: Vec<u8>,
    },
    /// The server answered with a text that is not UTF-8.
    #[error("the upstream sent a text that is not UTF-8")]
    Text,
    /// The server left a transaction open.
    #[error("the upstream is not idle")]
    NotIdle(Vec<Row>),
}

impl ExchangeError {
    /// Whether the connection can't be used any more.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Wire(_))
    }
}

/// A row of text values.
pub type Row = Vec<Option<String>>;

impl Upstream {
    /// A fresh connection that has just said ReadyForQuery.
    pub fn new(stream: Stream, reported: Reported, target: Target) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            stream,
            holds: false,
            target: Arc::new(target),
            reported: Arc::new(reported),
            search_path: None,
            settings: Arc::default(),
            prepared: LruCache::unbounded(),
            inbound: Vec::new(),
            aside: Vec::new(),
            unclosed: Vec::new(),
            unnamed: None,
            buffers: Buffers::default(),
            next_name: 0,
            opened: Instant::now(),
            registered: None,
        }
    }

    /// A number for the next statement's upstream name.
    pub fn next_name(&mut self) -> u32 {
        self.next_name = self.next_name.wrapping_add(1);
        if let Some(registered) = &self.registered {
            registered.set_prepared(self.prepared.len() + 1);
        }
        self.next_name
    }

    /// Counts on no prepared statement any more: they may be gone any moment. Names are never used twice, and
    /// what is not gone will be closed.
    pub fn forget_prepared(&mut self) {
        let numbers = self.prepared.iter().map(|(_, number)| *number);
        self.unclosed.extend(numbers);
        self.prepared.clear();
        self.unnamed = None;
    }

    /// Counts no more on a statement that was sent to be prepared and is not there.
    pub fn missing(&mut self, key: PreparedKey, number: u32) {
        if number == 0 {
            if self.unnamed == Some(key) {
                self.unnamed = None;
            }
        } else if self.prepared.peek(&key) == Some(&number) {
            self.prepared.pop(&key);
        }
    }

    /// Counts no more on a statement that was sent to be prepared and may be there or not.
    pub fn doubt(&mut self, key: PreparedKey, number: u32) {
        self.missing(key, number);
        if number > 0 {
            self.unclosed.push(number);
        }
    }

    /// Forgets the named statements, which the server has dropped.
    pub fn dropped_all(&mut self) {
        self.prepared.clear();
        self.unclosed.clear();
        if let Some(registered) = &self.registered {
            registered.set_prepared(0);
        }
    }

    /// Forgets what `DISCARD ALL` took.
    pub fn discarded(&mut self) {
        self.dropped_all();
        self.unnamed = None;
        self.settings = Arc::default();
    }

    /// Takes a ParameterStatus.
    pub fn note_parameter(&mut self, body: &[u8]) {
        if let Ok((name, value)) = backend::parameter_status(body) {
            Arc::make_mut(&mut self.reported).set(
                &String::from_utf8_lossy(name),
                &String::from_utf8_lossy(value),
            );
        }
    }

    /// Runs SQL of our own by a simple Query and reads to ReadyForQuery.
    ///
    /// # Errors
    /// When the connection breaks, or the server refuses; then the connection is still in step.
    pub async fn run(&mut self, sql: &str) -> Result<Vec<Row>, ExchangeError> {
        let mut request = Vec::with_capacity(sql.len() + 6);
        build::query(&mut request, sql.as_bytes());
        self.unnamed = None;
        self.exchange(&request).await
    }

    /// Sends a Sync and waits for its ReadyForQuery: does the connection work?
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&mut self) -> Result<(), ExchangeError> {
        let mut request = Vec::new();
        build::sync(&mut request);
        self.exchange(&request).await.map(drop)
    }

    /// As [`Upstream::run`], also inside a transaction.
    ///
    /// # Errors
    /// As there.
    pub async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, ExchangeError> {
        match self.run(sql).await {
            Err(ExchangeError::NotIdle(rows)) => Ok(rows),
            other => other,
        }
    }

    /// Runs one statement with text parameters.
    ///
    /// # Errors
    /// As [`Upstream::run`].
    pub async fn ask_with(
        &mut self,
        sql: &str,
        values: &[Option<&[u8]>],
    ) -> Result<Vec<Row>, ExchangeError> {
        let mut request = Vec::new();
        build::parse(&mut request, b"", sql.as_bytes(), &[]);
        build::bind_text(&mut request, b"", b"", values);
        build::execute(&mut request, b"", 0);
        build::sync(&mut request);
        self.unnamed = None;
        self.exchange(&request).await
    }

    /// As [`Upstream::run`], in one transaction, and so that the unnamed statement stays: a client may bind it again, and
    /// decodes its rows as it was told.
    ///
    /// # Errors
    /// As there.
    pub async fn ask_aside(&mut self, statements: &[&str]) -> Result<Vec<Row>, ExchangeError> {
        const NAME: &[u8] = b"_tp_question";
        let mut request = Vec::new();
        for sql in statements {
            // One that failed may have been left.
            build::close(&mut request, Closed::Statement(NAME));
            build::close(&mut request, Closed::Portal(NAME));
            build::parse(&mut request, NAME, sql.as_bytes(), &[]);
            build::bind_text(&mut request, NAME, NAME, &[]);
            build::execute(&mut request, NAME, 0);
        }
        build::close(&mut request, Closed::Statement(NAME));
        build::sync(&mut request);
        self.exchange(&request).await
    }

    /// As [`Upstream::ask_aside`], in the middle of a batch, behind what of it was not sent yet. Nothing may be due.
    ///
    /// # Errors
    /// As there; if the server refuses, it skips the rest of the batch.
    pub async fn ask_within(
        &mut self,
        before: &[u8],
        sql: &str,
    ) -> Result<Vec<Row>, ExchangeError> {
        const NAME: &[u8] = b"_tp_within";
        let mut request = before.to_vec();
        build::parse(&mut request, NAME, sql.as_bytes(), &[]);
        build::bind_text(&mut request, NAME, NAME, &[]);
        build::execute(&mut request, NAME, 0);
        build::close(&mut request, Closed::Portal(NAME));
        // Its answer is the last.
        build::close(&mut request, Closed::Statement(NAME));
        build::flush(&mut request);
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        let (mut rows, mut closed) = (Vec::new(), 0);
        let mut failure = None;
        self.read_until(|frame| {
            match frame.tag {
                backend::DATA_ROW => rows.push(text_row(frame.body())?),
                // Behind its last word the server closes the connection.
                backend::ERROR_RESPONSE if is_last_word(&Fields::new(frame.body())) => {}
                backend::ERROR_RESPONSE => failure = Some(server_error(frame)),
                backend::CLOSE_COMPLETE => closed += 1,
                _ => {}
            }
            Ok((closed == 2 || failure.is_some()).then_some(()))
        })
        .await?;
        failure.map_or(Ok(rows), Err)
    }

    /// Ends a batch that its client left open; where the session stands then.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn sync(&mut self) -> Result<Status, ExchangeError> {
        let mut request = Vec::new();
        build::sync(&mut request);
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        self.read_until_ready(|_| Ok(())).await
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Vec<Row>, ExchangeError> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut rows = Vec::new();
        let mut failure = None;
        let status = self
            .read_until_ready(|frame| {
                match frame.tag {
                    backend::DATA_ROW => rows.push(text_row(frame.body())?),
                    backend::ERROR_RESPONSE if failure.is_none() => {
                        failure = Some(server_error(frame))
                    }
                    _ => {}
                }
                Ok(())
            })
            .await?;
        match failure {
            Some(error) => Err(error),
            None if status == Status::Idle => Ok(rows),
            None => Err(ExchangeError::NotIdle(rows)),
        }
    }

    /// Reads and throws away until `count` more ReadyForQuery have come; the last one's status.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn drain(&mut self, count: usize) -> Result<Status, ExchangeError> {
        let mut status = Status::Idle;
        for _ in 0..count {
            status = self.read_until_ready(|_| Ok(())).await?;
        }
        Ok(status)
    }

    /// Reads to ReadyForQuery; what is not of the connection itself goes to `each`.
    ///
    /// # Errors
    /// When the connection breaks, or `each` fails.
    pub(crate) async fn read_until_ready(
        &mut self,
        mut each: impl FnMut(Frame<'_>) -> Result<(), twinport_wire::Error>,
    ) -> Result<Status, ExchangeError> {
        self.read_until(|frame| match frame.tag {
            backend::READY_FOR_QUERY => backend::ready_for_query(frame.body()).map(Some),
            _ => each(frame).map(|()| None),
        })
        .await
    }

    /// Reads until `each` gives something; it gets what is not of the connection itself.
    async fn read_until<T>(
        &mut self,
        mut each: impl FnMut(Frame<'_>) -> Result<Option<T>, twinport_wire::Error>,
    ) -> Result<T, ExchangeError> {
        loop {
            let mut inbound = std::mem::take(&mut self.inbound);
            let mut consumed = 0;
            let mut found = None;
            while found.is_none() {
                let rest = inbound.get(consumed..).unwrap_or_default();
                let Some(frame) = Frame::first(rest)? else {
                    break;
                };
                match frame.tag {
                    backend::PARAMETER_STATUS => self.note_parameter(frame.body()),
                    backend::NOTIFICATION_RESPONSE => {
                        let translated = self.target.server.translate(frame.bytes);
                        self.aside
                            .extend_from_slice(translated.as_deref().unwrap_or(frame.bytes));
                    }
                    _ => found = each(frame)?,
                }
                consumed += frame.bytes.len();
            }
            inbound.drain(..consumed);
            self.inbound = inbound;
            if let Some(found) = found {
                if self.inbound.is_empty() && self.inbound.capacity() > KEPT {
                    self.inbound = Vec::new();
                }
                return Ok(found);
            }
            if scratch::read(&mut self.stream, &mut self.inbound).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

impl Connection for Upstream {
    type Affinity = Arc<Overrides>;

    fn fits(&self, wanted: &Arc<Overrides>) -> bool {
        Arc::ptr_eq(&self.settings, wanted) || self.settings == *wanted
    }

    fn is_alive(&mut self) -> bool {
        // Idle and in step, the server has nothing to say but what it may say at any time, or that it goes. A read
        // that finds nothing costs no system call: the last one left the socket marked as not readable.
        let mut cx = Context::from_waker(Waker::noop());
        while self.inbound.len() < UNASKED {
            let mut room = [const { MaybeUninit::uninit() }; 512];
            let mut buffer = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => return is_unasked(&self.inbound),
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return false,
                // It is read with what comes next.
                Poll::Ready(Ok(())) => self.inbound.extend_from_slice(buffer.filled()),
            }
        }
        false
    }

    fn opened(&self) -> Instant {
        self.opened
    }
}

/// Whether bytes are whole messages that a server sends without being asked: notices, parameters that were
/// reloaded, notifications. Anything else is an answer that nobody waits for any more, or the server's last word.
fn is_unasked(bytes: &[u8]) -> bool {
    let mut frames = Frames::new(bytes);
    let unasked = frames.by_ref().all(|frame| {
        frame.is_ok_and(|frame| {
            matches!(
                frame.tag,
                backend::NOTICE_RESPONSE
                    | backend::PARAMETER_STATUS
                    | backend::NOTIFICATION_RESPONSE
            )
        })
    });
    unasked && frames.rest().is_empty()
}

fn text_row(body: &[u8]) -> Result<Row, twinport_wire::Error> {
    Values::new(body)?
        .map(|value| Ok(value?.map(|text| String::from_utf8_lossy(text).into_owned())))
        .collect()
}

fn server_error(frame: Frame<'_>) -> ExchangeError {
    let fields = Fields::new(frame.body());
    ExchangeError::Server {
        code: fields.code().unwrap_or("XX000").to_owned(),
        message: String::from_utf8_lossy(fields.get(b'M').unwrap_or(b"no message")).into_owned(),
        frame: frame.bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &[u8] = b"N\0\0\0\x05\0";
    const PARAMETER: &[u8] = b"S\0\0\0\x08a\0b\0";
    const READY: &[u8] = b"Z\0\0\0\x05I";

    #[test]
    fn only_what_a_server_says_unasked_may_wait_on_an_idle_connection() {
        assert!(is_unasked(b""));
        assert!(is_unasked(NOTICE));
        assert!(is_unasked(&[PARAMETER, NOTICE].concat()));
        assert!(!is_unasked(READY));
        assert!(!is_unasked(&[NOTICE, READY].concat()));
        assert!(!is_unasked(b"C\0\0\0\x0dROLLBACK\0"));
        assert!(!is_unasked(b"E\0\0\0\x05\0"));
        // Half of a message may be half of anything.
        assert!(!is_unasked(NOTICE.get(..3).unwrap_or_default()));
        assert!(!is_unasked(NOTICE.get(..5).unwrap_or_default()));
        assert!(!is_unasked(b"N\0\0\0\0"));
    }
}
