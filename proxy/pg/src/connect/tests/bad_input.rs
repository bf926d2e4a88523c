//! Upstreams that mean harm, or are broken.

use super::*;

/// Begins SCRAM and answers with `challenge`, made from the client's nonce.
async fn challenged(
    change: impl FnOnce(&mut Target),
    challenge: impl FnOnce(&str) -> String,
) -> ConnectError {
    let (connected, ()) = at(password(), change, async |server| {
        build::authentication_sasl(&mut server.out, offer::<Sha256>(false));
        server.flush().await.unwrap();
        let message = server.message(10_000).await.unwrap();
        let initial = frontend::SaslInitial::decode(message.body()).unwrap();
        let first = String::from_utf8(initial.data.unwrap().to_vec()).unwrap();
        let nonce = first.split_once("r=").unwrap().1;
        build::authentication_sasl_continue(&mut server.out, challenge(nonce).as_bytes());
        server.flush().await.unwrap();
        drop(server.message(1000).await);
    })
    .await;
    failed(connected)
}

#[tokio::test]
async fn huge_iteration_counts_are_refused_at_once() {
    for count in ["100001", "2000000000", "4294967296"] {
        let start = tokio::time::Instant::now();
        let error = challenged(|_| (), |nonce| format!("r={nonce}x,s=c2FsdA==,i={count}")).await;
        assert!(error.is_protocol(), "{error}");
        assert!(error.to_string().contains("iteration"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    let few = |target: &mut Target| target.max_iterations = 10;
    let error = challenged(few, |nonce| format!("r={nonce}x,s=c2FsdA==,i=11")).await;
    assert!(error.to_string().contains("iteration"), "{error}");
}

#[tokio::test]
async fn over_long_and_foreign_server_nonces_are_refused() {
    for long in [600, 3000, 60_000] {
        let nonces = "x".repeat(long);
        let error = challenged(|_| (), |nonce| format!("r={nonce}{nonces},s=c2FsdA==,i=1")).await;
        assert!(error.is_protocol(), "{error}");
    }
    let error = challenged(|_| (), |nonce| format!("r=x{nonce},s=c2FsdA==,i=1")).await;
    assert!(error.to_string().contains("nonce"), "{error}");
}

#[tokio::test]
async fn a_server_that_skips_its_proof_is_not_trusted() {
    let verifier = Verifier::<Sha256>::fresh("pencil");
    for skip in [true, false] {
        let verifier = verifier.clone();
        let (connected, ()) = at(
            password(),
            |_| (),
            async |server| {
                build::authentication_sasl(&mut server.out, offer::<Sha256>(false));
                server.flush().await.unwrap();
                let message = server.message(10_000).await.unwrap();
                let initial = frontend::SaslInitial::decode(message.body()).unwrap();
                let scram = Server::<Sha256>::new(verifier, None);
                let (_, challenge) = scram
                    .challenge(initial.mechanism, initial.data.unwrap())
                    .unwrap();
                build::authentication_sasl_continue(&mut server.out, challenge.as_bytes());
                server.flush().await.unwrap();
                drop(server.message(10_000).await);
                if !skip {
                    build::authentication_sasl_final(&mut server.out, b"v=AAAA");
                }
                server.out.extend(welcome());
                server.flush().await.unwrap();
            },
        )
        .await;
        let error = failed(connected);
        assert!(error.is_protocol(), "{error}");
    }
}

#[tokio::test]
async fn error_response_without_sqlstate_and_without_anything() {
    let error = failed(told(password(), b"E\0\0\0\x0fMgo away\0\0\0").await);
    let server = error.server_error().unwrap();
    assert_eq!(
        (server.code.as_str(), server.message.as_str()),
        ("XX000", "go away")
    );
    assert_eq!(server.bytes, b"E\0\0\0\x0fMgo away\0\0\0");
    assert_eq!(error.sqlstate(), "XX000");
    let error = failed(told(password(), b"E\0\0\0\x04").await);
    assert_eq!(error.server_error().unwrap().severity, "FATAL");
}

#[tokio::test]
async fn a_servers_error_is_kept_before_and_after_the_proof() {
    for code in ["3D000", "53300", "57P03", "28P01"] {
        let mut error = Vec::new();
        let report = Report {
            severity: "FATAL",
            code,
            message: "no",
            ..Report::default()
        };
        build::error_response(&mut error, &report);
        let mut after = Vec::new();
        build::authentication_ok(&mut after);
        after.extend(&error);
        for bytes in [&error, &after] {
            let failure = failed(told(password(), bytes).await);
            assert_eq!(failure.server_error().unwrap().bytes, error);
            assert_eq!(failure.sqlstate(), code);
        }
    }
}

#[tokio::test]
async fn impossible_lengths_and_foreign_messages_are_refused() {
    let mut foreign = vec![
        b"Z\0\0\0\x05I".to_vec(),
        b"S\0\0\0\x08a\0b\0".to_vec(),
        b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
        b"R\0\0\0\x08\0\0\0\x0b".to_vec(),
        b"R\0\0\0\x04".to_vec(),
    ];
    for declared in [0u32, 3, 65 * 1024, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        foreign.push([&b"R"[..], &declared.to_be_bytes()].concat());
        foreign.push([&welcome()[..9], b"S", &declared.to_be_bytes()].concat());
    }
    foreign.push([&welcome()[..9], b"Z\0\0\0\x05?"].concat());
    foreign.push([&welcome()[..9], b"K\0\0\0\x09abcde"].concat());
    foreign.push([&welcome()[..9], b"S\0\0\0\x06ab"].concat());
    foreign.push([&welcome()[..9], b"D\0\0\0\x06\0\0"].concat());
    foreign.push([&welcome()[..9], &welcome()[..9]].concat());
    for bytes in foreign {
        let error = failed(told(password(), &bytes).await);
        assert!(error.is_protocol(), "{bytes:?}: {error}");
        assert_eq!(error.sqlstate(), "08P01");
    }
}

#[tokio::test]
async fn messages_without_end_are_cut() {
    let mut endless = Vec::new();
    build::authentication_ok(&mut endless);
    for _ in 0..=MAX_MESSAGES {
        build::parameter_status(&mut endless, b"a", b"b");
    }
    assert!(failed(told(password(), &endless).await).is_protocol());
    endless.clear();
    for _ in 0..=MAX_MESSAGES {
        build::notice_response(&mut endless, &Report::default());
    }
    assert!(failed(told(password(), &endless).await).is_protocol());
}

#[tokio::test]
async fn a_server_that_leaves_or_is_silent() {
    let (connected, ()) = at(
        password(),
        |_| (),
        async |server| {
            server.out.extend_from_slice(b"R\0\0");
            server.flush().await.unwrap();
        },
    )
    .await;
    assert!(failed(connected).is_unreachable());
    let soon = |target: &mut Target| target.timeout = Duration::from_millis(50);
    let (connected, ()) = at(password(), soon, async |server| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(server.flush().await);
    })
    .await;
    let error = failed(connected);
    assert!(error.is_timeout() && error.sqlstate() == "08006", "{error}");
}

#[tokio::test]
async fn a_login_split_byte_by_byte() {
    let (connected, ()) = at(
        Credentials::None,
        |_| (),
        async |server| {
            for byte in welcome() {
                server.out.push(byte);
                server.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
        },
    )
    .await;
    assert_eq!(connected.unwrap().pid, 42);
}

/// A TCP server that answers an SSLRequest with `answer` and closes.
async fn answers(answer: &'static [u8], mode: SslMode, direct: bool) -> ConnectError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut target = target(Host::Tcp("127.0.0.1".to_owned()), port, password());
    let tls = ClientTls::load(mode, ClientFiles::default(), &[ALPN_POSTGRES]).unwrap();
    target.tls = Some(Arc::new(tls));
    target.direct = direct;
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        socket.write_all(answer).await.unwrap();
        socket.shutdown().await.unwrap();
        drop(socket.read_to_end(&mut Vec::new()).await);
    };
    let keyring = Keyring::new();
    failed(tokio::join!(connect(&target, &keyring), serve).0)
}

#[tokio::test]
async fn plain_text_before_tls_and_other_answers_to_an_ssl_request() {
    let error = answers(b"N", SslMode::Require, false).await;
    assert!(error.is_tls() && error.sqlstate() == "08006", "{error}");
    let error = answers(b"Splain", SslMode::Require, false).await;
    assert!(error.to_string().contains("unencrypted"), "{error}");
    let error = answers(
        b"ESFATAL\0Mcome to evil.example\0\0",
        SslMode::Require,
        false,
    )
    .await;
    assert!(
        error.is_protocol() && !error.to_string().contains("evil"),
        "{error}"
    );
    assert!(answers(b"X", SslMode::Require, false).await.is_protocol());
    assert!(answers(b"", SslMode::Require, false).await.is_unreachable());
    assert!(answers(b"HTTP/1.1", SslMode::Require, true).await.is_tls());
}

fn run(bytes: &[u8]) -> Result<Connected, ConnectError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let (connected, ()) = at(
                password(),
                |_| (),
                async |server| {
                    server.out.extend_from_slice(bytes);
                    drop(server.flush().await);
                },
            )
            .await;
            connected
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_login(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(run(&bytes).is_err());
    }

    #[test]
    fn random_messages_are_no_login(
        messages in proptest::collection::vec(
            (prop::sample::select(&b"RSKNEvZ"[..]), proptest::collection::vec(any::<u8>(), 0..20)),
            0..6,
        ),
    ) {
        let mut bytes = Vec::new();
        for (tag, body) in messages {
            bytes.push(tag);
            bytes.extend((body.len() as u32 + 4).to_be_bytes());
            bytes.extend(body);
        }
        prop_assert!(run(&bytes).is_err());
    }
}
