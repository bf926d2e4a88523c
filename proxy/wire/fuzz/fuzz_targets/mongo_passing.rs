//! Messages that go on while they come: pieces of any size are judged, and read, as the whole is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::mongo::bson::spec::ElementType;
use twinport_wire::mongo::message::answer::{BODY_AT, Begun, MAX_FIELD, Seen};
use twinport_wire::mongo::message::opening::{Opening, Sections};
use twinport_wire::mongo::{Frame, Message, document};

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = (usize::from(input.0).max(1), input.1);
    // The length is made to fit, so that the rest is met.
    let mut bytes = bytes.to_vec();
    let Ok(length) = u32::try_from(bytes.len()) else {
        return;
    };
    if let Some(place) = bytes.get_mut(..4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    request(&bytes, size);
    answer(&bytes, size);
});

/// What passes in pieces is what decodes as a whole; but names without end are refused in pieces.
fn request(bytes: &[u8], size: usize) {
    let Ok(Some(opening)) = Opening::read(bytes) else {
        return;
    };
    let Ok(mut sections) = Sections::after(&opening) else {
        return;
    };
    let rest = &bytes[opening.end()..];
    let passed = rest.chunks(size).try_for_each(|piece| sections.pass(piece));
    let frame = Frame::first(bytes).unwrap().unwrap();
    let whole = Message::decode(&frame);
    match (passed, whole) {
        (Ok(()), whole) => {
            assert_eq!(sections.left(), 0);
            assert_eq!(whole.unwrap().body.as_bytes(), opening.body.as_bytes());
        }
        (Err(error), Ok(_)) => assert!(error.to_string().contains("too long"), "{error}"),
        (Err(_), Err(_)) => {}
    }
}

/// What is seen as it passes is what stands in the whole.
fn answer(bytes: &[u8], size: usize) {
    let Ok(Some(Begun { mut answer, .. })) = Begun::read(bytes) else {
        return;
    };
    let (mut buffer, mut passed) = (Vec::new(), 0);
    let mut place = None;
    for piece in bytes[BODY_AT..].chunks(size) {
        buffer.extend_from_slice(piece);
        let Ok(looked) = answer.look(&buffer) else {
            return;
        };
        if let Some(cursor) = looked.cursor {
            assert!(cursor.end <= looked.passed && cursor.len() == 8);
            place = Some(passed + cursor.start..passed + cursor.end);
        }
        passed += looked.passed;
        buffer.drain(..looked.passed);
        assert!(buffer.len() < MAX_FIELD + size);
    }
    let Ok(body) = document::document(&bytes[BODY_AT..]) else {
        return;
    };
    if answer.left() == 0 && document::validate(body.as_bytes(), 200).is_ok() {
        check(body, answer.seen(), place);
    }
}

fn check(
    body: &twinport_wire::mongo::bson::RawDocument,
    seen: &Seen,
    place: Option<std::ops::Range<usize>>,
) {
    // A field that stands there twice is read from the first in the whole, and in pieces may not be.
    let keys: Vec<_> = body.iter_elements().flatten().map(|each| each.key().as_str()).collect();
    let once = |key: &str| keys.iter().filter(|each| **each == key).count() == 1;
    if once("ok") {
        let ok = body.get("ok").unwrap().is_some_and(document::truth);
        assert_eq!(seen.ok, ok);
    }
    let Some((ElementType::EmbeddedDocument, at)) = document::place(body, "cursor") else {
        return;
    };
    let inner = document::document(&body.as_bytes()[at.clone()]).unwrap();
    if !once("cursor") {
        return;
    }
    match document::place(inner, "id") {
        Some((ElementType::Int64, id)) => {
            assert_eq!(place, Some(at.start + id.start..at.start + id.end));
            assert_eq!(seen.cursor, inner.get_i64("id").ok());
        }
        // Another type: a second one of the name may be a number.
        Some(_) => {}
        None => assert_eq!((place, seen.cursor), (None, None)),
    }
}
