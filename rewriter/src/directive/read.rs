//! Reading the values of arguments, with errors that name the argument.

use super::syntax::{Argument, Call, Name, Value};
use crate::error::{Error, ErrorKind};
use crate::nearest::suggestion;

/// The label of an argument must be one of these.
pub(super) fn unknown_argument(label: &Name, owner: &str, known: &[&str]) -> Error {
    Error::new(
        ErrorKind::UnknownName,
        format!("{owner} has no argument \"{}\"", label.text),
    )
    .at(label.at)
    .hinted(suggestion(&label.text, "arguments", known.iter().copied()))
}

/// Refuses an argument given twice.
pub(super) fn once<T>(slot: &Option<T>, label: &Name) -> Result<(), Error> {
    match slot {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::Syntax,
            format!("the argument \"{}\" is given twice", label.text),
        )
        .at(label.at)),
    }
}

/// An error about a value of the wrong sort.
pub(super) fn wrong_value(what: &str, wanted: &str, at: usize) -> Error {
    Error::new(ErrorKind::Syntax, format!("{what} takes {wanted}")).at(at)
}

/// A single name with nothing around it.
pub(super) fn plain_name(value: Value, what: &str, at: usize) -> Result<Name, Error> {
    match single(value) {
        Some((None, call)) if call.arguments.is_empty() => Ok(call.name),
        _ => Err(wrong_value(what, "a name", at)),
    }
}

/// A list of names, or one name alone.
pub(super) fn names(value: Value, what: &str, at: usize) -> Result<Vec<Name>, Error> {
    let names: Vec<Name> = match value {
        Value::List(items) => items
            .into_iter()
            .map(|Argument { value, at, .. }| plain_name(value, what, at))
            .collect::<Result<_, _>>()?,
        other => vec![plain_name(other, what, at)?],
    };
    for (index, name) in names.iter().enumerate() {
        if names
            .iter()
            .take(index)
            .any(|earlier| earlier.text == name.text)
        {
            let message = format!("{what} names \"{}\" twice", name.text);
            return Err(Error::new(ErrorKind::Syntax, message).at(name.at));
        }
    }
    match names.is_empty() {
        true => Err(wrong_value(what, "at least one name", at)),
        false => Ok(names),
    }
}

/// A path of one step, with its sign.
pub(super) fn single(value: Value) -> Option<(Option<char>, Call)> {
    match value {
        Value::Path { sign, mut steps } if steps.len() == 1 => Some((sign, steps.pop()?)),
        _ => None,
    }
}
