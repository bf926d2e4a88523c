//! What holds no words: strings, comments, numbers. Their ends are where the rewriter's lexer, and the server, have
//! them.

use super::verb::Verb;
use super::{Effects, IN_NUMBER, Scanner, Token, belongs};
use crate::directive::BLANKS;

impl Scanner<'_> {
    /// Ends a number where the rewriter's lexer ends it: what looks like its tail decides what a `$` after it is.
    pub(super) fn number(&mut self) {
        self.sign(Token::Other);
        loop {
            match self.rest {
                [b'e' | b'E', b'+' | b'-', ..] => self.advance(2),
                [b'.', b'.', ..] => return,
                [b, ..] if belongs(*b, IN_NUMBER) => self.advance(1),
                _ => return,
            }
        }
    }

    /// The rest of a string behind its first quote.
    pub(super) fn string(&mut self, escapes: bool) {
        self.sign(Token::Other);
        let whole = self.rest;
        self.skip_string(escapes);
        if self.verb == Verb::Body {
            let text = whole.get(..whole.len() - self.rest.len());
            self.body(text.unwrap_or_default());
        }
    }

    pub(super) fn skip_string(&mut self, escapes: bool) {
        loop {
            let found = if escapes {
                memchr::memchr2(b'\'', b'\\', self.rest)
            } else {
                memchr::memchr(b'\'', self.rest)
            };
            let Some(at) = found else {
                self.rest = &[];
                return;
            };
            let backslash = self.rest.get(at) == Some(&b'\\');
            let doubled = self.rest.get(at + 1) == Some(&b'\'');
            if backslash || doubled {
                self.advance(at + 2);
                continue;
            }
            self.advance(at + 1);
            match continued(self.rest).filter(|_| escapes) {
                Some(length) => self.advance(length),
                None => return,
            }
        }
    }

    pub(super) fn dollar(&mut self) {
        self.sign(Token::Other);
        let after = self.rest.get(1..).unwrap_or_default();
        if after.first().is_some_and(u8::is_ascii_digit) {
            let end = after.iter().position(|b| !b.is_ascii_digit());
            self.advance(1 + end.unwrap_or(after.len()));
            return;
        }
        let end = after
            .iter()
            .position(|&b| !(b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80))
            .unwrap_or(after.len());
        if after.get(end) != Some(&b'$') {
            self.advance(1);
            return;
        }
        let (tag, body) = self.rest.split_at(end + 2);
        let close = memchr::memmem::find(body, tag).unwrap_or(body.len());
        let (text, _) = body.split_at(close);
        if self.verb == Verb::Body {
            self.body(text);
        }
        self.rest = body.get(close + tag.len()..).unwrap_or_default();
    }

    pub(super) fn line_comment(&mut self) {
        self.advance(2);
        self.annotation();
        let end = memchr::memchr2(b'\n', b'\r', self.rest).unwrap_or(self.rest.len());
        self.advance(end);
    }

    pub(super) fn block_comment(&mut self) {
        self.advance(2);
        self.annotation();
        let mut depth = 1usize;
        while depth > 0 {
            let Some(at) = memchr::memchr2(b'*', b'/', self.rest) else {
                self.rest = &[];
                return;
            };
            match self.rest.get(at..at + 2) {
                Some(b"*/") => {
                    depth -= 1;
                    self.advance(at + 2);
                }
                Some(b"/*") => {
                    depth += 1;
                    self.advance(at + 2);
                }
                _ => self.advance(at + 1),
            }
        }
    }

    fn annotation(&mut self) {
        let is_blank = |byte: u8| BLANKS.contains(&char::from(byte));
        let first = self.rest.iter().find(|&&byte| !is_blank(byte));
        if first == Some(&b'@') {
            self.effects |= Effects::ANNOTATED;
        }
    }
}

/// Behind a string's last quote: how far the first byte is behind the quote that goes on with the string. It
/// stands on a later line, and backslashes mean in it what they mean in the string's first part.
pub(crate) fn continued(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut lines = 0;
    loop {
        match text.get(at..)? {
            [b'\n' | b'\r', ..] => {
                lines += 1;
                at += 1;
            }
            [b' ' | b'\t' | 0x0b | 0x0c, ..] => at += 1,
            [b'-', b'-', rest @ ..] => {
                at += 2 + memchr::memchr2(b'\n', b'\r', rest)?;
            }
            [b'\'', ..] if lines > 0 => return Some(at + 1),
            _ => return None,
        }
    }
}
