//! A server's side of SCRAM, as it comes: no server is believed. An input is three lines: `b` for a channel
//! that can be bound to, the challenge (or a stored secret), the last message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::scram::client::{Binding, Client};
use twinport_wire::scram::{Keys, MAX_NONCE, Sha256, Verifier};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |&byte| byte == b'\n');
    let [Some(how), Some(challenge), Some(last)] = [(); 3].map(|()| parts.next()) else {
        return;
    };
    let bound = how.contains(&b'b');
    if let Ok(text) = std::str::from_utf8(challenge) {
        if let Ok(verifier) = Verifier::<Sha256>::parse(text) {
            assert_eq!(
                Verifier::parse(&verifier.to_stored()).as_ref(),
                Ok(&verifier)
            );
        }
    }
    let binding = if bound {
        Binding::EndPoint(vec![1; 32])
    } else {
        Binding::Unsupported
    };
    let (client, first) = Client::<Sha256>::start("", binding);
    // A nonce that is extended leads to the answer.
    let nonce = first.rsplit("r=").next().unwrap_or_default();
    let challenge = match std::str::from_utf8(challenge) {
        Ok(text) => text.replacen("r=", &format!("r={nonce}"), 1).into_bytes(),
        Err(_) => challenge.to_vec(),
    };
    let Ok(challenge) = client.challenge(&challenge, 5000) else {
        return;
    };
    assert!((1..=5000).contains(&challenge.iterations));
    let keys = Keys {
        client: [3; 32],
        server: [4; 32],
    };
    let (client, answer) = challenge.answer(&keys);
    assert!(answer.len() < 2 * MAX_NONCE + 256);
    assert!(client.verify(last).is_err());
});
