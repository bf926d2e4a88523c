//! Connection strings.

use std::fmt::Write as _;

/// `postgres://user:password@127.0.0.1:port/database` with what needs it percent-encoded.
pub(crate) fn url(user: &str, password: &str, port: u16, database: &str) -> String {
    format!(
        "postgres://{}:{}@127.0.0.1:{port}/{}",
        encode(user),
        encode(password),
        encode(database)
    )
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn odd_characters_are_encoded() {
        assert_eq!(
            super::url("a b", "p@ss/ü", 5432, "d"),
            "postgres://a%20b:p%40ss%2F%C3%BC@127.0.0.1:5432/d"
        );
    }
}
