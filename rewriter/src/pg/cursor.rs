//! A statement's tokens with their depth in brackets, and the few questions that rules ask of them.

use super::token::{Token, TokenKind};
use crate::error::{Error, ErrorKind};

/// A statement's tokens, comments left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(crate) sql: &'a str,
    pub(crate) tokens: &'a [&'a Token],
    /// For each token, how many brackets are open around it; brackets themselves count as outside.
    depths: &'a [usize],
}

/// How many brackets are open around each token.
pub(crate) fn depths(tokens: &[&Token]) -> Vec<usize> {
    let mut open: usize = 0;
    tokens
        .iter()
        .map(|token| match token.kind {
            TokenKind::Sign(b'(' | b'[') => {
                open += 1;
                open - 1
            }
            TokenKind::Sign(b')' | b']') => {
                open = open.saturating_sub(1);
                open
            }
            _ => open,
        })
        .collect()
}

impl<'a> Cursor<'a> {
    /// A cursor over tokens and what [`depths`] gives for them.
    pub(crate) fn new(sql: &'a str, tokens: &'a [&'a Token], depths: &'a [usize]) -> Self {
        Self {
            sql,
            tokens,
            depths,
        }
    }

    /// The token at an index.
    pub(crate) fn get(&self, index: usize) -> Option<&'a Token> {
        self.tokens.get(index).copied()
    }

    /// Whether the token there is this keyword.
    pub(crate) fn is(&self, index: usize, word: &str) -> bool {
        self.get(index)
            .is_some_and(|token| token.is(self.sql, word))
    }

    /// Whether the token there is one of these keywords.
    pub(crate) fn is_any(&self, index: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(index, word))
    }

    /// Whether the token there is this sign.
    pub(crate) fn is_sign(&self, index: usize, sign: u8) -> bool {
        self.get(index).is_some_and(|token| token.is_sign(sign))
    }

    /// Whether the token there stands outside all brackets.
    pub(crate) fn is_outside(&self, index: usize) -> bool {
        self.depths.get(index) == Some(&0)
    }

    /// Whether the token there is a keyword by its place: not a label after `AS`, not behind a point.
    pub(crate) fn is_keyword_place(&self, index: usize) -> bool {
        index
            .checked_sub(1)
            .is_none_or(|before| !self.is_sign(before, b'.') && !self.is(before, "as"))
    }

    /// The first index from `start` on, outside all brackets, where one of these keywords stands.
    pub(crate) fn find(&self, start: usize, words: &[&str]) -> Option<usize> {
        (start..self.tokens.len()).find(|index| {
            self.is_outside(*index) && self.is_keyword_place(*index) && self.is_any(*index, words)
        })
    }

    /// The index of the bracket that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> Option<usize> {
        let depth = self.depths.get(open)?;
        (open + 1..self.tokens.len()).find(|index| {
            self.depths.get(*index) == Some(depth)
                && (self.is_sign(*index, b')') || self.is_sign(*index, b']'))
        })
    }

    /// The index ranges between the commas at the depth of `start`, from `start` up to `end`.
    pub(crate) fn items(&self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let Some(depth) = self.depths.get(start).filter(|_| start < end) else {
            return Vec::new();
        };
        let mut items = Vec::new();
        let mut from = start;
        for index in start..end {
            if self.depths.get(index) == Some(depth) && self.is_sign(index, b',') {
                items.push((from, index));
                from = index + 1;
            }
        }
        items.push((from, end));
        items
    }

    /// The byte behind the token at an index.
    pub(crate) fn end_of(&self, index: usize) -> usize {
        self.get(index)
            .map_or(self.sql.len(), |token| token.span.end)
    }

    /// The byte at which the token at an index begins.
    pub(crate) fn start_of(&self, index: usize) -> usize {
        self.get(index)
            .map_or(self.sql.len(), |token| token.span.start)
    }

    /// The name at an index as the server understands it: folded, or without its quotes.
    ///
    /// # Errors
    ///
    /// If the name is written with Unicode escapes, which are not understood here.
    pub(crate) fn name(&self, index: usize) -> Result<Option<String>, Error> {
        let Some(token) = self.get(index) else {
            return Ok(None);
        };
        let text = token.text(self.sql);
        match token.kind {
            TokenKind::Word => Ok(Some(text.to_ascii_lowercase())),
            TokenKind::QuotedName => {
                let inner = text.get(1..text.len() - 1).unwrap_or_default();
                Ok(Some(inner.replace("\"\"", "\"")))
            }
            TokenKind::UnicodeName => Err(Error::new(
                ErrorKind::NotSupported,
                "a name with Unicode escapes can't be used with this directive",
            )
            .at(token.span.start)
            .hinted("Write the name's characters themselves.")),
            _ => Ok(None),
        }
    }
}

/// Tables, columns and aliases in SQL: always quoted, so that case and reserved words don't matter.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant that reads the same whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::{literal, quoted};

    #[test]
    fn names_and_strings_are_escaped() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'"), "E'a\\\\'''");
    }
}
