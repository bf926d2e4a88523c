//! Logins at upstreams, good ones and such as misbehave.
//!
//! The server is a script on a Unix socket: what it sends does not depend on
//! what it reads, save in SCRAM.

use std::path::Path;

use proptest::prelude::*;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use twinport_config::SslMode;
use twinport_core::tls::{ALPN_POSTGRES, ClientFiles};
use twinport_wire::pg::backend::{Report, Status, build};
use twinport_wire::pg::frontend;
use twinport_wire::scram::server::{Server, offer};
use twinport_wire::scram::{Keys, Sha256, Verifier, client::MAX_ITERATIONS};

use super::*;

fn target(host: Host, port: u16, credentials: Credentials) -> Target {
    Target {
        host,
        port,
        tls: None,
        direct: false,
        channel_binding: ChannelBinding::Prefer,
        user: "ann".to_owned(),
        database: "books".to_owned(),
        parameters: vec![("application_name".to_owned(), "twinport".to_owned())],
        credentials,
        protocol: Version::V3_0,
        timeout: Duration::from_secs(5),
        max_iterations: MAX_ITERATIONS,
    }
}

fn password() -> Credentials {
    Credentials::Password("pencil".to_owned())
}

/// A server's side, after the startup message.
type Script = Channel<UnixStream>;

/// Connects to a server that runs `serve` once.
async fn at<T>(
    credentials: Credentials,
    change: impl FnOnce(&mut Target),
    serve: impl AsyncFnOnce(&mut Script) -> T,
) -> (Result<Connected, ConnectError>, T) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
    let mut target = target(Host::Unix(dir.path().to_owned()), 5432, credentials);
    change(&mut target);
    let keyring = Keyring::new();
    let run = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut channel = Channel::new(socket);
        let packet = channel.startup_packet().await.unwrap();
        let startup::Startup::Start(start) = startup::Startup::decode(&packet).unwrap() else {
            panic!("not a startup message");
        };
        assert_eq!(start.get("user"), Some("ann"));
        assert_eq!(start.get("database"), Some("books"));
        assert_eq!(start.get("application_name"), Some("twinport"));
        serve(&mut channel).await
    };
    tokio::join!(connect(&target, &keyring), run)
}

/// Connects to a server that only talks: it sends `bytes` and closes.
async fn told(credentials: Credentials, bytes: &[u8]) -> Result<Connected, ConnectError> {
    let (connected, ()) = at(
        credentials,
        |_| (),
        async |server| {
            server.out.extend_from_slice(bytes);
            drop(server.flush().await);
        },
    )
    .await;
    connected
}

fn ready() -> Vec<u8> {
    let mut out = Vec::new();
    build::parameter_status(&mut out, b"server_version", b"18.1");
    build::parameter_status(&mut out, b"TimeZone", b"UTC");
    build::backend_key_data(&mut out, 42, b"four");
    build::ready_for_query(&mut out, Status::Idle);
    out
}

fn welcome() -> Vec<u8> {
    let mut out = Vec::new();
    build::authentication_ok(&mut out);
    out.extend(ready());
    out
}

fn failed(result: Result<Connected, ConnectError>) -> ConnectError {
    match result {
        Err(error) => error,
        Ok(connected) => panic!("connected: {connected:?}"),
    }
}

mod bad_input;
mod methods;
mod places;
