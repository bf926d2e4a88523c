//! Dates and times as the server writes them into JSON: ISO 8601, whatever the session's `DateStyle`.

/// No `date` has this number of days.
const NO_DATE: i32 = i32::MIN + 1;

/// No `timestamp` has this number of microseconds.
pub(super) const NO_TIMESTAMP: i64 = i64::MIN + 1;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Days from the first of March of the year 0 to the first day of 2000.
const TO_2000: i64 = 730_425;

/// A date by its days since 2000, quoted.
pub(super) fn date(days: i32, out: &mut Vec<u8>) {
    match days {
        NO_DATE => out.extend_from_slice(b"null"),
        i32::MIN => out.extend_from_slice(b"\"-infinity\""),
        i32::MAX => out.extend_from_slice(b"\"infinity\""),
        _ => {
            out.push(b'"');
            let year = day(days.into(), out);
            era(year, out);
            out.push(b'"');
        }
    }
}

/// A time of day by its microseconds, quoted; a negative one is NULL.
pub(super) fn time(micros: i64, out: &mut Vec<u8>) {
    if micros < 0 {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    clock(micros, out);
    out.push(b'"');
}

/// A timestamp by its microseconds since 2000, quoted, and behind it how far its clock is ahead of UTC.
pub(super) fn timestamp(micros: i64, ahead: Option<i64>, out: &mut Vec<u8>) {
    match micros {
        NO_TIMESTAMP => out.extend_from_slice(b"null"),
        i64::MIN => out.extend_from_slice(b"\"-infinity\""),
        i64::MAX => out.extend_from_slice(b"\"infinity\""),
        _ => {
            out.push(b'"');
            let year = day(micros.div_euclid(DAY), out);
            out.push(b'T');
            clock(micros.rem_euclid(DAY), out);
            if let Some(ahead) = ahead {
                offset(ahead / SECOND, out);
            }
            era(year, out);
            out.push(b'"');
        }
    }
}

/// `2024-02-29`, the year of the era; gives the astronomical year.
fn day(since_2000: i64, out: &mut Vec<u8>) -> i64 {
    // Years begin with March, so that the leap day is the last.
    let days = since_2000 + TO_2000;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let shown = if year > 0 { year } else { 1 - year };
    if shown < 10_000 {
        two(shown / 100, out);
        two(shown % 100, out);
    } else {
        super::number::integer(shown, out);
    }
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(day, out);
    year
}

fn era(year: i64, out: &mut Vec<u8>) {
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// `12:34:56.789`, without zeros at the end.
fn clock(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / SECOND;
    two(seconds / 3_600, out);
    out.push(b':');
    two(seconds / 60 % 60, out);
    out.push(b':');
    two(seconds % 60, out);
    let mut fraction = micros % SECOND;
    if fraction > 0 {
        out.push(b'.');
        let mut power = SECOND / 10;
        while fraction > 0 {
            out.push(digit(fraction / power));
            fraction %= power;
            power /= 10;
        }
    }
}

/// `+02:00`; with seconds where the zone has some.
fn offset(seconds: i64, out: &mut Vec<u8>) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let seconds = seconds.abs();
    two(seconds / 3_600, out);
    out.push(b':');
    two(seconds / 60 % 60, out);
    if seconds % 60 != 0 {
        out.push(b':');
        two(seconds % 60, out);
    }
}

/// The last two digits of a number.
#[inline]
fn two(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[digit(value / 10), digit(value)]);
}

#[inline]
fn digit(value: i64) -> u8 {
    b"0123456789"
        .get((value % 10).unsigned_abs() as usize)
        .copied()
        .unwrap_or(b'0')
}
