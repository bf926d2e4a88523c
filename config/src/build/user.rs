//! `[users.NAME]`.

use crate::build::{MANY, POOL_MODES};
use crate::read::Section;
use crate::secret::Secret;
use crate::settings::{Credential, User};

pub(super) fn user(section: &Section<'_>, name: &str) -> User {
    if name.is_empty() {
        section.refuse("", "has an empty name", "name it as clients will");
    }
    User {
        name: name.to_owned(),
        credential: credential(section),
        max_clients: section.optional_number("max_clients", 1..=MANY).flatten(),
        pool_size: section.optional_number("pool_size", 1..=MANY).flatten(),
        pool_mode: section.word("pool_mode", POOL_MODES),
        admin: section.boolean("admin").unwrap_or_default(),
    }
}

fn credential(section: &Section<'_>) -> Option<Credential> {
    let password = section.secret("password");
    let verifier = section.secret("verifier");
    if let (Some((_, password)), Some((_, verifier))) = (&password, &verifier) {
        let message = format!("is set together with `{password}`");
        section.refuse(verifier, message, "keep one of them");
    }
    if let Some((secret, key)) = verifier {
        let credential = parse_verifier(&secret);
        if credential.is_none() {
            section.refuse(
                &key,
                "is not a verifier",
                "copy rolpassword from pg_authid: SCRAM-SHA-256$4096:…$…:… or md5…",
            );
        }
        return credential;
    }
    let (secret, key) = password?;
    if parse_verifier(&secret).is_some() {
        section.refuse(
            &key,
            "holds a verifier, not a password",
            format!("name the key `{}`", key.replace("password", "verifier")),
        );
    }
    Some(Credential::Password(secret))
}

fn parse_verifier(secret: &Secret) -> Option<Credential> {
    let text = secret.reveal();
    if let Some(digits) = text.strip_prefix("md5") {
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        return hexadecimal.then(|| Credential::Md5(secret.clone()));
    }
    let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = head.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let base64 = |text: &str| {
        let digits = text.trim_end_matches('=');
        text.len().is_multiple_of(4)
            && text.len() - digits.len() <= 2
            && digits
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    };
    // A key is SHA-256's 32 bytes: 43 digits and a `=`.
    let key = |text: &str| text.len() == 44 && text.ends_with('=') && base64(text);
    let iterations: u32 = iterations.parse().ok()?;
    let good = iterations > 0 && !salt.is_empty() && base64(salt) && key(stored) && key(server);
    good.then(|| Credential::Scram(secret.clone()))
}
