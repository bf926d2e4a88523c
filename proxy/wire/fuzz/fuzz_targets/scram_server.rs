//! A client's side of SCRAM, as it comes: nobody gets in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::scram::server::Server;
use twinport_wire::scram::{Hash, Sha256, Verifier};

fuzz_target!(|input: (bool, bool, &[u8], &[u8])| {
    let (bound, plus, first, last) = input;
    let verifier = Verifier::mock(&[7; 32], "nobody");
    let server = Server::<Sha256>::new(verifier, bound.then(|| vec![1; 32]));
    let mechanism = if plus {
        Sha256::PLUS
    } else {
        Sha256::MECHANISM
    };
    let Ok((server, challenge)) = server.challenge(mechanism, first) else {
        return;
    };
    // Half of the inputs echo the nonce, so as to come to the proof.
    let nonce = challenge.split(',').next().unwrap_or_default();
    let last = match std::str::from_utf8(last) {
        Ok(text) => text.replacen("r=", &format!("{nonce},"), 1).into_bytes(),
        Err(_) => last.to_vec(),
    };
    assert!(server.prove(&last).is_err());
});
