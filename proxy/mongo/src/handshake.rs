//! What stands before a login: TLS, and `hello`.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/mongodb-handshake/handshake.md>.
//! We pose as mongos: drivers then leave the topology to us.

use std::sync::Arc;
use std::time::Duration;

use twinport_config::Mask;
use twinport_core::stream::Stream;
use twinport_core::tls::ServerTls;
use twinport_wire::mongo::Command;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{DateTime, RawBsonRef, rawdoc};
use twinport_wire::mongo::compressed::Compressor;
use twinport_wire::mongo::document::truth;

use crate::auth::{self, Policy};
use crate::session::Session;

/// The first byte of a TLS record that holds a handshake. It would be a message of 22 bytes or some more.
const TLS_HANDSHAKE: u8 = 0x16;

/// The wire version that we speak: MongoDB 7.0's. What it adds is tested against the extension.
pub(crate) const MAX_WIRE_VERSION: i32 = 21;

/// MongoDB 4.4's: drivers don't speak to less, though many an older server understands all that they say.
const LEAST_WIRE_VERSION: i32 = 9;

/// The version of MongoDB whose commands are understood.
pub(crate) const VERSION: [i32; 4] = [7, 0, 0, 0];

/// Bytes of a document at most.
pub(crate) const MAX_DOCUMENT: i32 = 16 * 1024 * 1024;

/// What clients are told to keep within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_wire_version: i32,
    /// Bytes.
    pub(crate) max_document: i32,
    /// Bytes.
    pub(crate) max_message: i32,
    /// Writes in one command.
    pub(crate) max_batch: i32,
    /// How long a session lives that nobody uses; none if there are no sessions, and then no writes that can be
    /// sent again.
    pub(crate) session_minutes: Option<i32>,
}

impl Limits {
    /// Those of the extension.
    pub(crate) const EXTENSION: Self = Self {
        max_wire_version: MAX_WIRE_VERSION,
        max_document: MAX_DOCUMENT,
        max_message: 48_000_000,
        max_batch: 25_000,
        session_minutes: Some(30),
    };

    /// What keeps within both.
    pub(crate) fn least(self, other: Self) -> Self {
        let minutes = self.session_minutes.zip(other.session_minutes);
        Self {
            max_wire_version: self.max_wire_version.min(other.max_wire_version),
            max_document: self.max_document.min(other.max_document),
            max_message: self.max_message.min(other.max_message),
            max_batch: self.max_batch.min(other.max_batch),
            session_minutes: minutes.map(|(ours, theirs)| ours.min(theirs)),
        }
    }
}

/// What a connection has to pass.
#[derive(Debug, Clone)]
pub struct Gate {
    /// TLS, if it is offered.
    pub tls: Option<Arc<ServerTls>>,
    /// Are plain connections turned away?
    pub tls_required: bool,
    /// From connect to the end of the login.
    pub timeout: Duration,
    /// How clients are authenticated.
    pub policy: Policy,
}

/// Puts TLS around a connection whose first byte asks for it; `None` if it can't be let in.
pub(crate) async fn secure(stream: Stream, gate: &Gate) -> Option<Stream> {
    let peer = stream.peer();
    let wants_tls = stream.starts_with(TLS_HANDSHAKE).await.ok()?;
    match (stream, &gate.tls) {
        (Stream::Tcp(socket), Some(tls)) if wants_tls => match tls.accept(socket).await {
            Ok(secured) => Some(secured.stream),
            Err(error) => {
                tracing::info!(%peer, %error, "login refused");
                None
            }
        },
        _ if wants_tls => {
            tracing::info!(%peer, "login refused: TLS is not offered (mongo.tls)");
            None
        }
        _ if gate.tls_required => {
            tracing::info!(%peer, "login refused: only TLS is accepted (mongo.tls.mode)");
            None
        }
        (stream, _) => Some(stream),
    }
}

/// The answer to `hello`, `isMaster` or `ismaster`; `speculated` is that of the login inside, if it went well.
pub(crate) fn hello(
    session: &mut Session,
    command: &Command<'_>,
    limits: Limits,
    speculated: Option<RawDocumentBuf>,
) -> RawDocumentBuf {
    let body = command.body;
    let mut out = RawDocumentBuf::new();
    let modern = command.name == "hello";
    out.append(
        if modern {
            cstr!("isWritablePrimary")
        } else {
            cstr!("ismaster")
        },
        true,
    );
    out.append(cstr!("helloOk"), true);
    match &session.wing.current().mongo.mask {
        Some(mask) => wear(mask, &mut out),
        None => out.append(cstr!("msg"), "isdbgrid"),
    }
    out.append(cstr!("maxBsonObjectSize"), limits.max_document);
    out.append(cstr!("maxMessageSizeBytes"), limits.max_message);
    out.append(cstr!("maxWriteBatchSize"), limits.max_batch);
    out.append(cstr!("localTime"), DateTime::now());
    if let Some(minutes) = limits.session_minutes {
        out.append(cstr!("logicalSessionTimeoutMinutes"), minutes);
    }
    out.append(cstr!("connectionId"), session.number);
    out.append(cstr!("minWireVersion"), 0);
    let newest = limits.max_wire_version;
    let newest = newest.clamp(LEAST_WIRE_VERSION, MAX_WIRE_VERSION);
    out.append(cstr!("maxWireVersion"), newest);
    out.append(cstr!("readOnly"), false);
    if let Ok(Some(RawBsonRef::Array(offered))) = body.get("compression") {
        let mut agreed = RawArrayBuf::new();
        let names = offered.into_iter().flatten();
        for compressor in names.filter_map(|name| Compressor::by_name(name.as_str()?)) {
            agreed.push(compressor.name());
            if !session.agreed.contains(&compressor) {
                session.agreed.push(compressor);
            }
        }
        out.append(cstr!("compression"), agreed);
    }
    if let Ok(Some(RawBsonRef::String(user))) = body.get("saslSupportedMechs") {
        // Users belong to the whole server; the database before the dot is of no account.
        let user = user.split_once('.').map_or(user, |(_, name)| name);
        let mut list = RawArrayBuf::new();
        for mechanism in auth::mechanisms(&session.wing.current().settings, user) {
            list.push(mechanism);
        }
        out.append(cstr!("saslSupportedMechs"), list);
    }
    if let Some(speculated) = speculated {
        out.append(cstr!("speculativeAuthenticate"), speculated);
    }
    if matches!(body.get("loadBalanced"), Ok(Some(value)) if truth(value)) {
        session.balanced = true;
        out.append(cstr!("serviceId"), session.wing.service);
    }
    if let Ok(Some(RawBsonRef::Document(client))) = body.get("client") {
        session.introduce(client);
    }
    out.append(cstr!("ok"), 1.0);
    out
}

/// Looks like the primary of a replica set that has no other member.
fn wear(mask: &Mask, out: &mut RawDocumentBuf) {
    let address = mask.address.to_string();
    let mut hosts = RawArrayBuf::new();
    hosts.push(address.as_str());
    out.append(cstr!("setName"), mask.set.as_str());
    out.append(cstr!("setVersion"), 1);
    out.append(cstr!("secondary"), false);
    out.append(cstr!("hosts"), hosts);
    out.append(cstr!("primary"), address.as_str());
    out.append(cstr!("me"), address.as_str());
}

/// The answer to `buildInfo`.
pub(crate) fn build_info() -> RawDocumentBuf {
    let [major, minor, patch, _] = VERSION;
    let mut array = RawArrayBuf::new();
    for part in VERSION {
        array.push(part);
    }
    rawdoc! {
        "version": format!("{major}.{minor}.{patch}"),
        "gitVersion": concat!("twinport-", env!("CARGO_PKG_VERSION")),
        "modules": [],
        "versionArray": array,
        "bits": 64,
        "debug": false,
        "maxBsonObjectSize": MAX_DOCUMENT,
        "ok": 1.0,
    }
}
