//! TLS in both its forms, and what must not pass for it.

use super::*;

struct Tls {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Tls {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("test").unwrap();
        let identity = authority.server(&["localhost"]).unwrap();
        for (name, text) in [
            ("server.pem", identity.certificate.as_str()),
            ("server.key", &identity.key),
            ("ca.pem", authority.pem()),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Self { dir, authority }
    }

    fn gate(&self, method: Method) -> Gate {
        let files = ServerFiles {
            certificate: self.dir.path().join("server.pem"),
            key: self.dir.path().join("server.key"),
            client_ca: Some(self.dir.path().join("ca.pem")),
            client_auth: ClientAuth::Optional,
        };
        let tls = ServerTls::load(files, &[ALPN_POSTGRES]).unwrap();
        Gate {
            tls: Some(Arc::new(tls)),
            tls_required: true,
            ..gate(method)
        }
    }

    fn client(&self, user: Option<&str>, alpn: &[&[u8]]) -> ClientTls {
        let mut files = ClientFiles {
            root: Some(self.dir.path().join("ca.pem")),
            ..ClientFiles::default()
        };
        if let Some(user) = user {
            let identity = self.authority.client(user).unwrap();
            let path = |kind| self.dir.path().join(format!("{user}.{kind}"));
            std::fs::write(path("pem"), identity.certificate).unwrap();
            std::fs::write(path("key"), identity.key).unwrap();
            (files.certificate, files.key) = (Some(path("pem")), Some(path("key")));
        }
        ClientTls::load(SslMode::VerifyFull, files, alpn).unwrap()
    }
}

/// Runs `drive` against a gate over TCP.
async fn by_tcp<T>(
    gate: &Gate,
    secrets: &Ann,
    drive: impl AsyncFnOnce(TcpStream) -> T,
) -> (Accepted, T) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        enter_and_hang_up(Stream::tcp(socket).unwrap(), gate, secrets).await
    };
    tokio::join!(serve, async {
        drive(TcpStream::connect(address).await.unwrap()).await
    })
}

fn ssl_request() -> Vec<u8> {
    let mut out = Vec::new();
    startup::ssl_request(&mut out);
    out
}

/// A login by SCRAM over TLS.
async fn over_tls(tls: &Tls, direct: bool, bound: bool) -> (Accepted, Seen) {
    let client = tls.client(None, &[ALPN_POSTGRES]);
    let gate = tls.gate(Method::ScramSha256);
    by_tcp(&gate, &Ann::plain(), async |mut socket| {
        if !direct {
            socket.write_all(&ssl_request()).await.unwrap();
            assert_eq!(socket.read_u8().await.unwrap(), b'S');
        }
        let secured = client.connect("localhost", socket).await.unwrap();
        let mut driver = Driver::new(secured.stream);
        driver.start(&[("user", "ann")]).await;
        driver
            .scram("pencil", secured.end_point.filter(|_| bound))
            .await
    })
    .await
}

#[tokio::test]
async fn scram_over_tls_with_and_without_binding() {
    let tls = Tls::new();
    for (direct, bound) in [(false, true), (false, false), (true, true)] {
        let (accepted, seen) = over_tls(&tls, direct, bound).await;
        assert_eq!(seen, Seen::In);
        assert!(session(accepted).stream.is_tls());
    }
}

#[tokio::test]
async fn channel_binding_downgrade_ends_the_login() {
    let tls = Tls::new();
    let client = tls.client(None, &[]);
    let gate = tls.gate(Method::ScramSha256);
    let (accepted, seen) = by_tcp(&gate, &Ann::plain(), async |mut socket| {
        socket.write_all(&ssl_request()).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'S');
        let secured = client.connect("localhost", socket).await.unwrap();
        let mut driver = Driver::new(secured.stream);
        driver.start(&[("user", "ann")]).await;
        driver.request().await.unwrap();
        let (_, first) = Client::<Sha256>::start("", Binding::Unoffered);
        let mut out = Vec::new();
        frontend::build::sasl_initial(&mut out, "SCRAM-SHA-256", first.as_bytes());
        driver.send(&out).await;
        driver.request().await.err()
    })
    .await;
    assert_eq!(gone(accepted), Gone::Refused);
    assert!(
        matches!(seen, Some(Seen::Out(code, text)) if code == "08P01" && text.contains("but it is"))
    );
}

#[tokio::test]
async fn direct_tls_needs_its_alpn() {
    let tls = Tls::new();
    let client = tls.client(None, &[]);
    let gate = tls.gate(Method::ScramSha256);
    let (accepted, ()) = by_tcp(&gate, &Ann::plain(), async |socket| {
        let secured = client.connect("localhost", socket).await.unwrap();
        let mut driver = Driver::new(secured.stream);
        driver.start(&[("user", "ann")]).await;
        assert!(driver.request().await.is_err());
    })
    .await;
    assert_eq!(gone(accepted), Gone::Tls);
}

#[tokio::test]
async fn plain_text_before_tls_ends_the_connection() {
    let gate = Tls::new().gate(Method::ScramSha256);
    let mut hidden = ssl_request();
    startup::startup_message(&mut hidden, Version::V3_0, [("user", "ann")]).unwrap();
    let (accepted, answer) = by_tcp(&gate, &Ann::plain(), async |mut socket| {
        socket.write_all(&hidden).await.unwrap();
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer).await);
        answer
    })
    .await;
    assert_eq!(gone(accepted), Gone::Refused);
    assert_ne!(answer.first(), Some(&b'S'));
}

#[tokio::test]
async fn a_handshake_that_is_none_ends_the_connection() {
    let gate = Tls::new().gate(Method::ScramSha256);
    for first in [ssl_request(), Vec::new()] {
        let (accepted, ()) = by_tcp(&gate, &Ann::plain(), async |mut socket| {
            if !first.is_empty() {
                socket.write_all(&first).await.unwrap();
                assert_eq!(socket.read_u8().await.unwrap(), b'S');
            }
            socket
                .write_all(b"\x16\x03\x01\x00\x05hello")
                .await
                .unwrap();
            let mut answer = Vec::new();
            drop(socket.read_to_end(&mut answer).await);
        })
        .await;
        assert_eq!(gone(accepted), Gone::Tls);
    }
}

#[tokio::test]
async fn plain_tcp_is_turned_away_where_tls_is_required() {
    let gate = Tls::new().gate(Method::ScramSha256);
    let (accepted, seen) = by_tcp(&gate, &Ann::plain(), async |socket| {
        let mut driver = Driver::new(socket);
        driver.start(&[("user", "ann")]).await;
        driver.request().await.err()
    })
    .await;
    assert_eq!(gone(accepted), Gone::Tls);
    assert!(matches!(seen, Some(Seen::Out(code, _)) if code == "28000"));
}

#[tokio::test]
async fn an_encryption_request_inside_tls_is_refused() {
    let tls = Tls::new();
    let client = tls.client(None, &[]);
    let gate = tls.gate(Method::ScramSha256);
    let (accepted, ()) = by_tcp(&gate, &Ann::plain(), async |mut socket| {
        socket.write_all(&ssl_request()).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'S');
        let secured = client.connect("localhost", socket).await.unwrap();
        let mut driver = Driver::new(secured.stream);
        driver.send(&ssl_request()).await;
        assert!(driver.request().await.is_err());
    })
    .await;
    assert_eq!(gone(accepted), Gone::Refused);
}

#[tokio::test]
async fn a_certificate_logs_in_whom_it_names() {
    let tls = Tls::new();
    let mut gate = tls.gate(Method::Cert);
    let users = ["app", "job"].map(str::to_owned);
    gate.policy
        .cert_map
        .insert("service".to_owned(), users.into());
    for (certificate, user, good) in [
        (Some("ann"), "ann", true),
        (Some("ann"), "bob", false),
        (Some("service"), "job", true),
        (Some("service"), "service", false),
        (None, "ann", false),
    ] {
        let client = tls.client(certificate, &[]);
        let (accepted, seen) = by_tcp(&gate, &Ann::plain(), async |mut socket| {
            socket.write_all(&ssl_request()).await.unwrap();
            assert_eq!(socket.read_u8().await.unwrap(), b'S');
            let secured = client.connect("localhost", socket).await.unwrap();
            let mut driver = Driver::new(secured.stream);
            driver.start(&[("user", user)]).await;
            driver.request().await.err()
        })
        .await;
        if good {
            assert_eq!(session(accepted).user, user);
        } else {
            assert_eq!(gone(accepted), Gone::Denied, "{certificate:?} {user}");
            assert!(matches!(seen, Some(Seen::Out(code, _)) if code == "28000"));
        }
    }
}

#[tokio::test]
async fn trust_by_loopback_and_cancel_over_tls() {
    let tls = Tls::new();
    let client = tls.client(None, &[ALPN_POSTGRES]);
    for cancel in [false, true] {
        let gate = tls.gate(Method::Trust);
        let (accepted, _driver) = by_tcp(&gate, &Ann::plain(), async |socket| {
            let secured = client.connect("localhost", socket).await.unwrap();
            let mut driver = Driver::new(secured.stream);
            if cancel {
                startup::cancel_request(&mut driver.channel.out, 1, b"abcd");
                driver.channel.flush().await.unwrap();
            } else {
                driver.start(&[("user", "ann")]).await;
            }
            driver
        })
        .await;
        assert_eq!(matches!(accepted, Accepted::Cancel(..)), cancel);
        assert_eq!(matches!(accepted, Accepted::Session(_)), !cancel);
    }
}
