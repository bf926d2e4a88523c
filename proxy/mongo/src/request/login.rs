//! `hello`, the login, and who one is.

use twinport_config::AuthMethod;
use twinport_core::sql::Identity;
use twinport_wire::mongo::bson::raw::{RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::sasl;

use super::{Context, Outcome};
use crate::auth::{self, Denied, Said};
use crate::fault::{Fault, known};
use crate::handshake::{self, Limits};
use crate::reply::Reply;
use crate::session::{Login, Session, introduces};

/// The number of every exchange: a connection has one at a time.
const CONVERSATION: i32 = 1;

pub(super) async fn hello(context: &mut Context<'_>) -> Outcome {
    let command = &context.request.command;
    let session = &mut *context.session;
    if session.introduced && introduces(command.body) {
        return Err(Fault::new(
            known::CLIENT_METADATA_CANNOT_BE_MUTATED,
            "The client metadata document may only be sent in the first hello",
        ));
    }
    let speculated = match command.body.get("speculativeAuthenticate") {
        Ok(Some(RawBsonRef::Document(inner))) => speculate(session, inner).await,
        _ => None,
    };
    trust(session)?;
    let limits = match session.wing.cluster() {
        Some(cluster) => cluster.limits().await?,
        None => Limits::EXTENSION,
    };
    let answer = handshake::hello(session, command, limits, speculated);
    Ok(Reply::Document(answer))
}

/// Begins the login that a client hopes for; what fails is tried again by a command of its own.
async fn speculate(
    session: &mut Session,
    inner: &twinport_wire::mongo::bson::RawDocument,
) -> Option<RawDocumentBuf> {
    if inner.get("saslStart").ok()?.is_some() {
        let start = sasl::Start::read(inner).ok()?;
        return begin(session, start).await.ok();
    }
    if inner.get("authenticate").ok()?.is_some() {
        let user = certificate(session, inner.get_str("user").ok()).ok()?;
        return Some(rawdoc! { "dbname": "$external", "user": user });
    }
    None
}

/// Lets everybody in where no proof is asked for.
fn trust(session: &mut Session) -> Result<(), Fault> {
    let policy = session.wing.gate.load().policy.clone();
    if policy.method == AuthMethod::Trust && session.identity().is_none() {
        session.enter(Identity {
            user: "".into(),
            proof: twinport_core::sql::Proof::None,
        })?;
    }
    Ok(())
}

async fn begin(session: &mut Session, start: sasl::Start<'_>) -> Result<RawDocumentBuf, Fault> {
    let wing = std::sync::Arc::clone(&session.wing);
    let policy = wing.gate.load().policy.clone();
    let said = {
        let _permit = wing.logins.acquire().await;
        auth::start(start, &wing.current().settings, &policy, &wing.keyring).await
    };
    take(session, said)
}

/// Answers with what an exchange has led to.
fn take(session: &mut Session, said: Result<Said, Denied>) -> Result<RawDocumentBuf, Fault> {
    let said = said.map_err(|denied| {
        session.denied(&denied);
        Fault::authentication()
    })?;
    let done = said.identity.is_some();
    if let Some(identity) = said.identity {
        session.login = Login::Nobody;
        session.enter(identity)?;
    } else if let Some(exchange) = said.exchange {
        session.login = Login::Asking(exchange);
    }
    Ok(sasl::answer(CONVERSATION, &said.payload, done))
}

pub(super) async fn start(context: &mut Context<'_>) -> Outcome {
    let start = sasl::Start::read(context.request.command.body);
    let start = start.map_err(|error| Fault::protocol(&error))?;
    let mut answer = begin(context.session, start).await?;
    answer.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(answer))
}

pub(super) async fn go_on(context: &mut Context<'_>) -> Outcome {
    let go_on = sasl::Continue::read(context.request.command.body);
    let go_on = go_on.map_err(|error| Fault::protocol(&error))?;
    let session = &mut *context.session;
    match std::mem::replace(&mut session.login, Login::Nobody) {
        Login::Asking(exchange) if go_on.conversation == i64::from(CONVERSATION) => {
            let user = std::sync::Arc::clone(&exchange.user);
            let said = exchange.go_on(go_on.payload);
            if let Err(denied) = &said {
                tracing::info!(%user, reason = %denied, "login refused");
                tokio::time::sleep(PENALTY).await;
            }
            let mut answer = take(session, said)?;
            answer.append(cstr!("ok"), 1.0);
            Ok(Reply::Document(answer))
        }
        other => {
            session.login = match other {
                // Who is in stays in.
                known @ Login::Known(_) => known,
                _ => Login::Nobody,
            };
            Err(Fault::new(
                known::PROTOCOL_ERROR,
                "No SASL session state found",
            ))
        }
    }
}

/// How long a client that has failed waits for the answer: guessing is slow.
const PENALTY: std::time::Duration = std::time::Duration::from_millis(250);

fn certificate(session: &mut Session, user: Option<&str>) -> Result<String, Fault> {
    let policy = session.wing.gate.load().policy.clone();
    match auth::by_certificate(session.certificate.as_ref(), user, &policy) {
        Ok(identity) => {
            let user = identity.user.to_string();
            session.enter(identity)?;
            Ok(user)
        }
        Err(denied) => {
            session.denied(&denied);
            Err(Fault::authentication())
        }
    }
}

pub(super) async fn authenticate(context: &mut Context<'_>) -> Outcome {
    let body = context.request.command.body;
    let mechanism = body.get_str("mechanism").unwrap_or("MONGODB-CR");
    if mechanism != "MONGODB-X509" {
        return Err(Fault::new(
            known::BAD_VALUE,
            format_args!("Auth mechanism {mechanism} is not supported"),
        )
        .hint("Use SCRAM-SHA-256, SCRAM-SHA-1 or MONGODB-X509"));
    }
    let user = certificate(context.session, body.get_str("user").ok())?;
    Ok(Reply::Document(rawdoc! {
        "dbname": "$external",
        "user": user,
        "ok": 1.0,
    }))
}

pub(super) async fn nonce(_: &mut Context<'_>) -> Outcome {
    Ok(Reply::Document(rawdoc! {
        "nonce": format!("{:016x}", rand::random::<u64>()),
        "ok": 1.0,
    }))
}

pub(super) async fn logout(context: &mut Context<'_>) -> Outcome {
    context.session.leave();
    Ok(Reply::ok())
}
