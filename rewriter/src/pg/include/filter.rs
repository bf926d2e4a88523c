//! The condition of `where: "…"`: checked, and its columns bound to the related table.

use std::ops::ControlFlow;

use orm_schema::Table;
use sqlparser::ast::{Expr, Query, Value, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Location;

use crate::directive::Name;
use crate::error::{Error, ErrorKind};
use crate::pg::cursor::quoted;
use crate::pg::names;
use crate::pg::token::{TokenKind, tokens};

/// The condition as SQL, with each column named as `alias.column`.
///
/// # Errors
///
/// If it is not one boolean expression over the table's own columns. Positions are bytes of the text that
/// holds the annotation.
pub(super) fn bind(
    filter: &Name,
    table: &Table,
    alias: &str,
    standard_strings: bool,
) -> Result<String, Error> {
    check_text(filter, standard_strings)?;
    let text = filter.text.as_str();
    let dialect = PostgreSqlDialect {};
    let syntax = |error: &dyn std::fmt::Display| {
        Error::new(
            ErrorKind::Syntax,
            format!("the condition is not understood: {error}"),
        )
        .at(filter.at)
    };
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(32)
        .try_with_sql(text)
        .map_err(|error| syntax(&error))?;
    let expression = parser.parse_expr().map_err(|error| syntax(&error))?;
    if parser.peek_token().token != sqlparser::tokenizer::Token::EOF {
        return Err(syntax(&format!("unexpected {}", parser.peek_token().token)));
    }
    let mut found = Found::default();
    if let ControlFlow::Break(problem) = expression.visit(&mut found) {
        let error = Error::new(
            ErrorKind::NotSupported,
            format!("a condition can't have {problem}"),
        );
        return Err(error
            .at(filter.at)
            .hinted("It may use the related table's own columns only."));
    }
    qualify(filter, found.columns, table, alias)
}

/// Refuses what could end the condition early or reach out of it, by the server's own tokens.
fn check_text(filter: &Name, standard_strings: bool) -> Result<(), Error> {
    let refuse = |what: &str| {
        Err(Error::new(
            ErrorKind::NotSupported,
            format!("a condition can't have {what}"),
        )
        .at(filter.at))
    };
    if !standard_strings && filter.text.contains('\\') {
        return refuse("a backslash while standard_conforming_strings is off");
    }
    let mut open: usize = 0;
    for token in
        tokens(&filter.text, standard_strings).map_err(|error| error.moved(filter.at + 1))?
    {
        match token.kind {
            TokenKind::Comment { .. } => return refuse("a comment"),
            TokenKind::Parameter => return refuse("a parameter"),
            TokenKind::UnicodeName => return refuse("a name with Unicode escapes"),
            TokenKind::Sign(b';') => return refuse("a semicolon"),
            TokenKind::Sign(b'(' | b'[') => open += 1,
            TokenKind::Sign(b')' | b']') => match open.checked_sub(1) {
                Some(fewer) => open = fewer,
                None => return refuse("a bracket that was not opened"),
            },
            _ => {}
        }
    }
    match open {
        0 => Ok(()),
        _ => refuse("a bracket that is not closed"),
    }
}

/// A use of a column: its place, and its name with whether that was quoted.
struct Use {
    at: Location,
    name: String,
    quoted: bool,
}

/// What a condition holds: the columns, or the first thing that is not allowed.
#[derive(Default)]
struct Found {
    columns: Vec<Use>,
}

impl Visitor for Found {
    type Break = &'static str;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        ControlFlow::Break("a subquery")
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        match expression {
            Expr::Identifier(name) => self.columns.push(Use {
                at: name.span.start,
                name: name.value.clone(),
                quoted: name.quote_style.is_some(),
            }),
            Expr::CompoundIdentifier(_) => return ControlFlow::Break("a qualified name"),
            Expr::QualifiedWildcard(..) | Expr::Wildcard(_) => return ControlFlow::Break("\"*\""),
            Expr::Function(call) if call.over.is_some() => {
                return ControlFlow::Break("a window function");
            }
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                return ControlFlow::Break("a parameter");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The text with `alias.` before each column; everything else stays as it was written.
fn qualify(filter: &Name, columns: Vec<Use>, table: &Table, alias: &str) -> Result<String, Error> {
    let text = filter.text.as_str();
    let mut places = Vec::new();
    for Use {
        at,
        name,
        quoted: exact,
    } in columns
    {
        let offset = byte_of(text, at).ok_or_else(|| {
            Error::new(
                ErrorKind::NotSupported,
                "the condition's columns can't be told",
            )
            .at(filter.at)
        })?;
        let folded = if exact {
            name
        } else {
            name.to_ascii_lowercase()
        };
        if table.column(&folded).is_none() {
            return Err(names::no_column(&folded, table, filter.at + 1 + offset));
        }
        places.push(offset);
    }
    places.sort_unstable();
    places.dedup();
    let mut out = String::with_capacity(text.len() + places.len() * (alias.len() + 3));
    let mut done = 0;
    for place in places {
        out.push_str(text.get(done..place).unwrap_or_default());
        out.push_str(&quoted(alias));
        out.push('.');
        done = place;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(out)
}

/// The byte at a line and column, both counted in characters from 1.
fn byte_of(text: &str, at: Location) -> Option<usize> {
    let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let start = match line {
        0 => 0,
        _ => text
            .match_indices('\n')
            .nth(line - 1)
            .map(|(at, _)| at + 1)?,
    };
    let rest = text.get(start..)?;
    let offset = rest
        .char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .nth(column)?;
    Some(start + offset)
}
