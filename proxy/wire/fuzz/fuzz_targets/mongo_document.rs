//! BSON: what is found valid can be read through, and nothing else does harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, error::Error};
use twinport_wire::mongo::document::{
    Documents, MAX_DEPTH, document, integer, split, truth, validate,
};

fuzz_target!(|bytes: &[u8]| {
    // With a length that fits, most inputs come further.
    let mut fitting = bytes.to_vec();
    if let (Some(place), Ok(length)) = (fitting.get_mut(..4), i32::try_from(bytes.len())) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    for bytes in [bytes, &fitting] {
        let _ = split(bytes);
        let _ = Documents::new(bytes).count();
        let valid = validate(bytes, MAX_DEPTH);
        if let Ok(document) = document(bytes) {
            let read = read_through(document, MAX_DEPTH);
            assert!(valid.is_err() || read.is_ok(), "{read:?}");
        }
    }
});

fn read_through(document: &RawDocument, depth: usize) -> Result<(), Error> {
    for element in document.iter_elements() {
        let value = element?.value()?;
        let _ = (integer(value), truth(value));
        match value {
            _ if depth == 0 => {}
            RawBsonRef::Document(inner) => read_through(inner, depth - 1)?,
            RawBsonRef::Array(inner) => {
                let inner = RawDocument::from_bytes(inner.as_bytes())?;
                read_through(inner, depth - 1)?;
            }
            RawBsonRef::JavaScriptCodeWithScope(code) => read_through(code.scope, depth - 1)?,
            _ => {}
        }
    }
    Ok(())
}
