//! Every method that a server may ask for.

use twinport_wire::md5;

use super::*;

/// Plays the server's part of SCRAM; gives the result of the proof.
async fn scram(server: &mut Script, verifier: Verifier) -> Result<(), twinport_wire::Error> {
    build::authentication_sasl(&mut server.out, offer::<Sha256>(false));
    server.flush().await.unwrap();
    let message = server.message(10_000).await.unwrap();
    let initial = frontend::SaslInitial::decode(message.body()).unwrap();
    let scram = Server::<Sha256>::new(verifier, None);
    let (scram, challenge) = scram.challenge(initial.mechanism, initial.data.unwrap())?;
    build::authentication_sasl_continue(&mut server.out, challenge.as_bytes());
    server.flush().await.unwrap();
    let message = server.message(10_000).await.unwrap();
    let proven = scram.prove(message.body())?;
    build::authentication_sasl_final(&mut server.out, proven.message.as_bytes());
    server.out.extend(welcome());
    server.flush().await.unwrap();
    Ok(())
}

#[tokio::test]
async fn scram_by_password_and_by_keys() {
    let verifier = Verifier::fresh("pencil");
    let keys = Keys::derive("pencil", &verifier.salt, verifier.iterations);
    for credentials in [password(), Credentials::ScramKeys(keys)] {
        let verifier = verifier.clone();
        let (connected, proof) = at(
            credentials,
            |_| (),
            async |server| scram(server, verifier).await,
        )
        .await;
        proof.unwrap();
        let connected = connected.unwrap();
        assert_eq!(
            (connected.pid, connected.secret.as_slice()),
            (42, &b"four"[..])
        );
        assert_eq!(connected.parameters.len(), 2);
        assert_eq!(
            connected.parameters[1],
            ("TimeZone".to_owned(), "UTC".to_owned())
        );
        assert_eq!(connected.leftover, b"");
    }
}

#[tokio::test]
async fn keys_of_another_verifier_do_not_fit() {
    let keys = Keys::derive("pencil", b"another salt", 4096);
    let (connected, proof) = at(
        Credentials::ScramKeys(keys),
        |_| (),
        async |server| {
            let proof = scram(server, Verifier::fresh("pencil")).await;
            let refusal = Report {
                severity: "FATAL",
                code: "28P01",
                message: "password authentication failed",
                ..Report::default()
            };
            build::error_response(&mut server.out, &refusal);
            server.flush().await.unwrap();
            proof
        },
    )
    .await;
    assert!(proof.unwrap_err().is_wrong_secret());
    assert_eq!(failed(connected).server_error().unwrap().code, "28P01");
}

#[tokio::test]
async fn md5_by_password_and_by_hash() {
    let stored = md5::stored("ann", "pencil");
    for credentials in [password(), Credentials::Md5(stored.clone())] {
        let (connected, given) = at(
            credentials,
            |_| (),
            async |server| {
                build::authentication_md5(&mut server.out, *b"salt");
                server.flush().await.unwrap();
                let message = server.message(1000).await.unwrap();
                let given = frontend::password(message.body()).unwrap().to_vec();
                server.out.extend(welcome());
                server.flush().await.unwrap();
                given
            },
        )
        .await;
        connected.unwrap();
        assert!(md5::verify(&stored, *b"salt", &given));
    }
}

#[tokio::test]
async fn cleartext_over_a_unix_socket() {
    let (connected, given) = at(
        password(),
        |_| (),
        async |server| {
            build::authentication_cleartext(&mut server.out);
            server.flush().await.unwrap();
            let message = server.message(1000).await.unwrap();
            server.out.extend(welcome());
            server.flush().await.unwrap();
            frontend::password(message.body()).unwrap().to_vec()
        },
    )
    .await;
    connected.unwrap();
    assert_eq!(given, b"pencil");
}

#[tokio::test]
async fn nothing_asked_nothing_given() {
    let connected = told(Credentials::None, &welcome()).await.unwrap();
    assert_eq!(connected.pid, 42);
    let mut more = welcome();
    build::notice_response(&mut more, &Report::default());
    let connected = told(Credentials::None, &more).await.unwrap();
    assert_eq!(connected.leftover.first(), Some(&b'N'));
}

#[tokio::test]
async fn credentials_that_do_not_fit_are_told_from_a_refusal() {
    let asks = |write: fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    let sasl = asks(|out| build::authentication_sasl(out, offer::<Sha256>(false)));
    let other = asks(|out| build::authentication_sasl(out, &["OAUTHBEARER"]));
    let md5 = asks(|out| build::authentication_md5(out, *b"salt"));
    let clear = asks(build::authentication_cleartext);
    let gss = b"R\0\0\0\x08\0\0\0\x07".to_vec();
    let keys = || Credentials::ScramKeys(Keys::derive("x", b"y", 1));
    let hash = || Credentials::Md5(md5::stored("ann", "pencil"));
    for (credentials, bytes) in [
        (Credentials::None, &sasl),
        (Credentials::None, &md5),
        (Credentials::None, &clear),
        (hash(), &sasl),
        (hash(), &clear),
        (keys(), &md5),
        (keys(), &clear),
        (password(), &other),
        (password(), &gss),
    ] {
        let error = failed(told(credentials, bytes).await);
        assert!(error.is_credentials(), "{error}");
        assert!(!error.to_string().contains("pencil"));
    }
}

#[tokio::test]
async fn channel_binding_required_takes_nothing_less() {
    let mut sasl = Vec::new();
    build::authentication_sasl(&mut sasl, offer::<Sha256>(true));
    let mut md5 = Vec::new();
    build::authentication_md5(&mut md5, *b"salt");
    for bytes in [welcome(), md5, sasl] {
        let require = |target: &mut Target| target.channel_binding = ChannelBinding::Require;
        let (connected, ()) = at(password(), require, async |server| {
            server.out.extend_from_slice(&bytes);
            server.flush().await.unwrap();
            drop(server.message(1000).await);
        })
        .await;
        assert!(failed(connected).is_credentials());
    }
}
