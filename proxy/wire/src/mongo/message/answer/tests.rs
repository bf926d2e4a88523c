//! Answers in pieces of every size, in every order of their fields.

use bson::raw::{RawArrayBuf, RawBsonRef};
use bson::{Bson, RawDocument, RawDocumentBuf, doc, rawdoc};
use proptest::prelude::*;

use super::super::build;
use super::*;
use crate::mongo::document;

fn batch(count: i32) -> RawArrayBuf {
    (0..count)
        .map(|id| rawdoc! { "_id": id, "cursor": { "id": 9_i64 }, "ok": 0.0 })
        .collect()
}

/// What has been seen of a body that came in pieces of this size, and with the cursor's number
/// changed as it passed.
fn read(body: &RawDocument, size: usize, number: i64) -> Result<(Seen, Vec<u8>), Error> {
    let mut answer = Answer::new(body.as_bytes().len());
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    for piece in body.as_bytes().chunks(size) {
        buffer.extend_from_slice(piece);
        let looked = answer.look(&buffer)?;
        if let Some(place) = looked.cursor {
            assert!(place.end <= looked.passed);
            buffer[place].copy_from_slice(&number.to_le_bytes());
        }
        out.extend(buffer.drain(..looked.passed));
        assert_eq!(answer.left(), body.as_bytes().len() - out.len());
    }
    assert!(buffer.is_empty(), "{} bytes were kept", buffer.len());
    Ok((answer.seen().clone(), out))
}

#[test]
fn a_cursor_is_seen_wherever_it_stands() {
    let seen = Seen {
        ok: true,
        code: None,
        cursor: Some(77),
        namespace: "test.books".to_owned(),
    };
    let documents = batch(3);
    let rest =
        rawdoc! { "$clusterTime": { "id": 1_i64, "code": 5 }, "operationTime": 3, "text": "ok" };
    let bodies = [
        rawdoc! {
            "cursor": { "firstBatch": documents.clone(), "id": 77_i64, "ns": "test.books" },
            "ok": 1.0, "rest": rest.clone(),
        },
        rawdoc! {
            "rest": rest.clone(), "ok": 1,
            "cursor": { "id": 77_i64, "ns": "test.books", "firstBatch": documents.clone() },
        },
        rawdoc! {
            "ok": true, "writeConcernError": {},
            "cursor": { "ns": "test.books", "nextBatch": documents, "more": rest, "id": 77_i64 },
        },
    ];
    for body in bodies {
        let mut renamed = body.as_bytes().to_vec();
        let (_, cursor) = document::place(&body, "cursor").unwrap();
        let inner = document::document(&renamed[cursor.clone()]).unwrap();
        let (_, id) = document::place(inner, "id").unwrap();
        let at = cursor.start + id.start;
        renamed[at..at + 8].copy_from_slice(&5_i64.to_le_bytes());
        for size in 1..=body.as_bytes().len() {
            let (found, passed) = read(&body, size, 5).unwrap();
            assert_eq!(found, seen);
            assert_eq!(passed, renamed);
        }
    }
}

#[test]
fn errors_are_seen() {
    let code = |body: &RawDocument| {
        let (seen, _) = read(body, 3, 0).unwrap();
        (seen.ok, seen.code, seen.cursor)
    };
    let refused = rawdoc! { "ok": 0.0, "errmsg": "no", "code": 10_107 };
    assert_eq!(code(&refused), (false, Some(10_107), None));
    let half = rawdoc! { "n": 1, "writeConcernError": { "errmsg": "w", "code": 91 }, "ok": 1.0 };
    assert_eq!(code(&half), (true, Some(91), None));
    let odd = rawdoc! { "ok": "yes", "code": "none", "cursor": { "id": "x", "ns": 5 } };
    assert_eq!(code(&odd), (false, None, None));
    assert_eq!(code(&rawdoc! { "cursor": 5 }), (false, None, None));
}

#[test]
fn every_type_is_passed_over() {
    let every = doc! {
        "double": 1.5, "string": "ok", "array": [1, "two", [3]], "undefined": Bson::Undefined,
        "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0; 9] },
        "id": bson::oid::ObjectId::from_bytes([9; 12]), "yes": true, "null": Bson::Null,
        "date": bson::DateTime::from_millis(-1), "code": Bson::JavaScriptCode("f()".to_owned()),
        "regex": bson::Regex { pattern: bson::raw::cstr!("^a").into(), options: bson::raw::cstr!("i").into() },
        "scoped": bson::JavaScriptCodeWithScope { code: "f(x)".to_owned(), scope: doc! { "x": 1 } },
        "symbol": Bson::Symbol("s".to_owned()), "int": 1, "long": 1_i64, "least": Bson::MinKey,
        "timestamp": bson::Timestamp { time: 1, increment: 2 }, "most": Bson::MaxKey,
        "decimal": "1.25".parse::<bson::Decimal128>().unwrap(), "ok": 1,
    };
    let body = RawDocumentBuf::try_from(&every).unwrap();
    for size in 1..40 {
        assert!(read(&body, size, 0).unwrap().0.ok);
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let good = rawdoc! { "cursor": { "id": 7_i64, "firstBatch": [1] }, "text": "abc", "ok": 1.0 };
    let at = |field: &str| document::place(&good, field).unwrap().1.start;
    for (place, byte) in [
        (at("cursor"), 0xff),
        (at("cursor"), 4),
        (at("cursor") + 3, 0x80),
        (at("text"), 200),
        (at("text"), 0),
        // The type of a field, and the last byte of the inner and of the outer document.
        (4, 0x20),
        (at("text") - 7, 1),
        (good.as_bytes().len() - 1, 1),
    ] {
        let mut bytes = good.as_bytes().to_vec();
        bytes[place] = byte;
        let mut answer = Answer::new(bytes.len());
        assert!(answer.look(&bytes).is_err(), "{place} {byte}");
    }
    let mut long = Answer::new(1 << 20);
    let mut name = vec![0, 0, 16, 0, 1];
    name.resize(2 * MAX_FIELD, b'n');
    assert!(long.look(&name).is_err(), "a name without end");
}

#[test]
fn only_one_section_without_a_checksum_goes_on() {
    let mut good = Vec::new();
    build::reply(&mut good, 1, 2, &rawdoc! { "ok": 1 });
    for length in 0..good.len() {
        let begun = Begun::read(&good[..length]).unwrap();
        assert_eq!(begun.is_some(), length >= BODY_AT + 4, "{length}");
    }
    for (why, place, byte) in [
        ("another message", 12, 0),
        ("a checksum", 16, 1),
        ("more to come", 16, 2),
        ("a kind-1 section", 20, 1),
        ("a shorter body", 21, 9),
        ("a longer message", 0, 99),
    ] {
        let mut bytes = good.clone();
        bytes[place] = byte;
        assert!(Begun::read(&bytes).is_err(), "{why}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>, body in 5_usize..100, size in 1_usize..20) {
        let mut answer = Answer::new(body);
        let mut buffer = Vec::new();
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            let Ok(looked) = answer.look(&buffer) else { break };
            prop_assert!(looked.passed <= buffer.len());
            buffer.drain(..looked.passed);
        }
    }

    #[test]
    fn what_is_seen_is_what_stands_there(code: i32, id: i64, ok: bool, size in 1_usize..60) {
        let body = rawdoc! {
            "code": code, "cursor": { "x": RawBsonRef::Null, "id": id, "ns": "a.b" }, "ok": ok,
        };
        let (seen, same) = read(&body, size, id).unwrap();
        let expected = Seen { ok, code: Some(code.into()), cursor: Some(id), namespace: "a.b".to_owned() };
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(same, body.into_bytes());
    }
}
