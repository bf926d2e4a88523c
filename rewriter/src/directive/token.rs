//! The words and signs of an annotation, with their places.

use crate::error::{Error, ErrorKind};

/// A word or sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name: a letter or `_`, then letters, digits, `_` or `$`.
    Word(String),
    /// Text between double or single quotes, the quotes taken off, doubled ones halved.
    Quoted(String),
    /// Digits, perhaps with a point, perhaps with letters behind: `5`, `1.5s`.
    Number(String),
    /// One of `@ ( ) [ ] , : . - +`.
    Sign(char),
}

impl Token {
    /// The token as an error message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Number(text) => format!("\"{text}\""),
            Self::Quoted(text) => format!("the string \"{text}\""),
            Self::Sign(sign) => format!("\"{sign}\""),
        }
    }
}

/// A token and the bytes it takes, counted in the whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Splits an annotation that begins at byte `base` of the whole text.
pub(super) fn tokens(annotation: &str, base: usize) -> Result<Vec<Spanned>, Error> {
    let mut found = Vec::new();
    let mut rest = annotation;
    loop {
        rest = rest.trim_start();
        let start = annotation.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            return Ok(found);
        };
        let (token, length) = token(rest, first).map_err(|error| error.at(base + start))?;
        found.push(Spanned {
            token,
            start: base + start,
            end: base + start + length,
        });
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn token(rest: &str, first: char) -> Result<(Token, usize), Error> {
    match first {
        '@' | '(' | ')' | '[' | ']' | ',' | ':' | '.' | '-' | '+' => Ok((Token::Sign(first), 1)),
        '"' | '\'' => quoted(rest, first),
        _ if first.is_ascii_digit() => {
            let text = leading(rest, |c| c.is_ascii_alphanumeric() || c == '.');
            Ok((Token::Number(text.to_owned()), text.len()))
        }
        _ if first.is_alphabetic() || first == '_' => {
            let text = leading(rest, |c| c.is_alphanumeric() || c == '_' || c == '$');
            Ok((Token::Word(text.to_owned()), text.len()))
        }
        _ => Err(Error::new(
            ErrorKind::Syntax,
            format!(
                "\"{}\" has no meaning in an annotation",
                first.escape_default()
            ),
        )
        .hinted("An annotation is made of directives: @name(argument, name: argument).")),
    }
}

/// The longest start of `text` made of such characters.
fn leading(text: &str, keep: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !keep(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn quoted(rest: &str, quote: char) -> Result<(Token, usize), Error> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return Ok((Token::Quoted(text), at + 1));
        }
        text.push(letter);
    }
    Err(
        Error::new(ErrorKind::Syntax, "the string is not closed").hinted(format!(
            "Close it with {quote}; a {quote} inside is written twice."
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::{Token, tokens};

    #[test]
    fn tokens_know_their_places() {
        let found = tokens("@a (é, 'it''s')", 10).unwrap();
        let places: Vec<(usize, usize)> = found.iter().map(|t| (t.start, t.end)).collect();
        assert_eq!(
            places,
            [
                (10, 11),
                (11, 12),
                (13, 14),
                (14, 16),
                (16, 17),
                (18, 25),
                (25, 26)
            ]
        );
        assert!(
            found
                .iter()
                .any(|t| t.token == Token::Quoted("it's".to_owned()))
        );
    }

    #[test]
    fn an_open_string_is_an_error() {
        assert!(tokens("@a('b", 0).unwrap_err().is_syntax());
    }
}
