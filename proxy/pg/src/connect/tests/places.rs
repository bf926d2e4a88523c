//! Where an upstream may be, and cancels.

use super::*;

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
