//! Lengths of time such as `15s`, `500ms`, `1h30m`.

use std::time::Duration;

/// How to write one.
pub(crate) const FORM: &str = "a number with a unit (ms, s, m, h, d), such as \"30s\" or \"1h30m\"";

/// Longer ones are mistakes, and would overflow timers.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Reads a length of time; a bare number has no unit and is refused, except `0`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" | "sec" => Duration::from_secs(number),
            "m" | "min" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        sum = sum.checked_add(part).filter(|sum| *sum <= LONGEST)?;
        rest = after.trim_start();
    }
    Some(sum)
}

/// Writes one in the form that [`parse`] reads.
pub(crate) fn show(length: Duration) -> String {
    let millis = length.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
        (1, "ms"),
    ];
    let mut rest = millis;
    let mut text = String::new();
    for (size, unit) in units {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written() {
        for (text, millis) in [
            ("15s", 15_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1m", 60_000),
        ] {
            let length = parse(text).unwrap();
            assert_eq!(length, Duration::from_millis(millis), "{text}");
            assert_eq!(show(length), text);
        }
        assert_eq!(parse("1h 30min"), parse("90m"));
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1y",
            "99999999999999999999s",
            "4000d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
