//! One cheap pass over a statement's text: is it annotated, and what may it leave behind in the session?
//!
//! The proxy runs this on every statement that it has not seen before, so it decides by tokens and never
//! builds a tree. It knows what is harmless: verbs, and calls of functions that leave nothing. All else gets a
//! flag, which means "may": the pool then asks the server.

mod call;
mod effects;
mod lex;
mod names;
mod settings;
mod verb;

pub use effects::Effects;
pub(crate) use lex::continued;
pub use names::{NameSet, Names, Uses};
pub use settings::{CustomNames, custom_names, is_custom_name};

use verb::Verb;

/// Scans a statement, or several separated by semicolons, that the server reads with this value of
/// `standard_conforming_strings`.
///
/// ```
/// use twinport_rewriter::scan::{Effects, Names, scan};
/// let names = Names::trusting();
/// assert!(scan(b"SELECT 1", &names, true).is_empty());
/// assert!(scan(b"/* @include(books) */ SELECT 1", &names, true).contains(Effects::ANNOTATED));
/// assert!(scan(b"set search_path = a", &names, true).contains(Effects::SETTINGS));
/// ```
#[must_use]
pub fn scan(sql: &[u8], names: &Names, conforming: bool) -> Effects {
    let scanner = Scanner {
        rest: sql,
        effects: names.everywhere(),
        before: Effects::NONE,
        written: Effects::NONE,
        writes: false,
        fires: false,
        verb: Verb::None,
        words: 0,
        word: &[],
        prior: &[],
        dotted: false,
        follows: Token::Other,
        last: Token::Other,
        distinct_on: false,
        operator: false,
        depth: 0,
        statements: 0,
        names,
        conforming,
    };
    scanner.run()
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

/// The last token, as far as it says what the next word is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Other,
    /// `INSERT` or `MERGE`, whose INTO makes nothing.
    Insert,
    Distinct,
    /// What a name follows that isn't called: `INTO t (a)`, `AS t(a)`, `WITH t(a)`.
    Naming,
    Open,
    /// `)`: an alias may follow.
    Close,
}

struct Scanner<'a> {
    rest: &'a [u8],
    effects: Effects,
    /// The flags from before the statement's first word.
    before: Effects,
    /// What the relations that are named do if something is written.
    written: Effects,
    /// Whether something may be.
    writes: bool,
    /// Whether event triggers may fire.
    fires: bool,
    verb: Verb,
    words: usize,
    /// The last word or name, as long as nothing but blanks and comments follows it.
    word: &'a [u8],
    /// The word before it, if nothing but blanks and comments stands between.
    prior: &'a [u8],
    /// A dot stands before what comes.
    dotted: bool,
    /// What it follows.
    follows: Token,
    last: Token,
    /// `DISTINCT ON (…)` is followed by an expression, unlike other parentheses.
    distinct_on: bool,
    /// Within `OPERATOR(…)`, which an operand follows, too.
    operator: bool,
    /// How many parentheses are open.
    depth: usize,
    statements: usize,
    names: &'a Names,
    conforming: bool,
}

impl<'a> Scanner<'a> {
    fn run(mut self) -> Effects {
        while let Some((&byte, after)) = self.rest.split_first() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.rest = after,
                _ if belongs(byte, BEGINS_WORD) => self.word(),
                b'(' => {
                    self.rest = after;
                    self.depth += 1;
                    if !self.word.is_empty() {
                        self.call();
                    }
                    self.sign(Token::Open);
                }
                b')' => {
                    self.rest = after;
                    self.depth = self.depth.saturating_sub(1);
                    let operator = std::mem::take(&mut self.operator);
                    self.sign(if operator { Token::Other } else { Token::Close });
                }
                b'0'..=b'9' => self.number(),
                b'.' if after.first().is_some_and(u8::is_ascii_digit) => self.number(),
                b'.' => {
                    // What follows is a part of the same name.
                    self.rest = after;
                    self.sign(self.follows);
                    self.dotted = true;
                }
                b'\'' => {
                    self.rest = after;
                    self.string(!self.conforming);
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
                _ => {
                    self.rest = after;
                    self.sign(Token::Other);
                }
            }
        }
        if self.statements + usize::from(self.verb != Verb::None) > 1 {
            self.effects |= Effects::SEVERAL;
        }
        if self.writes {
            self.effects |= self.written;
        }
        if self.fires || self.effects.intersects(Effects::DDL.or(Effects::OPAQUE)) {
            self.effects |= self.names.events();
        }
        self.effects
    }

    fn sign(&mut self, token: Token) {
        self.word = &[];
        self.dotted = false;
        self.last = token;
    }

    fn end_of_statement(&mut self) {
        if self.verb != Verb::None {
            self.statements += 1;
        }
        self.verb = Verb::None;
        self.words = 0;
        self.distinct_on = false;
        self.operator = false;
        self.depth = 0;
        self.sign(Token::Other);
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
        if let [letter] = word
            && self.prefixed(*letter)
        {
            return;
        }
        self.words += 1;
        let token = if self.words == 1 {
            self.before = self.effects;
            self.first_word(word)
        } else {
            self.later_word(word)
        };
        self.named(word, token);
    }

    /// A string or name with a letter before it; whether it is one.
    fn prefixed(&mut self, letter: u8) -> bool {
        match (letter.to_ascii_lowercase(), self.rest) {
            (b'e', [b'\'', ..]) => {
                self.advance(1);
                self.string(true);
            }
            (b'n', [b'\'', ..]) => {
                self.advance(1);
                self.string(!self.conforming);
            }
            (b'b' | b'x', [b'\'', ..]) => {
                self.advance(1);
                self.string(false);
            }
            (b'u', [b'&', b'\'', ..]) => {
                self.advance(2);
                self.string(false);
            }
            (b'u', [b'&', b'"', ..]) => {
                // A name that is not as it is written.
                self.advance(2);
                self.effects |= Effects::ANYTHING;
                self.quoted_name();
            }
            _ => return false,
        }
        true
    }

    fn quoted_name(&mut self) {
        let end = memchr::memchr(b'"', self.rest).unwrap_or(self.rest.len());
        let (mut name, _) = self.rest.split_at(end);
        self.advance(end + 1);
        if self.rest.first() == Some(&b'"') {
            self.quoted_quote(name);
            name = UNKNOWN;
        }
        self.words += 1;
        if self.words == 1 {
            self.before = self.effects;
            self.verb = self.mark(Effects::ANYTHING, Verb::Plain);
        } else {
            self.later_name();
        }
        self.named(name, Token::Other);
    }

    /// The rest of a name that has quotes in it, from the first of them on.
    fn quoted_quote(&mut self, begin: &[u8]) {
        let mut name = begin.to_vec();
        while self.rest.first() == Some(&b'"') {
            self.advance(1);
            let end = memchr::memchr(b'"', self.rest).unwrap_or(self.rest.len());
            let (part, _) = self.rest.split_at(end);
            name.push(b'"');
            name.extend_from_slice(part);
            self.advance(end + 1);
        }
        self.known(&name);
    }

    /// Notes what a name may mean, quoted or not.
    fn named(&mut self, name: &'a [u8], token: Token) {
        self.known(name);
        self.prior = self.word;
        self.dotted = false;
        self.word = name;
        self.follows = self.last;
        self.last = token;
    }

    fn known(&mut self, name: &[u8]) {
        if let Some(b'p' | b'P') = name.first() {
            let starts = |prefix: &[u8]| {
                name.get(..prefix.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            };
            if starts(b"pg_temp") {
                self.effects |= Effects::STATE;
            } else if starts(b"pg_settings") {
                // Its rule makes an UPDATE a set_config.
                self.effects |= Effects::SETTINGS;
            }
        }
        if let Some(uses) = self.names.word(name) {
            self.effects |= uses.named;
            self.written |= uses.written;
            if self.dotted {
                // A function of a row may be written like a column.
                self.effects |= uses.called;
            }
        }
    }
}

/// No function's name.
const UNKNOWN: &[u8] = b"\0";

#[cfg(test)]
mod tests;
