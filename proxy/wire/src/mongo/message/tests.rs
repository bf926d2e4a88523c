//! Sections in every order, and all that is refused.

use bson::{RawDocumentBuf, rawdoc};
use proptest::prelude::*;

use super::*;
use crate::mongo::out;

fn find() -> RawDocumentBuf {
    rawdoc! { "find": "books", "$db": "test" }
}

fn documents(count: i32) -> Vec<u8> {
    (0..count)
        .flat_map(|id| rawdoc! { "_id": id }.into_bytes())
        .collect()
}

fn body_section(body: &RawDocument) -> Vec<u8> {
    [&[BODY], body.as_bytes()].concat()
}

fn sequence_section(identifier: &str, bytes: &[u8]) -> Vec<u8> {
    let length = (4 + identifier.len() + 1 + bytes.len()) as i32;
    let mut out = vec![SEQUENCE];
    out.extend(length.to_le_bytes());
    out.extend(identifier.as_bytes());
    out.push(0);
    out.extend(bytes);
    out
}

/// A frame of these sections.
fn message(flags: u32, sections: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    out::frame(&mut bytes, 5, 3, OP_MSG, |out| {
        out.extend(flags.to_le_bytes());
        out.extend(sections.concat());
        if flags & CHECKSUM_PRESENT != 0 {
            out.extend([0; 4]);
        }
    });
    if flags & CHECKSUM_PRESENT != 0 {
        let end = bytes.len() - 4;
        let checksum = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Result<Message<'_>, Error> {
    Message::decode(&Frame::first(bytes).unwrap().unwrap())
}

fn refused(sections: &[Vec<u8>]) -> String {
    let error = decode(&message(0, sections)).unwrap_err();
    assert!(error.is_malformed(), "{error}");
    error.to_string()
}

#[test]
fn sections_in_any_order() {
    let body = body_section(&find());
    let one = sequence_section("documents", &documents(3));
    let two = sequence_section("other", &[]);
    for sections in [
        [body.clone(), one.clone(), two.clone()],
        [one.clone(), body.clone(), two.clone()],
        [one, two, body],
    ] {
        let bytes = message(0, &sections);
        let message = decode(&bytes).unwrap();
        assert_eq!((message.request_id, message.response_to), (5, 3));
        assert_eq!(message.body, &*find());
        let names: Vec<&str> = message.sequences().map(|each| each.identifier).collect();
        assert_eq!(names, ["documents", "other"]);
        let sequence = message.sequence("documents").unwrap();
        assert_eq!(sequence.documents().count(), 3);
        assert_eq!(sequence.bytes, documents(3));
        assert!(message.sequence("updates").is_none());
    }
}

#[test]
fn exactly_one_body() {
    let body = body_section(&find());
    assert!(refused(&[]).contains("no kind-0"));
    assert!(refused(&[sequence_section("documents", &[])]).contains("no kind-0"));
    assert!(refused(&[body.clone(), body]).contains("two kind-0"));
}

#[test]
fn duplicated_sections_are_refused() {
    let body = body_section(&find());
    let one = sequence_section("documents", &documents(1));
    let code = |sections: &[Vec<u8>]| {
        let error = decode(&message(0, sections)).unwrap_err();
        assert!(error.is_repeated(), "{error}");
        error.mongo_code().0
    };
    assert_eq!(code(&[body.clone(), one.clone(), one]), 40_431);
    let same = sequence_section("find", &documents(1));
    assert_eq!(code(&[body, same]), 40_433);
}

#[test]
fn sections_without_number_are_refused() {
    let mut sections = vec![body_section(&find())];
    for number in 0..MAX_SEQUENCES {
        sections.push(sequence_section(&format!("s{number}"), &[]));
    }
    assert!(decode(&message(0, &sections)).is_ok());
    sections.push(sequence_section("more", &[]));
    assert!(refused(&sections).contains("too many"));
}

#[test]
fn sections_with_bad_lengths_are_refused() {
    let body = body_section(&find());
    for length in [i32::MIN, -1, 0, 3, 4, 13, 1000, i32::MAX] {
        let mut section = sequence_section("documents", &documents(1));
        section[1..5].copy_from_slice(&length.to_le_bytes());
        refused(&[body.clone(), section]);
    }
    for length in [i32::MIN, -1, 0, 4, 5, 1000, i32::MAX] {
        let mut section = sequence_section("documents", &documents(1));
        section[15..19].copy_from_slice(&length.to_le_bytes());
        refused(&[body.clone(), section]);
    }
    refused(&[body, vec![2]]);
}

#[test]
fn unknown_low_flags_are_refused_and_high_ones_ignored() {
    let sections = [body_section(&find())];
    for bit in 2..16 {
        let error = decode(&message(1 << bit, &sections)).unwrap_err();
        assert!(error.to_string().contains("flag"), "{bit}: {error}");
    }
    for bit in 16..32 {
        assert!(decode(&message(1 << bit, &sections)).is_ok(), "{bit}");
    }
    let bytes = message(MORE_TO_COME, &sections);
    assert!(decode(&bytes).unwrap().more_to_come());
}

#[test]
fn a_checksum_is_checked() {
    let sections = [body_section(&find()), sequence_section("x", &documents(1))];
    let mut bytes = message(CHECKSUM_PRESENT, &sections);
    let decoded = decode(&bytes).unwrap();
    assert!(decoded.checksum.is_some());
    assert_eq!(decoded.sequences().count(), 1);
    for place in 4..bytes.len() {
        if (12..16).contains(&place) {
            continue;
        }
        bytes[place] ^= 1;
        assert!(decode(&bytes).is_err(), "{place}");
        bytes[place] ^= 1;
    }
    // The checksum that the standard gives for nine digits.
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_message_cut_off_anywhere_is_refused() {
    let sections = [body_section(&find()), sequence_section("x", &documents(1))];
    for flags in [0, CHECKSUM_PRESENT] {
        let bytes = message(flags, &sections);
        // Cut before the second section, the rest is a whole message.
        let whole = HEADER + 4 + sections[0].len();
        for end in HEADER..bytes.len() {
            let mut bytes = bytes[..end].to_vec();
            bytes[..4].copy_from_slice(&(end as u32).to_le_bytes());
            let accepted = decode(&bytes).is_ok();
            assert_eq!(accepted, flags == 0 && end == whole, "{end}");
        }
    }
}

#[test]
fn another_kind_of_message_is_refused() {
    let mut bytes = message(0, &[body_section(&find())]);
    bytes[12] = 0;
    assert!(decode(&bytes).is_err());
}

#[test]
fn an_answer_never_says_that_more_will_come() {
    let mut bytes = Vec::new();
    build::reply(&mut bytes, 8, 5, &rawdoc! { "ok": 1.0 });
    let message = decode(&bytes).unwrap();
    assert_eq!((message.request_id, message.response_to), (8, 5));
    assert_eq!((message.flags, message.body), (0, &*rawdoc! { "ok": 1.0 }));
}

#[test]
fn a_message_goes_on_under_other_numbers() {
    let sections = [body_section(&find()), sequence_section("x", &documents(2))];
    for flags in [EXHAUST_ALLOWED, EXHAUST_ALLOWED | CHECKSUM_PRESENT] {
        let mut bytes = message(flags, &sections);
        let frame = Frame::first(&bytes).unwrap().unwrap();
        let original = decode(&bytes).unwrap();
        let (prefix, rest) = build::parts(&frame, &original, 77, 78, EXHAUST_ALLOWED);
        let sent = [&prefix, rest].concat();
        let forwarded = decode(&sent).unwrap();
        assert_eq!((forwarded.request_id, forwarded.response_to), (77, 78));
        assert_eq!(forwarded.flags, 0);
        assert_eq!(forwarded.sections, sections.concat());

        assert!(build::readdress(&mut bytes, 7, 8));
        let changed = decode(&bytes).unwrap();
        assert_eq!((changed.request_id, changed.response_to), (7, 8));
        assert_eq!(changed.flags, EXHAUST_ALLOWED);
        assert_eq!(changed.sections, sections.concat());
    }
    let mut nothing = b"nothing at all, but long enough for it".to_vec();
    assert!(!build::readdress(&mut nothing, 1, 2));
}

proptest! {
    #[test]
    fn requests_round_trip(
        id: i32,
        counts in proptest::collection::vec(0_i32..5, 0..MAX_SEQUENCES),
        more: bool,
    ) {
        let flags = if more { MORE_TO_COME } else { 0 };
        let parts: Vec<(String, Vec<u8>)> = counts
            .iter()
            .enumerate()
            .map(|(number, count)| (format!("s{number}"), documents(*count)))
            .collect();
        let sequences: Vec<Sequence<'_>> = parts
            .iter()
            .map(|(identifier, bytes)| Sequence { identifier, bytes })
            .collect();
        let mut bytes = Vec::new();
        build::request(&mut bytes, id, flags, &find(), sequences.iter().copied());
        let message = decode(&bytes).unwrap();
        prop_assert_eq!((message.request_id, message.flags), (id, flags));
        prop_assert_eq!(message.body, &*find());
        prop_assert_eq!(message.sequences().collect::<Vec<_>>(), sequences);
    }

    #[test]
    fn arbitrary_bodies_do_no_harm(body: Vec<u8>) {
        let mut bytes = Vec::new();
        out::frame(&mut bytes, 1, 0, OP_MSG, |out| out.extend(&body));
        if let Ok(message) = decode(&bytes) {
            for sequence in message.sequences() {
                for document in sequence.documents() {
                    prop_assert!(document.is_ok());
                }
            }
        }
    }
}
