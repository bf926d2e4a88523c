//! Round trips and broken bodies of client messages.

use pgwire::messages::{DecodeContext, Message, extendedquery};
use proptest::prelude::*;

use super::super::{Frame, Frames};
use super::*;

fn body(bytes: &[u8]) -> &[u8] {
    Frame::first(bytes).unwrap().unwrap().body()
}

#[test]
fn query_text_is_borrowed_as_it_is() {
    let mut out = Vec::new();
    build::query(&mut out, b"select '\xff'");
    assert_eq!(query(body(&out)).unwrap(), b"select '\xff'");
    assert!(query(b"select 1").is_err());
    assert!(query(b"a\0b\0").is_err());
    assert!(query(b"").is_err());
}

#[test]
fn parse_round_trips_and_agrees_with_pgwire() {
    let mut out = Vec::new();
    let types = [0, 0, 0, 23, 0, 0, 4, 0x13];
    build::parse(&mut out, b"s1", b"select $1, $2", &types);
    let parse = Parse::decode(body(&out)).unwrap();
    assert_eq!(parse.name, b"s1");
    assert_eq!(parse.text, b"select $1, $2");
    assert_eq!(parse.oids().collect::<Vec<_>>(), [23, 1043]);

    let mut theirs = bytes::BytesMut::from(&out[..]);
    let theirs = extendedquery::Parse::decode(&mut theirs, &DecodeContext::default())
        .unwrap()
        .unwrap();
    assert_eq!(theirs.query, "select $1, $2");
    assert_eq!(theirs.type_oids, [23, 1043]);
}

#[test]
fn parse_with_a_lying_count_is_refused() {
    assert!(Parse::decode(b"\0select\0\0\x02\0\0\0\x17").is_err());
    assert!(Parse::decode(b"\0select\0\xff\xff").is_err());
    assert!(Parse::decode(b"\0select\0\0\0x").is_err());
    assert!(Parse::decode(b"\0select\0\0").is_err());
}

#[test]
fn bind_gives_names_and_the_rest() {
    let mut out = Vec::new();
    build::bind_text(&mut out, b"p", b"st", &[Some(b"x"), None]);
    let bind = Bind::decode(body(&out)).unwrap();
    assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"st"[..]));
    assert_eq!(&body(&out)[bind.offset..], bind.rest);
    let mut again = Vec::new();
    build::bind(&mut again, b"p", b"st", bind.rest);
    assert_eq!(again, out);

    let mut theirs = bytes::BytesMut::from(&out[..]);
    let theirs = extendedquery::Bind::decode(&mut theirs, &DecodeContext::default())
        .unwrap()
        .unwrap();
    assert_eq!(theirs.statement_name.as_deref(), Some("st"));
    assert_eq!(theirs.parameters.len(), 2);
    assert!(Bind::decode(b"p\0st").is_err());
}

#[test]
fn targets_and_execute() {
    let mut out = Vec::new();
    build::describe(&mut out, Target::Statement(b"a"));
    assert_eq!(Target::decode(body(&out)).unwrap(), Target::Statement(b"a"));
    out.clear();
    build::close(&mut out, Target::Portal(b""));
    assert_eq!(Target::decode(body(&out)).unwrap(), Target::Portal(b""));
    assert!(Target::decode(b"Xa\0").is_err());
    assert!(Target::decode(b"").is_err());
    out.clear();
    build::execute(&mut out, b"p", 50);
    let execute = Execute::decode(body(&out)).unwrap();
    assert_eq!((execute.portal, execute.rows), (&b"p"[..], 50));
    assert!(Execute::decode(b"p\0\0\0").is_err());
}

#[test]
fn sasl_messages() {
    let mut out = Vec::new();
    build::sasl_initial(&mut out, "SCRAM-SHA-256", b"n,,n=,r=x");
    let initial = SaslInitial::decode(body(&out)).unwrap();
    assert_eq!(initial.mechanism, "SCRAM-SHA-256");
    assert_eq!(initial.data, Some(&b"n,,n=,r=x"[..]));
    assert_eq!(
        SaslInitial::decode(b"M\0\xff\xff\xff\xff").unwrap().data,
        None
    );
    for wrong in [
        &b"M\0\xff\xff\xff\xfe"[..],
        b"M\0\0\0\0\x09ab",
        b"M\0\0\0\0\x01ab",
        b"M\0\x7f\xff\xff\xff",
        b"M",
    ] {
        assert!(SaslInitial::decode(wrong).is_err());
    }
}

#[test]
fn text_with_a_zero_byte_never_adds_a_field() {
    let mut out = Vec::new();
    build::password(&mut out, b"a\0b");
    assert_eq!(password(body(&out)).unwrap(), b"a");
}

#[test]
fn empty_messages_are_five_bytes() {
    let mut out = bytes::BytesMut::new();
    build::sync(&mut out);
    build::flush(&mut out);
    build::terminate(&mut out);
    build::copy_done(&mut out);
    let tags: Vec<u8> = Frames::new(&out).map(|frame| frame.unwrap().tag).collect();
    assert_eq!(tags, b"SHXc");
    assert_eq!(out.len(), 20);
}

proptest! {
    #[test]
    fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = query(&bytes);
        let _ = copy_fail(&bytes);
        let _ = password(&bytes);
        if let Ok(parse) = Parse::decode(&bytes) {
            prop_assert_eq!(parse.oids().len() * 4, parse.types.len());
        }
        if let Ok(bind) = Bind::decode(&bytes) {
            prop_assert_eq!(&bytes[bind.offset..], bind.rest);
        }
        let _ = Target::decode(&bytes);
        let _ = Execute::decode(&bytes);
        let _ = SaslInitial::decode(&bytes);
        prop_assert!(Frames::new(&bytes).count() <= bytes.len());
    }
}
