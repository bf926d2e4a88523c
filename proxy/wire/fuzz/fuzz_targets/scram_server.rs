//! A client's side of SCRAM, as it comes: nobody gets in. An input is three lines: `b` for a server with a
//! certificate and `+` for the mechanism with channel binding, the first message, the last.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::scram::server::Server;
use twinport_wire::scram::{Hash, Sha256, Verifier};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |&byte| byte == b'\n');
    let [Some(how), Some(first), Some(last)] = [(); 3].map(|()| parts.next()) else {
        return;
    };
    let bound = how.contains(&b'b');
    let plus = how.contains(&b'+');
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
    // A nonce that is echoed leads to the proof.
    let nonce = challenge.split(',').next().unwrap_or_default();
    let last = match std::str::from_utf8(last) {
        Ok(text) => text.replacen("r=", &format!("{nonce},"), 1).into_bytes(),
        Err(_) => last.to_vec(),
    };
    assert!(server.prove(&last).is_err());
});
