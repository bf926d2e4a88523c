//! Each way to prove who one is.

use super::*;

#[tokio::test]
async fn scram_from_a_plain_password_gives_the_password_upstream() {
    let (accepted, seen) = login(&gate(Method::ScramSha256), &Ann::plain(), "ann", "pencil").await;
    assert_eq!(seen, Seen::In);
    let credentials = session(accepted).credentials;
    assert_eq!(credentials, Credentials::Password("pencil".to_owned()));
}

#[tokio::test]
async fn scram_from_a_verifier_gives_keys_that_fit_it() {
    let verifier: Verifier = Verifier::fresh("pencil");
    let secrets = Ann::new(Secret::parse(&verifier.to_stored()));
    for method in [Method::ScramSha256, Method::Md5] {
        let (accepted, seen) = login(&gate(method), &secrets, "ann", "pencil").await;
        assert_eq!(seen, Seen::In);
        let Credentials::ScramKeys(keys) = session(accepted).credentials else {
            panic!("no keys");
        };
        let expected = Keys::derive("pencil", &verifier.salt, verifier.iterations);
        assert_eq!(keys, expected);
    }
}

#[tokio::test]
async fn nobody_and_a_wrong_password_look_alike() {
    let gate = gate(Method::ScramSha256);
    for (user, password) in [("ann", "pen"), ("nobody", "pencil")] {
        let start = tokio::time::Instant::now();
        let (accepted, seen) = login(&gate, &Ann::plain(), user, password).await;
        assert_eq!(gone(accepted), Gone::Denied);
        assert_eq!(seen, wrong_password(user));
        assert!(start.elapsed() >= PENALTY);
    }
    let hash = Secret::Md5("md5".to_owned() + &"0".repeat(32));
    let (_, seen) = login(&gate, &Ann::new(hash), "ann", "pencil").await;
    assert_eq!(seen, wrong_password("ann"));
}

async fn md5_login(secrets: &Ann, user: &str, password: &str) -> (Accepted, Option<Seen>) {
    against(&gate(Method::Md5), secrets, async |mut driver| {
        driver.start(&[("user", user)]).await;
        let message = driver.request().await.unwrap();
        let Authentication::Md5(salt) = Authentication::decode(message.body()).unwrap() else {
            panic!("not md5");
        };
        let stored = twinport_wire::md5::stored(user, password);
        let answer = twinport_wire::md5::answer(&stored, salt);
        let mut out = Vec::new();
        frontend::build::password(&mut out, answer.as_bytes());
        driver.send(&out).await;
        driver.request().await.err()
    })
    .await
}

#[tokio::test]
async fn md5_from_a_password_and_from_a_hash() {
    let (accepted, seen) = md5_login(&Ann::plain(), "ann", "pencil").await;
    let credentials = session(accepted).credentials;
    assert_eq!(credentials, Credentials::Password("pencil".to_owned()));
    assert_eq!(seen, Some(Seen::Closed), "nothing before AuthenticationOk");
    let hash = twinport_wire::md5::stored("ann", "pencil");
    let secrets = Ann::new(Secret::parse(&hash));
    let (accepted, _) = md5_login(&secrets, "ann", "pencil").await;
    assert_eq!(session(accepted).credentials, Credentials::Md5(hash));
    for (user, password) in [("ann", "pen"), ("nobody", "pencil")] {
        let (accepted, seen) = md5_login(&secrets, user, password).await;
        assert_eq!(gone(accepted), Gone::Denied);
        assert_eq!(seen, Some(wrong_password(user)));
    }
}

#[tokio::test]
async fn trust_is_for_local_clients() {
    let gate = gate(Method::Trust);
    let (accepted, ()) = against(&gate, &Ann::plain(), async |mut driver| {
        driver.start(&[("user", "whoever")]).await;
    })
    .await;
    assert_eq!(session(accepted).credentials, Credentials::None);
    let (accepted, ()) = against(&gate, &Ann::plain(), async |mut driver| {
        driver.start(&[("user", "ann")]).await;
    })
    .await;
    let credentials = session(accepted).credentials;
    assert_eq!(credentials, Credentials::Password("pencil".to_owned()));
}

#[tokio::test]
async fn a_certificate_is_needed_where_certificates_are_asked_for() {
    let (accepted, seen) = against(&gate(Method::Cert), &Ann::plain(), async |mut driver| {
        driver.start(&[("user", "ann")]).await;
        driver.request().await.err()
    })
    .await;
    assert_eq!(gone(accepted), Gone::Denied);
    assert!(matches!(seen, Some(Seen::Out(code, _)) if code == "28000"));
}

#[tokio::test]
async fn secrets_that_cannot_be_looked_up_are_no_wrong_password() {
    let (accepted, seen) = against(
        &gate(Method::ScramSha256),
        &Ann::plain(),
        async |mut driver| {
            let who = [("user", "ann"), ("database", "down")];
            driver.start(&who).await;
            driver.request().await.err()
        },
    )
    .await;
    assert_eq!(gone(accepted), Gone::Unavailable);
    let told = Seen::Out("08006".to_owned(), "the login cannot be checked".to_owned());
    assert_eq!(seen, Some(told));
}

#[tokio::test]
async fn a_storm_of_logins_derives_keys_once() {
    let gate = gate(Method::ScramSha256);
    let secrets = Ann::plain();
    let first = gate.keyring.verifier("ann", "pencil").await;
    let logins = (0..50).map(|_| login(&gate, &secrets, "ann", "pencil"));
    for task in logins {
        assert_eq!(task.await.1, Seen::In);
    }
    let again = gate.keyring.verifier("ann", "pencil").await;
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(secrets.asked.load(Ordering::Relaxed), 50);
}
