//! A client that speaks the protocol message by message, for orders that no driver sends.

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinport_wire::pg::backend::{self, Fields};
use twinport_wire::pg::frame::Frame;
use twinport_wire::pg::frontend::build;

/// A client, logged in.
pub(crate) struct Raw {
    socket: TcpStream,
    inbound: Vec<u8>,
    /// What is sent next.
    pub(crate) out: Vec<u8>,
}

impl Raw {
    /// Connects to a port that lets its clients in without a password.
    pub(crate) async fn connect(port: u16, user: &str, database: &str) -> Result<Self> {
        let mut client = Self {
            socket: TcpStream::connect(("127.0.0.1", port)).await?,
            inbound: Vec::new(),
            out: Vec::new(),
        };
        let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
        for word in ["user", user, "database", database, ""] {
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

    async fn send(&mut self) -> Result<()> {
        let out = std::mem::take(&mut self.out);
        Ok(self.socket.write_all(&out).await?)
    }

    /// The tags of what comes, up to the first with `last`; of an error its SQLSTATE in brackets.
    pub(crate) async fn until(&mut self, last: u8) -> Result<String> {
        let mut tags = String::new();
        loop {
            while let Some(frame) = Frame::first(&self.inbound)? {
                let (tag, len) = (frame.tag, frame.bytes.len());
                tags.push(char::from(tag));
                if tag == backend::ERROR_RESPONSE {
                    let code = Fields::new(frame.body()).code().unwrap_or("?").to_owned();
                    tags.push_str(&format!("[{code}]"));
                }
                self.inbound.drain(..len);
                if tag == last {
                    return Ok(tags);
                }
            }
            let read = tokio::time::timeout(
                std::time::Duration::from_secs(10),
                self.socket.read_buf(&mut self.inbound),
            );
            match read.await {
                Err(_) => bail!("no answer after {tags:?}"),
                Ok(count) => ensure!(count? > 0, "closed after {tags:?}"),
            }
        }
    }
}
