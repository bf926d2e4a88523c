//! What is passed in pieces must be judged as if it were all there.

use bson::{RawDocumentBuf, rawdoc};
use proptest::prelude::*;

use super::super::build;
use super::*;
use crate::mongo::{Frame, Message, Sequence};

fn insert() -> RawDocumentBuf {
    rawdoc! { "insert": "books", "$db": "test" }
}

fn documents(count: i32) -> Vec<u8> {
    (0..count)
        .flat_map(|id| rawdoc! { "_id": id, "t": "text" }.into_bytes())
        .collect()
}

/// A message with these sections behind the body, as bytes.
fn message(sections: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    build::request(&mut out, 7, 0, &insert(), []);
    out.extend_from_slice(sections);
    let length = i32::try_from(out.len()).unwrap();
    out[..4].copy_from_slice(&length.to_le_bytes());
    out
}

fn section(name: &str, bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(4 + name.len() + 1 + bytes.len()).unwrap();
    let mut out = vec![SEQUENCE];
    out.extend(length.to_le_bytes());
    out.extend(name.as_bytes());
    out.push(0);
    out.extend(bytes);
    out
}

/// Passes a whole message in pieces of this size; gives the bytes that had passed when it was refused.
fn passed(bytes: &[u8], size: usize) -> Result<(), (Error, usize)> {
    let opening = Opening::read(bytes).unwrap().unwrap();
    let mut sections = Sections::after(&opening).unwrap();
    let mut at = opening.end();
    for piece in bytes[at..].chunks(size) {
        sections.pass(piece).map_err(|error| (error, at))?;
        at += piece.len();
    }
    assert_eq!((sections.left(), at), (0, bytes.len()));
    Ok(())
}

fn decodes(bytes: &[u8]) -> bool {
    Message::decode(&Frame::first(bytes).unwrap().unwrap()).is_ok()
}

#[test]
fn an_opening_is_there_as_soon_as_its_body_is() {
    let bytes = message(&section("documents", &documents(3)));
    let end = Opening::read(&bytes).unwrap().unwrap().end();
    for length in 0..bytes.len() {
        let opening = Opening::read(&bytes[..length]).unwrap();
        assert_eq!(opening.is_some(), length >= end, "{length}");
    }
    let opening = Opening::read(&bytes).unwrap().unwrap();
    assert_eq!(opening.body, &*insert());
    assert_eq!(opening.header.len, bytes.len());
}

#[test]
fn what_can_be_judged_only_whole_has_no_opening() {
    let good = message(&section("documents", &documents(1)));
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (why, bytes) in [
        ("another kind of message", change(12, 0)),
        ("a checksum", change(16, 1)),
        ("a flag of which nothing is known", change(16, 4)),
        ("a kind-1 section first", change(20, SEQUENCE)),
        ("a body that is longer than the message", change(23, 1)),
        ("a body of a negative length", change(24, 0xff)),
    ] {
        assert!(Opening::read(&bytes).is_err(), "{why}");
    }
    assert!(Opening::read(&change(16, 2)).is_ok(), "no answer is wanted");
}

#[test]
fn a_prefix_counts_another_body() {
    let bytes = message(&section("documents", &documents(1)));
    let opening = Opening::read(&bytes).unwrap().unwrap();
    let mut body = insert();
    body.append(bson::raw::cstr!("more"), 1);
    let mut out = opening.prefix(9, 0, body.as_bytes().len()).to_vec();
    out.push(BODY);
    out.extend_from_slice(body.as_bytes());
    out.extend_from_slice(&bytes[opening.end()..]);
    let frame = Frame::first(&out).unwrap().unwrap();
    assert_eq!(frame.bytes.len(), out.len());
    let message = Message::decode(&frame).unwrap();
    assert_eq!((message.request_id, message.body), (9, &*body));
    assert_eq!(
        message.sequence("documents").unwrap().documents().count(),
        1
    );
}

#[test]
fn sections_pass_in_pieces_of_any_size() {
    let two = [
        section("documents", &documents(5)),
        section("more", &[]),
        section("updates", &documents(2)),
    ];
    let bytes = message(&two.concat());
    assert!(decodes(&bytes));
    for size in 1..bytes.len() {
        passed(&bytes, size).unwrap();
    }
    passed(&message(&[]), 1).unwrap();
}

#[test]
fn what_is_wrong_is_told_before_the_last_byte() {
    let good = section("documents", &documents(2));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let sections = [
        ("two bodies", [&[BODY], insert().as_bytes()].concat()),
        ("an unknown kind", vec![2, 0, 0, 0, 0]),
        ("a name twice", [good.clone(), good.clone()].concat()),
        ("a field's name", section("insert", &documents(1))),
        ("a section that is too long", with(1, 200)),
        ("a section that is too short", with(1, 20)),
        ("a section of a negative length", with(4, 0xff)),
        ("a document that is too long", with(15, 200)),
        ("a document below its least", with(15, 4)),
        ("no zero byte at a document's end", with(good.len() - 1, 1)),
        ("a name that is no text", with(6, 0xff)),
        ("half a section", good[..good.len() - 5].to_vec()),
        ("half a length", vec![SEQUENCE, 9, 0]),
    ];
    for (why, bytes) in sections {
        let bytes = message(&bytes);
        assert!(!decodes(&bytes), "{why}");
        for size in [1, 7, bytes.len()] {
            let refused = passed(&bytes, size);
            assert!(matches!(refused, Err((_, at)) if at < bytes.len()), "{why}");
        }
    }
    let many: Vec<u8> = (0..=MAX_SEQUENCES)
        .flat_map(|each| section(&format!("s{each}"), &[]))
        .collect();
    assert!(passed(&message(&many), 3).is_err());
    let long = section(&"n".repeat(MAX_NAME + 1), &[]);
    assert!(passed(&message(&long), 3).is_err());
}

#[test]
fn no_more_passes_than_was_declared() {
    let bytes = message(&section("documents", &documents(1)));
    let opening = Opening::read(&bytes).unwrap().unwrap();
    let mut sections = Sections::after(&opening).unwrap();
    let too_much = [&bytes[opening.end()..], &[0]].concat();
    assert!(sections.pass(&too_much).is_err());
}

proptest! {
    #[test]
    fn pieces_are_judged_as_the_whole(place: prop::sample::Index, byte: u8, size in 1_usize..40) {
        let mut sections = [section("documents", &documents(3)), section("b", &documents(1))].concat();
        let at = place.index(sections.len());
        sections[at] = byte;
        let bytes = message(&sections);
        prop_assert_eq!(passed(&bytes, size).is_ok(), decodes(&bytes));
        if let Ok(again) = Message::decode(&Frame::first(&bytes).unwrap().unwrap()) {
            let known: Vec<Sequence<'_>> = again.sequences().collect();
            prop_assert!(!known.is_empty());
        }
    }
}
