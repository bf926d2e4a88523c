//! One cheap pass over a statement's text: is it annotated, and what may it leave behind in the session?
//!
//! The proxy runs this on every statement that it has not seen before, so it decides by tokens and never
//! builds a tree. It errs on the safe side: a flag that is set means "may", and the pool then asks the server.

use std::collections::HashSet;
use std::ops::{BitOr, BitOrAssign};

use crate::directive::BLANKS;

/// What a statement's text may do beyond its own transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects(u16);

impl Effects {
    /// Nothing that outlives the transaction.
    pub const NONE: Self = Self(0);
    /// A comment begins with `@`: the statement carries a directive.
    pub const ANNOTATED: Self = Self(1);
    /// May change a setting of the session: `SET`, `RESET`, `set_config`, `DISCARD`.
    pub const SETTINGS: Self = Self(1 << 1);
    /// May create or drop state that can't be moved: `LISTEN`, temporary tables, advisory locks, …
    pub const STATE: Self = Self(1 << 2);
    /// Changes the schema.
    pub const DDL: Self = Self(1 << 3);
    /// Drops prepared statements: `DEALLOCATE`, `DISCARD`.
    pub const DEALLOCATE: Self = Self(1 << 4);
    /// `DISCARD ALL`, which takes everything that the session holds.
    pub const DISCARD_ALL: Self = Self(1 << 5);
    /// More than one statement.
    pub const SEVERAL: Self = Self(1 << 6);
    /// `LOAD`: nobody can ask the server what a library has changed.
    pub const LOAD: Self = Self(1 << 7);
    /// May change a setting inside the transaction: the search path may be another from here on.
    pub const LOCAL: Self = Self(1 << 8);
    /// Runs a prepared statement by SQL, or explains one: `EXECUTE`, `EXPLAIN EXECUTE`.
    pub const EXECUTE: Self = Self(1 << 9);

    /// Whether all of `other`'s flags are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other`'s flags is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Effects {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Scans a statement, or several separated by semicolons.
///
/// `stateful` holds the lower-case names of user functions that change session state; a call of one counts
/// as [`Effects::SETTINGS`] and [`Effects::STATE`].
///
/// ```
/// use twinport_rewriter::scan::{Effects, scan};
/// let none = std::collections::HashSet::new();
/// assert!(scan(b"SELECT 1", &none).is_empty());
/// assert!(scan(b"/* @include(books) */ SELECT 1", &none).contains(Effects::ANNOTATED));
/// assert!(scan(b"set search_path = a", &none).contains(Effects::SETTINGS));
/// ```
#[must_use]
pub fn scan(sql: &[u8], stateful: &HashSet<String>) -> Effects {
    Scanner {
        rest: sql,
        effects: Effects::NONE,
        verb: Verb::None,
        words: 0,
        previous: Word::Other,
        statements: 0,
        stateful,
    }
    .run()
}

/// What bytes may be, one bit for each.
const IN_WORD: u8 = 1;
const BEGINS_WORD: u8 = 1 << 1;
const IN_NUMBER: u8 = 1 << 2;

#[expect(clippy::indexing_slicing, reason = "no index reaches the length")]
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let byte = at as u8;
        let begins = byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        if begins {
            classes[at] |= BEGINS_WORD | IN_WORD;
        }
        if byte.is_ascii_digit() || byte == b'$' {
            classes[at] |= IN_WORD;
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' {
            classes[at] |= IN_NUMBER;
        }
        at += 1;
    }
    classes
};

/// Whether a byte is of a class.
fn belongs(byte: u8, class: u8) -> bool {
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|of| of & class != 0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    None,
    Plain,
    Set,
    Create,
    Declare,
    Discard,
    Deallocate,
    Prepare,
    Rollback,
    Explain,
    Body,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Other,
    Into,
}

struct Scanner<'a> {
    rest: &'a [u8],
    effects: Effects,
    verb: Verb,
    words: usize,
    previous: Word,
    statements: usize,
    stateful: &'a HashSet<String>,
}

impl Scanner<'_> {
    fn run(mut self) -> Effects {
        while let Some((&byte, after)) = self.rest.split_first() {
            match byte {
                b' ' | b',' | b'(' | b')' | b'=' => self.rest = after,
                _ if belongs(byte, BEGINS_WORD) => self.word(),
                b'0'..=b'9' => self.number(),
                b'.' if after.first().is_some_and(u8::is_ascii_digit) => self.number(),
                b'\'' => {
                    self.rest = after;
                    self.string(false);
                }
                b'"' => {
                    self.rest = after;
                    self.quoted_name();
                }
                b'$' => self.dollar(),
                b'-' if after.first() == Some(&b'-') => self.line_comment(),
                b'/' if after.first() == Some(&b'*') => self.block_comment(),
                b';' => {
                    self.rest = after;
                    self.end_of_statement();
                }
                _ => self.rest = after,
            }
        }
        if self.statements + usize::from(self.verb != Verb::None) > 1 {
            self.effects |= Effects::SEVERAL;
        }
        self.effects
    }

    fn end_of_statement(&mut self) {
        if self.verb != Verb::None {
            self.statements += 1;
        }
        self.verb = Verb::None;
        self.words = 0;
        self.previous = Word::Other;
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        let end = self
            .rest
            .iter()
            .position(|&b| !keep(b))
            .unwrap_or(self.rest.len());
        self.advance(end);
    }

    /// Ends a number where the rewriter's lexer ends it: what looks like its tail decides what a `$` after it is.
    fn number(&mut self) {
        loop {
            match self.rest {
                [b'e' | b'E', b'+' | b'-', ..] => self.advance(2),
                [b'.', b'.', ..] => return,
                [b, ..] if belongs(*b, IN_NUMBER) => self.advance(1),
                _ => return,
            }
        }
    }

    fn advance(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }

    fn word(&mut self) {
        let end = self
            .rest
            .iter()
            .position(|&b| !belongs(b, IN_WORD))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if let ([b'e' | b'E'], Some((b'\'', after))) = (word, rest.split_first()) {
            self.rest = after;
            self.string(true);
            return;
        }
        self.words += 1;
        if self.words == 1 {
            self.first_word(word);
        } else {
            self.later_word(word);
        }
    }

    fn first_word(&mut self, word: &[u8]) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        self.verb = match word.first().map(u8::to_ascii_lowercase) {
            Some(b's') if is("set") => Verb::Set,
            Some(b'r') if is("rollback") => Verb::Rollback,
            Some(b'r') if is("reset") => self.mark(Effects::SETTINGS, Verb::Plain),
            Some(b'd') if is("discard") => self.mark(
                Effects::SETTINGS | Effects::STATE | Effects::DEALLOCATE,
                Verb::Discard,
            ),
            Some(b'd') if is("deallocate") => {
                self.mark(Effects::STATE | Effects::DEALLOCATE, Verb::Deallocate)
            }
            Some(b'd') if is("declare") => Verb::Declare,
            Some(b'd') if is("drop") => self.mark(Effects::DDL | Effects::STATE, Verb::Plain),
            Some(b'd') if is("do") => Verb::Body,
            Some(b'e') if is("explain") => Verb::Explain,
            Some(b'e') if is("execute") => self.mark(Effects::EXECUTE, Verb::Plain),
            Some(b'l') if is("load") => self.mark(Effects::LOAD, Verb::Plain),
            Some(b'l' | b'u') if is("listen") || is("unlisten") => {
                self.mark(Effects::STATE, Verb::Plain)
            }
            Some(b'p') if is("prepare") => Verb::Prepare,
            Some(b'c') if is("close") => self.mark(Effects::STATE, Verb::Plain),
            Some(b'c') if is("create") => self.mark(Effects::DDL, Verb::Create),
            Some(b'a' | b'c' | b'g' | b'i' | b'r' | b't')
                if [
                    "alter", "comment", "grant", "revoke", "reassign", "import", "truncate",
                ]
                .into_iter()
                .any(is) =>
            {
                self.mark(Effects::DDL, Verb::Plain)
            }
            _ => Verb::Plain,
        };
    }

    fn mark(&mut self, effects: Effects, verb: Verb) -> Verb {
        self.effects |= effects;
        verb
    }

    fn later_word(&mut self, word: &[u8]) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        match self.verb {
            Verb::Set if self.words == 2 => {
                // SET LOCAL, SET TRANSACTION and SET CONSTRAINTS end with the transaction.
                if is("local") {
                    self.effects |= Effects::LOCAL;
                } else if !(is("transaction") || is("constraints")) {
                    self.effects |= Effects::SETTINGS;
                }
            }
            Verb::Prepare if self.words == 2 && !is("transaction") => {
                self.effects |= Effects::STATE
            }
            // ROLLBACK TO a savepoint takes back settings that were made since.
            Verb::Rollback if is("to") => self.effects |= Effects::LOCAL,
            Verb::Discard if is("all") => self.effects |= Effects::DISCARD_ALL,
            Verb::Declare if is("hold") => self.effects |= Effects::STATE,
            Verb::Create if is_temporary(word) => self.effects |= Effects::STATE,
            Verb::Plain | Verb::Explain if self.previous == Word::Into && is_temporary(word) => {
                self.effects |= Effects::STATE;
            }
            // EXPLAIN ANALYZE does what it explains.
            Verb::Explain if is("execute") => {
                self.verb = self.mark(Effects::EXECUTE, Verb::Plain);
            }
            Verb::Explain if is("create") => self.verb = self.mark(Effects::DDL, Verb::Create),
            _ => {}
        }
        self.previous = if is("into") { Word::Into } else { Word::Other };
        self.function(word);
    }

    fn function(&mut self, word: &[u8]) {
        let starts = |prefix: &str| {
            word.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        match word.first().map(u8::to_ascii_lowercase) {
            Some(b's') if word.eq_ignore_ascii_case(b"set_config") => {
                self.effects |= Effects::SETTINGS
            }
            Some(b'p') if starts("pg_advisory_") || starts("pg_try_advisory_") => {
                // The transaction-level ones (…_xact_…) are let go by the server itself.
                let lower = word.to_ascii_lowercase();
                if memchr::memmem::find(&lower, b"_xact_").is_none() {
                    self.effects |= Effects::STATE;
                }
            }
            _ => {}
        }
        if !self.stateful.is_empty()
            && std::str::from_utf8(word).is_ok_and(|w| self.stateful.contains(&w.to_lowercase()))
        {
            self.effects |= Effects::SETTINGS | Effects::STATE;
        }
    }

    fn string(&mut self, escapes: bool) {
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
            } else {
                self.advance(at + 1);
                return;
            }
        }
    }

    fn quoted_name(&mut self) {
        let end = memchr::memchr(b'"', self.rest).unwrap_or(self.rest.len());
        let (name, _) = self.rest.split_at(end);
        if !self.stateful.is_empty() || name.len() >= 10 {
            self.function(name);
        }
        self.advance(end + 1);
    }

    fn dollar(&mut self) {
        let after = self.rest.get(1..).unwrap_or_default();
        if after.first().is_some_and(u8::is_ascii_digit) {
            self.advance(1);
            self.skip_while(|b| b.is_ascii_digit());
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

    /// The body of a DO block runs at once: whatever it may do counts.
    fn body(&mut self, text: &[u8]) {
        let lower = text.to_ascii_lowercase();
        let has = |needle: &str| memchr::memmem::find(&lower, needle.as_bytes()).is_some();
        if ["set", "listen", "temp", "advisory", "execute", "discard"]
            .into_iter()
            .any(has)
        {
            self.effects |= Effects::SETTINGS | Effects::STATE;
        }
        if ["create", "alter", "drop", "execute", "truncate"]
            .into_iter()
            .any(has)
        {
            self.effects |= Effects::DDL;
        }
    }

    fn line_comment(&mut self) {
        self.advance(2);
        self.annotation();
        let end = memchr::memchr2(b'\n', b'\r', self.rest).unwrap_or(self.rest.len());
        self.advance(end);
    }

    fn block_comment(&mut self) {
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

/// Whether a word says that what is created is temporary.
fn is_temporary(word: &[u8]) -> bool {
    [&b"temp"[..], b"temporary", b"pg_temp"]
        .into_iter()
        .any(|other| word.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests;
