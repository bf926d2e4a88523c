//! Numbers as the server writes them.

use super::read::Reader;

/// An integer.
#[inline]
pub(super) fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A number's text, quoted if JSON has no such number: `NaN`, `Infinity`, `-Infinity`.
pub(super) fn finite_or_quoted(text: &[u8], out: &mut Vec<u8>) {
    let is_finite = text.last().is_some_and(u8::is_ascii_digit);
    if is_finite {
        out.extend_from_slice(text);
    } else {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    }
}

/// The value is finite and not negative.
const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;
/// No value of the type has this sign.
const NULL: u16 = 0xffff;

/// The most decimal digits behind the point.
const MOST_SCALE: u16 = 0x3fff;

/// A `numeric` in the server's binary format: how many digits to the base 10,000, the weight of the first, the
/// sign, how many decimal digits to show behind the point, the digits.
pub(super) fn numeric(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let count = u16::from_be_bytes(reader.take()?);
    let weight = i32::from(reader.i16()?);
    let sign = u16::from_be_bytes(reader.take()?);
    let scale = u16::from_be_bytes(reader.take()?);
    if scale > MOST_SCALE {
        return None;
    }
    match sign {
        POSITIVE => {}
        NEGATIVE => out.push(b'-'),
        special => {
            out.extend_from_slice(match special {
                NAN => b"\"NaN\"",
                INFINITY => b"\"Infinity\"",
                NEGATIVE_INFINITY => b"\"-Infinity\"",
                NULL => b"null",
                _ => return None,
            });
            return (count == 0).then_some(());
        }
    }
    let mut left = count;
    let mut digit = |place: i32| {
        // Places from the weight down are there; before and behind them stand zeros.
        if place > weight || left == 0 {
            return Some(0);
        }
        left -= 1;
        reader.i16().filter(|digit| (0..10_000).contains(digit))
    };
    if weight < 0 {
        out.push(b'0');
    }
    for place in (0..=weight).rev() {
        let value = digit(place)?;
        if place == weight {
            integer(value.into(), out);
        } else {
            four(value, 4, out);
        }
    }
    if scale > 0 {
        out.push(b'.');
    }
    let mut place = -1;
    let mut shown = usize::from(scale);
    while shown > 0 {
        let now = shown.min(4);
        four(digit(place)?, now, out);
        shown -= now;
        place -= 1;
    }
    // More digits than the scale shows are there if a client made the value.
    while left > 0 {
        left -= 1;
        reader.i16()?;
    }
    Some(())
}

/// The first `shown` of a number's four digits.
fn four(value: i16, shown: usize, out: &mut Vec<u8>) {
    let digit = |power: i16| u8::try_from(value / power % 10).map_or(b'0', |digit| b'0' + digit);
    let digits = [digit(1000), digit(100), digit(10), digit(1)];
    out.extend_from_slice(digits.get(..shown).unwrap_or(&digits));
}
