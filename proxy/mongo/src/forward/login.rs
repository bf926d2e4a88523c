//! How we log in at a server.

use std::sync::Arc;

use parking_lot::Mutex;
use twinport_config::{DeploymentLogin, Mechanism};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, rawdoc};
use twinport_wire::mongo::document::{integer, truth};
use twinport_wire::mongo::sasl;
use twinport_wire::scram::client::{Binding, Client, MAX_ITERATIONS};
use twinport_wire::scram::{Hash, Keys, Sha1, Sha256};

use super::connection::{Connection, Received};

/// The iterations that a server must ask for, as the drivers' specification of authentication has it.
const LEAST_ITERATIONS: u32 = 4_096;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("the connection was lost during the login: {0}")]
    Lost(String),
    #[error("{0}")]
    Refused(String),
}

/// Whom we log in as, with the keys of the last time: deriving them is slow on purpose.
pub(crate) struct Login {
    settings: DeploymentLogin,
    sha256: Mutex<Option<Derived<Sha256>>>,
    sha1: Mutex<Option<Derived<Sha1>>>,
}

struct Derived<H: Hash> {
    salt: Vec<u8>,
    iterations: u32,
    keys: Keys<H>,
}

impl Login {
    pub(crate) fn new(settings: DeploymentLogin) -> Arc<Self> {
        Arc::new(Self {
            settings,
            sha256: Mutex::new(None),
            sha1: Mutex::new(None),
        })
    }

    /// What `hello` asks to learn the user's mechanisms; not asked if the settings name one.
    pub(crate) fn question(&self) -> Option<String> {
        let login = &self.settings;
        let asks = login.mechanism.is_none();
        asks.then(|| format!("{}.{}", login.source, login.user))
    }

    /// Logs in.
    pub(crate) async fn enter(&self, connection: &mut Connection) -> Result<(), Denied> {
        let offered = &connection.description.mechanisms;
        let newer = offered.iter().any(|name| name == Sha256::MECHANISM);
        let mechanism = match self.settings.mechanism {
            Some(mechanism) => mechanism,
            None if newer => Mechanism::ScramSha256,
            None => Mechanism::ScramSha1,
        };
        let password = self.settings.password.as_ref();
        let password = password.map_or("", |password| password.reveal());
        match mechanism {
            Mechanism::ScramSha256 => {
                let password = password.to_owned();
                self.scram(connection, password, &self.sha256).await
            }
            Mechanism::ScramSha1 => {
                let password = sasl::sha1_password(&self.settings.user, password);
                self.scram(connection, password, &self.sha1).await
            }
            Mechanism::X509 => self.certificate(connection).await,
        }
    }

    async fn scram<H: Hash>(
        &self,
        connection: &mut Connection,
        password: String,
        known: &Mutex<Option<Derived<H>>>,
    ) -> Result<(), Denied> {
        let source = &self.settings.source;
        // MongoDB has no channel binding.
        let (client, first) = Client::<H>::start(&self.settings.user, Binding::Unsupported);
        let answer = said(connection, &sasl::start::<H>(source, &first)).await?;
        let conversation = answer.conversation;
        let challenge = client
            .challenge(&answer.payload, MAX_ITERATIONS)
            .map_err(|error| Denied::Refused(error.to_string()))?;
        // Else who poses as the server would learn what the password can be guessed by.
        if challenge.iterations < LEAST_ITERATIONS {
            return Err(Denied::Refused(format!(
                "it asks for {} iterations of SCRAM, and {LEAST_ITERATIONS} are the least",
                challenge.iterations
            )));
        }
        let keys = derived(known, password, &challenge.salt, challenge.iterations).await?;
        let (answered, last) = challenge.answer(&keys);
        let answer = said(connection, &sasl::go_on(source, conversation, &last)).await?;
        answered
            .verify(&answer.payload)
            .map_err(|error| Denied::Refused(error.to_string()))?;
        if !answer.done {
            // Servers that don't skip the empty exchange.
            said(connection, &sasl::go_on(source, conversation, "")).await?;
        }
        Ok(())
    }

    async fn certificate(&self, connection: &mut Connection) -> Result<(), Denied> {
        let mut command = rawdoc! { "authenticate": 1, "mechanism": "MONGODB-X509" };
        let user = self.settings.user.as_str();
        if !user.is_empty() {
            command.append(twinport_wire::mongo::bson::raw::cstr!("user"), user);
        }
        command.append(twinport_wire::mongo::bson::raw::cstr!("$db"), "$external");
        run(connection, &command).await.map(drop)
    }
}

/// Gives the keys of the last time, if the server still has the same salt.
async fn derived<H: Hash>(
    known: &Mutex<Option<Derived<H>>>,
    password: String,
    salt: &[u8],
    iterations: u32,
) -> Result<Keys<H>, Denied> {
    if let Some(derived) = &*known.lock()
        && derived.salt == salt
        && derived.iterations == iterations
    {
        return Ok(derived.keys);
    }
    let of = salt.to_vec();
    let derive = move || Keys::<H>::derive(&password, &of, iterations);
    let keys = tokio::task::spawn_blocking(derive)
        .await
        .map_err(|error| Denied::Lost(error.to_string()))?;
    *known.lock() = Some(Derived {
        salt: salt.to_vec(),
        iterations,
        keys,
    });
    Ok(keys)
}

/// What a server answers to a step of SASL.
struct Said {
    conversation: i32,
    payload: Vec<u8>,
    done: bool,
}

async fn said(connection: &mut Connection, command: &RawDocument) -> Result<Said, Denied> {
    let answer = run(connection, command).await?;
    let body = body(&answer)?;
    let payload = match body.get("payload") {
        Ok(Some(RawBsonRef::Binary(binary))) => binary.bytes.to_vec(),
        Ok(Some(RawBsonRef::String(text))) => text.as_bytes().to_vec(),
        _ => return Err(Denied::Refused("an answer without a payload".to_owned())),
    };
    let id = body.get("conversationId").ok().flatten().and_then(integer);
    Ok(Said {
        conversation: id.and_then(|id| i32::try_from(id).ok()).unwrap_or(1),
        payload,
        done: matches!(body.get("done"), Ok(Some(value)) if truth(value)),
    })
}

async fn run(connection: &mut Connection, command: &RawDocument) -> Result<Received, Denied> {
    let lost = |error: super::connection::Lost| Denied::Lost(error.to_string());
    let answer = connection.run(command).await.map_err(lost)?;
    let body = body(&answer)?;
    if matches!(body.get("ok"), Ok(Some(value)) if truth(value)) {
        return Ok(answer);
    }
    let why = body.get_str("errmsg").unwrap_or("no reason given");
    Err(Denied::Refused(why.to_owned()))
}

fn body(answer: &Received) -> Result<&RawDocument, Denied> {
    answer
        .body()
        .map_err(|error| Denied::Lost(error.to_string()))
}
