//! What the words of a statement say of it: its verb, and what makes the verb another.

use super::{Effects, Scanner, Token};

/// What kind of statement it is, where later words matter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    None,
    Plain,
    Set,
    /// `SET LOCAL`, if a name follows.
    SetLocal,
    /// `SET TRANSACTION`, `SET CONSTRAINTS`, if more words follow.
    SetTransaction,
    Create,
    /// `ALTER`, `DROP`, …: the server is asked whatever is named in it.
    Schema,
    Declare,
    Discard,
    Rollback,
    Explain,
    Prepare,
    /// `ANALYZE`, `VACUUM`: whatever they name is a table or a column.
    Tables,
    /// `WITH`, up to the verb that its parts are for.
    With,
    /// `DO`: its strings are code.
    Body,
}

const ASKED: Effects = Effects::SETTINGS.or(Effects::STATE);
/// What is made may be temporary; settings are changed by what is called, which has a name.
const SCHEMA: Effects = Effects::STATE.or(Effects::DDL);

/// Verbs that leave nothing behind by themselves.
const HARMLESS: [&[u8]; 24] = [
    b"abort",
    b"begin",
    b"call",
    b"checkpoint",
    b"cluster",
    b"commit",
    b"delete",
    b"end",
    b"fetch",
    b"insert",
    b"lock",
    b"merge",
    b"move",
    b"notify",
    b"release",
    b"savepoint",
    b"select",
    b"show",
    b"start",
    b"table",
    b"update",
    b"values",
    b"with",
    // Its rows go, its schema stays.
    b"truncate",
];

/// Whether a verb writes to tables, or may.
fn is_writing(word: &[u8]) -> bool {
    let is = |other: &[u8]| word.eq_ignore_ascii_case(other);
    match word.len() {
        4 => is(b"copy") || is(b"call"),
        5 => is(b"merge"),
        6 => is(b"insert") || is(b"update") || is(b"delete"),
        8 => is(b"truncate"),
        _ => false,
    }
}

impl Scanner<'_> {
    pub(super) fn first_word(&mut self, word: &[u8]) -> Token {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        self.writes |= is_writing(word);
        let (effects, verb) = match word.first().map(u8::to_ascii_lowercase) {
            Some(b's') if is("select") => (Effects::NONE, Verb::Plain),
            Some(b'i') if is("insert") => {
                self.verb = Verb::Plain;
                return Token::Insert;
            }
            Some(b'm') if is("merge") => {
                self.verb = Verb::Plain;
                return Token::Insert;
            }
            Some(b'c') if is("copy") => {
                self.verb = Verb::Plain;
                return Token::Naming;
            }
            Some(b'a') if is("analyze") || is("analyse") => (Effects::NONE, Verb::Tables),
            Some(b'v') if is("vacuum") => (Effects::NONE, Verb::Tables),
            Some(b'g') if is("grant") => self.fire(),
            Some(b'r') if is("revoke") || is("reindex") => self.fire(),
            Some(b'w') if is("with") => {
                self.verb = Verb::With;
                return Token::Naming;
            }
            Some(b's') if is("set") => (Effects::SETTINGS, Verb::Set),
            Some(b'r') if is("rollback") => (Effects::NONE, Verb::Rollback),
            Some(b'r') if is("reset") => (Effects::SETTINGS, Verb::Plain),
            Some(b'd') if is("discard") => (ASKED | Effects::DEALLOCATE, Verb::Discard),
            Some(b'd') if is("deallocate") => (Effects::STATE | Effects::DEALLOCATE, Verb::Plain),
            Some(b'd') if is("declare") => (Effects::NONE, Verb::Declare),
            Some(b'd') if is("drop") => (SCHEMA, Verb::Schema),
            Some(b'd') if is("do") => (Effects::ANYTHING, Verb::Body),
            Some(b'e') if is("explain") => (Effects::NONE, Verb::Explain),
            Some(b'e') if is("execute") => (Effects::EXECUTE, Verb::Plain),
            Some(b'l') if is("load") => (Effects::LOAD, Verb::Plain),
            Some(b'l') if is("listen") => (Effects::STATE, Verb::Plain),
            Some(b'u') if is("unlisten") => (Effects::STATE, Verb::Plain),
            Some(b'p') if is("prepare") => (Effects::STATE, Verb::Prepare),
            Some(b'c') if is("close") => (Effects::STATE, Verb::Plain),
            Some(b'c') if is("create") => (SCHEMA, Verb::Create),
            Some(b'a') if is("alter") => (SCHEMA, Verb::Schema),
            Some(b'c') if is("comment") => (SCHEMA, Verb::Schema),
            Some(b'i') if is("import") => (SCHEMA, Verb::Schema),
            Some(b'r') if is("reassign") => (SCHEMA, Verb::Schema),
            Some(b'r') if is("refresh") => (ASKED, Verb::Schema),
            _ if HARMLESS
                .iter()
                .any(|known| word.eq_ignore_ascii_case(known)) =>
            {
                (Effects::NONE, Verb::Plain)
            }
            // Nobody knows what it does.
            _ => (Effects::ANYTHING, Verb::Plain),
        };
        if !effects.is_empty() {
            // What of it is made may be computed from what a table computes when it is written.
            self.writes = true;
            self.fires |= effects.contains(Effects::DDL) || verb == Verb::Schema;
        }
        self.verb = self.mark(effects, verb);
        Token::Other
    }

    /// Who may do what says nothing of what it does; but event triggers fire on it.
    fn fire(&mut self) -> (Effects, Verb) {
        self.fires = true;
        (Effects::NONE, Verb::Plain)
    }

    pub(super) fn mark(&mut self, effects: Effects, verb: Verb) -> Verb {
        self.effects |= effects;
        verb
    }

    pub(super) fn later_word(&mut self, word: &[u8]) -> Token {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        match self.verb {
            Verb::Plain => {}
            Verb::Set if self.words == 2 => {
                self.verb = if is("local") {
                    Verb::SetLocal
                } else if is("transaction") || is("constraints") {
                    Verb::SetTransaction
                } else {
                    Verb::Plain
                };
            }
            Verb::SetLocal | Verb::SetTransaction => self.later_name(),
            // ROLLBACK TO a savepoint takes back settings that were made since.
            Verb::Rollback if is("to") => self.effects |= Effects::LOCAL,
            Verb::Discard if is("all") => self.effects |= Effects::DISCARD_ALL,
            Verb::Declare if is("hold") => self.effects |= Effects::STATE,
            Verb::Create if self.is_temporary(word) => {
                // It goes with its session: nobody else's catalog changes.
                self.effects = self.before | Effects::STATE;
                self.verb = Verb::Schema;
            }
            // EXPLAIN ANALYZE does what it explains.
            Verb::Explain if is("execute") => {
                self.verb = self.mark(Effects::EXECUTE, Verb::Plain);
            }
            Verb::Create | Verb::Schema if self.begins_query(word) => self.verb = Verb::Plain,
            Verb::Explain if is("create") => self.verb = self.mark(SCHEMA, Verb::Create),
            Verb::Explain if is("select") => self.verb = Verb::Plain,
            Verb::With if self.depth == 0 && self.last == Token::Close && !is("as") => {
                let token = self.token(word);
                self.verb = Verb::Plain;
                return token;
            }
            _ => {}
        }
        self.token(word)
    }

    /// A second or later name: SET LOCAL, SET TRANSACTION and SET CONSTRAINTS end with the transaction. But
    /// `SET local.a = 1` does not.
    pub(super) fn later_name(&mut self) {
        let adjacent = !self.word.is_empty();
        match self.verb {
            Verb::SetLocal if adjacent && self.words == 3 => {
                self.effects = self.before | Effects::LOCAL;
            }
            Verb::SetTransaction if adjacent && self.words == 3 => self.effects = self.before,
            Verb::Set | Verb::SetLocal | Verb::SetTransaction => {}
            _ => return,
        }
        self.verb = Verb::Plain;
    }

    /// Whether a word of a CREATE says that what is created is temporary.
    fn is_temporary(&self, word: &[u8]) -> bool {
        let is_one_of =
            |word: &[u8], of: &[&[u8]]| of.iter().any(|other| word.eq_ignore_ascii_case(other));
        is_one_of(word, &[b"temp", b"temporary"])
            && (self.words == 2 || is_one_of(self.word, &[b"local", b"global", b"replace"]))
    }

    /// What a word says of the name that follows it.
    fn token(&mut self, word: &[u8]) -> Token {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        if is_writing(word) && !self.word.eq_ignore_ascii_case(b"for") {
            self.writes = true;
        }
        match word.len() {
            2 if is("as") => Token::Naming,
            2 if is("on") => {
                self.distinct_on |= self.last == Token::Distinct;
                self.naming_if(self.defines())
            }
            2 if is("by") => self.naming_if(self.verb == Verb::Create),
            4 if is("into") => {
                if self.last != Token::Insert {
                    // SELECT INTO makes a table, in the first schema of the path if it names none.
                    self.effects |= Effects::STATE | Effects::DDL;
                }
                Token::Naming
            }
            4 if is("with") => Token::Naming,
            4 if is("view") => self.naming_if(self.defines()),
            5 if is("using") => self.naming_if(self.verb == Verb::Create),
            5 if is("table") => self.naming_if(self.defines()),
            5 if is("merge") && self.is_verb() => Token::Insert,
            6 if is("insert") && self.is_verb() => Token::Insert,
            6 if is("exists") => self.naming_if(self.defines()),
            8 if is("function") => self.naming_if(self.defines()),
            8 if is("distinct") => Token::Distinct,
            9 if is("procedure") || is("aggregate") => self.naming_if(self.defines()),
            9 if is("recursive") => Token::Naming,
            10 if is("ordinality") || is("references") => Token::Naming,
            _ => Token::Other,
        }
    }

    fn defines(&self) -> bool {
        matches!(self.verb, Verb::Create | Verb::Schema)
    }

    fn naming_if(&self, holds: bool) -> Token {
        if holds { Token::Naming } else { Token::Other }
    }

    /// Whether a query begins in what makes or changes something: names before parentheses are no longer those of
    /// tables then.
    fn begins_query(&self, word: &[u8]) -> bool {
        self.words > 2
            && [&b"as"[..], b"select", b"with", b"values"]
                .iter()
                .any(|other| word.eq_ignore_ascii_case(other))
    }

    /// Whether a word is a verb, and not a column or an alias, where it may be either.
    fn is_verb(&self) -> bool {
        match self.verb {
            Verb::Explain | Verb::Prepare => true,
            Verb::With => {
                self.last == Token::Open || (self.depth == 0 && self.last == Token::Close)
            }
            _ => self.last == Token::Open,
        }
    }

    /// The body of a DO block, which runs at once.
    pub(super) fn body(&mut self, text: &[u8]) {
        let lower = text.to_ascii_lowercase();
        let has = |needle: &str| memchr::memmem::find(&lower, needle.as_bytes()).is_some();
        if ["create", "alter", "drop", "execute"].into_iter().any(has) {
            self.effects |= Effects::DDL;
        }
        let inner = super::scan(text, self.names, self.conforming);
        for flag in [Effects::UNTOLD, Effects::HIDDEN, Effects::LOAD] {
            if inner.contains(flag) {
                self.effects |= flag;
            }
        }
    }
}
