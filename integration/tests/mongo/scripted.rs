//! MongoDB servers of few words: they answer as a test tells them, and remember what they were asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use twinport_integration::eventually;
use twinport_wire::mongo::bson::oid::ObjectId;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::compressed::Compressed;
use twinport_wire::mongo::frame::{MAX_LENGTH, OP_COMPRESSED};
use twinport_wire::mongo::message::build;
use twinport_wire::mongo::{Frame, Message};

use super::support;

/// What a server says that it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    Standalone,
    Mongos,
    /// Of the election with this number.
    Primary(u8),
    Secondary,
}

/// What a server does with a command.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Reply(RawDocumentBuf),
    /// Answers after a while.
    Late(Duration, RawDocumentBuf),
    /// Sends half of an answer, and the other half when told.
    Halves(Arc<Notify>, RawDocumentBuf),
    /// Sends half of an answer and closes the connection.
    Half(RawDocumentBuf),
    /// Closes the connection.
    Drop,
    /// Is to this connection as a host that is gone: nothing is acknowledged any more.
    Vanish,
}

/// A command that came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) name: String,
    pub(crate) body: RawDocumentBuf,
    pub(crate) flags: u32,
    /// How many documents came beside the body.
    pub(crate) documents: usize,
    pub(crate) compressed: bool,
    /// The number of the connection that it came by.
    pub(crate) connection: usize,
}

type Handler = Box<dyn FnMut(&Heard) -> Option<Act> + Send>;

struct Script {
    role: Role,
    /// All members of the set.
    hosts: Vec<String>,
    /// More fields of `hello`.
    more: RawDocumentBuf,
    /// The version of the set's configuration.
    version: i32,
    /// Whether it has sessions.
    sessions: bool,
    handler: Handler,
    heard: Vec<Heard>,
    /// A connection that brings a longer message is closed in its middle.
    most: usize,
    /// It says nothing to anybody.
    silent: bool,
}

/// A server. Gone when dropped.
pub(crate) struct Scripted {
    pub(crate) place: SocketAddr,
    script: Arc<Mutex<Script>>,
    open: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// A server on a port of its own.
    pub(crate) async fn start(role: Role) -> Result<Self> {
        Self::at("127.0.0.1:0".parse()?, role).await
    }

    pub(crate) async fn at(place: SocketAddr, role: Role) -> Result<Self> {
        let listener = TcpListener::bind(place).await?;
        let place = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script {
            role,
            hosts: vec![place.to_string()],
            more: RawDocumentBuf::new(),
            version: 1,
            sessions: true,
            handler: Box::new(|_| None),
            heard: Vec::new(),
            most: MAX_LENGTH,
            silent: false,
        }));
        let (open, received) = (Arc::default(), Arc::default());
        let counters = (Arc::clone(&open), Arc::clone(&received));
        let task = tokio::spawn(accept(listener, Arc::clone(&script), counters));
        Ok(Self {
            place,
            script,
            open,
            received,
            task,
        })
    }

    /// A replica set whose first server is the primary.
    pub(crate) async fn set(count: usize) -> Result<Vec<Self>> {
        let mut servers = Vec::new();
        for number in 0..count {
            let role = match number {
                0 => Role::Primary(1),
                _ => Role::Secondary,
            };
            servers.push(Self::start(role).await?);
        }
        let hosts: Vec<String> = servers.iter().map(|each| each.place.to_string()).collect();
        for server in &servers {
            server.script().hosts.clone_from(&hosts);
        }
        Ok(servers)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it another kind of server.
    pub(crate) fn become_a(&self, role: Role) {
        self.script().role = role;
    }

    /// Adds fields to its `hello`.
    pub(crate) fn also_says(&self, more: RawDocumentBuf) {
        self.script().more = more;
    }

    /// Gives it a newer configuration.
    pub(crate) fn has_configuration(&self, version: i32) {
        self.script().version = version;
    }

    pub(crate) fn has_no_sessions(&self) {
        self.script().sessions = false;
    }

    /// Says what it does; `None` leaves it to the usual.
    pub(crate) fn answers(&self, handler: impl FnMut(&Heard) -> Option<Act> + Send + 'static) {
        self.script().handler = Box::new(handler);
    }

    /// Says that it takes its time for commands of this name.
    pub(crate) fn is_late(&self, name: &'static str, time: Duration) {
        self.answers(move |heard| {
            let answer = rawdoc! { "n": 1, "ok": 1.0 };
            (heard.name == name).then_some(Act::Late(time, answer))
        });
    }

    /// Waits until it is given a command of this name.
    pub(crate) async fn hears(&self, name: &str) -> Result<()> {
        until(name, || !self.heard(name).is_empty()).await
    }

    /// The commands of this name that it was given.
    pub(crate) fn heard(&self, name: &str) -> Vec<Heard> {
        let script = self.script();
        let heard = script.heard.iter().filter(|heard| heard.name == name);
        heard.cloned().collect()
    }

    /// Closes connections in the middle of messages of more bytes.
    pub(crate) fn takes_at_most(&self, most: usize) {
        self.script().most = most;
    }

    /// Says nothing any more, though it can be connected to.
    pub(crate) fn falls_silent(&self) {
        self.script().silent = true;
    }

    /// How many bytes have come.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// How many connections are open that have run a command.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// Of open connections, and of bytes.
type Counters = (Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn accept(listener: TcpListener, script: Arc<Mutex<Script>>, counters: Counters) {
    let mut clients = tokio::task::JoinSet::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        number += 1;
        let (script, counters) = (Arc::clone(&script), counters.clone());
        let place = listener.local_addr().map(|at| at.to_string());
        clients.spawn(async move {
            let place = place.unwrap_or_default();
            // The end of a connection is no failure.
            let _ = serve(stream, &script, &counters, number, &place).await;
        });
    }
}

/// Counts a connection for as long as it is open.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &Mutex<Script>,
    (open, received): &Counters,
    connection: usize,
    place: &str,
) -> Result<()> {
    let mut counted = None;
    loop {
        let most = script.lock().unwrap_or_else(PoisonError::into_inner).most;
        let bytes = message(&mut stream, most, received).await?;
        let (request, heard) = read(&bytes, connection)?;
        let (act, silent) = {
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            script.heard.push(heard.clone());
            let silent = script.silent;
            let act = match heard.name.as_str() {
                "hello" | "isMaster" => Act::Reply(hello(&script, place)),
                _ => {
                    let told = (script.handler)(&heard);
                    told.unwrap_or_else(|| Act::Reply(usual(&script.role, &heard, place)))
                }
            };
            (act, silent)
        };
        if silent {
            std::future::pending::<()>().await;
        }
        if counted.is_none() && !matches!(heard.name.as_str(), "hello" | "isMaster") {
            open.fetch_add(1, Ordering::SeqCst);
            counted = Some(Counted(open));
        }
        let mut pause = None;
        let answer = match act {
            Act::Reply(answer) => answer,
            Act::Halves(told, answer) => {
                pause = Some(told);
                answer
            }
            Act::Half(answer) => {
                let mut out = Vec::new();
                build::reply(&mut out, 1, request, &answer);
                out.truncate(out.len() / 2);
                return Ok(stream.write_all(&out).await?);
            }
            Act::Late(time, answer) => {
                let gone = async { matches!(stream.peek(&mut [0]).await, Ok(0) | Err(_)) };
                tokio::select! {
                    () = tokio::time::sleep(time) => answer,
                    true = gone => bail!("the client is gone"),
                }
            }
            Act::Drop => return Ok(()),
            Act::Vanish => {
                // `ret #0`: of each packet no byte is taken.
                SockRef::from(&stream).attach_filter(&[SockFilter::new(6, 0, 0, 0)])?;
                std::future::pending().await
            }
        };
        if heard.flags & 2 == 0 {
            let mut out = Vec::new();
            build::reply(&mut out, 1, request, &answer);
            let (first, second) = out.split_at(pause.as_ref().map_or(0, |_| out.len() / 2));
            stream.write_all(first).await?;
            if let Some(told) = pause {
                told.notified().await;
            }
            stream.write_all(second).await?;
        }
    }
}

/// Reads a message, counting its bytes as they come.
async fn message(stream: &mut TcpStream, most: usize, received: &AtomicUsize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).await?;
    let length = u32::from_le_bytes(*bytes.first_chunk().context("a length")?) as usize;
    received.fetch_add(4, Ordering::SeqCst);
    while bytes.len() < length {
        let missing = (length - bytes.len()) as u64;
        let read = (&mut *stream).take(missing).read_buf(&mut bytes).await?;
        received.fetch_add(read, Ordering::SeqCst);
        if read == 0 || bytes.len() > most {
            bail!("it is gone, or too much");
        }
    }
    Ok(bytes)
}

fn read(bytes: &[u8], connection: usize) -> Result<(i32, Heard)> {
    let mut frame = Frame::first(bytes)?.context("a whole message")?;
    let compressed = frame.header.op_code == OP_COMPRESSED;
    let mut room = Vec::new();
    if compressed {
        Compressed::decode(&frame, MAX_LENGTH)?.decompress(&mut room)?;
        frame = Frame::first(&room)?.context("a whole message")?;
    }
    let message = Message::decode(&frame)?;
    let first = message.body.into_iter().next().context("a command")?;
    let heard = Heard {
        name: first?.0.as_str().to_owned(),
        body: message.body.to_owned(),
        flags: message.flags,
        documents: message
            .sequences()
            .map(|each| each.documents().count())
            .sum(),
        compressed,
        connection,
    };
    Ok((message.request_id, heard))
}

fn hello(script: &Script, place: &str) -> RawDocumentBuf {
    let mut out = rawdoc! {
        "maxBsonObjectSize": 16_000_000,
        "maxMessageSizeBytes": 40_000_000,
        "maxWriteBatchSize": 1_234,
        "minWireVersion": 0,
    };
    if !matches!(script.more.get("maxWireVersion"), Ok(Some(_))) {
        out.append(cstr!("maxWireVersion"), 20);
    }
    if script.sessions {
        out.append(cstr!("logicalSessionTimeoutMinutes"), 30);
    }
    let writable = !matches!(script.role, Role::Secondary);
    out.append(cstr!("isWritablePrimary"), writable);
    out.append(cstr!("ismaster"), writable);
    match &script.role {
        Role::Standalone => {}
        Role::Mongos => out.append(cstr!("msg"), "isdbgrid"),
        Role::Primary(_) | Role::Secondary => {
            let hosts: RawArrayBuf = script.hosts.iter().map(String::as_str).collect();
            out.append(cstr!("setName"), "rs");
            out.append(cstr!("setVersion"), script.version);
            out.append(cstr!("hosts"), hosts);
            out.append(cstr!("me"), place);
            out.append(cstr!("secondary"), !writable);
        }
    }
    if let Role::Primary(election) = script.role {
        out.append(cstr!("electionId"), ObjectId::from_bytes([election; 12]));
    }
    for (key, value) in script.more.iter().flatten() {
        out.append(key, value);
    }
    out.append(cstr!("ok"), 1.0);
    out
}

/// What is answered where a test says nothing: a secondary takes no writes, everything else goes well.
fn usual(role: &Role, heard: &Heard, place: &str) -> RawDocumentBuf {
    match heard.name.as_str() {
        "insert" | "update" | "delete" if *role == Role::Secondary => error(10_107, "not primary"),
        "insert" | "update" | "delete" => rawdoc! { "n": 1, "ok": 1.0 },
        "find" => page("firstBatch", 0, place),
        _ => rawdoc! { "ok": 1.0 },
    }
}

/// An error as MongoDB has it.
pub(crate) fn error(code: i32, message: &str) -> RawDocumentBuf {
    rawdoc! { "ok": 0.0, "errmsg": message, "code": code, "codeName": "X" }
}

/// A page of a cursor, with one document that names the server.
pub(crate) fn page(batch: &str, id: i64, place: &str) -> RawDocumentBuf {
    let mut documents = RawArrayBuf::new();
    documents.push(rawdoc! { "at": place });
    page_of(batch, id, documents, true)
}

/// A page of a cursor with these documents; its number comes after them or before them.
pub(crate) fn page_of(batch: &str, id: i64, documents: RawArrayBuf, last: bool) -> RawDocumentBuf {
    let mut cursor = RawDocumentBuf::new();
    if !last {
        cursor.append(cstr!("id"), id);
    }
    match batch {
        "firstBatch" => cursor.append(cstr!("firstBatch"), documents),
        _ => cursor.append(cstr!("nextBatch"), documents),
    }
    if last {
        cursor.append(cstr!("id"), id);
    }
    cursor.append(cstr!("ns"), "test.books");
    rawdoc! { "cursor": cursor, "ok": 1.0 }
}

/// The server that a page names.
pub(crate) fn place_of(answer: &RawDocument) -> Result<String> {
    let documents = support::page(answer)?;
    let first = documents.first().context("a document")?;
    Ok(first.get_str("at")?.to_owned())
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    eventually(what, async || Ok(is_so())).await
}
