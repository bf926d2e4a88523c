//! What a startup message may say.

use super::*;

async fn open(parameters: &[(&str, &str)]) -> Result<Login, Seen> {
    let (accepted, seen) = against(&gate(Method::Trust), &Ann::plain(), async |mut driver| {
        driver.start(parameters).await;
        driver.request().await.err()
    })
    .await;
    match accepted {
        Accepted::Session(login) => Ok(*login),
        _ => Err(seen.unwrap()),
    }
}

async fn refused(parameters: &[(&str, &str)]) -> String {
    match open(parameters).await {
        Err(Seen::Out(code, _)) => code,
        other => panic!("not refused: {other:?}"),
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn settings_come_from_options_first() {
    let login = open(&[
        ("user", "ann"),
        ("application_name", "psql"),
        ("options", "-c geqo=off --work-mem=5MB"),
        ("database", "books"),
    ])
    .await
    .unwrap();
    assert_eq!(
        (login.user.as_str(), login.database.as_str()),
        ("ann", "books")
    );
    assert_eq!(
        login.parameters,
        [
            pair("geqo", "off"),
            pair("work_mem", "5MB"),
            pair("application_name", "psql"),
        ]
    );
    assert_eq!(login.replication, None);
    assert_eq!(login.protocol, Version::V3_0);
}

#[tokio::test]
async fn database_is_the_users_name_if_none_is_given() {
    for parameters in [&[("user", "ann")][..], &[("user", "ann"), ("database", "")]] {
        assert_eq!(open(parameters).await.unwrap().database, "ann");
    }
}

#[tokio::test]
async fn replication_has_two_kinds() {
    for (value, expected) in [
        ("database", Some(Replication::Logical)),
        ("true", Some(Replication::Physical)),
        ("1", Some(Replication::Physical)),
        ("off", None),
    ] {
        let parameters = [("user", "ann"), ("replication", value)];
        assert_eq!(open(&parameters).await.unwrap().replication, expected);
    }
    let code = refused(&[("user", "ann"), ("replication", "maybe")]).await;
    assert_eq!(code, "22023");
}

#[tokio::test]
async fn empty_and_odd_startup_options_are_refused() {
    assert_eq!(refused(&[]).await, "28000");
    assert_eq!(refused(&[("user", "")]).await, "28000");
    assert_eq!(refused(&[("user", "ann"), ("user", "bob")]).await, "08P01");
    let options = |text| [("user", "ann"), ("options", text)];
    assert_eq!(refused(&options("-c")).await, "08P01");
    assert_eq!(refused(&options("-c search_path")).await, "08P01");
    assert_eq!(refused(&options("-f script")).await, "0A000");
    assert_eq!(open(&options("")).await.unwrap().parameters, []);
}

async fn negotiated(version: Version, parameters: &[(&str, &str)]) -> (Login, Vec<u8>) {
    let (near, far) = UnixStream::pair().unwrap();
    let mut driver = Driver::new(near);
    let given = parameters.iter().copied();
    startup::startup_message(&mut driver.channel.out, version, given).unwrap();
    driver.channel.flush().await.unwrap();
    let gate = gate(Method::Trust);
    let login = session(enter_and_hang_up(Stream::unix(far), &gate, &Ann::plain()).await);
    let (mut stream, _) = driver.channel.into_parts().unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).await.unwrap();
    (login, told)
}

#[tokio::test]
async fn versions_are_negotiated_down() {
    for (asked, spoken, tells) in [
        (Version::V3_0, Version::V3_0, false),
        (Version::V3_2, Version::V3_2, false),
        (Version { major: 3, minor: 3 }, Version::V3_2, true),
        (
            Version {
                major: 3,
                minor: 9999,
            },
            Version::V3_2,
            true,
        ),
    ] {
        let (login, told) = negotiated(asked, &[("user", "ann")]).await;
        assert_eq!(login.protocol, spoken);
        assert_eq!(!told.is_empty(), tells, "{asked}");
        if tells {
            let negotiated = backend::negotiate(&told[5..]).unwrap();
            assert_eq!(negotiated.minor, 2);
        }
    }
    let parameters = [
        ("user", "ann"),
        ("_pq_.compression", "zstd"),
        ("geqo", "off"),
    ];
    let (login, told) = negotiated(Version::V3_0, &parameters).await;
    assert_eq!(login.parameters, [pair("geqo", "off")]);
    let negotiated = backend::negotiate(&told[5..]).unwrap();
    assert_eq!(negotiated.minor, 0);
    assert_eq!(negotiated.unknown, ["_pq_.compression"]);
}

#[tokio::test]
async fn other_major_versions_are_refused() {
    let gate = gate(Method::Trust);
    let (accepted, seen) = against(&gate, &Ann::plain(), async |mut driver| {
        driver.send(&[0, 0, 0, 9, 0, 2, 0, 0, 0]).await;
        driver.request().await.err()
    })
    .await;
    assert_eq!(gone(accepted), Gone::Refused);
    assert!(matches!(seen, Some(Seen::Out(code, _)) if code == "0A000"));
}

#[tokio::test]
async fn cancel_keys_are_short_or_long() {
    for length in [4, 32, 256] {
        let secret = vec![7; length];
        let (accepted, ()) = against(&gate(Method::Trust), &Ann::plain(), async |mut driver| {
            let mut out = Vec::new();
            startup::cancel_request(&mut out, 42, &secret);
            driver.send(&out).await;
        })
        .await;
        let Accepted::Cancel(key, _) = accepted else {
            panic!("not a cancel");
        };
        assert_eq!((key.pid, &key.secret), (42, &secret));
        assert!(
            !format!("{key:?}").contains('['),
            "the secret is not printed"
        );
    }
}

#[tokio::test]
async fn what_is_sent_beyond_the_login_is_kept() {
    let (accepted, ()) = against(&gate(Method::Trust), &Ann::plain(), async |mut driver| {
        let who = [("user", "ann")];
        let out = &mut driver.channel.out;
        startup::startup_message(out, Version::V3_0, who).unwrap();
        frontend::build::query(out, b"select 1");
        driver.channel.flush().await.unwrap();
    })
    .await;
    assert_eq!(session(accepted).leftover, b"Q\0\0\0\x0dselect 1\0");
}
