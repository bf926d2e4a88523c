//! OP_COMPRESSED as it comes, and everything compressed comes out again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::mongo::Frame;
use twinport_wire::mongo::compressed::{Compressed, Compressor, compress};
use twinport_wire::mongo::frame::{HEADER, OP_COMPRESSED, OP_MSG};

/// Lower than in earnest, so that memory is no matter.
const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let sent = framed(OP_COMPRESSED, bytes);
    if let Ok(compressed) = Compressed::decode(&first(&sent), LIMIT) {
        let mut out = Vec::new();
        match compressed.decompress(&mut out) {
            Ok(()) => {
                assert_eq!(out.len(), HEADER + compressed.size);
                assert_eq!(first(&out).header.op_code, compressed.op_code);
            }
            Err(_) => assert!(out.is_empty()),
        }
    }
    let original = framed(OP_MSG, bytes);
    for compressor in Compressor::ALL {
        let mut sent = Vec::new();
        if compress(&mut sent, &first(&original), compressor) {
            assert!(sent.len() < original.len());
            let mut out = Vec::new();
            let compressed = Compressed::decode(&first(&sent), LIMIT).unwrap();
            compressed.decompress(&mut out).unwrap();
            assert_eq!(out, original);
        }
    }
});

fn first(bytes: &[u8]) -> Frame<'_> {
    Frame::first(bytes).unwrap().unwrap()
}

fn framed(op_code: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap();
    let mut out = length.to_le_bytes().to_vec();
    for word in [7, 0, op_code] {
        out.extend_from_slice(&i32::to_le_bytes(word));
    }
    out.extend_from_slice(body);
    out
}
