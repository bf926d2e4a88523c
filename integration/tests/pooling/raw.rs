//! A client that speaks the protocol message by message, for orders that no driver sends.

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinport_wire::pg::backend::{self, Columns, Fields, Values};
use twinport_wire::pg::frame::Frame;
use twinport_wire::pg::frontend::{self, Target, build};

/// A client, logged in.
pub(crate) struct Raw {
    socket: TcpStream,
    inbound: Vec<u8>,
    /// The number and the secret by which the client is cancelled.
    key: Vec<u8>,
    /// What is sent next.
    pub(crate) out: Vec<u8>,
    /// The rows that came, their values in text with bars between.
    pub(crate) rows: Vec<String>,
    /// The words of the errors that came.
    pub(crate) errors: Vec<String>,
    /// The settings that the client was told of.
    pub(crate) told: Vec<String>,
    /// The columns' types of the results that were described.
    pub(crate) types: Vec<u32>,
}

impl Raw {
    /// Connects to a port that lets its clients in without a password.
    pub(crate) async fn connect(port: u16, user: &str, database: &str) -> Result<Self> {
        Self::asking(port, &["user", user, "database", database]).await
    }

    /// Connects with these names and values in its startup message.
    pub(crate) async fn asking(port: u16, words: &[&str]) -> Result<Self> {
        let mut client = Self {
            socket: TcpStream::connect(("127.0.0.1", port)).await?,
            inbound: Vec::new(),
            key: Vec::new(),
            out: Vec::new(),
            rows: Vec::new(),
            errors: Vec::new(),
            told: Vec::new(),
            types: Vec::new(),
        };
        let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
        for word in words.iter().chain(&[""]) {
            startup.extend_from_slice(word.as_bytes());
            startup.push(0);
        }
        let length = u32::try_from(startup.len())?.to_be_bytes();
        startup.splice(..4, length);
        client.socket.write_all(&startup).await?;
        client.until(backend::READY_FOR_QUERY).await?;
        Ok(client)
    }

    /// A Parse without parameter types.
    pub(crate) fn parse(&mut self, name: &str, text: &str) -> &mut Self {
        build::parse(&mut self.out, name.as_bytes(), text.as_bytes(), &[]);
        self
    }

    /// Bind to the unnamed portal, and Execute it.
    pub(crate) fn run(&mut self, name: &str) -> &mut Self {
        build::bind_text(&mut self.out, b"", name.as_bytes(), &[]);
        build::execute(&mut self.out, b"", 0);
        self
    }

    /// A Describe of a statement.
    pub(crate) fn describe(&mut self, name: &str) -> &mut Self {
        build::describe(&mut self.out, Target::Statement(name.as_bytes()));
        self
    }

    /// A Close of a statement.
    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        build::close(&mut self.out, Target::Statement(name.as_bytes()));
        self
    }

    /// The end of a batch, with nothing sent yet.
    pub(crate) fn end_batch(&mut self) -> &mut Self {
        build::sync(&mut self.out);
        self
    }

    /// Data of a COPY, and its end.
    pub(crate) fn copy(&mut self, data: &str) -> &mut Self {
        let len = u32::try_from(data.len() + 4).unwrap_or(u32::MAX);
        self.out.push(frontend::COPY_DATA);
        self.out.extend_from_slice(&len.to_be_bytes());
        self.out.extend_from_slice(data.as_bytes());
        self.out
            .extend_from_slice(&[frontend::COPY_DONE, 0, 0, 0, 4]);
        self
    }

    /// Sends these bytes, unless the other side has stopped to read; whether it has not.
    pub(crate) async fn takes(&mut self, bytes: &[u8]) -> Result<bool> {
        let sending = self.socket.write_all(bytes);
        match tokio::time::timeout(std::time::Duration::from_secs(3), sending).await {
            Ok(sent) => Ok(sent.map(|()| true)?),
            Err(_) => Ok(false),
        }
    }

    /// A simple query.
    pub(crate) fn query(&mut self, text: &str) -> &mut Self {
        build::query(&mut self.out, text.as_bytes());
        self
    }

    /// Sends what was built, and a Flush.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        build::flush(&mut self.out);
        self.send().await
    }

    /// Sends what was built, and a Sync; then the tags that come up to ReadyForQuery.
    pub(crate) async fn sync(&mut self) -> Result<String> {
        build::sync(&mut self.out);
        self.answer().await
    }

    /// Sends what was built; then the tags that come up to ReadyForQuery.
    pub(crate) async fn answer(&mut self) -> Result<String> {
        self.send().await?;
        self.until(backend::READY_FOR_QUERY).await
    }

    /// Asks for a cancel and waits until it is taken.
    pub(crate) async fn cancel(&self) -> Result<()> {
        let mut socket = TcpStream::connect(self.socket.peer_addr()?).await?;
        let request = [&[0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e], &*self.key].concat();
        socket.write_all(&request).await?;
        socket.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }

    /// Sends what was built.
    pub(crate) async fn send(&mut self) -> Result<()> {
        let out = std::mem::take(&mut self.out);
        Ok(self.socket.write_all(&out).await?)
    }

    /// The tags of what comes, up to the first with `last`; of an error its SQLSTATE in brackets.
    pub(crate) async fn until(&mut self, last: u8) -> Result<String> {
        let (tags, closed) = self.hear(Some(last)).await?;
        ensure!(!closed, "closed after {tags:?}");
        Ok(tags)
    }

    /// The tags of what comes until the connection is closed.
    pub(crate) async fn until_closed(&mut self) -> Result<String> {
        Ok(self.hear(None).await?.0)
    }

    async fn hear(&mut self, last: Option<u8>) -> Result<(String, bool)> {
        let mut tags = String::new();
        loop {
            while let Some(frame) = Frame::first(&self.inbound)? {
                let (tag, len) = (frame.tag, frame.bytes.len());
                tags.push(char::from(tag));
                if tag == backend::ERROR_RESPONSE {
                    let fields = Fields::new(frame.body());
                    let code = fields.code().unwrap_or("?").to_owned();
                    let words = fields.get(b'M').unwrap_or_default();
                    self.errors
                        .push(String::from_utf8_lossy(words).into_owned());
                    tags.push_str(&format!("[{code}]"));
                }
                match tag {
                    backend::BACKEND_KEY_DATA => self.key = frame.body().to_vec(),
                    backend::DATA_ROW => self.rows.push(row(frame.body())?),
                    backend::PARAMETER_STATUS => self.told.push(setting(frame.body())?),
                    backend::ROW_DESCRIPTION => {
                        for column in Columns::new(frame.body())? {
                            self.types.push(column?.type_oid);
                        }
                    }
                    _ => {}
                }
                self.inbound.drain(..len);
                if Some(tag) == last {
                    return Ok((tags, false));
                }
            }
            let read = tokio::time::timeout(
                std::time::Duration::from_secs(10),
                self.socket.read_buf(&mut self.inbound),
            );
            let Ok(count) = read.await else {
                bail!("no answer after {tags:?}");
            };
            if count? == 0 {
                return Ok((tags, true));
            }
        }
    }
}

fn row(body: &[u8]) -> Result<String> {
    let mut texts = Vec::new();
    for value in Values::new(body)? {
        texts.push(String::from_utf8_lossy(value?.unwrap_or(b"NULL")).into_owned());
    }
    Ok(texts.join("|"))
}

fn setting(body: &[u8]) -> Result<String> {
    let (name, value) = backend::parameter_status(body)?;
    let (name, value) = (
        String::from_utf8_lossy(name),
        String::from_utf8_lossy(value),
    );
    Ok(format!("{name}={value}"))
}
