//! Splitting a text into statements, and giving each its annotations.
//!
//! An annotation belongs to the statement it stands in, or before, up to the semicolon. Behind the last
//! semicolon, with no statement to follow, it belongs to the last statement. Between two statements, on the
//! line where the first ends while the second begins on a later line, it could be meant for either: that is an
//! error.

use std::ops::Range;

use super::token::{Token, TokenKind};
use crate::directive::is_annotation;
use crate::error::{Error, ErrorKind};

/// One statement of a text.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    /// Its tokens, comments and the semicolon left out.
    pub(crate) tokens: Vec<&'a Token>,
    /// The bodies of its annotations.
    pub(crate) annotations: Vec<Range<usize>>,
}

/// Splits a text at its semicolons. Pieces without a token are left out.
pub(crate) fn split<'a>(sql: &str, tokens: &'a [Token]) -> Result<Vec<Statement<'a>>, Error> {
    let mut statements: Vec<Statement<'a>> = Vec::new();
    let mut current = Statement {
        tokens: Vec::new(),
        annotations: Vec::new(),
    };
    let mut body = Body::default();
    for token in tokens {
        if let Some(comment) = token.comment_body() {
            if is_annotation(sql.get(comment.clone()).unwrap_or_default()) {
                current.annotations.push(comment);
            }
        } else if token.is_sign(b';') && !body.is_open() {
            finish(sql, &mut statements, &mut current, token.span.start)?;
        } else {
            body.see(sql, current.tokens.last().copied(), token);
            current.tokens.push(token);
        }
    }
    finish(sql, &mut statements, &mut current, sql.len())?;
    match current.annotations.first() {
        Some(comment) => Err(
            Error::new(ErrorKind::Syntax, "the annotation has no statement")
                .at(comment.start)
                .hinted("Put it before, inside or behind the statement it is for."),
        ),
        None => Ok(statements),
    }
}

/// Ends the current piece: it becomes a statement, or its annotations go to the one before it.
fn finish<'a>(
    sql: &str,
    statements: &mut Vec<Statement<'a>>,
    current: &mut Statement<'a>,
    end: usize,
) -> Result<(), Error> {
    let Some(first) = current.tokens.first() else {
        if end == sql.len()
            && let Some(previous) = statements.last_mut()
        {
            previous.annotations.append(&mut current.annotations);
        }
        return Ok(());
    };
    if let Some(before) = statements
        .last()
        .and_then(|previous| previous.tokens.last())
    {
        let newline = |from: usize, to: usize| {
            sql.get(from..to)
                .is_some_and(|between| between.contains(['\n', '\r']))
        };
        for comment in &current.annotations {
            let between = comment.start < first.span.start;
            if between
                && !newline(before.span.end, comment.start)
                && newline(comment.end, first.span.start)
            {
                return Err(Error::new(
                    ErrorKind::Syntax,
                    "the annotation could belong to the statement before it or to the one after it",
                )
                .at(comment.start)
                .hinted("Put it inside its statement, before the semicolon."));
            }
        }
    }
    let empty = Statement {
        tokens: Vec::new(),
        annotations: Vec::new(),
    };
    statements.push(std::mem::replace(current, empty));
    Ok(())
}

/// Whether a semicolon stands inside parentheses (a rule's actions) or in a function's body
/// (`BEGIN ATOMIC … END`), where it doesn't end the statement.
#[derive(Default)]
struct Body {
    parentheses: usize,
    blocks: usize,
}

impl Body {
    fn is_open(&self) -> bool {
        self.parentheses > 0 || self.blocks > 0
    }

    fn see(&mut self, sql: &str, previous: Option<&Token>, token: &Token) {
        match token.kind {
            TokenKind::Sign(b'(') => self.parentheses += 1,
            TokenKind::Sign(b')') => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::Word if token.is(sql, "atomic") => {
                self.blocks += usize::from(previous.is_some_and(|word| word.is(sql, "begin")));
            }
            TokenKind::Word if self.blocks > 0 && token.is(sql, "case") => self.blocks += 1,
            TokenKind::Word if self.blocks > 0 && token.is(sql, "end") => self.blocks -= 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;
    use crate::pg::token::tokens;

    /// For each statement, its first word and how many annotations it has.
    fn owners(sql: &str) -> Result<Vec<(String, usize)>, String> {
        let tokens = tokens(sql, true).unwrap();
        let statements = split(sql, &tokens).map_err(|error| error.message().to_owned())?;
        Ok(statements
            .iter()
            .map(|s| (s.tokens[0].text(sql).to_owned(), s.annotations.len()))
            .collect())
    }

    #[test]
    fn annotations_find_their_statement() {
        let expect = |sql: &str, counts: &[usize]| {
            let found: Vec<usize> = owners(sql)
                .unwrap()
                .iter()
                .map(|(_, count)| *count)
                .collect();
            assert_eq!(found, counts, "{sql}");
        };
        expect("/* @a */ SELECT 1", &[1]);
        expect("SELECT /* @a */ 1 -- @b", &[2]);
        expect("SELECT 1; -- @a", &[1]);
        expect("SELECT 1; /* @a */ SELECT 2", &[0, 1]);
        expect("SELECT 1;\n-- @a\nSELECT 2", &[0, 1]);
        expect("SELECT 1 -- @a\n; SELECT 2", &[1, 0]);
        expect("SELECT 1;; /* @a */ ; SELECT '@b', '/* @c */'", &[0, 1]);
        expect(
            "CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN b END; END; SELECT 1",
            &[0, 0],
        );
    }

    #[test]
    fn what_could_belong_to_two_belongs_to_none() {
        assert!(owners("SELECT 1; -- @a\nSELECT 2").is_err());
        assert!(owners("-- @a").is_err());
    }
}
