//! A connection to a server: opened, greeted, then one message there and one back.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use twinport_config::HostPort;
use twinport_core::scratch;
use twinport_core::stream::Stream;
use twinport_core::tls::ClientTls;
use twinport_wire::mongo::bson::{RawDocument, RawDocumentBuf, rawdoc};
use twinport_wire::mongo::compressed::{self, Compressed, Compressor};
use twinport_wire::mongo::frame::{self, Frame, MAX_LENGTH, OP_COMPRESSED};
use twinport_wire::mongo::message::answer::{self, Answer};
use twinport_wire::mongo::message::build::{self, PREFIX};
use twinport_wire::mongo::message::{EXHAUST_ALLOWED, Message};

use super::description::Description;
use crate::request::Rest;
use crate::stream::WHOLE;

const ANOTHER: &str = "the server answered another question";

/// How a message goes out: what stands before its sections, and these.
pub(crate) type Parts<'a> = ([u8; PREFIX], &'a [u8]);

/// A connection that takes one request at a time.
pub(crate) struct Connection {
    stream: Stream,
    inbound: Vec<u8>,
    opened: Instant,
    number: i32,
    /// What the server said when it was greeted.
    pub(crate) description: Description,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] twinport_wire::Error),
    #[error("{0}")]
    Protocol(&'static str),
}

/// An answer, or how a long one begins.
pub(crate) enum Arrived {
    Whole(Received),
    Begun(Begun),
}

/// The beginning of an answer, and what reads it as it passes.
pub(crate) struct Begun {
    pub(crate) answer: Answer,
    /// What has come of it.
    pub(crate) bytes: Vec<u8>,
}

impl Arrived {
    /// All of it, from where nothing else was wanted.
    pub(crate) fn whole(self) -> Result<Received, Lost> {
        match self {
            Self::Whole(received) => Ok(received),
            Self::Begun(_) => Err(Lost::Protocol("half a message")),
        }
    }
}

/// An answer, whole and not compressed; it holds an OP_MSG.
#[derive(Debug)]
pub(crate) struct Received {
    bytes: Vec<u8>,
}

impl Received {
    /// What the server says.
    pub(crate) fn body(&self) -> Result<&RawDocument, twinport_wire::Error> {
        let frame = Frame::first(&self.bytes)?;
        let frame = frame.ok_or_else(|| twinport_wire::Error::expected("a whole message"))?;
        Ok(Message::decode(&frame)?.body)
    }

    /// Writes over bytes of the body.
    pub(crate) fn write(&mut self, place: &Range<usize>, value: &[u8]) {
        let Ok(body) = self.body() else {
            return;
        };
        // The body is a part of the bytes.
        let offset = body.as_bytes().as_ptr().addr() - self.bytes.as_ptr().addr();
        let place = self.bytes.get_mut(offset + place.start..offset + place.end);
        if let Some(place) = place.filter(|place| place.len() == value.len()) {
            place.copy_from_slice(value);
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Connection {
    /// Connects, with TLS if there is one.
    pub(crate) async fn open(place: &HostPort, tls: Option<&ClientTls>) -> Result<Self, String> {
        let socket = TcpStream::connect((place.host.as_str(), place.port));
        let socket = socket.await.map_err(|error| error.to_string())?;
        let stream = match tls {
            None => Stream::tcp(socket).map_err(|error| error.to_string())?,
            Some(tls) => {
                let secured = tls.connect(&place.host, socket).await;
                secured.map_err(|error| error.to_string())?.stream
            }
        };
        Ok(Self {
            stream,
            inbound: Vec::new(),
            opened: Instant::now(),
            number: 0,
            description: Description::unknown(None),
        })
    }

    /// As [`Stream::probe`].
    pub(super) fn probe(&self, every: Duration, bound: Duration) -> Result<(), String> {
        let probed = self.stream.probe(every, bound);
        probed.map_err(|error| error.to_string())
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether an idle connection can still be used: the server has nothing to say to it.
    pub(crate) fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer);
        self.inbound.is_empty() && matches!(read, Poll::Pending)
    }

    /// The number of the next request.
    pub(crate) fn next_number(&mut self) -> i32 {
        self.number = self.number.wrapping_add(1) & i32::MAX;
        self.number
    }

    /// Sends a message as it came, without a copy.
    pub(crate) async fn send_parts(&mut self, (prefix, sections): Parts<'_>) -> io::Result<()> {
        let (mut first, mut second) = (prefix.as_slice(), sections);
        while !first.is_empty() {
            let both = [io::IoSlice::new(first), io::IoSlice::new(second)];
            let sent = self.stream.write_vectored(&both).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            second = second
                .get(sent.saturating_sub(first.len())..)
                .unwrap_or_default();
            first = first.get(sent..).unwrap_or_default();
        }
        self.stream.write_all(second).await?;
        self.stream.flush().await
    }

    /// Sends a message, compressed if the server has agreed on that.
    pub(crate) async fn send_compressed(
        &mut self,
        parts: Parts<'_>,
        compressor: Compressor,
    ) -> io::Result<()> {
        let whole = [parts.0.as_slice(), parts.1].concat();
        let mut smaller = Vec::with_capacity(whole.len() / 2);
        let fits = match Frame::first(&whole) {
            Ok(Some(frame)) => compressed::compress(&mut smaller, &frame, compressor),
            _ => false,
        };
        if !fits {
            return self.send_parts(parts).await;
        }
        self.stream.write_all(&smaller).await?;
        self.stream.flush().await
    }

    /// Sends the beginning of a message, then its rest as it comes.
    pub(crate) async fn send_begun(&mut self, parts: Parts<'_>, rest: &Rest) -> Result<(), Lost> {
        let mut pieces = rest.take().ok_or(Lost::Protocol("it was sent before"))?;
        self.send_parts(parts).await?;
        let mut missing = rest.len;
        while let Some(piece) = pieces.recv().await {
            self.stream.write_all(&piece).await?;
            missing = missing.saturating_sub(piece.len());
        }
        if missing > 0 {
            return Err(Lost::Protocol("the client's message broke off"));
        }
        Ok(self.stream.flush().await?)
    }

    /// The answer to the request of this number.
    pub(crate) async fn receive(&mut self, number: i32) -> Result<Received, Lost> {
        self.arrive(number, usize::MAX).await?.whole()
    }

    /// As [`Connection::receive`], or the beginning of an answer of more than `whole` bytes.
    pub(crate) async fn arrive(&mut self, number: i32, whole: usize) -> Result<Arrived, Lost> {
        let mut bytes = match self.message(whole).await? {
            (bytes, None) => bytes,
            (bytes, Some(begun)) if begun.header.response_to == number => {
                let answer = begun.answer;
                return Ok(Arrived::Begun(Begun { answer, bytes }));
            }
            _ => return Err(Lost::Protocol(ANOTHER)),
        };
        let frame = Frame::first(&bytes)?.ok_or(Lost::Protocol("half a message"))?;
        if frame.header.op_code == OP_COMPRESSED {
            let mut room = Vec::new();
            Compressed::decode(&frame, MAX_LENGTH)?.decompress(&mut room)?;
            bytes = room;
        }
        let frame = Frame::first(&bytes)?.ok_or(Lost::Protocol("half a message"))?;
        let message = Message::decode(&frame)?;
        if message.response_to != number {
            return Err(Lost::Protocol(ANOTHER));
        }
        if message.more_to_come() {
            return Err(Lost::Protocol("the server says more than it was asked"));
        }
        Ok(Arrived::Whole(Received { bytes }))
    }

    /// Waits until a request that wants no answer has been run, by asking something after it. Some servers answer
    /// it all the same.
    pub(crate) async fn settle(&mut self, silent: i32) -> Result<(), Lost> {
        let number = self.next_number();
        let mut out = Vec::new();
        let ping = rawdoc! { "ping": 1, "$db": "admin" };
        build::request(&mut out, number, 0, &ping, []);
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        loop {
            let (bytes, _) = self.message(usize::MAX).await?;
            let frame = Frame::first(&bytes)?.ok_or(Lost::Protocol("half a message"))?;
            match frame.header.response_to {
                answered if answered == number => return Ok(()),
                answered if answered == silent => {}
                _ => return Err(Lost::Protocol(ANOTHER)),
            }
        }
    }

    /// A whole message, read into the place where it stays; or the beginning of one that has more than `whole`
    /// bytes and can go on before it is all there.
    async fn message(&mut self, whole: usize) -> Result<(Vec<u8>, Option<answer::Begun>), Lost> {
        loop {
            let header = frame::peek(&self.inbound)?;
            match header {
                Some(header) if self.inbound.len() >= header.len => {
                    let rest = self.inbound.split_off(header.len);
                    return Ok((std::mem::replace(&mut self.inbound, rest), None));
                }
                Some(header) => {
                    if header.len > whole
                        && let Ok(Some(begun)) = answer::Begun::read(&self.inbound)
                    {
                        return Ok((std::mem::take(&mut self.inbound), Some(begun)));
                    }
                    let missing = header.len - self.inbound.len();
                    if self.inbound.spare_capacity_mut().is_empty() {
                        let room = missing.min(self.inbound.len().max(WHOLE));
                        self.inbound.reserve_exact(room);
                    }
                    let mut inbound = std::mem::take(&mut self.inbound);
                    let read = self.more(&mut inbound, missing).await;
                    self.inbound = inbound;
                    read?;
                }
                None => {
                    // Through the thread's buffer: an idle connection holds none.
                    if scratch::read(&mut self.stream, &mut self.inbound).await? == 0 {
                        return Err(Lost::Io(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
    }

    /// Reads what comes next, at most so many bytes, to the end of `place`.
    pub(crate) async fn more(&mut self, place: &mut Vec<u8>, most: usize) -> io::Result<()> {
        let mut stream = (&mut self.stream).take(most as u64);
        match stream.read_buf(place).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Runs a command of our own.
    pub(crate) async fn run(&mut self, command: &RawDocument) -> Result<Received, Lost> {
        let number = self.next_number();
        let mut out = Vec::with_capacity(command.as_bytes().len() + 32);
        build::request(&mut out, number, 0, command, []);
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        self.receive(number).await
    }

    /// As [`Connection::run`], for no longer than `bound`.
    pub(crate) async fn run_within(
        &mut self,
        command: &RawDocument,
        bound: Duration,
    ) -> Result<Received, Lost> {
        match tokio::time::timeout(bound, self.run(command)).await {
            Ok(result) => result,
            Err(_) => Err(Lost::Protocol("the server took too long")),
        }
    }

    /// Greets the server, and notes what it says.
    pub(crate) async fn greet(&mut self, hello: &RawDocumentBuf) -> Result<(), String> {
        let began = Instant::now();
        let answer = self.run(hello).await.map_err(|error| error.to_string())?;
        let body = answer.body().map_err(|error| error.to_string())?;
        self.description = Description::read(body, began.elapsed());
        match &self.description.error {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// The parts of a message that was built, or has come, whole.
pub(crate) fn parts<'a>(frame: &Frame<'a>, message: &Message<'a>, number: i32) -> Parts<'a> {
    build::parts(frame, message, number, 0, EXHAUST_ALLOWED)
}

/// A deployment's TLS, shared by all its connections.
pub(crate) type SharedTls = Option<Arc<ClientTls>>;
