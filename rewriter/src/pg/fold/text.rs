//! Texts as JSON strings, as the server's `escape_json` writes them.

/// A text as a JSON string, quotes included.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(zero) = escaped_until_zero(rest, out) {
        escape(0, out);
        rest = rest.get(zero + 1..).unwrap_or_default();
    }
    out.push(b'"');
}

/// Escapes a text up to a zero byte, whose place it gives. Without one the whole text is written.
pub(super) fn escaped_until_zero(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut done = 0;
    loop {
        let rest = text.get(done..)?;
        let Some(plain) = rest.iter().position(|byte| is_special(*byte)) else {
            out.extend_from_slice(rest);
            return None;
        };
        let (before, behind) = rest.split_at_checked(plain)?;
        out.extend_from_slice(before);
        done += plain;
        match behind.first()? {
            0 => return Some(done),
            special => escape(*special, out),
        }
        done += 1;
    }
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            hex(byte, out);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    let digit = |value: u8| match value {
        0..=9 => b'0' + value,
        _ => b'a' + value - 10,
    };
    out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
}

/// A UUID, quoted.
pub(super) fn uuid(value: u128, out: &mut Vec<u8>) {
    out.push(b'"');
    for (index, byte) in value.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        hex(byte, out);
    }
    out.push(b'"');
}
