//! The values that a condition compares with.

use bson::oid::ObjectId;
use bson::{DateTime, RawBson};
use sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};

use super::unsupported;
use crate::error::{Error, ErrorKind};

/// A literal's value.
pub(super) fn value(expression: &Expr) -> Result<RawBson, Error> {
    match expression {
        Expr::Nested(inner) => value(inner),
        Expr::Value(literal) => match &literal.value {
            Value::Number(digits, _) => number(digits),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Ok(RawBson::String(text.clone()))
            }
            Value::Boolean(yes) => Ok(RawBson::Boolean(*yes)),
            Value::Null => {
                Err(unsupported("a comparison with NULL").hinted("Write IS NULL or IS NOT NULL."))
            }
            other => Err(unsupported(format!("\"{other}\""))),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(literal) => match &literal.value {
                Value::Number(digits, _) => number(&format!("-{digits}")),
                other => Err(unsupported(format!("\"-{other}\""))),
            },
            other => Err(unsupported(format!("\"-{other}\""))),
        },
        Expr::TypedString(typed) => match (&typed.data_type, &typed.value.value) {
            (DataType::Date | DataType::Timestamp(..), Value::SingleQuotedString(text)) => {
                time(text)
            }
            _ => Err(unsupported(format!("\"{expression}\""))),
        },
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("objectid") => {
            object_id(&call.args)
        }
        other => Err(unsupported(format!("\"{other}\" in place of a value"))),
    }
}

/// The regular expression of a LIKE pattern, anchored.
pub(super) fn pattern(like: &Expr) -> Result<String, Error> {
    let like = super::text(like)?;
    let mut out = String::from("^");
    let mut letters = like.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '\\' => match letters.next() {
                Some(escaped) => push_literal(&mut out, escaped),
                None => return Err(unsupported("a LIKE pattern that ends with \"\\\"")),
            },
            other => push_literal(&mut out, other),
        }
    }
    // What follows need not be read: an index scan by the prefix is enough.
    match out.strip_suffix(".*") {
        Some(prefix) => Ok(prefix.to_owned()),
        None => Ok(out + "\\z"),
    }
}

fn push_literal(out: &mut String, letter: char) {
    if letter.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(letter);
}

fn number(digits: &str) -> Result<RawBson, Error> {
    if let Ok(number) = digits.parse::<i32>() {
        return Ok(RawBson::Int32(number));
    }
    if let Ok(number) = digits.parse::<i64>() {
        return Ok(RawBson::Int64(number));
    }
    let number = digits
        .parse::<f64>()
        .map_err(|_| unsupported(format!("the number \"{digits}\"")))?;
    Ok(RawBson::Double(number))
}

fn time(text: &str) -> Result<RawBson, Error> {
    let mut full = text.trim().replacen(' ', "T", 1);
    if !full.contains('T') {
        full.push_str("T00:00:00");
    }
    let zone = full.rfind(['+', '-']).filter(|at| *at > 10);
    match zone.map(|at| full.len() - at) {
        // An offset of hours alone, as SQL takes it.
        Some(3) => full.push_str(":00"),
        None if !full.ends_with(['Z', 'z']) => full.push('Z'),
        _ => {}
    }
    let time = DateTime::parse_rfc3339_str(&full).map_err(|_| {
        Error::new(ErrorKind::InvalidValue, format!("'{text}' is not a date"))
            .hinted("Write date '2020-01-31' or timestamp '2020-01-31 12:00:00'.")
    })?;
    Ok(RawBson::DateTime(time))
}

fn object_id(arguments: &FunctionArguments) -> Result<RawBson, Error> {
    if let FunctionArguments::List(list) = arguments
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(literal)))] =
            list.args.as_slice()
        && let Value::SingleQuotedString(text) = &literal.value
        && let Ok(id) = ObjectId::parse_str(text)
    {
        return Ok(RawBson::ObjectId(id));
    }
    Err(Error::new(
        ErrorKind::InvalidValue,
        "objectid takes a string of 24 hexadecimal digits",
    ))
}
