//! Calls of functions: which are known to leave nothing behind.

use super::names::Call;
use super::verb::Verb;
use super::{Effects, Scanner, Token};

/// Functions of the server's own that run the SQL they are given.
const DYNAMIC: [&[u8]; 7] = [
    b"cursor_to_xml",
    b"query_to_xml",
    b"query_to_xml_and_xmlschema",
    b"query_to_xmlschema",
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
        let names_something = match self.follows {
            Token::Naming => true,
            Token::Close => !self.distinct_on,
            _ => false,
        };
        if names_something {
            return;
        }
        let word = self.word;
        if word.eq_ignore_ascii_case(b"set_config") {
            self.effects |= self.set_config();
            return;
        }
        self.effects |= special(word);
        if matches!(self.names.call(word), Call::Unknown) && !self.is_asked_anyway() {
            self.effects |= Effects::ANYTHING;
        }
    }

    /// Where tables and columns are made, names before parentheses are mostly theirs.
    fn is_asked_anyway(&self) -> bool {
        matches!(self.verb, Verb::Create | Verb::Schema | Verb::Body)
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
            let comma = ahead.skip_argument();
            let length = whole.len() - ahead.rest.len();
            *place = whole.get(..length).unwrap_or_default().trim_ascii();
            if !comma {
                break;
            }
            ahead.advance(1);
        }
        found
    }

    /// Goes on to the comma or parenthesis that ends an argument; whether it is a comma.
    fn skip_argument(&mut self) -> bool {
        let mut depth = 0usize;
        while let Some((&byte, after)) = self.rest.split_first() {
            match byte {
                b',' if depth == 0 => return true,
                b')' if depth == 0 => return false,
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\'' => {
                    self.rest = after;
                    self.skip_string(!self.conforming);
                    continue;
                }
                // Strings of other forms, quoted names and comments are not worth reading: the rest is not told.
                b'"' | b'\\' | b'&' | b'/' | b'-' => {
                    self.rest = &[];
                    return false;
                }
                _ => {}
            }
            self.rest = after;
        }
        false
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
        Some(b'c' | b'q' | b't' | b'x') if is_one_of(&DYNAMIC) => Effects::ANYTHING,
        Some(b'd') if is_one_of(&HIDDEN) => Effects::HIDDEN,
        _ => Effects::NONE,
    }
}
