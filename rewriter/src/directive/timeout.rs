//! `@timeout(2s)`: a limit on the time a statement may take.
//!
//! One argument: a number with its unit, `ms`, `s` or `m`, from 1 ms to 24 h.

use std::time::Duration;

use super::read::wrong_value;
use super::syntax::{Call, Value};
use crate::error::{Error, ErrorKind};

/// The longest limit that is accepted.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn understand(call: Call) -> Result<Duration, Error> {
    let at = call.name.at;
    let mut arguments = call.arguments.into_iter();
    let (Some(argument), None) = (arguments.next(), arguments.next()) else {
        return Err(wrong(at));
    };
    let (None, Value::Number(text)) = (argument.label, argument.value) else {
        return Err(wrong(argument.at));
    };
    let limit = duration(&text).ok_or_else(|| wrong(argument.at))?;
    if limit < Duration::from_millis(1) || limit > LONGEST {
        let message = format!("a timeout of {text} is out of bounds");
        return Err(Error::new(ErrorKind::InvalidValue, message)
            .at(argument.at)
            .hinted("It may be from 1ms to 1440m."));
    }
    Ok(limit)
}

fn wrong(at: usize) -> Error {
    wrong_value("@timeout", "one duration", at)
        .hinted("Write a number with its unit: 500ms, 2s, 1.5s or 5m.")
}

fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let milliseconds = (number * seconds * 1000.0).round();
    // Far more than the longest limit; keeps the conversion in range.
    let bounded = milliseconds.clamp(0.0, 1e12);
    Duration::try_from_secs_f64(bounded / 1000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn units_are_told_apart() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("2"), None);
        assert_eq!(duration("2h"), None);
        assert_eq!(duration("1.2.3s"), None);
    }
}
