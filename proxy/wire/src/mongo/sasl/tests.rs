//! Whole logins over the commands, with both hashes.

use bson::{RawDocumentBuf, rawdoc};

use super::*;
use crate::scram::client::{Binding, Client, MAX_ITERATIONS};
use crate::scram::server::{Server, user};
use crate::scram::{Keys, Sha1, Sha256, Verifier};

/// Logs in with `password` where `right` is right.
fn login<H: Hash>(right: &str, password: &str) -> Result<(), Error> {
    let (client, message) = Client::<H>::start("ann=b,c", Binding::Unsupported);
    let command = start::<H>("admin", &message);
    let read = Start::read(&command)?;
    assert_eq!(read.mechanism, H::MECHANISM);
    assert_eq!(read.database, None);
    assert!(read.skip_empty_exchange);
    assert_eq!(user(read.payload)?, "ann=b,c");
    let verifier = Verifier::<H>::derive(right, b"0123456789abcdef".to_vec(), 4096);
    let server = Server::new(verifier, None);
    let (server, message) = server.challenge(read.mechanism, read.payload)?;

    let reply = answer(1, &message, false);
    let message = Continue::read(&reply)?.payload;
    let challenge = client.challenge(message, MAX_ITERATIONS)?;
    let keys = Keys::derive(password, &challenge.salt, challenge.iterations);
    let (client, message) = challenge.answer(&keys);

    let command = go_on("admin", 1, &message);
    let read = Continue::read(&command)?;
    assert_eq!(read.conversation, 1);
    let proven = server.prove(read.payload)?;
    let reply = answer(1, &proven.message, true);
    client.verify(Continue::read(&reply)?.payload)
}

#[test]
fn logins_with_both_hashes() {
    login::<Sha256>("pencil", "pencil").unwrap();
    login::<Sha1>("pencil", "pencil").unwrap();
    assert!(
        login::<Sha256>("pencil", "pen")
            .unwrap_err()
            .is_wrong_secret()
    );
    assert!(
        login::<Sha1>("pencil", "pen")
            .unwrap_err()
            .is_wrong_secret()
    );
}

#[test]
fn the_password_of_scram_sha_1_is_a_digest() {
    // SELECT md5('user:mongo:pencil')
    assert_eq!(
        sha1_password("user", "pencil"),
        "1c33006ec1ffd90f9cadcbcc0e118200"
    );
}

#[test]
fn a_start_inside_hello() {
    let body = rawdoc! {
        "saslStart": 1,
        "mechanism": "SCRAM-SHA-256",
        "payload": binary(b"n,,n=ann,r=x").to_binary(),
        "db": "admin",
    };
    let read = Start::read(&body).unwrap();
    assert_eq!(
        (read.database, read.skip_empty_exchange),
        (Some("admin"), false)
    );
    assert_eq!(user(read.payload).unwrap(), "ann");
}

#[test]
fn what_lacks_a_part_is_refused() {
    for body in [
        RawDocumentBuf::new(),
        rawdoc! { "mechanism": 1, "payload": "x" },
        rawdoc! { "mechanism": "SCRAM-SHA-1" },
        rawdoc! { "mechanism": "SCRAM-SHA-1", "payload": 1 },
    ] {
        assert!(Start::read(&body).unwrap_err().is_malformed());
    }
    assert!(Continue::read(&rawdoc! { "payload": "x" }).is_err());
    assert!(Continue::read(&rawdoc! { "conversationId": 1 }).is_err());
}
