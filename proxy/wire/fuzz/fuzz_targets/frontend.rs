//! Frames from a client, and every decoder over every body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::pg::Frames;
use twinport_wire::pg::frontend::{
    Bind, Execute, Parse, SaslInitial, Target, build, copy_fail, password, query,
};

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Frames::new(bytes);
    let mut total = 0;
    while let Some(Ok(frame)) = frames.next() {
        total += frame.bytes.len();
        assert_eq!(frames.consumed(), total);
        decode(frame.body());
    }
    decode(bytes);
});

fn decode(body: &[u8]) {
    let _ = query(body);
    let _ = copy_fail(body);
    let _ = password(body);
    let _ = SaslInitial::decode(body);
    let mut again = Vec::new();
    if let Ok(parse) = Parse::decode(body) {
        assert_eq!(parse.oids().count() * 4, parse.types.len());
        build::parse(&mut again, parse.name, parse.text, parse.types);
        assert_eq!(&again[5..], body);
    }
    again.clear();
    if let Ok(bind) = Bind::decode(body) {
        assert_eq!(&body[bind.offset..], bind.rest);
        build::bind(&mut again, bind.portal, bind.statement, bind.rest);
        assert_eq!(&again[5..], body);
    }
    again.clear();
    if let Ok(target) = Target::decode(body) {
        build::close(&mut again, target);
        assert_eq!(&again[5..], body);
    }
    again.clear();
    if let Ok(execute) = Execute::decode(body) {
        build::execute(&mut again, execute.portal, execute.rows);
        assert_eq!(&again[5..], body);
    }
}
