//! A client that sends exactly what it is told, for orders and bytes that no driver sends.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use twinport_wire::mongo::bson::RawDocument;
use twinport_wire::mongo::bson::raw::RawDocumentBuf;
use twinport_wire::mongo::compressed::Compressed;
use twinport_wire::mongo::frame::{MAX_LENGTH, OP_COMPRESSED, OP_REPLY};
use twinport_wire::mongo::message::build;
use twinport_wire::mongo::{Frame, Message, sasl};
use twinport_wire::scram::client::{Binding, Client as Scram, MAX_ITERATIONS};
use twinport_wire::scram::{Keys, Sha256};

/// How long anything may take here.
const BOUND: Duration = Duration::from_secs(30);

/// How long an answer to bytes without sense is waited for.
const PATIENCE: Duration = Duration::from_millis(400);

/// Keys by password and salt.
type Derived = HashMap<(String, Vec<u8>), Keys<Sha256>>;

/// Keys that passwords have given: a thousand logins derive them once.
static KEYS: LazyLock<Mutex<Derived>> = LazyLock::new(Mutex::default);

/// What a client talks over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A client.
pub(crate) struct Raw {
    stream: Box<dyn Wire>,
    next: i32,
}

/// What came of bytes that nobody should send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The connection was closed.
    Closed,
    /// An error of this code; the connection is open.
    Refused(i32),
    /// All is well, and should not be.
    Served,
}

impl Raw {
    pub(crate) async fn connect(port: u16) -> Result<Self> {
        Ok(Self::over(TcpStream::connect(("127.0.0.1", port)).await?))
    }

    pub(crate) fn over(stream: impl Wire + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            next: 0,
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends a command without waiting for the answer.
    pub(crate) async fn send(&mut self, body: &RawDocument) -> Result<()> {
        self.next += 1;
        let mut out = Vec::new();
        build::request(&mut out, self.next, 0, body, []);
        self.write(&out).await
    }

    /// Reads an answer.
    pub(crate) async fn read(&mut self) -> Result<RawDocumentBuf> {
        let read = tokio::time::timeout(BOUND, self.message()).await;
        read.context("no answer came")?
    }

    async fn message(&mut self) -> Result<RawDocumentBuf> {
        let mut bytes = vec![0; 16];
        self.stream.read_exact(&mut bytes).await?;
        let length = i32::from_le_bytes(*bytes.first_chunk().context("a header")?);
        bytes.resize(usize::try_from(length)?, 0);
        let rest = bytes.get_mut(16..).context("a body")?;
        self.stream.read_exact(rest).await?;
        let frame = Frame::first(&bytes)?.context("a whole message")?;
        let mut room = Vec::new();
        let frame = match frame.header.op_code {
            OP_COMPRESSED => {
                Compressed::decode(&frame, MAX_LENGTH)?.decompress(&mut room)?;
                Frame::first(&room)?.context("a whole message")?
            }
            _ => frame,
        };
        if frame.header.op_code == OP_REPLY {
            // Flags, cursor, start and count go before the document.
            let body = frame.body().get(20..).context("a document")?;
            return Ok(RawDocumentBuf::from_bytes(body.to_vec())?);
        }
        Ok(Message::decode(&frame)?.body.to_owned())
    }

    /// Reads bytes as they are.
    pub(crate) async fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let read = tokio::time::timeout(BOUND, self.stream.read_exact(&mut bytes)).await;
        read.context("too little came")??;
        Ok(bytes)
    }

    /// Runs a command; the answer may be an error.
    pub(crate) async fn ask(&mut self, body: &RawDocument) -> Result<RawDocumentBuf> {
        self.send(body).await?;
        self.read().await
    }

    /// Runs a command that must succeed.
    pub(crate) async fn run(&mut self, body: &RawDocument) -> Result<RawDocumentBuf> {
        let answer = self.ask(body).await?;
        let succeeded = answer.get_f64("ok").is_ok_and(|ok| ok == 1.0)
            && answer.get_array("writeErrors").is_err();
        ensure!(succeeded, "{body:?} gave {answer:?}");
        Ok(answer)
    }

    /// Sends bytes that nobody should send; if they are taken for the beginning of something, no
    /// more comes.
    pub(crate) async fn outrage(&mut self, bytes: &[u8]) -> Result<Outcome> {
        // It may be closed before all is sent.
        let _ = self.write(bytes).await;
        let read = match tokio::time::timeout(PATIENCE, self.message()).await {
            Ok(read) => read,
            Err(_) => {
                let _ = self.stream.shutdown().await;
                let read = tokio::time::timeout(BOUND, self.message()).await;
                read.context("neither an answer nor an end")?
            }
        };
        let Ok(answer) = read else {
            return Ok(Outcome::Closed);
        };
        Ok(match answer.get_f64("ok")? {
            0.0 => Outcome::Refused(answer.get_i32("code")?),
            _ => Outcome::Served,
        })
    }

    pub(crate) async fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let (client, first) = Scram::<Sha256>::start(user, Binding::Unsupported);
        let answer = self.run(&sasl::start::<Sha256>("admin", &first)).await?;
        let challenge = client.challenge(payload(&answer)?, MAX_ITERATIONS)?;
        let key = (password.to_owned(), challenge.salt.clone());
        let known = KEYS.lock().ok().and_then(|keys| keys.get(&key).copied());
        let keys =
            known.unwrap_or_else(|| Keys::derive(password, &challenge.salt, challenge.iterations));
        if let Ok(mut all) = KEYS.lock() {
            all.insert(key, keys);
        }
        let (client, proof) = challenge.answer(&keys);
        let answer = self.ask(&sasl::go_on("admin", 1, &proof)).await?;
        if !answer.get_bool("done").is_ok_and(|done| done) {
            bail!("the login was refused: {answer:?}");
        }
        client.verify(payload(&answer)?)?;
        Ok(())
    }
}

fn payload(answer: &RawDocument) -> Result<&[u8]> {
    Ok(answer.get_binary("payload")?.bytes)
}
