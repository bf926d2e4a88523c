//! Frames in either direction, and the decoders of OP_MSG, OP_QUERY and
//! OP_REPLY over every body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::mongo::frame::{HEADER, OP_MSG, OP_QUERY, OP_REPLY};
use twinport_wire::mongo::message::build;
use twinport_wire::mongo::query::{Query, answer, query};
use twinport_wire::mongo::{Frame, Frames, Message};

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Frames::new(bytes);
    let mut total = 0;
    while let Some(Ok(frame)) = frames.next() {
        total += frame.bytes.len();
        assert_eq!(frames.consumed(), total);
        decode(&frame);
    }
    for op_code in [OP_MSG, OP_QUERY, OP_REPLY] {
        decode(&Frame::first(&framed(op_code, bytes)).unwrap().unwrap());
    }
});

fn framed(op_code: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap();
    let mut out = length.to_le_bytes().to_vec();
    for word in [7, 0, op_code] {
        out.extend_from_slice(&i32::to_le_bytes(word));
    }
    out.extend_from_slice(body);
    out
}

fn decode(frame: &Frame<'_>) {
    if let Ok(message) = Message::decode(frame) {
        round_trip(frame, &message);
    }
    if let Ok(one) = Query::decode(frame) {
        let mut again = Vec::new();
        query(&mut again, one.request_id, one.database, one.body);
        let again = Frame::first(&again).unwrap().unwrap();
        assert_eq!(Query::decode(&again).unwrap().database, one.database);
    }
    let _ = answer(frame);
}

fn round_trip(frame: &Frame<'_>, message: &Message<'_>) {
    for sequence in message.sequences() {
        assert!(sequence.documents().all(|document| document.is_ok()));
    }
    let same = |bytes: &[u8]| {
        let frame = Frame::first(bytes).unwrap().unwrap();
        let again = Message::decode(&frame).unwrap();
        assert_eq!(again.body.as_bytes(), message.body.as_bytes());
        assert!(again.sequences().eq(message.sequences()));
        assert_eq!((again.checksum, again.flags), (None, message.flags & !1));
    };
    let mut out = Vec::new();
    let flags = message.flags;
    build::request(&mut out, 1, flags, message.body, message.sequences());
    same(&out);
    out.clear();
    let (prefix, sections) = build::parts(frame, message, 1, 2, 0);
    same(&[&prefix, sections].concat());
    let mut readdressed = frame.bytes.to_vec();
    assert!(build::readdress(&mut readdressed, 1, 2));
    same(&readdressed);
}
