//! Where an upstream may be, cancels, and the `auth_query`.

use super::*;
use crate::auth::{Secret, query};

#[tokio::test]
async fn nobody_there() {
    let keyring = Keyring::new();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    for host in [
        Host::Tcp("127.0.0.1".to_owned()),
        Host::Tcp("no.such.host.invalid".to_owned()),
        Host::Unix(Path::new("/nowhere").to_owned()),
    ] {
        let target = target(host, port, password());
        let error = failed(connect(&target, &keyring).await);
        assert!(error.is_unreachable(), "{error}");
        assert_eq!(error.sqlstate(), "08006");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }
}

#[tokio::test]
async fn prefer_goes_on_in_plain_text_where_there_is_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for answer in [b"N", b"S"] {
        let host = Host::Tcp("localhost".to_owned());
        let mut target = target(host, port, Credentials::None);
        let tls = ClientTls::load(SslMode::Prefer, ClientFiles::default(), &[]).unwrap();
        target.tls = Some(Arc::new(tls));
        let welcomed = async |mut socket: TcpStream| {
            let mut length = [0; 4];
            socket.read_exact(&mut length).await.unwrap();
            let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
            socket.read_exact(&mut rest).await.unwrap();
            socket.write_all(&welcome()).await.unwrap();
            socket
        };
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            socket.read_exact(&mut request).await.unwrap();
            socket.write_all(answer).await.unwrap();
            if answer == b"N" {
                return welcomed(socket).await;
            }
            // It said S, but what follows is no TLS.
            let mut hello = [0; 5];
            socket.read_exact(&mut hello).await.unwrap();
            socket.write_all(b"this is no TLS").await.unwrap();
            drop(socket);
            let (socket, _) = listener.accept().await.unwrap();
            welcomed(socket).await
        };
        let keyring = Keyring::new();
        let (connected, _socket) = tokio::join!(connect(&target, &keyring), serve);
        assert!(connected.unwrap().stream.is_plain_tcp());
    }
}

#[tokio::test]
async fn a_cancel_carries_short_and_long_keys() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
    let target = target(Host::Unix(dir.path().to_owned()), 5432, Credentials::None);
    for length in [4, 256] {
        let secret = vec![9; length];
        let serve = async {
            let (socket, _) = listener.accept().await.unwrap();
            let packet = Channel::new(socket).startup_packet().await.unwrap();
            let decoded = startup::Startup::decode(&packet).unwrap();
            let key = startup::CancelKey {
                pid: 7,
                secret: &secret,
            };
            assert_eq!(decoded, startup::Startup::Cancel(key));
        };
        let (sent, ()) = tokio::join!(send_cancel(&target, 7, &secret), serve);
        sent.unwrap();
    }
    drop(listener);
    assert!(
        send_cancel(&target, 7, b"four")
            .await
            .unwrap_err()
            .is_unreachable()
    );
}

#[tokio::test]
async fn an_address_that_is_dead_does_not_hide_the_next() {
    // "localhost" gives ::1 and 127.0.0.1 on most machines; only one listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = Host::Tcp("localhost".to_owned());
    let target = target(host, port, Credentials::None);
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(&welcome()).await.unwrap();
        socket
    };
    let keyring = Keyring::new();
    let (connected, _socket) = tokio::join!(connect(&target, &keyring), serve);
    connected.unwrap();
}

/// Answers an `auth_query` with `answer`.
async fn asked(answer: &[u8]) -> (Result<Option<Secret>, String>, Vec<u8>) {
    let (mut near, far) = UnixStream::pair().unwrap();
    let mut server = Channel::new(far);
    let serve = async {
        let mut tags = Vec::new();
        while tags.last() != Some(&b'S') {
            let message = server.message(1000).await.unwrap();
            if message.tag == frontend::BIND {
                let bind = frontend::Bind::decode(message.body()).unwrap();
                assert!(bind.rest.windows(3).any(|window| window == b"ann"));
            }
            tags.push(message.tag);
        }
        server.out.extend_from_slice(answer);
        server.flush().await.unwrap();
        drop(server);
        tags
    };
    let (found, tags) = tokio::join!(query::run(&mut near, "SELECT …", "ann"), serve);
    (found.map_err(|error| error.reason), tags)
}

fn answer(rows: &[[Option<&str>; 2]]) -> Vec<u8> {
    let mut out = Vec::new();
    build::parse_complete(&mut out);
    build::bind_complete(&mut out);
    for row in rows {
        build::data_row(&mut out, row);
    }
    build::command_complete(&mut out, b"SELECT 1");
    build::ready_for_query(&mut out, Status::Idle);
    out
}

#[tokio::test]
async fn auth_query_gives_a_secret_or_none() {
    let (found, tags) = asked(&answer(&[[Some("ann"), Some("pencil")]])).await;
    assert_eq!(found, Ok(Some(Secret::Plain("pencil".to_owned()))));
    assert_eq!(tags, b"PBES");
    assert_eq!(asked(&answer(&[])).await.0, Ok(None));
    assert_eq!(asked(&answer(&[[Some("ann"), None]])).await.0, Ok(None));
}

#[tokio::test]
async fn auth_query_that_fails_lets_nobody_in() {
    let mut error = Vec::new();
    let report = Report {
        message: "relation is missing",
        ..Report::default()
    };
    build::error_response(&mut error, &report);
    build::ready_for_query(&mut error, Status::Idle);
    let reason = asked(&error).await.0.unwrap_err();
    assert!(reason.contains("relation is missing"), "{reason}");
    let two = [[Some("ann"), Some("a")], [Some("ann"), Some("b")]];
    assert!(asked(&answer(&two)).await.0.is_err());
    assert!(asked(&answer(&[[Some("bob"), Some("a")]])).await.0.is_err());
    assert!(
        asked(b"D\0\0\0\x0a\0\x02\0\0\0\x05").await.0.is_err(),
        "a short DataRow"
    );
    assert!(asked(b"").await.0.is_err());
}
