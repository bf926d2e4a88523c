//! A client that does nothing but send bytes and wait: what a server takes by itself, with no driver's time in it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mongodb::bson::{
    Binary, Document, RawDocument, RawDocumentBuf, Uuid, doc, oid::ObjectId, rawdoc,
};
use twinport_wire::{
    mongo::{
        document::integer,
        message::{answer::BODY_AT, build},
        sasl,
    },
    scram::{
        Keys, Sha256,
        client::{Binding, Client, MAX_ITERATIONS},
    },
};

use super::{
    stage::{DATABASE, ITEMS, NAME, Rival},
    work::{Work, item},
};

/// A connection, logged in where the server asks for that.
pub(super) struct Bare {
    stream: TcpStream,
    message: Vec<u8>,
    answer: Vec<u8>,
    /// The session, where writes are numbered as drivers number them.
    session: Option<Document>,
}

impl Bare {
    pub(super) fn open(rival: &Rival) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, rival.port))?;
        stream.set_nodelay(true)?;
        let mut bare = Self {
            stream,
            message: Vec::new(),
            answer: Vec::new(),
            session: None,
        };
        let hello = bare.ask(&rawdoc! { "hello": 1, "$db": "admin" })?;
        // By these, drivers know servers on which a write may be sent again.
        let numbers = hello.get("logicalSessionTimeoutMinutes")?.is_some()
            && (hello.get("setName")?.is_some()
                || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid"));
        if numbers {
            let id = Binary::from(Uuid::new());
            bare.session = Some(doc! { "id": id });
        }
        if rival.asks_for_password {
            bare.log_in()?;
        }
        Ok(bare)
    }

    fn log_in(&mut self) -> anyhow::Result<()> {
        let (client, first) = Client::<Sha256>::start(NAME, Binding::Unsupported);
        let answer = self.ask(&sasl::start::<Sha256>("admin", &first))?;
        let conversation = answer.get_i32("conversationId")?;
        let challenge = client.challenge(answer.get_binary("payload")?.bytes, MAX_ITERATIONS)?;
        let keys = Keys::derive(NAME, &challenge.salt, challenge.iterations);
        let (answered, last) = challenge.answer(&keys);
        let answer = self.ask(&sasl::go_on("admin", conversation, &last))?;
        answered.verify(answer.get_binary("payload")?.bytes)?;
        Ok(())
    }

    /// Sends a command, waits for its answer and sees that it is a good one.
    fn ask(&mut self, command: &RawDocument) -> anyhow::Result<&RawDocument> {
        self.message.clear();
        build::request(&mut self.message, 1, 0, command, []);
        self.stream.write_all(&self.message)?;
        self.answer.clear();
        let mut length = [0; 4];
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = self.stream.read(&mut buffer)?;
            ensure!(count > 0, "the server closed the connection");
            self.answer
                .extend_from_slice(buffer.get(..count).unwrap_or_default());
            if let Some(start) = self.answer.first_chunk() {
                length = *start;
            }
            let whole = usize::try_from(i32::from_le_bytes(length))?;
            if self.answer.len() >= whole.max(BODY_AT) {
                break;
            }
        }
        let body = self.answer.get(BODY_AT..).context("no body")?;
        let body = RawDocument::from_bytes(body)?;
        let ok = body.get("ok")?.and_then(integer) == Some(1);
        ensure!(
            ok && body.get("writeErrors")?.is_none(),
            "refused: {body:?}"
        );
        Ok(body)
    }

    /// One operation after another for so long; milliseconds of each.
    pub(super) fn client(mut self, work: Work, duration: Duration) -> anyhow::Result<Vec<f64>> {
        let start = Instant::now();
        let mut times = Vec::new();
        let mut turn = 0;
        while start.elapsed() < duration {
            turn += 1;
            let command = self.command(work, turn)?;
            let began = Instant::now();
            self.ask(&command)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    /// As drivers write it.
    fn command(&self, work: Work, turn: i32) -> anyhow::Result<RawDocumentBuf> {
        if work == Work::BareFindOne {
            let id = turn.wrapping_mul(7_919).rem_euclid(ITEMS);
            return Ok(
                rawdoc! { "find": "items", "filter": { "_id": id }, "limit": 1,
                "singleBatch": true, "$db": DATABASE },
            );
        }
        let mut document = doc! { "_id": ObjectId::new() };
        document.extend(item(0, turn));
        let mut command = doc! { "insert": "inserted", "documents": [document], "ordered": true,
        "$db": DATABASE };
        if let Some(session) = &self.session {
            command.insert("lsid", session);
            command.insert("txnNumber", i64::from(turn));
        }
        Ok(RawDocumentBuf::try_from(&command)?)
    }
}
