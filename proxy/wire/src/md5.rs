//! Postgres' old password hash. Weak; kept for servers and clients that know
//! nothing better.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// `md5` and 32 hexadecimal digits: what `pg_authid` holds for a user.
pub fn stored(user: &str, password: &str) -> String {
    digest(&[password.as_bytes(), user.as_bytes()])
}

/// The answer to AuthenticationMD5Password, from the stored form.
pub fn answer(stored: &str, salt: [u8; 4]) -> String {
    let digits = stored.strip_prefix("md5").unwrap_or(stored);
    digest(&[digits.as_bytes(), &salt])
}

/// Is `text` a stored md5 hash?
pub fn is_stored(text: &str) -> bool {
    text.strip_prefix("md5")
        .is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Compares a client's answer in constant time.
pub fn verify(stored: &str, salt: [u8; 4], given: &[u8]) -> bool {
    answer(stored, salt).as_bytes().ct_eq(given).into()
}

fn digest(parts: &[&[u8]]) -> String {
    format!("md5{}", hex(parts))
}

/// The hash of `parts` in turn, as hexadecimal digits.
pub(crate) fn hex(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    let mut text = String::with_capacity(32);
    for byte in hash.finalize() {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        // SELECT 'md5' || md5('secret' || 'ann')
        let stored = stored("ann", "secret");
        assert_eq!(stored, "md59d792a3a8853c2411afb9163d088c036");
        assert!(is_stored(&stored));
        assert!(!is_stored("md5") && !is_stored("secret"));
        let answer = answer(&stored, [1, 2, 3, 4]);
        assert!(verify(&stored, [1, 2, 3, 4], answer.as_bytes()));
        assert!(!verify(&stored, [1, 2, 3, 5], answer.as_bytes()));
        assert!(!verify(&stored, [1, 2, 3, 4], b""));
    }
}
