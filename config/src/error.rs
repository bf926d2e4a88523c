//! Everything that is wrong with a set of settings, told at once.

use std::fmt;

/// All the problems found in one go. `Display` gives one paragraph for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Errors(Vec<Problem>);

/// One thing that is wrong: where, which key, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    key: String,
    message: String,
    hint: Option<String>,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file; line and column count from 1, the column in characters.
    File {
        /// The file's name as it was given.
        name: String,
        /// Line and column; `None`: the file as a whole.
        position: Option<(usize, usize)>,
    },
    /// In an environment variable.
    Environment(String),
    /// By a flag of the command line.
    Flag(String),
    /// In a document of a database.
    Document {
        /// The document's collection.
        collection: &'static str,
        /// Its `_id`.
        id: String,
    },
    /// Nowhere: there is no file, and the key is missing or keeps its default.
    Default,
}

impl Errors {
    /// The problems, in the order of their places.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    fn text(&self) -> String {
        let texts: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        texts.join("\n")
    }
}

impl Problem {
    pub(crate) fn new(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place,
            key: key.into(),
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Tells the key by another name of the table that it is in.
    pub(crate) fn rename(&mut self, table: &str, name: &str) {
        if let Some(rest) = self.key.strip_prefix(table) {
            self.key = format!("{name}{rest}");
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The key's full path, such as `pool.size`; empty if the problem is not about one key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The whole of it in one line, for where paragraphs have no place.
    pub fn in_one_line(&self) -> String {
        self.to_string().replace("\n  hint: ", "; ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                name,
                position: Some((line, column)),
            } => write!(f, "{name}:{line}:{column}"),
            Self::File {
                name,
                position: None,
            } => f.write_str(name),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Document { collection, id } => write!(f, "{collection} {id:?}"),
            Self::Default => f.write_str("settings"),
        }
    }
}
