//! The condition of `where: "…"`: a SQL expression over the related documents' fields, as a `$match`.
//!
//! | expression | `$match` |
//! |---|---|
//! | `a = 1`, `a > 1`, … | `{ a: 1 }`, `{ a: { $gt: 1 } }`, … |
//! | `a <> 1` | `{ a: { $nin: [1, null] } }` |
//! | `a IN (1, 2)`, `a NOT IN (1, 2)` | `{ a: { $in: [1, 2] } }`, `{ a: { $nin: [1, 2, null] } }` |
//! | `a BETWEEN 1 AND 2` | `{ a: { $gte: 1, $lte: 2 } }` |
//! | `a IS NULL`, `a IS NOT NULL` | `{ a: null }`, `{ a: { $ne: null } }`: null is missing too |
//! | `a LIKE 'x%'`, `a ILIKE 'x%'`, `a ~ '^x'`, `a ~* '^x'` | `{ a: { $regex: "^x", … } }` |
//! | `a`, `NOT a` | `{ a: true }`, `{ a: false }` |
//! | `AND`, `OR`, `NOT` | `$and`, `$or`; `NOT` is carried down to the comparisons |
//!
//! Values are numbers, strings, `true`, `false`, `date '2020-01-31'`, `timestamp '2020-01-31 12:00:00'` (UTC) and
//! `objectid('…')`. A field inside another is `a.b`; other names stand between `"`. As in SQL, a field that is null
//! or missing fulfils no comparison, nor the opposite of one.

mod value;

use bson::raw::{RawArrayBuf, RawDocumentBuf};
use bson::{RawBson, rawdoc};
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::directive::Name;
use crate::error::{Error, ErrorKind};
use crate::mongo::raw::{array, one};
use crate::mongo::relations::is_path;
use value::{pattern, value};

/// Longer conditions are refused, so that none can exhaust the stack.
const LONGEST: usize = 4_000;

/// A condition, translated.
pub(super) struct Condition {
    pub(super) document: RawDocumentBuf,
    /// The paths it uses.
    pub(super) fields: Vec<String>,
}

/// Translates a condition.
///
/// # Errors
///
/// If it is not one boolean expression of the sorts listed above. Positions are bytes of the text that holds the
/// annotation.
pub(super) fn translate(filter: &Name) -> Result<Condition, Error> {
    let mut translator = Translator { fields: Vec::new() };
    let document = parse(&filter.text)
        .and_then(|expression| translator.condition(&expression, true))
        .map_err(|error| error.at(filter.at))?;
    Ok(Condition {
        document,
        fields: translator.fields,
    })
}

fn parse(text: &str) -> Result<Expr, Error> {
    if text.len() > LONGEST {
        let message = format!("a condition can have {LONGEST} bytes at most");
        return Err(Error::new(ErrorKind::TooComplex, message));
    }
    let syntax = |problem: &dyn std::fmt::Display| {
        let message = format!("the condition is not understood: {problem}");
        Error::new(ErrorKind::Syntax, message)
    };
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(32)
        .try_with_sql(text)
        .map_err(|error| syntax(&error))?;
    let expression = parser.parse_expr().map_err(|error| syntax(&error))?;
    match parser.peek_token().token {
        sqlparser::tokenizer::Token::EOF => Ok(expression),
        other => Err(syntax(&format!("unexpected {other}"))),
    }
}

fn unsupported(what: impl std::fmt::Display) -> Error {
    let message = format!("a condition can't have {what}");
    Error::new(ErrorKind::NotSupported, message).hinted(
        "It compares fields with values: =, <>, <, <=, >, >=, IN, BETWEEN, LIKE, ~, IS NULL, with AND, OR and NOT.",
    )
}

struct Translator {
    fields: Vec<String>,
}

impl Translator {
    /// The condition that holds where the expression is true or, if `wanted` is false, where it is false.
    fn condition(&mut self, expression: &Expr, wanted: bool) -> Result<RawDocumentBuf, Error> {
        match expression {
            Expr::Nested(inner) => self.condition(inner, wanted),
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => self.condition(expr, !wanted),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, wanted),
            Expr::InList {
                expr,
                list,
                negated,
            } => {
                let values = list.iter().map(value).collect::<Result<Vec<_>, _>>()?;
                self.is_in(expr, values, wanted != *negated)
            }
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let (path, low, high) = (self.field(expr)?, value(low)?, value(high)?);
                match wanted != *negated {
                    true => one(&path, rawdoc! { "$gte": low, "$lte": high }),
                    false => {
                        let (below, above) = (rawdoc! { "$lt": low }, rawdoc! { "$gt": high });
                        one("$or", array(&[one(&path, below)?, one(&path, above)?]))
                    }
                }
            }
            Expr::IsNull(field) => self.null(field, wanted),
            Expr::IsNotNull(field) => self.null(field, !wanted),
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern: like,
                escape_char: None,
            } => self.regex(expr, pattern(like)?, "s", wanted != *negated),
            Expr::ILike {
                negated,
                any: false,
                expr,
                pattern: like,
                escape_char: None,
            } => self.regex(expr, pattern(like)?, "is", wanted != *negated),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let path = self.field(expression)?;
                one(&path, wanted)
            }
            other => Err(unsupported(format!("\"{other}\""))),
        }
    }

    fn binary(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        wanted: bool,
    ) -> Result<RawDocumentBuf, Error> {
        use BinaryOperator as Op;
        match op {
            Op::And | Op::Or => {
                // Not (a and b) is (not a) or (not b).
                let both = (*op == Op::And) == wanted;
                let parts = self.chain(left, op, right, wanted)?;
                one(if both { "$and" } else { "$or" }, array(&parts))
            }
            Op::PGRegexMatch => self.regex(left, text(right)?, "", wanted),
            Op::PGRegexIMatch => self.regex(left, text(right)?, "i", wanted),
            Op::PGRegexNotMatch => self.regex(left, text(right)?, "", !wanted),
            Op::PGRegexNotIMatch => self.regex(left, text(right)?, "i", !wanted),
            _ => self.compare(left, op, right, wanted),
        }
    }

    /// The parts of `a AND b AND c`, which is parsed as `(a AND b) AND c`.
    fn chain(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        wanted: bool,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let mut parts = vec![right];
        let mut rest = left;
        while let Expr::BinaryOp {
            left,
            op: inner,
            right,
        } = rest
            && inner == op
        {
            parts.push(right);
            rest = left;
        }
        parts.push(rest);
        parts
            .into_iter()
            .rev()
            .map(|part| self.condition(part, wanted))
            .collect()
    }

    fn compare(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        wanted: bool,
    ) -> Result<RawDocumentBuf, Error> {
        use BinaryOperator as Op;
        let is_field =
            |side: &Expr| matches!(side, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let (field, other, turned) = match (is_field(left), is_field(right)) {
            (true, true) => return Err(unsupported("a comparison of two fields")),
            (true, false) => (left, right, false),
            (false, true) => (right, left, true),
            (false, false) => return Err(unsupported(format!("\"{left} {op} {right}\""))),
        };
        let other = value(other)?;
        // (direction, whether equal is fine), for the order field, operator, value.
        let operator = match (op, turned, wanted) {
            (Op::Eq, _, wanted) => return self.is_in(field, vec![other], wanted),
            (Op::NotEq, _, wanted) => return self.is_in(field, vec![other], !wanted),
            (Op::Lt, false, true) | (Op::Gt, true, true) => "$lt",
            (Op::Gt, false, true) | (Op::Lt, true, true) => "$gt",
            (Op::LtEq, false, true) | (Op::GtEq, true, true) => "$lte",
            (Op::GtEq, false, true) | (Op::LtEq, true, true) => "$gte",
            (Op::Lt, false, false) | (Op::Gt, true, false) => "$gte",
            (Op::Gt, false, false) | (Op::Lt, true, false) => "$lte",
            (Op::LtEq, false, false) | (Op::GtEq, true, false) => "$gt",
            (Op::GtEq, false, false) | (Op::LtEq, true, false) => "$lt",
            _ => return Err(unsupported(format!("the operator \"{op}\""))),
        };
        let path = self.field(field)?;
        one(&path, one(operator, other)?)
    }

    fn is_in(
        &mut self,
        field: &Expr,
        mut values: Vec<RawBson>,
        wanted: bool,
    ) -> Result<RawDocumentBuf, Error> {
        let path = self.field(field)?;
        if wanted && values.len() == 1 {
            return one(&path, values.pop().unwrap_or(RawBson::Null));
        }
        if !wanted {
            values.push(RawBson::Null);
        }
        let list: RawArrayBuf = values.into_iter().collect();
        one(&path, one(if wanted { "$in" } else { "$nin" }, list)?)
    }

    fn null(&mut self, field: &Expr, wanted: bool) -> Result<RawDocumentBuf, Error> {
        let path = self.field(field)?;
        match wanted {
            true => one(&path, RawBson::Null),
            false => one(&path, rawdoc! { "$ne": RawBson::Null }),
        }
    }

    fn regex(
        &mut self,
        field: &Expr,
        pattern: String,
        options: &str,
        wanted: bool,
    ) -> Result<RawDocumentBuf, Error> {
        let path = self.field(field)?;
        let regex = match options {
            "" => rawdoc! { "$regex": pattern },
            options => rawdoc! { "$regex": pattern, "$options": options },
        };
        match wanted {
            true => one(&path, regex),
            false => one(&path, rawdoc! { "$not": regex, "$ne": RawBson::Null }),
        }
    }

    fn field(&mut self, expression: &Expr) -> Result<String, Error> {
        let path = match expression {
            Expr::Identifier(name) => name.value.clone(),
            Expr::CompoundIdentifier(parts) => {
                let parts: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
                parts.join(".")
            }
            Expr::Nested(inner) => return self.field(inner),
            other => return Err(unsupported(format!("\"{other}\" in place of a field"))),
        };
        if !is_path(&path) {
            let message = format!("\"{}\" is not the path of a field", path.escape_debug());
            return Err(Error::new(ErrorKind::InvalidValue, message));
        }
        self.fields.push(path.clone());
        Ok(path)
    }
}

fn text(expression: &Expr) -> Result<String, Error> {
    match value(expression)? {
        RawBson::String(text) if !text.contains('\0') => Ok(text),
        _ => Err(unsupported("a pattern that is not a string")),
    }
}
