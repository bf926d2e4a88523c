//! One client of many: what it does, and how it leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};
use twinport_integration::{PASSWORD, USER};
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::spec::BinarySubtype;
use twinport_wire::mongo::bson::{RawBinaryRef, RawBsonRef, rawdoc};
use twinport_wire::mongo::message::build;

use super::commands::{begins, goes_on, with};
use super::raw::Raw;
use super::support::{code, cursor_of, labels, page};

/// How often each does its work.
pub(crate) const TURNS: i32 = 2;

/// Codes after which drivers send a command again: the host can't be reached, shuts down, or is overloaded.
const AGAIN: [i32; 6] = [6, 7, 89, 91, 462, 11600];

/// How long a command may take with all its repetitions, and how long is waited between two of them.
const BOUND: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// So many leave with a transaction open: half of the upstream connections.
const WITH_TRANSACTIONS: u8 = 5;

/// A client that has logged in.
pub(crate) struct Client {
    number: i32,
    raw: Raw,
    /// How many numbered writes it has sent.
    writes: i64,
    /// How many commands all clients had to send again.
    repeated: Arc<AtomicUsize>,
}

impl Client {
    pub(crate) async fn new(number: i32, port: u16, repeated: &Arc<AtomicUsize>) -> Result<Self> {
        let mut raw = Raw::connect(port).await?;
        raw.log_in(USER, PASSWORD).await?;
        Ok(Self {
            number,
            raw,
            writes: 0,
            repeated: Arc::clone(repeated),
        })
    }

    /// Reads page by page, changes, inserts and reads again.
    pub(crate) async fn work(mut self) -> Result<Self> {
        while !self.walk().await? {
            self.repeated.fetch_add(1, Ordering::SeqCst);
        }
        let own = rawdoc! { "_id": self.number };
        let change = rawdoc! { "q": own.clone(), "u": { "$inc": { "v": 1 } } };
        let update = rawdoc! { "update": "sums", "updates": [change], "$db": "test" };
        self.write(update).await?;
        let turn = i32::try_from(self.writes / 2)?;
        let id = self.number * 10 + turn;
        let insert = rawdoc! { "insert": "d", "documents": [{ "_id": id }], "$db": "test" };
        self.write(insert).await?;
        let find = rawdoc! { "find": "sums", "filter": own, "$db": "test" };
        let answer = self.insist(&find).await?;
        let found = page(&answer)?;
        let own = found.first().context("its own document")?;
        let sum = self.number + turn + 1;
        ensure!(own.get_i32("v")? == sum, "{} got {answer:?}", self.number);
        Ok(self)
    }

    fn session(&self) -> RawDocumentBuf {
        let bytes = self.number.to_be_bytes().repeat(4);
        let id = RawBinaryRef {
            subtype: BinarySubtype::Uuid,
            bytes: &bytes,
        };
        rawdoc! { "lsid": { "id": RawBsonRef::Binary(id) } }
    }

    /// A sorted find of fifteen documents in pages of six, half of the clients' in a session.
    fn find(&self, in_session: bool) -> RawDocumentBuf {
        let from = self.number % 900;
        let find = rawdoc! {
            "find": "c", "filter": { "_id": { "$gte": from, "$lt": from + 15 } }, "sort": { "v": -1 },
            "batchSize": 6, "$db": "test",
        };
        match in_session {
            true => with(find, &self.session()),
            false => find,
        }
    }

    /// Reads a cursor to its end; whether it came so far. One that is lost has to be opened anew.
    async fn walk(&mut self) -> Result<bool> {
        let in_session = self.number % 2 == 0;
        let find = self.find(in_session);
        let mut answer = self.insist(&find).await?;
        let mut found = Vec::new();
        loop {
            for each in page(&answer)? {
                found.push(each.get_i32("v")?);
            }
            let cursor = cursor_of(&answer)?;
            if cursor == 0 {
                break;
            }
            let mut more = rawdoc! {
                "getMore": cursor, "collection": "c", "batchSize": 6, "$db": "test",
            };
            if in_session {
                more = with(more, &self.session());
            }
            answer = self.raw.ask(&more).await?;
            match code(&answer) {
                0 => {}
                43 => return Ok(false),
                code if AGAIN.contains(&code) => return Ok(false),
                _ => bail!("{more:?} gave {answer:?}"),
            }
        }
        let from = self.number % 900;
        let expected: Vec<i32> = (from..from + 15).rev().collect();
        ensure!(found == expected, "{} got {found:?}", self.number);
        Ok(true)
    }

    /// Runs a write that is applied once, however often it is sent.
    async fn write(&mut self, command: RawDocumentBuf) -> Result<()> {
        self.writes += 1;
        let mut command = with(command, &self.session());
        command.append(cstr!("txnNumber"), self.writes);
        let answer = self.insist(&command).await?;
        ensure!(answer.get_i32("n")? == 1, "{command:?} gave {answer:?}");
        Ok(())
    }

    /// Runs a command as drivers do: what can be sent again is.
    async fn insist(&mut self, command: &RawDocument) -> Result<RawDocumentBuf> {
        let deadline = Instant::now() + BOUND;
        loop {
            let answer = self.raw.ask(command).await?;
            let refused = answer.get_array("writeErrors").is_ok();
            if code(&answer) == 0 && !refused {
                return Ok(answer);
            }
            ensure!(
                AGAIN.contains(&code(&answer)) && Instant::now() < deadline,
                "{command:?} gave {answer:?}"
            );
            if command.get("txnNumber")?.is_some() {
                let labels = labels(&answer);
                let again = ["RetryableWriteError", "RetryableError"];
                ensure!(
                    again.iter().any(|label| labels.contains(label)),
                    "{answer:?} has no label"
                );
            }
            self.repeated.fetch_add(1, Ordering::SeqCst);
            sleep(PAUSE).await;
        }
    }

    /// Goes in one of several ways; only the first is as it should be.
    pub(crate) async fn leave(mut self) -> Result<()> {
        match u8::try_from(self.number) {
            Ok(number) if number < WITH_TRANSACTIONS => {
                return self.leave_a_transaction(number).await;
            }
            _ => {}
        }
        match self.number % 5 {
            0 => {
                let session = self.session().get_document("lsid")?.to_owned();
                let end = rawdoc! { "endSessions": [session], "$db": "admin" };
                self.raw.run(&end).await?;
            }
            1 => drop(self.raw.run(&self.find(false)).await?),
            2 => drop(self.raw.run(&self.find(true)).await?),
            3 => self.raw.send(&self.find(true)).await?,
            _ => {
                let mut bytes = Vec::new();
                let insert = rawdoc! { "insert": "undone", "documents": [{}], "$db": "test" };
                build::request(&mut bytes, 1, 0, &insert, []);
                bytes.truncate(bytes.len() / 2);
                self.raw.write(&bytes).await?;
            }
        }
        Ok(())
    }

    /// Goes in the middle of a page of a transaction's cursor.
    async fn leave_a_transaction(mut self, number: u8) -> Result<()> {
        let session = 200 + number;
        let insert = rawdoc! { "insert": "undone", "documents": [{}], "$db": "test" };
        self.raw.run(&begins(insert, session, 1)).await?;
        let answer = self.raw.run(&goes_on(self.find(false), session, 1)).await?;
        let cursor = cursor_of(&answer)?;
        let more = rawdoc! { "getMore": cursor, "collection": "c", "$db": "test" };
        self.raw.send(&goes_on(more, session, 1)).await
    }
}
