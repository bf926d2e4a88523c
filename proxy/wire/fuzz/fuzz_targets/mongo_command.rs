//! What is read of commands, the SASL ones among them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::mongo::Command;
use twinport_wire::mongo::document::document;
use twinport_wire::mongo::sasl::{Continue, Start};
use twinport_wire::scram::server::user;

fuzz_target!(|bytes: &[u8]| {
    let _ = user(bytes);
    // With a length that fits, most inputs come further.
    let mut fitting = bytes.to_vec();
    if let (Some(place), Ok(length)) = (fitting.get_mut(..4), i32::try_from(bytes.len())) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let Ok(body) = document(&fitting) else {
        return;
    };
    if let Ok(start) = Start::read(body) {
        let _ = user(start.payload);
    }
    let _ = Continue::read(body);
    if let Ok(command) = Command::read(body) {
        let _ = (command.collection(), command.session(), command.cursor());
        let _ = command.has_fields_once();
        for field in command.fields() {
            let _ = (field.name(), field.value());
        }
        if let Ok(cursors) = command.cursors() {
            let _ = cursors.count();
        }
    }
});
