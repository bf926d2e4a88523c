//! Startup packets, right and wrong.

use pgwire::messages::{DecodeContext, Message};
use proptest::prelude::*;

use super::*;

fn raw(code: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    packet(&mut out, code, |out| out.put_slice(body));
    out
}

fn start(body: &[u8]) -> Result<(), Error> {
    Startup::decode(&raw(Version::V3_0.number(), body)).map(|_| ())
}

#[test]
fn requests_round_trip() {
    let mut out = Vec::new();
    ssl_request(&mut out);
    assert_eq!(out, [0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(Startup::decode(&out).unwrap(), Startup::Ssl);

    out.clear();
    gss_request(&mut out);
    assert_eq!(Startup::decode(&out).unwrap(), Startup::Gss);

    let long = [7; MAX_SECRET];
    for secret in [&long[..], &long[..4]] {
        out.clear();
        cancel_request(&mut out, -5, secret);
        assert_eq!(
            Startup::decode(&out).unwrap(),
            Startup::Cancel(CancelKey { pid: -5, secret })
        );
    }
}

#[test]
fn message_round_trips_and_agrees_with_pgwire() {
    let mut out = Vec::new();
    let sent = [("user", "ann"), ("database", "büro"), ("_pq_.x", "")];
    startup_message(&mut out, Version::V3_2, sent).unwrap();
    let Startup::Start(start) = Startup::decode(&out).unwrap() else {
        panic!("not a StartupMessage");
    };
    assert_eq!(start.version, Version::V3_2);
    assert_eq!(start.parameters().collect::<Vec<_>>(), sent);

    let mut theirs = bytes::BytesMut::from(&out[..]);
    let theirs = pgwire::messages::startup::Startup::decode(&mut theirs, &DecodeContext::default())
        .unwrap()
        .unwrap();
    for (name, value) in sent {
        assert_eq!(theirs.parameters[name], value);
    }
}

#[test]
fn the_last_of_two_settings_counts() {
    let packet = raw(
        Version::V3_0.number(),
        b"user\0u\0client_encoding\0utf8\0client_encoding\0latin1\0\0",
    );
    let Startup::Start(start) = Startup::decode(&packet).unwrap() else {
        panic!("not a StartupMessage");
    };
    assert_eq!(start.get("client_encoding"), Some("latin1"));
    assert_eq!(start.get("absent"), None);
}

#[test]
fn declared_length_of_a_startup_packet_has_bounds() {
    for declared in [0u32, 3, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let error = peek(&declared.to_be_bytes()).unwrap_err();
        assert!(error.is_length(), "{declared}: {error}");
    }
    assert_eq!(peek(&8u32.to_be_bytes()).unwrap(), Some(8));
    assert_eq!(peek(&10_000u32.to_be_bytes()).unwrap(), Some(10_000));
    assert_eq!(peek(&[0, 0, 0]).unwrap(), None);
}

#[test]
fn empty_and_odd_startup_parameters() {
    assert!(start(b"\0").is_ok(), "no parameter at all is well formed");
    for (body, why) in [
        (&b""[..], "no terminator"),
        (b"user\0", "a name alone"),
        (b"user\0u\0", "no final zero"),
        (b"user\0u", "an unterminated value"),
        (b"user\0u\0\0x", "bytes after the end"),
        (b"user\0u\0user\0v\0\0", "user twice"),
        (b"options\0-c a=b\0options\0\0\0", "options twice"),
        (b"database\0a\0database\0a\0\0", "database twice"),
        (b"user\0\xff\0\0", "not UTF-8"),
    ] {
        let error = start(body).unwrap_err();
        assert!(error.is_malformed(), "{why}: {error}");
    }
}

#[test]
fn other_versions_are_named_in_the_refusal() {
    for number in [0, 2 << 16, (4 << 16) | 1, 0xffff_0000] {
        let error = Startup::decode(&raw(number, b"\0")).unwrap_err();
        assert!(error.is_unsupported(), "{number}: {error}");
    }
    let error = Startup::decode(&raw(2 << 16, b"\0")).unwrap_err();
    assert!(error.to_string().contains("2.0"), "{error}");
    let newer = raw((3 << 16) | 9999, b"user\0u\0\0");
    assert!(matches!(
        Startup::decode(&newer).unwrap(),
        Startup::Start(start) if start.version.minor == 9999
    ));
}

#[test]
fn requests_with_a_body_and_odd_cancel_keys_are_refused() {
    assert!(Startup::decode(&raw(SSL, b"x")).is_err());
    assert!(Startup::decode(&raw(GSS, b"\0")).is_err());
    for length in [0, 3, 4, 7, 4 + MAX_SECRET + 1] {
        let error = Startup::decode(&raw(CANCEL, &vec![1; length])).unwrap_err();
        assert!(error.is_malformed(), "{length}: {error}");
    }
}

#[test]
fn builder_refuses_what_could_not_be_read_back() {
    let mut out = b"kept".to_vec();
    let long = "x".repeat(MAX_LENGTH);
    for pair in [("", "x"), ("a\0b", "x"), ("a", "x\0"), ("a", &long)] {
        assert!(startup_message(&mut out, Version::V3_0, [pair]).is_err());
        assert_eq!(out, b"kept");
    }
}

proptest! {
    #[test]
    fn no_packet_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = peek(&bytes);
        let _ = Startup::decode(&bytes);
        for code in [SSL, GSS, CANCEL, 3 << 16] {
            if let Ok(Startup::Start(start)) = Startup::decode(&raw(code, &bytes)) {
                prop_assert!(start.parameters().count() <= bytes.len());
            }
        }
    }

    #[test]
    fn no_options_panic(text in "[-=\\\\ a-c\\PC]{0,40}") {
        let _ = options::parse(&text);
    }

    #[test]
    fn built_messages_read_back(pairs in proptest::collection::vec(
        ("[a-z_.]{1,12}x", "[^\0]{0,20}"), 0..6,
    )) {
        let mut out = Vec::new();
        let given = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        startup_message(&mut out, Version::V3_0, given.clone()).unwrap();
        let Startup::Start(start) = Startup::decode(&out).unwrap() else {
            panic!("not a StartupMessage");
        };
        prop_assert!(start.parameters().eq(given));
    }
}
