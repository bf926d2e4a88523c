//! Short exchanges of our own with the server.

use std::io;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use twinport_core::scratch;
use twinport_wire::pg::backend::{self, Fields, Status, Values};
use twinport_wire::pg::frame::Frame;
use twinport_wire::pg::frontend::{Target as Closed, build};

use super::{KEPT, Upstream};
use crate::reply::is_last_word;

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

/// Begins a transaction of our own, whatever the session has its transactions begin with. A serializable one that is
/// read-only and deferrable would wait until others are over. This itself needs no snapshot.
const AT_ONCE: &str = "SET transaction_isolation = 'read committed'; ";

impl Upstream {
    /// Runs SQL of our own by a simple Query and reads to ReadyForQuery. No transaction may be open, and none left open.
    ///
    /// # Errors
    /// When the connection breaks, or the server refuses; then the connection is still in step.
    pub async fn run(&mut self, sql: &str) -> Result<Vec<Row>, ExchangeError> {
        if self.may_wait() {
            self.query(&[AT_ONCE, sql].concat()).await
        } else {
            self.query(sql).await
        }
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<Row>, ExchangeError> {
        let mut request = Vec::with_capacity(sql.len() + 6);
        build::query(&mut request, sql.as_bytes());
        self.unnamed = None;
        self.exchange(&request).await
    }

    /// Whether a transaction may begin so that it waits for others, or fails: servers before Postgres 14 don't say
    /// whether transactions begin read-only, and a standby serves no serializable ones.
    fn may_wait(&self) -> bool {
        let reported = &self.reported;
        reported.get("default_transaction_read_only") != Some("off")
            || reported.get("in_hot_standby") == Some("on")
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

    /// As [`Upstream::run`], also inside a transaction, and as transactions of the session begin.
    ///
    /// # Errors
    /// As there.
    pub async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, ExchangeError> {
        match self.query(sql).await {
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
        let first = self.may_wait().then_some((AT_ONCE, &[][..]));
        for (sql, values) in first.into_iter().chain([(sql, values)]) {
            build::parse(&mut request, b"", sql.as_bytes(), &[]);
            build::bind_text(&mut request, b"", b"", values);
            build::execute(&mut request, b"", 0);
        }
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
        let first = self.may_wait().then_some(AT_ONCE);
        for sql in first.iter().chain(statements) {
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
