//! The shape of directives, before any of their names has a meaning.
//!
//! ```text
//! annotation = directive { [ "," ] directive }
//! directive  = "@" name [ "(" [ arguments ] ")" ]
//! arguments  = argument { "," argument } [ "," ]
//! argument   = name ":" value | value
//! value      = "[" [ value { "," value } [ "," ] ] "]" | path | number | string
//! path       = [ "-" | "+" ] step { "." step }
//! step       = ( name | string ) [ "(" [ arguments ] ")" ]
//! ```

use super::token::{Spanned, Token, tokens};
use crate::error::{Error, ErrorKind};

/// Deeper brackets than this are refused, so that no input can exhaust the stack.
const DEEPEST: usize = 32;

/// `@name(arguments)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: Name,
    pub(super) arguments: Vec<Argument>,
}

/// A name and the byte at which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name: as written, without quotes.
    pub text: String,
    /// Whether it was quoted, and so has to match exactly.
    pub quoted: bool,
    pub(crate) at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    /// The name before the colon.
    pub(super) label: Option<Name>,
    pub(super) value: Value,
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    List(Vec<Argument>),
    Path {
        sign: Option<char>,
        steps: Vec<Call>,
    },
    Number(String),
}

/// Reads all directives of an annotation that begins at byte `base`.
pub(super) fn read(annotation: &str, base: usize) -> Result<Vec<Call>, Error> {
    let tokens = tokens(annotation, base)?;
    let mut reader = Reader {
        tokens: &tokens,
        end: base + annotation.len(),
        depth: 0,
    };
    let mut calls = Vec::new();
    while let Some(next) = reader.peek() {
        let at = next.start;
        if reader.take('@') {
            let name = reader.name("the name of a directive after \"@\"")?;
            let arguments = reader.arguments()?;
            calls.push(Call { name, arguments });
            reader.take(',');
        } else {
            let message = format!("expected a directive, found {}", next.token.shown());
            return Err(Error::new(ErrorKind::Syntax, message).at(at).hinted(
                "A comment that begins with \"@\" holds directives only; put other words into a \
                 comment of their own.",
            ));
        }
    }
    Ok(calls)
}

struct Reader<'a> {
    tokens: &'a [Spanned],
    end: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Spanned> {
        self.tokens.first()
    }

    fn next(&mut self) -> Option<&'a Spanned> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// Takes this sign if it is next.
    fn take(&mut self, sign: char) -> bool {
        let there = self
            .peek()
            .is_some_and(|next| next.token == Token::Sign(sign));
        if there {
            self.next();
        }
        there
    }

    fn unexpected(&self, wanted: &str) -> Error {
        match self.peek() {
            Some(found) => Error::new(
                ErrorKind::Syntax,
                format!("expected {wanted}, found {}", found.token.shown()),
            )
            .at(found.start),
            None => Error::new(
                ErrorKind::Syntax,
                format!("expected {wanted}, found the end"),
            )
            .at(self.end),
        }
    }

    fn name(&mut self, wanted: &str) -> Result<Name, Error> {
        let (text, quoted, at) = match self.peek() {
            Some(Spanned {
                token: Token::Word(text),
                start,
                ..
            }) => (text, false, *start),
            Some(Spanned {
                token: Token::Quoted(text),
                start,
                ..
            }) => (text, true, *start),
            _ => return Err(self.unexpected(wanted)),
        };
        self.next();
        Ok(Name {
            text: text.clone(),
            quoted,
            at,
        })
    }

    fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let error = Error::new(ErrorKind::TooComplex, "the brackets are nested too deeply");
            return Err(error.at(self.peek().map_or(self.end, |next| next.start)));
        }
        Ok(())
    }

    /// Arguments in parentheses, or none at all.
    fn arguments(&mut self) -> Result<Vec<Argument>, Error> {
        if !self.take('(') {
            return Ok(Vec::new());
        }
        self.until(')', |reader| {
            let at = reader.peek().map_or(reader.end, |next| next.start);
            let label = reader.label();
            Ok(Argument {
                label,
                value: reader.value()?,
                at,
            })
        })
    }

    /// Items with commas between them, up to the closing sign.
    fn until(
        &mut self,
        close: char,
        item: impl Fn(&mut Self) -> Result<Argument, Error>,
    ) -> Result<Vec<Argument>, Error> {
        self.deeper()?;
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(item(self)?);
            if !self.take(',') && !self.peek().is_some_and(|n| n.token == Token::Sign(close)) {
                return Err(self.unexpected(&format!("\",\" or \"{close}\"")));
            }
        }
        self.depth -= 1;
        Ok(items)
    }

    /// `name:`, if that is next.
    fn label(&mut self) -> Option<Name> {
        match self.tokens {
            [
                Spanned {
                    token: Token::Word(text),
                    start,
                    ..
                },
                colon,
                ..,
            ] if colon.token == Token::Sign(':') => {
                self.next();
                self.next();
                Some(Name {
                    text: text.clone(),
                    quoted: false,
                    at: *start,
                })
            }
            _ => None,
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        if self.take('[') {
            return self
                .until(']', |reader| {
                    let at = reader.peek().map_or(reader.end, |next| next.start);
                    Ok(Argument {
                        label: None,
                        value: reader.value()?,
                        at,
                    })
                })
                .map(Value::List);
        }
        if let Some(Spanned {
            token: Token::Number(text),
            ..
        }) = self.peek()
        {
            self.next();
            return Ok(Value::Number(text.clone()));
        }
        let sign = ['-', '+'].into_iter().find(|sign| self.take(*sign));
        let mut steps = Vec::new();
        loop {
            let name = self.name("a name or a value")?;
            let arguments = self.arguments()?;
            steps.push(Call { name, arguments });
            if !self.take('.') {
                return Ok(Value::Path { sign, steps });
            }
        }
    }
}
