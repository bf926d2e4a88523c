//! SQL's tokens, by the server's own lexical rules: strings in all their forms, quoted names, dollar quotes,
//! parameters, comments. Enough to find comments and clauses; no more.

use std::ops::Range;

use crate::error::{Error, ErrorKind};
use crate::scan::continued;

/// A token and the bytes it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Range<usize>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in double quotes.
    QuotedName,
    /// A name in double quotes with `U&` before it.
    UnicodeName,
    /// A string constant of any form.
    String,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// Any other single byte.
    Sign(u8),
    /// A comment; the marks belong to it.
    Comment {
        /// Whether it ends with its line.
        line: bool,
    },
}

impl Token {
    /// The token's text.
    pub(crate) fn text<'a>(&self, sql: &'a str) -> &'a str {
        sql.get(self.span.clone()).unwrap_or_default()
    }

    /// Whether it is this keyword or unquoted name, in any case.
    pub(crate) fn is(&self, sql: &str, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text(sql).eq_ignore_ascii_case(word)
    }

    /// Whether it is this sign.
    pub(crate) fn is_sign(&self, sign: u8) -> bool {
        self.kind == TokenKind::Sign(sign)
    }

    /// The bytes between a comment's marks.
    pub(crate) fn comment_body(&self) -> Option<Range<usize>> {
        match self.kind {
            TokenKind::Comment { line: true } => Some(self.span.start + 2..self.span.end),
            TokenKind::Comment { line: false } => Some(self.span.start + 2..self.span.end - 2),
            _ => None,
        }
    }
}

/// All tokens of a text, blanks left out.
///
/// # Errors
///
/// If a string, quoted name or comment is not closed.
pub(crate) fn tokens(sql: &str, standard_strings: bool) -> Result<Vec<Token>, Error> {
    let mut lexer = Lexer {
        sql,
        at: 0,
        standard_strings,
    };
    let mut found = Vec::new();
    while let Some(token) = lexer.next()? {
        found.push(token);
    }
    Ok(found)
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
    standard_strings: bool,
}

/// A letter that may begin a name: as on the server, any byte beyond ASCII counts.
fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_name(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// Blanks as the server's scanner has them.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<Token>, Error> {
        self.at = self.end_while(self.at, is_blank);
        let start = self.at;
        let Some(first) = self.byte(start) else {
            return Ok(None);
        };
        let (kind, end) = match first {
            b'-' if self.byte(start + 1) == Some(b'-') => (
                TokenKind::Comment { line: true },
                self.end_while(start, |b| b != b'\n' && b != b'\r'),
            ),
            b'/' if self.byte(start + 1) == Some(b'*') => (
                TokenKind::Comment { line: false },
                self.block_comment(start)?,
            ),
            b'\'' => (
                TokenKind::String,
                self.string(start, !self.standard_strings)?,
            ),
            b'"' => (TokenKind::QuotedName, self.quoted(start, start)?),
            b'$' => self.dollar(start)?,
            b'0'..=b'9' => (TokenKind::Number, self.number(start)),
            b'.' if self.byte(start + 1).is_some_and(|b| b.is_ascii_digit()) => {
                (TokenKind::Number, self.number(start))
            }
            _ if begins_name(first) => self.word(start, first)?,
            other => (TokenKind::Sign(other), start + 1),
        };
        self.at = end;
        Ok(Some(Token {
            kind,
            span: start..end,
        }))
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.sql.as_bytes().get(at).copied()
    }

    /// The first place from `at` on where `keep` does not hold.
    fn end_while(&self, mut at: usize, keep: impl Fn(u8) -> bool) -> usize {
        while self.byte(at).is_some_and(&keep) {
            at += 1;
        }
        at
    }

    fn unclosed(what: &str, start: usize) -> Error {
        Error::new(ErrorKind::Syntax, format!("unterminated {what}")).at(start)
    }

    /// A name, or a string with a letter before its quote.
    fn word(&self, start: usize, first: u8) -> Result<(TokenKind, usize), Error> {
        match (first, self.byte(start + 1), self.byte(start + 2)) {
            (b'e' | b'E', Some(b'\''), _) => Ok((TokenKind::String, self.string(start + 1, true)?)),
            (b'b' | b'B' | b'x' | b'X', Some(b'\''), _) => {
                Ok((TokenKind::String, self.string(start + 1, false)?))
            }
            (b'n' | b'N', Some(b'\''), _) => Ok((
                TokenKind::String,
                self.string(start + 1, !self.standard_strings)?,
            )),
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => {
                Ok((TokenKind::String, self.string(start + 2, false)?))
            }
            (b'u' | b'U', Some(b'&'), Some(b'"')) => {
                Ok((TokenKind::UnicodeName, self.quoted(start, start + 2)?))
            }
            _ => Ok((TokenKind::Word, self.end_while(start, continues_name))),
        }
    }

    fn string(&self, quote: usize, backslashes: bool) -> Result<usize, Error> {
        let mut at = quote + 1;
        loop {
            match (self.byte(at), self.byte(at + 1)) {
                (None, _) => return Err(Self::unclosed("quoted string", quote)),
                (Some(b'\''), Some(b'\'')) => at += 2,
                (Some(b'\\'), Some(_)) if backslashes => at += 2,
                (Some(b'\''), _) => {
                    // A part on a later line is read as the first one is.
                    let rest = self.sql.as_bytes().get(at + 1..).unwrap_or_default();
                    match continued(rest).filter(|_| backslashes) {
                        Some(length) => at += 1 + length,
                        None => return Ok(at + 1),
                    }
                }
                _ => at += 1,
            }
        }
    }

    fn quoted(&self, start: usize, quote: usize) -> Result<usize, Error> {
        let mut at = quote + 1;
        loop {
            match (self.byte(at), self.byte(at + 1)) {
                (None, _) => return Err(Self::unclosed("quoted identifier", start)),
                (Some(b'"'), Some(b'"')) => at += 2,
                (Some(b'"'), _) => return Ok(at + 1),
                _ => at += 1,
            }
        }
    }

    fn block_comment(&self, start: usize) -> Result<usize, Error> {
        let mut at = start + 2;
        let mut depth = 1usize;
        loop {
            match (self.byte(at), self.byte(at + 1)) {
                (Some(b'*'), Some(b'/')) => {
                    at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(at);
                    }
                }
                (Some(b'/'), Some(b'*')) => {
                    at += 2;
                    depth += 1;
                }
                (None, _) => return Err(Self::unclosed("/* comment", start)),
                _ => at += 1,
            }
        }
    }

    /// `$1`, `$$…$$` or `$tag$…$tag$`, else the sign alone.
    fn dollar(&self, start: usize) -> Result<(TokenKind, usize), Error> {
        let digits = self.end_while(start + 1, |b| b.is_ascii_digit());
        if digits > start + 1 {
            return Ok((TokenKind::Parameter, digits));
        }
        let tag_end = self.end_while(start + 1, |b| begins_name(b) || b.is_ascii_digit());
        if self.byte(tag_end) != Some(b'$') {
            return Ok((TokenKind::Sign(b'$'), start + 1));
        }
        let tag = self.sql.get(start..=tag_end).unwrap_or_default();
        let body = self.sql.get(tag_end + 1..).unwrap_or_default();
        match body.find(tag) {
            Some(length) => Ok((TokenKind::String, tag_end + 1 + length + tag.len())),
            None => Err(Self::unclosed("dollar-quoted string", start)),
        }
    }

    /// A number, generously: what follows the digits is the server's to judge.
    fn number(&self, start: usize) -> usize {
        let mut at = start;
        loop {
            at = match (self.byte(at), self.byte(at + 1)) {
                (Some(b'e' | b'E'), Some(b'+' | b'-')) => at + 2,
                // `1..10` is a range in PL/pgSQL: two numbers.
                (Some(b'.'), Some(b'.')) => return at,
                (Some(b), _) if b.is_ascii_alphanumeric() || b == b'_' || b == b'.' => at + 1,
                _ => return at,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Token, TokenKind, tokens};

    fn texts(sql: &str, standard: bool) -> Vec<&str> {
        tokens(sql, standard)
            .unwrap()
            .iter()
            .map(|token| token.text(sql))
            .collect()
    }

    #[test]
    fn strings_end_where_the_server_ends_them() {
        assert_eq!(texts(r"'a\' b", true), [r"'a\'", "b"]);
        assert_eq!(texts(r"'a\' b' c", false), [r"'a\' b'", "c"]);
        assert_eq!(texts(r"E'a\' b' c", true), [r"E'a\' b'", "c"]);
        assert_eq!(texts("E'a' -- x\n 'b\\'c' d", true).len(), 2);
        assert_eq!(texts("E'a' 'b\\' c", true).len(), 3);
        assert_eq!(
            texts("'it''s' U&'x' N'y' b'1'", true),
            ["'it''s'", "U&'x'", "N'y'", "b'1'"]
        );
        assert_eq!(
            texts("$$a'$$ $x$ $$ $x$ $1 a$b$c", true),
            ["$$a'$$", "$x$ $$ $x$", "$1", "a$b$c"]
        );
    }

    #[test]
    fn comments_nest_and_know_their_bodies() {
        let sql = "/* a /* b */ c */ x -- d\ny";
        let found = tokens(sql, true).unwrap();
        let bodies: Vec<&str> = found
            .iter()
            .filter_map(Token::comment_body)
            .filter_map(|body| sql.get(body))
            .collect();
        assert_eq!(bodies, [" a /* b */ c ", " d"]);
        assert_eq!(
            found
                .iter()
                .filter(|token| token.kind == TokenKind::Word)
                .count(),
            2
        );
    }

    #[test]
    fn what_is_not_closed_is_an_error() {
        for sql in ["'a", "\"a", "/* a", "/* /* */", "$$ a", "$a$ $b$", "E'\\'"] {
            assert!(tokens(sql, true).is_err(), "{sql}");
        }
    }

    #[test]
    fn numbers_and_names_do_not_run_together() {
        assert_eq!(
            texts("1e+5-a.b 1.5::x \"A\"\"b\".c", true),
            [
                "1e+5",
                "-",
                "a",
                ".",
                "b",
                "1.5",
                ":",
                ":",
                "x",
                "\"A\"\"b\"",
                ".",
                "c"
            ]
        );
    }
}
