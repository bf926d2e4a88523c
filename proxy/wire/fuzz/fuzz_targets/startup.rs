//! Opening packets. What is accepted must survive being built again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::pg::startup::{self, Startup};

fuzz_target!(|bytes: &[u8]| {
    let _ = startup::peek(bytes);
    let mut again = Vec::new();
    match Startup::decode(bytes) {
        Ok(Startup::Ssl) => startup::ssl_request(&mut again),
        Ok(Startup::Gss) => startup::gss_request(&mut again),
        Ok(Startup::Cancel(key)) => startup::cancel_request(&mut again, key.pid, key.secret),
        Ok(Startup::Start(start)) => {
            startup::startup_message(&mut again, start.version, start.parameters())
                .expect("what was read can be built");
        }
        Err(_) => return,
    }
    assert_eq!(again, bytes);
});
