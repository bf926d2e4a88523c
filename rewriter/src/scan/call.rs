//! Calls of functions: which are known to leave nothing behind.

use super::verb::Verb;
use super::{Effects, IN_WORD, Scanner, Token, belongs};

/// Functions of the server's own that run the SQL they are given, or read the relations that a string names.
const DYNAMIC: [&[u8]; 17] = [
    b"cursor_to_xml",
    b"cursor_to_xmlschema",
    b"database_to_xml",
    b"database_to_xml_and_xmlschema",
    b"database_to_xmlschema",
    b"query_to_xml",
    b"query_to_xml_and_xmlschema",
    b"query_to_xmlschema",
    b"schema_to_xml",
    b"schema_to_xml_and_xmlschema",
    b"schema_to_xmlschema",
    b"table_to_xml",
    b"table_to_xml_and_xmlschema",
    b"table_to_xmlschema",
    b"ts_rewrite",
    b"ts_stat",
    b"xpath_table",
];

/// Functions whose traces can't be asked for.
const HIDDEN: [&[u8]; 5] = [
    b"dblink_connect",
    b"dblink_connect_u",
    b"pg_backup_start",
    b"pg_replication_origin_session_setup",
    b"pg_start_backup",
];

impl Scanner<'_> {
    /// A parenthesis opened behind a word.
    pub(super) fn call(&mut self) {
        let word = self.word;
        if let Some(uses) = self.names.word(word) {
            self.effects |= uses.called;
        }
        // Before it is asked whether it is called at all: an alias of such a name is rare.
        if word.eq_ignore_ascii_case(b"set_config") {
            self.effects |= self.set_config();
            return;
        }
        if word.eq_ignore_ascii_case(b"operator") {
            self.operator = true;
            return;
        }
        self.effects |= special(word);
        if !self.names_something() && !self.names.knows(word) {
            self.effects |= Effects::ANYTHING;
        }
    }

    /// Whether the word before a parenthesis is a table or an alias with a list of columns.
    fn names_something(&self) -> bool {
        match self.follows {
            Token::Naming => return true,
            Token::Close if !self.distinct_on => return true,
            _ => {}
        }
        match self.verb {
            Verb::Tables => true,
            // A further part: what calls something stands in its parentheses, or behind the verb.
            Verb::With => self.depth == 1,
            // Two words side by side, of which the first is no keyword: `FROM t p (i, j)`.
            _ => {
                !self.prior.is_empty()
                    && self.follows == Token::Other
                    && !self.names.may_be_keyword(self.prior)
            }
        }
    }

    /// What a `set_config` does, whose parenthesis was just opened.
    fn set_config(&self) -> Effects {
        let [name, _, is_local] = self.arguments();
        if is_local.eq_ignore_ascii_case(b"true") {
            return Effects::LOCAL;
        }
        let is_told = match name {
            // The name is read from the text, where it may stand in a string in a string, or from what is bound.
            [b'\'', b'\'', middle @ .., b'\'', b'\''] | [b'\'', middle @ .., b'\''] => {
                memchr::memchr(b'\'', middle).is_none()
            }
            [b'$', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if is_told {
            Effects::SETTINGS
        } else {
            Effects::SETTINGS | Effects::UNTOLD
        }
    }

    /// The first three arguments of a call as they are written; what can't be told is empty.
    fn arguments(&self) -> [&[u8]; 3] {
        let mut found: [&[u8]; 3] = [&[]; 3];
        let mut ahead = Scanner { ..*self };
        for place in &mut found {
            let whole = ahead.rest;
            let Some(end) = ahead.skip_argument() else {
                break;
            };
            let length = whole.len() - ahead.rest.len();
            *place = whole.get(..length).unwrap_or_default().trim_ascii();
            if end == b')' {
                break;
            }
            ahead.advance(1);
        }
        found
    }

    /// Goes on to the comma or parenthesis that ends an argument, and returns it; `None` if that can't be told.
    fn skip_argument(&mut self) -> Option<u8> {
        let mut depth = 0usize;
        let (mut earlier, mut before) = (b' ', b' ');
        while let Some((&byte, after)) = self.rest.split_first() {
            match byte {
                b',' | b')' if depth == 0 => return Some(byte),
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.checked_sub(1)?,
                b'\'' if belongs(earlier, IN_WORD) || !before.is_ascii_alphabetic() => {
                    self.rest = after;
                    self.skip_string(!self.conforming);
                    (earlier, before) = (b' ', byte);
                    continue;
                }
                b'$' if after.first().is_some_and(u8::is_ascii_digit) => {}
                // Strings of other forms, quoted names and comments are not worth reading: the rest is not told.
                b'\'' | b'$' | b'"' | b'\\' | b'&' | b'/' | b'-' => return None,
                _ => {}
            }
            (earlier, before) = (before, byte);
            self.rest = after;
        }
        None
    }
}

/// What a function of the server's own may leave behind.
fn special(word: &[u8]) -> Effects {
    let is_one_of = |of: &[&[u8]]| of.iter().any(|other| word.eq_ignore_ascii_case(other));
    match word.first().map(u8::to_ascii_lowercase) {
        Some(b'p') => {
            let name = word.to_ascii_lowercase();
            let advisory =
                name.starts_with(b"pg_advisory_") || name.starts_with(b"pg_try_advisory_");
            // The transaction-level ones (…_xact_…) are let go by the server itself.
            let locks = advisory && memchr::memmem::find(&name, b"_xact_").is_none();
            if locks || name.ends_with(b"_replication_slot") {
                Effects::STATE
            } else if is_one_of(&HIDDEN) {
                Effects::HIDDEN
            } else {
                Effects::NONE
            }
        }
        Some(b'c' | b'd' | b'q' | b's' | b't' | b'x') if is_one_of(&DYNAMIC) => Effects::ANYTHING,
        Some(b'd') if is_one_of(&HIDDEN) => Effects::HIDDEN,
        _ => Effects::NONE,
    }
}
