//! Everything before authentication: encryption, cancel, the startup message.

use twinport_core::stream::Stream;
use twinport_core::tls::ALPN_POSTGRES;
use twinport_wire::pg::backend::build;
use twinport_wire::pg::startup::{Start, Startup, Version, options};

use super::channel::Channel;
use super::{CancelKey, Gate, Gone, Login, Refusal, Replication};
use crate::auth::Credentials;

/// The first byte of a TLS record that holds a handshake. A startup packet
/// begins with a zero.
const TLS_HANDSHAKE: u8 = 0x16;

/// How a connection opens.
pub(super) enum Opened {
    Cancel(CancelKey),
    /// With what binds a login to the TLS channel.
    Start(Opening, Option<Vec<u8>>),
}

/// What a startup message asks for.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) user: String,
    pub(super) database: String,
    parameters: Vec<(String, String)>,
    replication: Option<Replication>,
    protocol: Version,
}

impl Opening {
    pub(super) fn login(
        self,
        stream: Stream,
        credentials: Credentials,
        leftover: Vec<u8>,
        owed: Vec<u8>,
    ) -> Login {
        Login {
            stream,
            database: self.database,
            user: self.user,
            parameters: self.parameters,
            replication: self.replication,
            protocol: self.protocol,
            credentials,
            leftover,
            owed,
        }
    }
}

/// Answers requests for encryption until the client cancels or starts. Each
/// kind of request may come once.
pub(super) async fn open(channel: &mut Channel, gate: &Gate) -> Result<Opened, Refusal> {
    let mut end_point = None;
    if gate.tls.is_some() && starts_with_tls(channel.stream()?).await {
        end_point = secure(channel, gate).await?;
        if channel.stream()?.alpn() != Some(ALPN_POSTGRES) {
            return Err(Refusal::new(
                Gone::Tls,
                "08P01",
                "direct TLS needs the ALPN protocol \"postgresql\"",
            ));
        }
    }
    let (mut ssl, mut gss) = (false, false);
    loop {
        let packet = channel.startup_packet().await?;
        let tls = channel.stream()?.is_tls();
        match Startup::decode(&packet)? {
            Startup::Ssl if !ssl && !tls => {
                ssl = true;
                if gate.tls.is_some() && channel.stream()?.is_plain_tcp() {
                    if channel.has_unread().await? {
                        return Err(plain_before_tls());
                    }
                    channel.out.push(b'S');
                    channel.flush().await?;
                    end_point = secure(channel, gate).await?;
                } else {
                    channel.out.push(b'N');
                    channel.flush().await?;
                }
            }
            Startup::Gss if !gss && !tls => {
                gss = true;
                channel.out.push(b'N');
                channel.flush().await?;
            }
            Startup::Ssl | Startup::Gss => {
                return Err(Refusal::new(
                    Gone::Refused,
                    "08P01",
                    "encryption was asked for twice",
                ));
            }
            Startup::Cancel(key) => return Ok(Opened::Cancel(key.into())),
            Startup::Start(start) => {
                check_encryption(channel.stream()?, gate)?;
                let opening = read(start)?;
                negotiate(channel, start);
                return Ok(Opened::Start(opening, end_point));
            }
        }
    }
}

fn plain_before_tls() -> Refusal {
    Refusal::new(
        Gone::Refused,
        "08P01",
        "received unencrypted data after SSL request",
    )
    .hint("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
}

/// An error here will show again at the first read.
async fn starts_with_tls(stream: &Stream) -> bool {
    stream.starts_with(TLS_HANDSHAKE).await.unwrap_or(false)
}

/// Puts TLS around the connection; gives what binds a login to it.
async fn secure(channel: &mut Channel, gate: &Gate) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(tls) = &gate.tls else {
        return Ok(None);
    };
    Ok(channel.upgrade(|socket| tls.accept(socket)).await?)
}

fn check_encryption(stream: &Stream, gate: &Gate) -> Result<(), Refusal> {
    if gate.tls_required && stream.is_plain_tcp() {
        return Err(Refusal::new(
            Gone::Tls,
            "28000",
            "this server accepts encrypted connections only",
        )
        .hint("Connect with sslmode=require or stricter."));
    }
    Ok(())
}

fn read(start: Start<'_>) -> Result<Opening, Refusal> {
    let (mut user, mut database, mut options, mut replicates) = ("", "", "", None);
    let mut given = Vec::new();
    for (name, value) in start.parameters() {
        match name {
            "user" => user = value,
            "database" => database = value,
            "options" => options = value,
            "replication" => replicates = Some(value),
            name if name.starts_with("_pq_.") => {}
            name => given.push((name.to_owned(), value.to_owned())),
        }
    }
    if user.is_empty() {
        return Err(Refusal::new(
            Gone::Refused,
            "28000",
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    let mut parameters = options::parse(options)?;
    parameters.append(&mut given);
    Ok(Opening {
        user: user.to_owned(),
        database: if database.is_empty() { user } else { database }.to_owned(),
        parameters,
        replication: replication(replicates)?,
        protocol: start.version.min(Version::LATEST),
    })
}

fn replication(value: Option<&str>) -> Result<Option<Replication>, Refusal> {
    let Some(value) = value else {
        return Ok(None);
    };
    match value.to_ascii_lowercase().as_str() {
        "database" => Ok(Some(Replication::Logical)),
        "true" | "on" | "yes" | "1" | "t" | "y" => Ok(Some(Replication::Physical)),
        "false" | "off" | "no" | "0" | "f" | "n" => Ok(None),
        _ => Err(Refusal::new(
            Gone::Refused,
            "22023",
            format!("invalid value for parameter \"replication\": \"{value}\""),
        )
        .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")),
    }
}

/// Says what we know less of than the client hopes for, if anything.
fn negotiate(channel: &mut Channel, start: Start<'_>) {
    let unknown: Vec<&str> = start
        .parameters()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("_pq_."))
        .collect();
    if start.version > Version::LATEST || !unknown.is_empty() {
        let version = start.version.min(Version::LATEST);
        build::negotiate(&mut channel.out, version, &unknown);
    }
}
