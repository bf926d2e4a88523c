//! Round trips, and lengths that lie.

use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::mongo::frame::{MAX_LENGTH, OP_MSG};
use crate::mongo::{Message, message, out};

const EACH: [Compressor; 4] = [
    Compressor::Noop,
    Compressor::Snappy,
    Compressor::Zlib,
    Compressor::Zstd,
];

/// A message that gets shorter.
fn original() -> Vec<u8> {
    let mut bytes = Vec::new();
    let body = rawdoc! { "ok": 1, "text": "a".repeat(1000) };
    message::build::reply(&mut bytes, 8, 5, &body);
    bytes
}

fn first(bytes: &[u8]) -> Frame<'_> {
    Frame::first(bytes).unwrap().unwrap()
}

/// `original` in an OP_COMPRESSED, even if it gets longer.
fn compressed(original: &[u8], compressor: Compressor) -> Vec<u8> {
    let frame = first(original);
    let data = match compressor {
        Compressor::Noop => frame.body().to_vec(),
        Compressor::Zlib => {
            let mut state = Compress::new(Compression::new(6), true);
            let mut data = Vec::with_capacity(frame.body().len() * 2 + 100);
            state
                .compress_vec(frame.body(), &mut data, FlushCompress::Finish)
                .unwrap();
            data
        }
        _ => deflate(frame.body(), compressor).unwrap(),
    };
    let mut bytes = Vec::new();
    append(&mut bytes, &frame, compressor, &data);
    bytes
}

fn decompressed(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let mut out = b"left over".to_vec();
    Compressed::decode(&first(bytes), limit)?.decompress(&mut out)?;
    Ok(out)
}

/// The same message with another declared length.
fn lying(compressor: Compressor, declared: u32) -> Vec<u8> {
    let mut bytes = compressed(&original(), compressor);
    bytes[20..24].copy_from_slice(&declared.to_le_bytes());
    bytes
}

#[test]
fn a_message_comes_out_as_it_went_in() {
    let original = original();
    for compressor in EACH {
        let bytes = compressed(&original, compressor);
        let decoded = Compressed::decode(&first(&bytes), MAX_LENGTH).unwrap();
        assert_eq!((decoded.op_code, decoded.compressor), (OP_MSG, compressor));
        assert_eq!(decompressed(&bytes, MAX_LENGTH).unwrap(), original);
    }
    for compressor in Compressor::ALL {
        let mut bytes = b"before".to_vec();
        assert!(compress(&mut bytes, &first(&original), compressor));
        assert!(bytes.len() < original.len());
        assert_eq!(decompressed(&bytes[6..], MAX_LENGTH).unwrap(), original);
    }
}

#[test]
fn what_gets_no_shorter_is_left_alone() {
    let mut small = Vec::new();
    message::build::reply(&mut small, 8, 5, &rawdoc! { "ok": 1 });
    for compressor in EACH {
        let mut out = Vec::new();
        assert!(!compress(&mut out, &first(&small), compressor));
        assert!(out.is_empty());
    }
}

#[test]
fn a_checksum_inside_is_checked_as_if_it_came_bare() {
    let mut bytes = Vec::new();
    out::frame(&mut bytes, 1, 0, OP_MSG, |out| {
        out.extend([1, 0, 0, 0, 0]);
        out.extend(rawdoc! { "ping": 1 }.as_bytes());
        out.extend([0; 4]);
    });
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    let inside = decompressed(&compressed(&bytes, Compressor::Zstd), MAX_LENGTH).unwrap();
    let message = Message::decode(&first(&inside)).unwrap();
    assert_eq!(message.checksum, Some(checksum));
}

#[test]
fn a_compressed_length_that_lies_is_refused() {
    let size = (original().len() - HEADER) as u32;
    for compressor in EACH {
        assert!(decompressed(&lying(compressor, size), MAX_LENGTH).is_ok());
        for declared in [0, 1, size - 1, size + 1, size * 2] {
            let error = decompressed(&lying(compressor, declared), MAX_LENGTH).unwrap_err();
            assert!(error.is_malformed(), "{compressor:?} {declared}: {error}");
        }
    }
}

#[test]
fn bytes_after_the_data_are_refused() {
    for compressor in EACH {
        let mut bytes = compressed(&original(), compressor);
        bytes.push(0);
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        assert!(decompressed(&bytes, MAX_LENGTH).is_err(), "{compressor:?}");
    }
}

#[test]
fn an_uncompressed_size_over_the_limit_is_refused_before_allocating() {
    for compressor in EACH {
        for declared in [MAX_LENGTH as u32, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let error = decompressed(&lying(compressor, declared), MAX_LENGTH).unwrap_err();
            assert!(error.is_length(), "{compressor:?} {declared}: {error}");
        }
        let bytes = compressed(&original(), compressor);
        let limit = original().len();
        assert!(decompressed(&bytes, limit).is_ok());
        assert!(decompressed(&bytes, limit - 1).unwrap_err().is_length());
    }
}

#[test]
fn a_bomb_stops_at_what_it_declared() {
    let mut large = Vec::new();
    out::frame(&mut large, 1, 0, OP_MSG, |out| out.resize(4_000_000, 0));
    for compressor in [Compressor::Zlib, Compressor::Zstd] {
        let mut bytes = compressed(&large, compressor);
        assert!(bytes.len() < 10_000, "{compressor:?}: {}", bytes.len());
        bytes[20..24].copy_from_slice(&1000_u32.to_le_bytes());
        let mut out = Vec::new();
        let decoded = Compressed::decode(&first(&bytes), MAX_LENGTH).unwrap();
        assert!(decoded.decompress(&mut out).is_err());
        assert!(out.is_empty() && out.capacity() < 10_000);
    }
}

#[test]
fn a_compressed_message_inside_another_is_refused() {
    let inner = compressed(&original(), Compressor::Snappy);
    let outer = compressed(&inner, Compressor::Noop);
    let error = Compressed::decode(&first(&outer), MAX_LENGTH).unwrap_err();
    assert!(error.to_string().contains("inside another"), "{error}");
}

#[test]
fn an_unknown_compressor_is_refused() {
    let mut bytes = compressed(&original(), Compressor::Noop);
    for id in 4..=u8::MAX {
        bytes[24] = id;
        assert!(decompressed(&bytes, MAX_LENGTH).is_err(), "{id}");
    }
}

#[test]
fn a_compressed_message_cut_off_anywhere_is_refused() {
    for compressor in EACH {
        let bytes = compressed(&original(), compressor);
        for end in HEADER..bytes.len() {
            let mut bytes = bytes[..end].to_vec();
            bytes[..4].copy_from_slice(&(end as u32).to_le_bytes());
            assert!(decompressed(&bytes, MAX_LENGTH).is_err(), "{end}");
        }
    }
}

#[test]
fn names_and_numbers_of_compressors() {
    for compressor in EACH {
        assert_eq!(Compressor::by_id(compressor.id()), Some(compressor));
    }
    for compressor in Compressor::ALL {
        assert_eq!(Compressor::by_name(compressor.name()), Some(compressor));
    }
    assert_eq!(Compressor::by_name("noop"), None);
    assert_eq!(Compressor::by_name("lz4"), None);
}

#[test]
fn handshakes_and_secrets_are_never_compressed() {
    for name in [
        "hello",
        "isMaster",
        "saslStart",
        "saslContinue",
        "createUser",
    ] {
        assert!(is_never_compressed(name), "{name}");
    }
    assert!(!is_never_compressed("find"));
}

proptest! {
    #[test]
    fn any_body_round_trips(body: Vec<u8>, repeated in 0_usize..50, id: i32, to: i32) {
        let mut original = Vec::new();
        out::frame(&mut original, id, to, OP_MSG, |out| {
            out.extend(&body);
            out.extend(body.iter().cycle().take(body.len() * repeated));
        });
        for compressor in EACH {
            let bytes = compressed(&original, compressor);
            prop_assert_eq!(&decompressed(&bytes, MAX_LENGTH).unwrap(), &original);
        }
    }

    #[test]
    fn arbitrary_data_does_no_harm(id in 0_u8..4, size in 0_u32..10_000, data: Vec<u8>) {
        let mut bytes = Vec::new();
        out::frame(&mut bytes, 1, 0, OP_COMPRESSED, |out| {
            out.extend(OP_MSG.to_le_bytes());
            out.extend(size.to_le_bytes());
            out.push(id);
            out.extend(&data);
        });
        if let Ok(out) = decompressed(&bytes, MAX_LENGTH) {
            prop_assert_eq!(out.len(), HEADER + size as usize);
        }
    }
}
