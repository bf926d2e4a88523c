//! Whole exchanges, the RFC's example, and every way to go wrong.

use proptest::prelude::*;

use super::client::{Binding, Client, MAX_ITERATIONS};
use super::server::{Server, offer};
use super::*;

const SALT: &[u8] = b"0123456789abcdef";

fn verifier() -> Verifier {
    Verifier::derive("pencil", SALT.to_vec(), 10)
}

/// Runs a whole exchange with the client's keys from `password`.
fn exchange(
    password: &str,
    end_point: Option<&[u8]>,
    binding: Binding,
    mechanism: &str,
) -> Result<Keys, Error> {
    let server = Server::<Sha256>::new(verifier(), end_point.map(<[u8]>::to_vec));
    let (client, first) = Client::<Sha256>::start("", binding);
    let (server, challenge) = server.challenge(mechanism, first.as_bytes())?;
    let challenge = client.challenge(challenge.as_bytes(), MAX_ITERATIONS)?;
    let keys = Keys::derive(password, &challenge.salt, challenge.iterations);
    let (client, last) = challenge.answer(&keys);
    let proven = server.prove(last.as_bytes())?;
    client.verify(proven.message.as_bytes())?;
    assert_eq!(proven.keys, keys);
    Ok(proven.keys)
}

#[test]
fn example_of_rfc_7677() {
    let salt = decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let (client, first) = Client::<Sha256>::start_with(
        "user",
        Binding::Unsupported,
        "rOprNGfwEbeRWgbNEkqO".to_owned(),
    );
    assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let server = Server::<Sha256>::new(Verifier::derive("pencil", salt, 4096), None);
    let (server, challenge) = server
        .challenge_with(
            Sha256::MECHANISM,
            first.as_bytes(),
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        )
        .unwrap();
    assert_eq!(
        challenge,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let challenge = client.challenge(challenge.as_bytes(), 4096).unwrap();
    let keys = Keys::derive("pencil", &challenge.salt, challenge.iterations);
    let (client, last) = challenge.answer(&keys);
    assert_eq!(
        last,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let proven = server.prove(last.as_bytes()).unwrap();
    assert_eq!(
        proven.message,
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
    client.verify(proven.message.as_bytes()).unwrap();
}

#[test]
fn keys_won_from_a_login_log_in_elsewhere() {
    let keys = exchange("pencil", None, Binding::Unsupported, Sha256::MECHANISM).unwrap();
    assert_eq!(Sha256::digest(&keys.client), verifier().stored);
}

#[test]
fn a_wrong_password_is_told_from_a_broken_message() {
    let error = exchange("pen", None, Binding::Unsupported, Sha256::MECHANISM).unwrap_err();
    assert!(error.is_wrong_secret(), "{error}");
}

#[test]
fn channel_binding_ties_both_sides_to_one_certificate() {
    let end_point = Binding::EndPoint(b"hash".to_vec());
    exchange("pencil", Some(b"hash"), end_point.clone(), Sha256::PLUS).unwrap();
    let error = exchange("pencil", Some(b"other"), end_point, Sha256::PLUS).unwrap_err();
    assert!(
        error.to_string().contains("binding does not match"),
        "{error}"
    );
}

#[test]
fn channel_binding_downgrade_is_refused_by_the_server() {
    let error = exchange("pencil", Some(b"h"), Binding::Unoffered, Sha256::MECHANISM).unwrap_err();
    assert!(error.to_string().contains("but it is"), "{error}");
    exchange("pencil", None, Binding::Unoffered, Sha256::MECHANISM).unwrap();
    exchange(
        "pencil",
        Some(b"h"),
        Binding::Unsupported,
        Sha256::MECHANISM,
    )
    .unwrap();
}

#[test]
fn channel_binding_downgrade_is_refused_by_the_client() {
    let plain = |name: &str| name == Sha256::MECHANISM;
    let plus = |name: &str| name == Sha256::PLUS;
    let hash = || Some(b"h".to_vec());
    assert!(Binding::choose::<Sha256>(plain, hash(), true).is_err());
    assert!(Binding::choose::<Sha256>(plus, None, false).is_err());
    assert!(Binding::choose::<Sha256>(|_| false, hash(), false).is_err());
    assert_eq!(
        Binding::choose::<Sha256>(plain, hash(), false).unwrap(),
        (Binding::Unoffered, Sha256::MECHANISM)
    );
    assert_eq!(
        Binding::choose::<Sha256>(|_| true, hash(), true).unwrap(),
        (Binding::EndPoint(b"h".to_vec()), Sha256::PLUS)
    );
    assert_eq!(
        Binding::choose::<Sha256>(|_| true, None, false).unwrap(),
        (Binding::Unsupported, Sha256::MECHANISM)
    );
}

#[test]
fn mechanism_and_flag_must_agree() {
    for (mechanism, first, end_point) in [
        (Sha256::PLUS, "n,,n=,r=x", true),
        (Sha256::PLUS, "y,,n=,r=x", true),
        (Sha256::PLUS, "p=tls-unique,,n=,r=x", true),
        (Sha256::PLUS, "p=tls-server-end-point,,n=,r=x", false),
        (Sha256::MECHANISM, "p=tls-server-end-point,,n=,r=x", true),
        ("SCRAM-SHA-1", "n,,n=,r=x", false),
    ] {
        let server = Server::<Sha256>::new(verifier(), end_point.then(|| b"h".to_vec()));
        assert!(
            server.challenge(mechanism, first.as_bytes()).is_err(),
            "{first}"
        );
    }
    assert_eq!(offer::<Sha256>(true), [Sha256::PLUS, Sha256::MECHANISM]);
    assert_eq!(offer::<Sha256>(false), [Sha256::MECHANISM]);
}

#[test]
fn broken_first_messages_are_refused() {
    let long = format!("n,,n=,r={}", "x".repeat(MAX_NONCE + 1));
    let longer = format!("n,,n={},r=x", "x".repeat(MAX_MESSAGE));
    for first in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,r=x",
        "n,,n=,r=",
        "n,a=other,n=,r=x",
        "n,,m=1,n=,r=x",
        "n,,n=,m=1,r=x",
        "n,,n=,r=a b",
        "n,,n=,r=\u{e4}",
        "x,,n=,r=x",
        &long,
        &longer,
    ] {
        let server = Server::<Sha256>::new(verifier(), None);
        let error = server
            .challenge(Sha256::MECHANISM, first.as_bytes())
            .unwrap_err();
        assert!(error.is_malformed(), "{first}: {error}");
    }
}

#[test]
fn broken_proofs_are_refused() {
    for last in [
        "",
        "c=biws",
        "c=biws,r=xN",
        "c=biws,r=xN,p=",
        "c=biws,r=xN,p=!",
        "c=biws,r=xN,p=YQ==",
        "c=eSws,r=xN,p=YQ==",
        "c=biws,r=x,p=YQ==",
        "r=xN,c=biws,p=YQ==",
        ",p=",
    ] {
        let server = Server::<Sha256>::new(verifier(), None);
        let (server, _) = server
            .challenge_with(Sha256::MECHANISM, b"n,,n=,r=x", "N")
            .unwrap();
        let error = server.prove(last.as_bytes()).unwrap_err();
        assert!(error.is_malformed(), "{last}: {error}");
    }
}

fn challenged(message: &str) -> Result<(), Error> {
    let (client, _) = Client::<Sha256>::start_with("", Binding::Unsupported, "abc".to_owned());
    client.challenge(message.as_bytes(), 5000).map(|_| ())
}

#[test]
fn huge_iteration_counts_from_an_upstream_are_refused() {
    challenged("r=abcd,s=YQ==,i=5000").unwrap();
    for count in [
        "5001",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "0",
        "-1",
        "",
        "x",
    ] {
        let error = challenged(&format!("r=abcd,s=YQ==,i={count}")).unwrap_err();
        assert!(error.to_string().contains("iteration"), "{count}: {error}");
    }
}

#[test]
fn an_over_long_server_nonce_is_refused() {
    let message = |nonce: usize| format!("r=abc{},s=YQ==,i=1", "x".repeat(nonce));
    challenged(&message(MAX_NONCE - 3)).unwrap();
    for nonce in [MAX_NONCE - 2, MAX_MESSAGE, 1 << 20] {
        assert!(challenged(&message(nonce)).is_err(), "{nonce}");
    }
}

#[test]
fn a_server_nonce_must_extend_ours() {
    for nonce in ["abc", "ab", "xabc", "", "abc\u{7f}", "abd1"] {
        assert!(
            challenged(&format!("r={nonce},s=YQ==,i=1")).is_err(),
            "{nonce}"
        );
    }
    for message in [
        "",
        "r=abcd",
        "r=abcd,s=,i=1",
        "r=abcd,s=!,i=1",
        "m=x,r=abcd,s=YQ==,i=1",
    ] {
        assert!(challenged(message).is_err(), "{message}");
    }
}

#[test]
fn a_server_that_does_not_know_the_secret_is_found_out() {
    let (client, _) = Client::<Sha256>::start_with("", Binding::Unsupported, "abc".to_owned());
    let keys = Keys::derive("pencil", SALT, 10);
    let answered = || {
        let challenge = Client::<Sha256>::start_with("", Binding::Unsupported, "abc".to_owned())
            .0
            .challenge(b"r=abcd,s=YQ==,i=1", 10)
            .unwrap();
        challenge.answer(&keys).0
    };
    drop(client);
    assert!(
        answered()
            .verify(b"e=invalid-proof")
            .unwrap_err()
            .is_wrong_secret()
    );
    for last in [&b""[..], b"v=", b"v=YQ==", b"x=1", b"v=!"] {
        assert!(answered().verify(last).unwrap_err().is_malformed());
    }
}

#[test]
fn verifiers_are_read_and_written() {
    let stored = verifier().to_stored();
    assert_eq!(Verifier::<Sha256>::parse(&stored).unwrap(), verifier());
    for wrong in [
        "",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$x:YQ==$YQ==:YQ==",
        "SCRAM-SHA-256$4096:YQ==$YQ==:YQ==",
        "md5abc",
        &stored.replace("$10:", "$0:"),
        &stored.replace("SHA-256", "SHA-1"),
        &stored[..stored.len() - 4],
    ] {
        assert!(Verifier::<Sha256>::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn nobody_can_be_told_from_somebody() {
    let seed = [9; 32];
    let mock = Verifier::<Sha256>::mock(&seed, "nobody");
    assert_eq!(mock, Verifier::mock(&seed, "nobody"));
    assert_ne!(mock.salt, Verifier::<Sha256>::mock(&seed, "other").salt);
    assert_eq!(mock.salt, keys::salt_for::<Sha256>(&seed, "nobody"));
    assert_eq!(mock.salt.len(), Verifier::<Sha256>::fresh("x").salt.len());
    assert_eq!(mock.iterations, keys::ITERATIONS);
}

#[test]
fn passwords_are_prepared_as_postgres_does() {
    let derive = |password| Keys::<Sha256>::derive(password, SALT, 1);
    assert_eq!(derive("I\u{ad}X"), derive("IX"));
    assert_eq!(derive("\u{2168}"), derive("IX"));
    assert_ne!(derive("a\u{7}b"), derive("ab"));
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}{:?}", verifier(), Keys::<Sha256>::derive("x", SALT, 1));
    assert_eq!(printed, "Verifier(secret)Keys(secret)");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_message_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let (client, _) = Client::<Sha256>::start_with("", Binding::Unsupported, "a".to_owned());
        let _ = client.challenge(&bytes, 10);
        let server = Server::<Sha256>::new(Verifier::mock(&[0; 32], "u"), None);
        let _ = server.challenge(Sha256::MECHANISM, &bytes);
    }

    #[test]
    fn no_nearly_right_message_panics(
        first in "[nyp],,n=[a-z]{0,3},r=[!-~]{0,9}",
        challenge in "r=a[!-~]{0,9},s=[A-Za-z0-9+/=]{0,9},i=[0-9]{0,3}",
        last in "c=biws,r=[!-~]{0,9},p=[A-Za-z0-9+/=]{0,50}",
    ) {
        let server = Server::<Sha256>::new(Verifier::mock(&[0; 32], "u"), None);
        if let Ok((server, _)) = server.challenge_with(Sha256::MECHANISM, first.as_bytes(), "N") {
            prop_assert!(server.prove(last.as_bytes()).is_err());
        }
        let (client, _) = Client::<Sha256>::start_with("", Binding::Unsupported, "a".to_owned());
        if let Ok(challenge) = client.challenge(challenge.as_bytes(), 500) {
            let keys = Keys { client: [1; 32], server: [2; 32] };
            prop_assert!(challenge.answer(&keys).0.verify(last.as_bytes()).is_err());
        }
    }
}

/// The exchange that the MongoDB authentication specification gives.
#[test]
fn example_of_scram_sha_1() {
    let (client, first) = Client::<Sha1>::start_with(
        "user",
        Binding::Unsupported,
        "fyko+d2lbbFgONRv9qkxdawL".to_owned(),
    );
    let salt = decode("rQ9ZY3MntBeuP3E1TDVC4w==").unwrap();
    let password = crate::mongo::sasl::sha1_password("user", "pencil");
    let server = Server::<Sha1>::new(Verifier::derive(&password, salt, 10_000), None);
    let (server, challenge) = server
        .challenge_with(
            Sha1::MECHANISM,
            first.as_bytes(),
            "Ho+Vgk7qvUOKUwuWLIWg4l/9SraGMHEE",
        )
        .unwrap();
    let challenge = client.challenge(challenge.as_bytes(), 10_000).unwrap();
    let keys = Keys::derive(&password, &challenge.salt, challenge.iterations);
    let (client, last) = challenge.answer(&keys);
    assert!(last.ends_with(",p=MC2T8BvbmWRckDw8oWl5IVghwCY="), "{last}");
    let proven = server.prove(last.as_bytes()).unwrap();
    assert_eq!(proven.message, "v=UMWeI25JD1yNYZRMpZ4VHvhZ9e0=");
    client.verify(proven.message.as_bytes()).unwrap();
}

#[test]
fn the_user_that_a_first_message_names() {
    use super::server::user;
    assert_eq!(user(b"n,,n=ann,r=x").unwrap(), "ann");
    assert_eq!(user(b"n,,n=,r=x").unwrap(), "");
    assert_eq!(
        user(b"p=tls-server-end-point,,n=a=2Cb=3Dc,r=x").unwrap(),
        "a,b=c"
    );
    for message in [
        "",
        "n,,",
        "n,n=ann",
        "n,,r=x",
        "n,,n=a=b,r=x",
        "n,,n=a=,r=x",
        "n,,m=x,n=a",
    ] {
        assert!(user(message.as_bytes()).is_err(), "{message}");
    }
}
