//! Splits the text of a function's body into words, names, strings and signs.

/// A part of a body.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// In lower case.
    Word(String),
    /// A quoted name, in lower case.
    Name(String),
    /// What stands between the quotes of a string, as it is written.
    Text {
        text: &'a str,
        /// It means what is written: it is in single quotes, without a letter before them and without escapes.
        plain: bool,
    },
    /// A name that is not as it is written: `U&"…"`.
    Escaped,
    Sign(char),
}

/// Words and signs of a text in whatever language: nothing is left out, and quotes are signs.
pub(super) fn loose(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer::of(text, true);
    while let Some(first) = lexer.rest.chars().next() {
        if begins_word(first) {
            lexer.word();
        } else {
            lexer.sign(first);
        }
    }
    lexer.tokens
}

/// The tokens of SQL or PL/pgSQL, without comments; `conforming` as `standard_conforming_strings` says.
pub(super) fn sql(text: &str, conforming: bool) -> Vec<Token<'_>> {
    let mut lexer = Lexer::of(text, conforming);
    while let Some(first) = lexer.rest.chars().next() {
        match first {
            '-' if lexer.rest.starts_with("--") => lexer.line_comment(),
            '/' if lexer.rest.starts_with("/*") => lexer.block_comment(),
            '\'' => lexer.string(1, !conforming),
            '"' => lexer.name(),
            '$' => lexer.dollar(),
            _ if begins_word(first) => match lexer.prefix() {
                Some(("u&\"", _)) => {
                    lexer.skip(2);
                    lexer.name();
                    lexer.tokens.pop();
                    lexer.tokens.push(Token::Escaped);
                }
                Some((prefix, escapes)) => {
                    lexer.string(prefix.len(), escapes);
                    if let Some(Token::Text { plain, .. }) = lexer.tokens.last_mut() {
                        *plain = false;
                    }
                }
                None => lexer.word(),
            },
            _ => lexer.sign(first),
        }
    }
    lexer.tokens
}

/// What makes another string, or name, of the quote in it; and whether backslashes escape, where that is fixed.
const PREFIXES: [(&str, bool); 6] = [
    ("e'", true),
    ("b'", false),
    ("x'", false),
    ("n'", false),
    ("u&'", false),
    ("u&\"", false),
];

fn begins_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn in_word(c: char) -> bool {
    begins_word(c) || c.is_ascii_digit() || c == '$'
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token<'a>>,
    conforming: bool,
}

impl<'a> Lexer<'a> {
    fn of(text: &'a str, conforming: bool) -> Self {
        Self {
            rest: text,
            tokens: Vec::new(),
            conforming,
        }
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn word(&mut self) {
        let length = self.rest.find(|c| !in_word(c)).unwrap_or(self.rest.len());
        let word = self.take(length).to_lowercase();
        self.tokens.push(Token::Word(word));
    }

    fn sign(&mut self, first: char) {
        self.skip(first.len_utf8());
        if !first.is_whitespace() {
            self.tokens.push(Token::Sign(first));
        }
    }

    fn prefix(&self) -> Option<(&'static str, bool)> {
        let is = |prefix: &str| {
            let start = self.rest.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let (prefix, escapes) = PREFIXES.into_iter().find(|(prefix, _)| is(prefix))?;
        // A national string is one like any other.
        Some((prefix, escapes || (prefix == "n'" && !self.conforming)))
    }

    /// A string whose first quote ends behind so many bytes.
    fn string(&mut self, begin: usize, escapes: bool) {
        self.skip(begin);
        let whole = self.rest;
        let mut plain = true;
        loop {
            let Some(at) = self.rest.find(['\'', '\\']) else {
                self.rest = "";
                break;
            };
            let here = self.rest.get(at..).unwrap_or_default();
            if here.starts_with('\\') {
                plain = false;
                let escaped = here.chars().nth(1).filter(|_| escapes);
                self.skip(at + 1 + escaped.map_or(0, char::len_utf8));
            } else if here.starts_with("''") {
                plain = false;
                self.skip(at + 2);
            } else {
                self.skip(at);
                match continued(here).filter(|_| escapes) {
                    Some(length) => self.skip(length),
                    None => break,
                }
            }
        }
        let length = whole.len() - self.rest.len();
        let text = whole.get(..length).unwrap_or_default();
        self.skip(1);
        self.tokens.push(Token::Text { text, plain });
    }

    fn name(&mut self) {
        self.skip(1);
        let mut name = String::new();
        loop {
            let end = self.rest.find('"').unwrap_or(self.rest.len());
            name.push_str(self.take(end));
            self.skip(1);
            if !self.rest.starts_with('"') {
                break;
            }
            name.push('"');
            self.skip(1);
        }
        self.tokens.push(Token::Name(name.to_lowercase()));
    }

    fn dollar(&mut self) {
        let after = self.rest.get(1..).unwrap_or_default();
        let tag = |c: char| in_word(c) && c != '$';
        let end = after.find(|c| !tag(c)).unwrap_or(after.len());
        let is_tag = after.get(end..).is_some_and(|rest| rest.starts_with('$'));
        if !is_tag || after.starts_with(|c: char| c.is_ascii_digit()) {
            self.sign('$');
            return;
        }
        let tag = self.take(end + 2);
        let end = self.rest.find(tag).unwrap_or(self.rest.len());
        let text = self.take(end);
        self.skip(tag.len());
        self.tokens.push(Token::Text { text, plain: false });
    }

    fn line_comment(&mut self) {
        let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
        self.skip(end);
    }

    fn block_comment(&mut self) {
        self.skip(2);
        let mut depth = 1usize;
        while depth > 0 {
            let Some(at) = self.rest.find(['*', '/']) else {
                self.rest = "";
                return;
            };
            let here = self.rest.get(at..).unwrap_or_default();
            let length = if here.starts_with("*/") {
                depth -= 1;
                2
            } else if here.starts_with("/*") {
                depth += 1;
                2
            } else {
                1
            };
            self.skip(at + length);
        }
    }
}

/// From a string's last quote on: how long it is to behind the quote on a later line that goes on with it.
fn continued(text: &str) -> Option<usize> {
    let mut rest = text.get(1..)?;
    let mut lines = false;
    loop {
        rest = match rest.chars().next()? {
            '\n' | '\r' => {
                lines = true;
                rest.get(1..)?
            }
            ' ' | '\t' | '\x0b' | '\x0c' => rest.get(1..)?,
            '-' if rest.starts_with("--") => rest.get(rest.find(['\n', '\r'])?..)?,
            '\'' if lines => return Some(text.len() - rest.len() + 1),
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let mut found = Vec::new();
        for token in sql(text, true) {
            match token {
                Token::Word(word) | Token::Name(word) => found.push(word),
                Token::Text { text, .. } => found.push(format!("<{text}>")),
                Token::Escaped => found.push("?".to_owned()),
                Token::Sign(_) => {}
            }
        }
        found.join(" ")
    }

    #[test]
    fn strings_and_comments_end_where_the_server_ends_them() {
        for (text, found) in [
            ("a '/*' b", "a </*> b"),
            ("a '--' b", "a <--> b"),
            ("a -- 'b\nc", "a c"),
            ("a /* ' /* b */ ' */ c", "a c"),
            ("'it''s' a", "<it''s> a"),
            ("E'a\\' b' c", "<a\\' b> c"),
            ("E'a' -- x\n '\\'' b", "<a' -- x\n '\\'> b"),
            ("'a\\' b", "<a\\> b"),
            ("U&'d' \"A\"\"b\" U&\"c\" d", "<d> a\"b ? d"),
            ("$$a 'b$$ c $x$ $$ $x$ d$e$ f", "<a 'b> c < $$ > d$e$ f"),
            ("$1 $2a$ b", "a$ b"),
            ("a 'b", "a <b>"),
            ("a /* b", "a"),
            ("a $$b", "a <b>"),
        ] {
            assert_eq!(words(text), found, "{text}");
        }
        assert_eq!(sql("'a\\' b'", false).len(), 1);
        assert_eq!(loose("'a' -- b").len(), 6);
    }

    #[test]
    fn no_text_is_too_odd() {
        let parts = [
            "e'", "U&\"", "n'", "$", "$$", "$a$", "'", "\"", "\\", "/*", "*/", "--", "\n",
            "\u{e9}", "1", "a",
        ];
        for number in 0..parts.len().pow(4) {
            let text: String = (0..4)
                .map(|place| parts[number / parts.len().pow(place) % parts.len()])
                .collect();
            let _ = (sql(&text, true), sql(&text, false), loose(&text));
        }
    }
}
