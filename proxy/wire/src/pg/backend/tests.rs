//! Round trips and broken bodies of server messages.

use pgwire::messages::{DecodeContext, Message, response};
use proptest::prelude::*;

use super::super::{Frame, Frames};
use super::*;
use crate::pg::startup::Version;

fn body(bytes: &[u8]) -> &[u8] {
    Frame::first(bytes).unwrap().unwrap().body()
}

#[test]
fn authentication_round_trips() {
    let mut out = Vec::new();
    build::authentication_ok(&mut out);
    build::authentication_cleartext(&mut out);
    build::authentication_md5(&mut out, *b"salt");
    build::authentication_sasl(&mut out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    build::authentication_sasl_continue(&mut out, b"r=1");
    build::authentication_sasl_final(&mut out, b"v=1");
    let requests: Vec<_> = Frames::new(&out)
        .map(|frame| Authentication::decode(frame.unwrap().body()).unwrap())
        .collect();
    assert_eq!(requests[0], Authentication::Ok);
    assert_eq!(requests[1], Authentication::Cleartext);
    assert_eq!(requests[2], Authentication::Md5(*b"salt"));
    let Authentication::Sasl(mechanisms) = requests[3] else {
        panic!("not SASL");
    };
    assert_eq!(
        mechanisms.iter().collect::<Vec<_>>(),
        ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
    );
    assert!(mechanisms.contains("SCRAM-SHA-256") && !mechanisms.contains("SCRAM"));
    assert_eq!(requests[4], Authentication::SaslContinue(b"r=1"));
    assert_eq!(requests[5], Authentication::SaslFinal(b"v=1"));
}

#[test]
fn broken_authentication_is_refused() {
    for wrong in [
        &b""[..],
        b"\0\0\0",
        b"\0\0\0\0x",
        b"\0\0\0\x05abc",
        b"\0\0\0\x05abcde",
        b"\0\0\0\x0a",
        b"\0\0\0\x0aSCRAM\0",
        b"\0\0\0\x0aSCRAM\0\0x",
    ] {
        assert!(Authentication::decode(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(
        Authentication::decode(b"\0\0\0\x07").unwrap(),
        Authentication::Other(7)
    );
}

#[test]
fn error_response_round_trips_and_agrees_with_pgwire() {
    let mut out = Vec::new();
    build::error_response(
        &mut out,
        &Report {
            severity: "ERROR",
            code: "42601",
            message: "unknown directive",
            detail: None,
            hint: Some("did you mean @include?"),
            position: Some(4),
            routine: None,
        },
    );
    let fields = Fields::new(body(&out));
    fields.check().unwrap();
    assert_eq!(fields.code(), Some("42601"));
    assert_eq!(fields.get(b'M'), Some(&b"unknown directive"[..]));
    assert_eq!(fields.get(b'P'), Some(&b"4"[..]));
    assert_eq!(fields.get(b'D'), None);
    assert_eq!(
        fields.map(|(letter, _)| letter).collect::<Vec<_>>(),
        b"SVCMHP"
    );

    let mut theirs = bytes::BytesMut::from(&out[..]);
    let theirs = response::ErrorResponse::decode(&mut theirs, &DecodeContext::default())
        .unwrap()
        .unwrap();
    assert_eq!(theirs.fields.len(), 6);
    assert_eq!(theirs.fields[5], (b'P', "4".to_owned()));
}

#[test]
fn error_response_without_sqlstate_is_read_as_far_as_it_goes() {
    let fields = Fields::new(b"SFATAL\0Mno code\0\0");
    assert_eq!(fields.code(), None);
    assert_eq!(fields.get(b'M'), Some(&b"no code"[..]));
    for odd in [
        &b""[..],
        b"\0",
        b"C\0\0",
        b"C4260\0\0",
        b"C42\xff01\0\0",
        b"C42601",
    ] {
        assert_eq!(Fields::new(odd).code(), None, "{odd:?}");
    }
    assert!(Fields::new(b"SFATAL\0Mcut").check().is_err());
    assert_eq!(Fields::new(b"SFATAL\0Mcut").count(), 1);
}

#[test]
fn rows_round_trip() {
    let mut out = Vec::new();
    build::row_description(
        &mut out,
        &[Column::text(b"a"), Column::computed(b"b", 23, 4)],
    );
    let columns: Result<Vec<_>, _> = Columns::new(body(&out)).unwrap().collect();
    let columns = columns.unwrap();
    assert_eq!(columns[0], Column::text(b"a"));
    assert_eq!((columns[1].type_oid, columns[1].size), (23, 4));

    out.clear();
    build::data_row(&mut out, &[Some("x"), None, Some("")]);
    let values: Result<Vec<_>, _> = Values::new(body(&out)).unwrap().collect();
    assert_eq!(values.unwrap(), [Some(&b"x"[..]), None, Some(&b""[..])]);
}

#[test]
fn short_data_row_is_an_error_and_ends() {
    for wrong in [
        &b"\0\x01"[..],
        b"\0\x01\0\0\0\x04abc",
        b"\0\x01\x7f\xff\xff\xffabc",
        b"\0\x01\xff\xff\xff\xfe",
        b"\0\x02\xff\xff\xff\xff",
        b"\0\0x",
        b"\xff\xff\0\0",
    ] {
        let mut values = Values::new(wrong).unwrap();
        assert!(values.any(|value| value.is_err()), "{wrong:?}");
        assert_eq!(values.count(), 0, "{wrong:?}");
    }
    assert!(Values::new(b"\0").is_err());
    let mut columns = Columns::new(b"\0\x02a\0\0\0").unwrap();
    assert!(columns.next().unwrap().is_err());
    assert!(columns.next().is_none());
}

#[test]
fn keys_parameters_and_tags() {
    let mut out = Vec::new();
    build::backend_key_data(&mut out, 7, &[1; 32]);
    let key = backend_key_data(body(&out)).unwrap();
    assert_eq!((key.pid, key.secret), (7, &[1; 32][..]));
    assert!(backend_key_data(&[0; 7]).is_err());
    assert!(backend_key_data(&[0; 261]).is_err());

    out.clear();
    build::parameter_status(&mut out, b"TimeZone", b"UTC");
    let (name, value) = parameter_status(body(&out)).unwrap();
    assert_eq!((name, value), (&b"TimeZone"[..], &b"UTC"[..]));
    assert!(parameter_status(b"a\0b").is_err());

    out.clear();
    build::command_complete(&mut out, b"INSERT 0 3");
    let tag = command_complete(body(&out)).unwrap();
    assert_eq!(affected(tag), Some(3));
    assert_eq!(affected(b"BEGIN"), None);
    assert_eq!(affected(b""), None);

    out.clear();
    build::ready_for_query(&mut out, Status::Failed);
    assert_eq!(ready_for_query(body(&out)).unwrap(), Status::Failed);
    assert!(ready_for_query(b"").is_err() && ready_for_query(b"II").is_err());
}

#[test]
fn negotiation_round_trips() {
    let mut out = Vec::new();
    build::negotiate(&mut out, Version::LATEST, &["_pq_.a", "_pq_.b"]);
    let negotiated = negotiate(body(&out)).unwrap();
    assert_eq!(negotiated.minor, 2);
    assert_eq!(negotiated.unknown, ["_pq_.a", "_pq_.b"]);
    assert!(negotiate(b"\0\x03\0\x02\xff\xff\xff\xff").is_err());
}

#[test]
fn copy_responses_agree_with_pgwire() {
    let mut out = Vec::new();
    build::copy_in(&mut out, true, 2);
    let mut theirs = bytes::BytesMut::from(&out[..]);
    let theirs =
        pgwire::messages::copy::CopyInResponse::decode(&mut theirs, &DecodeContext::default())
            .unwrap()
            .unwrap();
    assert_eq!((theirs.format, theirs.columns), (1, 2));
    assert_eq!(theirs.column_formats, [1, 1]);
}

proptest! {
    #[test]
    fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Authentication::decode(&bytes).map(|request| match request {
            Authentication::Sasl(mechanisms) => mechanisms.iter().count(),
            _ => 0,
        });
        let _ = parameter_status(&bytes);
        let _ = backend_key_data(&bytes);
        let _ = negotiate(&bytes);
        let _ = command_complete(&bytes).map(affected);
        let _ = ready_for_query(&bytes);
        let fields = Fields::new(&bytes);
        let _ = (fields.check(), fields.code(), fields.count());
        if let Ok(columns) = Columns::new(&bytes) {
            prop_assert!(columns.count() <= bytes.len());
        }
        if let Ok(values) = Values::new(&bytes) {
            prop_assert!(values.count() <= bytes.len());
        }
    }
}
