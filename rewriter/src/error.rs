//! What can be wrong with an annotated statement, in words for the person who wrote it.

/// Why a statement could not be rewritten.
///
/// The message says what is wrong, [`position`](Self::position) where, [`hint`](Self::hint) what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    position: Position,
}

/// The sorts of errors, each with one SQLSTATE and one MongoDB code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The annotation is not well formed, or the statement's end is missing: 42601.
    Syntax,
    /// The directive can't apply to this statement: 0A000.
    NotSupported,
    /// The directive is known, but not built yet: 0A000.
    NotBuilt,
    /// A name of a directive or of an argument is unknown: 42601.
    UnknownName,
    /// A column does not exist: 42703.
    UndefinedColumn,
    /// A relation does not exist: 42703.
    UndefinedRelation,
    /// The statement's table does not exist: 42P01.
    UndefinedTable,
    /// A column that would be added is there already: 42701.
    DuplicateColumn,
    /// No unique index fits the conflict target: 42P10.
    InvalidConflictTarget,
    /// A value is out of its bounds: 22023.
    InvalidValue,
    /// A value is of another type than it has to be: 42804.
    TypeMismatch,
    /// More nesting than is allowed: 54001.
    TooComplex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Unknown,
    /// A byte offset in the text that is being read.
    Byte(usize),
    /// A 1-based character offset, as the outside sees it.
    Char(usize),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            position: Position::Unknown,
        }
    }

    /// Adds the byte at which it went wrong, unless one is known already.
    pub(crate) fn at(mut self, byte: usize) -> Self {
        if self.position == Position::Unknown {
            self.position = Position::Byte(byte);
        }
        self
    }

    /// Shifts the byte at which it went wrong: what was read was part of a larger text.
    pub(crate) fn moved(mut self, by: usize) -> Self {
        if let Position::Byte(byte) = self.position {
            self.position = Position::Byte(byte + by);
        }
        self
    }

    /// Says in which part of the statement it went wrong.
    pub(crate) fn within_part(mut self, part: &str) -> Self {
        self.message = format!("{part}: {}", self.message);
        self
    }

    /// Adds what to do about it.
    pub(crate) fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Turns a byte offset into the character offset that is shown. The last step before the
    /// error leaves the crate.
    pub(crate) fn within(mut self, text: &str) -> Self {
        if let Position::Byte(byte) = self.position {
            let characters = text.char_indices().take_while(|(at, _)| *at < byte).count();
            self.position = Position::Char(characters + 1);
        }
        self
    }

    /// The sort of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the directive is known but not built, or can't apply to this statement.
    pub fn is_not_supported(&self) -> bool {
        matches!(self.kind, ErrorKind::NotSupported | ErrorKind::NotBuilt)
    }

    /// Whether the annotation itself is malformed or has an unknown name in it.
    pub fn is_syntax(&self) -> bool {
        matches!(self.kind, ErrorKind::Syntax | ErrorKind::UnknownName)
    }

    /// Whether a directive names a relation that is not known.
    pub fn is_undefined_relation(&self) -> bool {
        self.kind == ErrorKind::UndefinedRelation
    }

    /// The SQLSTATE, field `C` of an ErrorResponse.
    pub fn sqlstate(&self) -> &'static str {
        match self.kind {
            ErrorKind::Syntax | ErrorKind::UnknownName => "42601",
            ErrorKind::NotSupported | ErrorKind::NotBuilt => "0A000",
            ErrorKind::UndefinedColumn | ErrorKind::UndefinedRelation => "42703",
            ErrorKind::UndefinedTable => "42P01",
            ErrorKind::DuplicateColumn => "42701",
            ErrorKind::InvalidConflictTarget => "42P10",
            ErrorKind::InvalidValue => "22023",
            ErrorKind::TypeMismatch => "42804",
            ErrorKind::TooComplex => "54001",
        }
    }

    /// The code of a MongoDB error document.
    pub fn mongo_code(&self) -> i32 {
        self.mongo().0
    }

    /// The name that goes with [`mongo_code`](Self::mongo_code).
    pub fn mongo_code_name(&self) -> &'static str {
        self.mongo().1
    }

    fn mongo(&self) -> (i32, &'static str) {
        match self.kind {
            ErrorKind::Syntax | ErrorKind::UnknownName => (9, "FailedToParse"),
            ErrorKind::NotSupported => (115, "CommandNotSupported"),
            ErrorKind::NotBuilt => (238, "NotImplemented"),
            ErrorKind::UndefinedTable => (26, "NamespaceNotFound"),
            ErrorKind::InvalidConflictTarget => (27, "IndexNotFound"),
            ErrorKind::UndefinedColumn
            | ErrorKind::UndefinedRelation
            | ErrorKind::DuplicateColumn
            | ErrorKind::InvalidValue => (2, "BadValue"),
            ErrorKind::TypeMismatch => (14, "TypeMismatch"),
            ErrorKind::TooComplex => (15, "Overflow"),
        }
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is wrong: a 1-based offset in characters of the text that was given, as field `P` of
    /// an ErrorResponse wants it.
    pub fn position(&self) -> Option<usize> {
        match self.position {
            Position::Char(character) => Some(character),
            Position::Unknown | Position::Byte(_) => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, ErrorKind};

    #[test]
    fn positions_count_characters_from_one() {
        let text = "é@x";
        let error = Error::new(ErrorKind::Syntax, "x").at(2).within(text);
        assert_eq!(error.position(), Some(2));
        assert_eq!(
            Error::new(ErrorKind::Syntax, "x").within(text).position(),
            None
        );
    }
}
