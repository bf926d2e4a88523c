//! A client that says exactly what the tests want said.

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinport_integration::{Port, USER};

/// Messages by their tags, up to ReadyForQuery.
pub(crate) type Answer = Vec<(u8, Vec<u8>)>;

/// The tags of an answer.
pub(crate) fn kinds(answer: &Answer) -> String {
    answer.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// The bodies of an answer's rows.
pub(crate) fn rows(answer: &Answer) -> Vec<Vec<u8>> {
    answer
        .iter()
        .filter(|(tag, _)| *tag == b'D')
        .map(|(_, body)| body.clone())
        .collect()
}

/// Messages to be sent in one go.
#[derive(Default)]
pub(crate) struct Batch(Vec<u8>);

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn message(mut self, tag: u8, parts: &[&[u8]]) -> Self {
        let body = parts.concat();
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        self.0.push(tag);
        self.0.extend(length.to_be_bytes());
        self.0.extend(body);
        self
    }

    pub(crate) fn parse(self, name: &str, sql: &str) -> Self {
        self.message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"])
    }

    pub(crate) fn bind(self, portal: &str, name: &str, formats: &[u16]) -> Self {
        let count = u16::try_from(formats.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        let formats: Vec<u8> = formats
            .iter()
            .flat_map(|format| format.to_be_bytes())
            .collect();
        let names = [portal.as_bytes(), b"\0", name.as_bytes(), b"\0\0\0\0\0"].concat();
        self.message(b'B', &[&names, &count, &formats])
    }

    pub(crate) fn describe(self, name: &str) -> Self {
        self.message(b'D', &[b"S", name.as_bytes(), b"\0"])
    }

    pub(crate) fn describe_portal(self, name: &str) -> Self {
        self.message(b'D', &[b"P", name.as_bytes(), b"\0"])
    }

    pub(crate) fn execute(self, portal: &str, most: u32) -> Self {
        self.message(b'E', &[portal.as_bytes(), b"\0", &most.to_be_bytes()])
    }

    pub(crate) fn close(self, name: &str) -> Self {
        self.message(b'C', &[b"S", name.as_bytes(), b"\0"])
    }

    pub(crate) fn sync(self) -> Self {
        self.message(b'S', &[])
    }
}

/// A connection that has logged in.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn connect(port: &Port) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port.address.port)).await?;
        let mut wire = Self(stream);
        let names = format!(
            "user\0{USER}\0database\0{}\0client_encoding\0UTF8\0\0",
            port.address.database
        );
        let length = u32::try_from(names.len() + 8)?;
        let startup = [
            &length.to_be_bytes()[..],
            &196_608_u32.to_be_bytes(),
            names.as_bytes(),
        ]
        .concat();
        wire.0.write_all(&startup).await?;
        wire.answer().await?;
        Ok(wire)
    }

    /// Sends a batch that ends with Sync.
    pub(crate) async fn send(&mut self, batch: Batch) -> Result<Answer> {
        self.0.write_all(&batch.0).await?;
        self.answer().await
    }

    /// Sends one Query.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Answer> {
        self.send(Batch::new().message(b'Q', &[sql.as_bytes(), b"\0"]))
            .await
    }

    /// Sends one Query that must succeed.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        let answer = self.query(sql).await?;
        let error = answer.iter().find(|(tag, _)| *tag == b'E');
        match error {
            None => Ok(()),
            Some((_, body)) => bail!("{sql}: {}", String::from_utf8_lossy(body)),
        }
    }

    async fn answer(&mut self) -> Result<Answer> {
        let mut answer = Answer::new();
        loop {
            let tag = self
                .0
                .read_u8()
                .await
                .with_context(|| match answer.last() {
                    Some((_, body)) => format!("closed after {}", String::from_utf8_lossy(body)),
                    None => "closed".to_owned(),
                })?;
            let length = self
                .0
                .read_u32()
                .await?
                .checked_sub(4)
                .context("a length")?;
            let mut body = vec![0; usize::try_from(length)?];
            self.0.read_exact(&mut body).await?;
            // Notices and reported settings come whenever they like.
            if !matches!(tag, b'N' | b'S') {
                answer.push((tag, body));
            }
            if tag == b'Z' {
                return Ok(answer);
            }
        }
    }
}
