//! What stands before a login: TLS, and `hello`.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/mongodb-handshake/handshake.md>.
//! We pose as mongos: drivers then leave the topology to us.

use std::sync::Arc;
use std::time::Duration;

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

/// The version of MongoDB whose commands are understood.
pub(crate) const VERSION: [i32; 4] = [7, 0, 0, 0];

/// Bytes of a document at most.
pub(crate) const MAX_DOCUMENT: i32 = 16 * 1024 * 1024;
/// Bytes of a message at most.
const MAX_MESSAGE: i32 = 48_000_000;
/// Writes in one command at most: what the extension takes.
const MAX_BATCH: i32 = 25_000;
/// How long a session lives that nobody uses.
const SESSION_MINUTES: i32 = 30;

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
    out.append(cstr!("msg"), "isdbgrid");
    out.append(cstr!("maxBsonObjectSize"), MAX_DOCUMENT);
    out.append(cstr!("maxMessageSizeBytes"), MAX_MESSAGE);
    out.append(cstr!("maxWriteBatchSize"), MAX_BATCH);
    out.append(cstr!("localTime"), DateTime::now());
    out.append(cstr!("logicalSessionTimeoutMinutes"), SESSION_MINUTES);
    out.append(cstr!("connectionId"), session.number);
    out.append(cstr!("minWireVersion"), 0);
    out.append(cstr!("maxWireVersion"), MAX_WIRE_VERSION);
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
