//! Clients that mean harm, or are broken.

use super::*;

/// Sends bytes and then leaves; gives what came of it and what was answered.
async fn sends(gate: &Gate, bytes: &[u8]) -> (Accepted, Vec<u8>) {
    let (mut near, far) = UnixStream::pair().unwrap();
    let secrets = Ann::plain();
    let drive = async {
        drop(near.write_all(bytes).await);
        drop(near.shutdown().await);
        let mut answer = Vec::new();
        drop(near.read_to_end(&mut answer).await);
        answer
    };
    tokio::join!(enter_and_hang_up(Stream::unix(far), gate, &secrets), drive)
}

fn ssl() -> Vec<u8> {
    let mut out = Vec::new();
    startup::ssl_request(&mut out);
    out
}

fn gss() -> Vec<u8> {
    let mut out = Vec::new();
    startup::gss_request(&mut out);
    out
}

fn start() -> Vec<u8> {
    let mut out = Vec::new();
    startup::startup_message(&mut out, Version::V3_0, [("user", "ann")]).unwrap();
    out
}

#[tokio::test]
async fn ssl_and_gss_requests_alternating_without_end() {
    let gate = gate(Method::Trust);
    let once = [ssl(), gss(), start()].concat();
    let (accepted, answer) = sends(&gate, &once).await;
    session(accepted);
    assert_eq!(answer, b"NN");
    for (first, second) in [(ssl(), gss()), (gss(), ssl())] {
        let endless = [first, second].concat().repeat(100);
        let (accepted, answer) = sends(&gate, &endless).await;
        assert_eq!(gone(accepted), Gone::Refused);
        assert_eq!(&answer[..3], b"NNE");
    }
    let (accepted, answer) = sends(&gate, &[gss(), gss()].concat()).await;
    assert_eq!(gone(accepted), Gone::Refused);
    assert_eq!(&answer[..2], b"NE");
}

#[tokio::test]
async fn startup_split_byte_by_byte() {
    let whole = [ssl(), gss(), start()].concat();
    let (accepted, answers) = against(&gate(Method::Trust), &Ann::plain(), async |mut driver| {
        for byte in whole {
            driver.send(&[byte]).await;
            tokio::task::yield_now().await;
        }
        let first = driver.channel.byte().await.unwrap();
        (first, driver.channel.byte().await.unwrap())
    })
    .await;
    assert_eq!(session(accepted).user, "ann");
    assert_eq!(answers, (b'N', b'N'));
}

#[tokio::test]
async fn startup_cut_at_every_byte() {
    let gate = gate(Method::Trust);
    let whole = [ssl(), start()].concat();
    for end in 0..whole.len() {
        let (accepted, _) = sends(&gate, &whole[..end]).await;
        assert_eq!(gone(accepted), Gone::Left, "{end}");
    }
}

#[tokio::test]
async fn impossible_lengths_are_refused_before_anything_is_held() {
    for declared in [0u32, 3, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let (accepted, answer) = sends(&gate(Method::Trust), &declared.to_be_bytes()).await;
        assert_eq!(gone(accepted), Gone::Refused, "{declared}");
        assert_eq!(answer.first(), Some(&b'E'));
    }
    for declared in [0u32, 3, 16 * 1024 + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut bytes = start();
        bytes.push(b'p');
        bytes.extend(declared.to_be_bytes());
        let (accepted, _) = sends(&gate(Method::ScramSha256), &bytes).await;
        assert_eq!(gone(accepted), Gone::Refused, "{declared}");
    }
}

#[tokio::test]
async fn second_startup_message_in_the_middle_of_scram() {
    let (accepted, seen) = against(
        &gate(Method::ScramSha256),
        &Ann::plain(),
        async |mut driver| {
            driver.start(&[("user", "ann")]).await;
            driver.request().await.unwrap();
            let (_, first) = Client::<Sha256>::start("", Binding::Unsupported);
            let mut out = Vec::new();
            frontend::build::sasl_initial(&mut out, "SCRAM-SHA-256", first.as_bytes());
            driver.send(&out).await;
            driver.request().await.unwrap();
            driver.start(&[("user", "postgres")]).await;
            driver.request().await.err()
        },
    )
    .await;
    assert_eq!(gone(accepted), Gone::Refused);
    assert!(matches!(seen, Some(Seen::Out(code, _)) if code == "08P01"));
}

#[tokio::test]
async fn a_query_before_the_proof_is_refused() {
    let mut bytes = start();
    frontend::build::query(&mut bytes, b"select 1");
    let (accepted, _) = sends(&gate(Method::ScramSha256), &bytes).await;
    assert_eq!(gone(accepted), Gone::Refused);
}

#[tokio::test]
async fn a_silent_client_is_told_and_closed() {
    let gate = Gate {
        timeout: Duration::from_millis(50),
        ..gate(Method::ScramSha256)
    };
    for bytes in [Vec::new(), vec![0, 0], start()] {
        let (accepted, seen) = against(&gate, &Ann::plain(), async |mut driver| {
            driver.send(&bytes).await;
            loop {
                if let Err(seen) = driver.request().await {
                    return seen;
                }
            }
        })
        .await;
        assert_eq!(gone(accepted), Gone::TimedOut);
        assert!(matches!(seen, Seen::Out(code, _) if code == "57014"));
    }
}

#[tokio::test]
async fn a_silent_client_keeps_nobody_from_logging_in() {
    let gate = Gate {
        logins: Arc::new(Semaphore::new(1)),
        ..gate(Method::Trust)
    };
    let (nothing, silent) = UnixStream::pair().unwrap();
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { accept(Stream::unix(silent), &gate, &Ann::plain()).await }
    });
    tokio::task::yield_now().await;
    let (accepted, _) = sends(&gate, &start()).await;
    assert!(matches!(accepted, Accepted::Session(_)));
    drop(nothing);
    assert_eq!(gone(waiting.await.unwrap()), Gone::Left);
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    for body in [
        &b""[..],
        b"SCRAM-SHA-256",
        b"SCRAM-SHA-256\0",
        b"SCRAM-SHA-256\0\xff\xff\xff\xff",
        b"SCRAM-SHA-256\0\0\0\0\x02n,,",
        b"SCRAM-SHA-1\0\0\0\0\x09n,,n=,r=x",
        b"SCRAM-SHA-256-PLUS\0\0\0\0\x09n,,n=,r=x",
        b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x",
    ] {
        let mut bytes = start();
        frontend::build::sasl_response(&mut bytes, body);
        let (accepted, _) = sends(&gate(Method::ScramSha256), &bytes).await;
        assert_eq!(gone(accepted), Gone::Refused, "{body:?}");
    }
}

fn run(bytes: &[u8], method: Method) -> Accepted {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { sends(&gate(method), bytes).await.0 })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_let_nobody_in(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!matches!(run(&bytes, Method::ScramSha256), Accepted::Session(_)));
    }

    #[test]
    fn random_bytes_after_startup_let_nobody_in(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        method in prop_oneof![Just(Method::ScramSha256), Just(Method::Md5), Just(Method::Cert)],
    ) {
        let bytes = [start(), vec![b'p', 0, 0, 0, 40], bytes].concat();
        prop_assert!(!matches!(run(&bytes, method), Accepted::Session(_)));
    }
}
