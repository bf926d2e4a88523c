//! Every type, every cut, every lie about a length.

use bson::raw::cstr;
use bson::spec::BinarySubtype;
use bson::{Bson, RawDocumentBuf, doc, rawdoc};
use proptest::prelude::*;

use super::*;

/// A document with every type of value.
fn every_type() -> RawDocumentBuf {
    RawDocumentBuf::try_from(&doc! {
        "double": 1.5,
        "string": "grün",
        "document": { "inner": { "most": 1 } },
        "array": [1, "two", [3]],
        "binary": bson::Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] },
        "old": bson::Binary { subtype: BinarySubtype::BinaryOld, bytes: vec![7; 3] },
        "undefined": Bson::Undefined,
        "id": bson::oid::ObjectId::from_bytes([9; 12]),
        "yes": true,
        "date": bson::DateTime::from_millis(-1),
        "null": Bson::Null,
        "regex": bson::Regex { pattern: cstr!("^a").into(), options: cstr!("i").into() },
        "code": Bson::JavaScriptCode("f()".to_owned()),
        "symbol": Bson::Symbol("s".to_owned()),
        "scoped": bson::JavaScriptCodeWithScope { code: "f(x)".to_owned(), scope: doc! { "x": 1 } },
        "int": 1,
        "timestamp": bson::Timestamp { time: 1, increment: 2 },
        "long": 1_i64,
        "decimal": "1.25".parse::<bson::Decimal128>().unwrap(),
        "least": Bson::MinKey,
        "most": Bson::MaxKey,
    })
    .unwrap()
}

/// An element of the given type with these bytes for a value, in a document.
fn lone(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = (4 + 3 + value.len() + 1) as i32;
    let mut out = length.to_le_bytes().to_vec();
    out.extend([kind, b'a', 0]);
    out.extend(value);
    out.push(0);
    out
}

fn nested(levels: usize) -> Vec<u8> {
    let mut out = EMPTY.to_vec();
    for _ in 1..levels {
        out = lone(3, &out);
    }
    out
}

#[test]
fn every_type_is_valid() {
    let document = every_type();
    assert!(validate(document.as_bytes(), MAX_DEPTH).is_ok());
    let pointer = [&[2, 0, 0, 0, b'n', 0][..], &[1; 12]].concat();
    assert!(validate(&lone(0x0c, &pointer), 1).is_ok());
    assert!(validate(EMPTY, 1).is_ok());
}

#[test]
fn a_document_cut_off_anywhere_is_refused() {
    let whole = every_type().into_bytes();
    for end in 0..whole.len() {
        assert!(validate(&whole[..end], MAX_DEPTH).is_err(), "{end}");
        // The same with a length that fits, so that what is inside is cut.
        if end >= 5 {
            let mut bytes = whole[..end].to_vec();
            bytes[..4].copy_from_slice(&(end as i32).to_le_bytes());
            bytes[end - 1] = 0;
            if let Ok(document) = validate(&bytes, MAX_DEPTH) {
                assert!(document.iter().all(|each| each.is_ok()), "{end}");
            }
        }
    }
}

#[test]
fn bson_with_bad_lengths_is_refused() {
    for declared in [0, 4, 5, 7, 100, i32::MAX, -1, i32::MIN] {
        let mut bytes = rawdoc! { "a": 1 }.into_bytes();
        bytes[..4].copy_from_slice(&i32::to_le_bytes(declared));
        assert!(document(&bytes).unwrap_err().is_bson(), "{declared}");
    }
    let string = |length: i32| [&length.to_le_bytes()[..], b"ab\0"].concat();
    assert!(validate(&lone(2, &string(3)), 1).is_ok());
    for length in [0, 1, 2, 4, 5, i32::MAX, -1, i32::MIN] {
        for kind in [0x02, 0x0d, 0x0e, 0x0c] {
            let error = validate(&lone(kind, &string(length)), 1).unwrap_err();
            assert!(error.is_bson(), "{kind} {length}: {error}");
        }
    }
    let binary =
        |length: i32, subtype| [&length.to_le_bytes()[..], &[subtype], &[0, 0, 0, 0, 1]].concat();
    assert!(validate(&lone(5, &binary(5, 0)), 1).is_ok());
    for (length, subtype) in [(6, 0), (4, 0), (-1, 0), (i32::MAX, 0), (5, 2), (3, 2)] {
        let error = validate(&lone(5, &binary(length, subtype)), 1).unwrap_err();
        assert!(error.is_bson(), "{length} {subtype}: {error}");
    }
    let scoped = |length: i32| {
        let mut value = length.to_le_bytes().to_vec();
        value.extend(string(3));
        value.extend(EMPTY);
        value
    };
    assert!(validate(&lone(0x0f, &scoped(16)), 2).is_ok());
    for length in [0, 3, 4, 15, 17, -1, i32::MAX] {
        assert!(
            validate(&lone(0x0f, &scoped(length)), 2).is_err(),
            "{length}"
        );
    }
    for inner in [4, 6, i32::MAX, -1] {
        let mut bytes = nested(2);
        bytes[7..11].copy_from_slice(&i32::to_le_bytes(inner));
        assert!(validate(&bytes, 2).unwrap_err().is_bson(), "{inner}");
    }
}

#[test]
fn a_document_that_does_not_end_with_a_zero_byte_is_refused() {
    let mut bytes = rawdoc! { "a": 1 }.into_bytes();
    *bytes.last_mut().unwrap() = 1;
    assert!(document(&bytes).unwrap_err().is_bson());
    let mut bytes = nested(2);
    let end = bytes.len() - 2;
    bytes[end] = 1;
    assert!(validate(&bytes, 2).unwrap_err().is_bson());
}

#[test]
fn depth_without_end_is_refused() {
    assert!(validate(&nested(MAX_DEPTH), MAX_DEPTH).is_ok());
    let error = validate(&nested(MAX_DEPTH + 1), MAX_DEPTH).unwrap_err();
    assert!(error.is_too_deep() && error.is_bson(), "{error}");
    assert!(validate(&nested(100_000), MAX_DEPTH).is_err());
    // A scope is a level too.
    let mut value = EMPTY.to_vec();
    for _ in 0..MAX_DEPTH {
        let mut scoped = ((4 + 5 + value.len()) as i32).to_le_bytes().to_vec();
        scoped.extend(b"\x01\0\0\0\0");
        scoped.extend(&value);
        value = lone(0x0f, &scoped);
    }
    assert!(validate(&value, MAX_DEPTH).is_err());
}

#[test]
fn values_that_no_driver_reads_are_refused() {
    assert!(validate(&lone(8, &[2]), 1).is_err());
    assert!(validate(&lone(2, b"\x02\0\0\0\xff\0"), 1).is_err());
    assert!(validate(&lone(0x14, &[]), 1).is_err());
    let mut name = rawdoc! { "a": 1 }.into_bytes();
    name[5] = 0xff;
    assert!(validate(&name, 1).is_err());
}

#[test]
fn text_of_any_bytes_has_structure() {
    let mut name = rawdoc! { "a": 1 }.into_bytes();
    name[5] = 0xff;
    let text = lone(2, b"\x02\0\0\0\xff\0");
    for bytes in [&name, &text] {
        assert!(validate(bytes, 1).is_err());
        assert!(validate_structure(bytes, 1).is_ok());
    }
    assert!(validate_structure(&lone(2, b"\x02\0\0\0\xff\x01"), 1).is_err());
    let error = validate_structure(&nested(3), 2).unwrap_err();
    assert!(error.is_too_deep(), "{error}");
}

#[test]
fn documents_one_after_another() {
    let one = rawdoc! { "a": 1 };
    let mut bytes = [one.as_bytes(), EMPTY].concat();
    let walked: Result<Vec<_>, _> = Documents::new(&bytes).collect();
    assert_eq!(walked.unwrap().len(), 2);
    bytes.extend([9, 0, 0, 0, 0]);
    let walked: Vec<bool> = Documents::new(&bytes).map(|each| each.is_ok()).collect();
    assert_eq!(walked, [true, true, false]);
}

#[test]
fn whole_numbers_of_every_type() {
    let largest = 9_223_372_036_854_774_784.0;
    for (value, expected) in [
        (RawBsonRef::Int32(-3), Some(-3)),
        (RawBsonRef::Int64(i64::MAX), Some(i64::MAX)),
        (RawBsonRef::Double(2.0), Some(2)),
        (RawBsonRef::Double(largest), Some(i64::MAX - 1023)),
        (RawBsonRef::Double(9_223_372_036_854_775_808.0), None),
        (RawBsonRef::Double(2.5), None),
        (RawBsonRef::Double(f64::NAN), None),
        (RawBsonRef::Double(f64::INFINITY), None),
        (RawBsonRef::Boolean(true), None),
        (RawBsonRef::String("1"), None),
    ] {
        assert_eq!(integer(value), expected, "{value:?}");
    }
}

#[test]
fn any_true_number_or_boolean_says_yes() {
    let yes = [
        RawBsonRef::Boolean(true),
        RawBsonRef::Int32(1),
        RawBsonRef::Int64(-1),
        RawBsonRef::Double(0.5),
    ];
    let no = [
        RawBsonRef::Boolean(false),
        RawBsonRef::Int32(0),
        RawBsonRef::Double(0.0),
        RawBsonRef::Null,
        RawBsonRef::String("true"),
    ];
    assert!(yes.into_iter().all(truth));
    assert!(!no.into_iter().any(truth));
}

/// Reads everything that `bson` finds, all the way down.
fn read_through(document: &RawDocument) -> Result<(), bson::error::Error> {
    for element in document.iter_elements() {
        match element?.value()? {
            RawBsonRef::Document(inner) => read_through(inner)?,
            RawBsonRef::Array(inner) => {
                for value in inner {
                    value?;
                }
            }
            RawBsonRef::JavaScriptCodeWithScope(code) => read_through(code.scope)?,
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_valid_can_be_read(place in 4_usize..400, byte: u8) {
        let mut bytes = every_type().into_bytes();
        let end = bytes.len();
        bytes[place % end] = byte;
        if let Ok(document) = validate(&bytes, MAX_DEPTH) {
            prop_assert!(read_through(document).is_ok());
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
        let _ = validate(&bytes, MAX_DEPTH);
        let mut framed = ((bytes.len() + 5) as i32).to_le_bytes().to_vec();
        framed.extend(&bytes);
        framed.push(0);
        if let Ok(document) = validate(&framed, MAX_DEPTH) {
            prop_assert!(read_through(document).is_ok());
        }
        let _ = Documents::new(&bytes).count();
    }
}

#[test]
fn a_fields_place_is_where_its_value_stands() {
    let document = bson::rawdoc! {
        "text": "abc", "list": [1, 2], "inner": { "id": 7_i64 }, "none": RawBsonRef::Null, "id": 9_i64,
    };
    let (kind, range) = place(&document, "id").unwrap();
    assert_eq!(kind, bson::spec::ElementType::Int64);
    assert_eq!(&document.as_bytes()[range], 9_i64.to_le_bytes());
    let (kind, range) = place(&document, "inner").unwrap();
    assert_eq!(kind, bson::spec::ElementType::EmbeddedDocument);
    let inner = super::document(&document.as_bytes()[range]).unwrap();
    assert_eq!(inner.get_i64("id").unwrap(), 7);
    assert_eq!(place(&document, "none").unwrap().1.len(), 0);
    assert_eq!(place(&document, "absent"), None);
}
