//! Logins of clients, right and wrong.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use twinport_config::SslMode;
use twinport_core::tls::{ALPN_POSTGRES, ClientAuth, ClientFiles, ClientTls, ServerFiles};
use twinport_embedded::Authority;
use twinport_wire::pg::backend::{Authentication, Fields};
use twinport_wire::pg::{backend, frontend};
use twinport_wire::scram::client::{Binding, Client};
use twinport_wire::scram::{Keys, Sha256, Verifier};

use super::*;
use crate::auth::{Method, Secret, Unavailable};

/// Knows `ann` in one form or another, and nobody else.
struct Ann {
    secret: Option<Secret>,
    asked: AtomicUsize,
}

impl Ann {
    fn new(secret: Secret) -> Self {
        Self {
            secret: Some(secret),
            asked: AtomicUsize::new(0),
        }
    }

    fn plain() -> Self {
        Self::new(Secret::Plain("pencil".to_owned()))
    }
}

impl Secrets for Ann {
    async fn find(&self, user: &str, database: &str) -> Result<Option<Secret>, Unavailable> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if database == "down" {
            return Err(Unavailable {
                code: "08006",
                message: "the login cannot be checked".to_owned(),
                reason: "secret reason".to_owned(),
            });
        }
        Ok(self.secret.clone().filter(|_| user == "ann"))
    }
}

fn gate(method: Method) -> Gate {
    Gate {
        tls: None,
        tls_required: false,
        timeout: Duration::from_secs(5),
        logins: Arc::new(Semaphore::new(8)),
        policy: Policy {
            method,
            ..Policy::default()
        },
        keyring: Keyring::new(),
    }
}

/// A driver, reduced to what a login needs.
struct Driver<S> {
    channel: Channel<S>,
}

/// How a login looked from outside.
#[derive(Debug, PartialEq)]
enum Seen {
    /// SASLFinal or no request at all: AuthenticationOk would follow.
    In,
    /// SQLSTATE and text.
    Out(String, String),
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    fn new(stream: S) -> Self {
        let channel = Channel::new(stream);
        Self { channel }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.channel.out.extend_from_slice(bytes);
        // The server may have hung up already; what it said tells why.
        drop(self.channel.flush().await);
    }

    async fn start(&mut self, parameters: &[(&str, &str)]) {
        let given = parameters.iter().copied();
        startup::startup_message(&mut self.channel.out, Version::V3_0, given).unwrap();
        drop(self.channel.flush().await);
    }

    /// Reads to the next authentication request; `Err` if it is over.
    async fn request(&mut self) -> Result<channel::Message, Seen> {
        loop {
            let message = match self.channel.message(10_000).await {
                Ok(message) => message,
                Err(_) => return Err(Seen::Closed),
            };
            match message.tag {
                backend::AUTHENTICATION => return Ok(message),
                backend::NEGOTIATE => {}
                backend::ERROR_RESPONSE => {
                    let fields = Fields::new(message.body());
                    fields.check().unwrap();
                    assert_eq!(fields.get(b'S'), Some(&b"FATAL"[..]));
                    let text = String::from_utf8_lossy(fields.get(b'M').unwrap());
                    let code = fields.code().unwrap().to_owned();
                    return Err(Seen::Out(code, text.into_owned()));
                }
                tag => panic!("unexpected message {}", char::from(tag)),
            }
        }
    }

    /// Logs in by SCRAM as far as it goes.
    async fn scram(&mut self, password: &str, end_point: Option<Vec<u8>>) -> Seen {
        match self.try_scram(password, end_point).await {
            Ok(()) => Seen::In,
            Err(seen) => seen,
        }
    }

    async fn try_scram(&mut self, password: &str, end_point: Option<Vec<u8>>) -> Result<(), Seen> {
        let message = self.request().await?;
        let Authentication::Sasl(offered) = Authentication::decode(message.body()).unwrap() else {
            panic!("not SASL");
        };
        let required = end_point.is_some();
        let choice = Binding::choose::<Sha256>(|name| offered.contains(name), end_point, required);
        let (binding, mechanism) = choice.unwrap();
        let (client, first) = Client::<Sha256>::start("", binding);
        let mut out = Vec::new();
        frontend::build::sasl_initial(&mut out, mechanism, first.as_bytes());
        self.send(&out).await;
        let message = self.request().await?;
        let Authentication::SaslContinue(data) = Authentication::decode(message.body()).unwrap()
        else {
            panic!("not SASLContinue");
        };
        let challenge = client.challenge(data, 5000).unwrap();
        let keys = Keys::derive(password, &challenge.salt, challenge.iterations);
        let (client, last) = challenge.answer(&keys);
        out.clear();
        frontend::build::sasl_response(&mut out, last.as_bytes());
        self.send(&out).await;
        let message = self.request().await?;
        let Authentication::SaslFinal(data) = Authentication::decode(message.body()).unwrap()
        else {
            panic!("not SASLFinal");
        };
        client.verify(data).unwrap();
        Ok(())
    }
}

/// Closes after a login, so that a driver that waits for more sees the end.
async fn enter_and_hang_up(stream: Stream, gate: &Gate, secrets: &Ann) -> Accepted {
    let mut accepted = accept(stream, gate, secrets).await;
    if let Accepted::Session(login) = &mut accepted {
        drop(login.stream.write_all(&login.owed).await);
        drop(login.stream.shutdown().await);
    }
    accepted
}

/// Runs `drive` against a gate over a Unix socket.
async fn against<T>(
    gate: &Gate,
    secrets: &Ann,
    drive: impl AsyncFnOnce(Driver<UnixStream>) -> T,
) -> (Accepted, T) {
    let (near, far) = UnixStream::pair().unwrap();
    tokio::join!(
        enter_and_hang_up(Stream::unix(far), gate, secrets),
        drive(Driver::new(near))
    )
}

async fn login(gate: &Gate, secrets: &Ann, user: &str, password: &str) -> (Accepted, Seen) {
    against(gate, secrets, async |mut driver| {
        driver.start(&[("user", user)]).await;
        driver.scram(password, None).await
    })
    .await
}

fn session(accepted: Accepted) -> Login {
    match accepted {
        Accepted::Session(login) => *login,
        other => panic!("not a session: {other:?}"),
    }
}

fn gone(accepted: Accepted) -> Gone {
    match accepted {
        Accepted::Gone(gone) => gone,
        other => panic!("not gone: {other:?}"),
    }
}

fn wrong_password(user: &str) -> Seen {
    Seen::Out(
        "28P01".to_owned(),
        format!("password authentication failed for user \"{user}\""),
    )
}

mod bad_input;
mod encryption;
mod methods;
mod opening;
