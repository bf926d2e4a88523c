//! Typed access to what was set. Every getter notes its problem and goes on, so that one run
//! finds all of them.

mod duration;
mod secret;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use crate::error::{Place, Problem};
use crate::key;
use crate::nearest::{list, nearest};
use crate::source::{Item, Path, Source, Value};

pub(crate) use duration::show as show_duration;

/// Reads a [`Source`] and collects what is wrong with it.
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a Source,
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Relative paths start here.
    pub(crate) folder: &'a FilePath,
    pub(crate) problems: RefCell<Vec<Problem>>,
    /// Files that were read or are referred to.
    pub(crate) files: RefCell<Vec<PathBuf>>,
}

/// One table.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    pub(crate) reader: &'a Reader<'a>,
    pub(crate) path: Path,
}

impl<'a> Reader<'a> {
    pub(crate) fn root(&'a self) -> Section<'a> {
        Section {
            reader: self,
            path: Vec::new(),
        }
    }
}

impl<'a> Section<'a> {
    /// A table inside.
    pub(crate) fn section(&self, name: &str) -> Self {
        Self {
            reader: self.reader,
            path: self.child(name),
        }
    }

    /// Names of what is set inside.
    pub(crate) fn names(&self) -> Vec<String> {
        self.reader.source.names(&self.path)
    }

    pub(crate) fn item(&self, name: &str) -> Option<&'a Item> {
        self.reader.source.get(&self.child(name))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.item(name).is_some()
    }

    /// Notes a problem with a key: what is wrong, and what to do.
    pub(crate) fn refuse(&self, name: &str, message: impl Into<String>, hint: impl Into<String>) {
        let path = self.child(name);
        let place = self.reader.source.place(&path);
        self.refuse_at(place, name, message, hint);
    }

    /// As [`Section::refuse`], at a place of the caller's choice.
    pub(crate) fn refuse_at(
        &self,
        place: Place,
        name: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let path = key::display(&self.child(name));
        let problem = Problem::new(place, path, message).hint(hint);
        self.reader.problems.borrow_mut().push(problem);
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let item = self.item(name)?;
        match &item.value {
            Value::Text(text) | Value::Loose(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Text(_) | Value::Loose(_) => {
                self.refuse(name, "is empty", "write a text, or remove the key");
                None
            }
            other => self.wrong_type(name, other, "a text in quotes"),
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let known = words.iter().find(|(word, _)| *word == text);
        if known.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(
                name,
                format!("`{text}` is not one of its values"),
                choice(&text, &names),
            );
        }
        known.map(|(_, value)| *value)
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        let item = self.item(name)?;
        match &item.value {
            Value::Boolean(yes) => Some(*yes),
            Value::Loose(text) if text == "true" => Some(true),
            Value::Loose(text) if text == "false" => Some(false),
            other => self.wrong_type(name, other, "true or false"),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<usize>) -> Option<usize> {
        let item = self.item(name)?;
        let number = match &item.value {
            Value::Integer(number) => Some(*number),
            Value::Loose(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            return self.wrong_type(name, &item.value, "a whole number, without quotes");
        };
        let number = usize::try_from(number).ok();
        if number.is_none_or(|number| !range.contains(&number)) {
            self.refuse(
                name,
                "is out of range",
                format!("allowed: {} to {}", range.start(), range.end()),
            );
            return None;
        }
        number
    }

    /// A whole number, or `"off"` for none. Outer `None`: not set, or refused.
    pub(crate) fn optional_number(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Option<Option<usize>> {
        if self.is_off(name) {
            return Some(None);
        }
        self.number(name, range).map(Some)
    }

    /// A length of time above zero.
    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        let item = self.item(name)?;
        let text = match &item.value {
            Value::Text(text) | Value::Loose(text) => text,
            other => return self.wrong_type(name, other, duration::FORM),
        };
        match duration::parse(text) {
            Some(Duration::ZERO) => {
                self.refuse(name, "is zero", "write a longer time, such as \"1s\"");
                None
            }
            None => {
                self.refuse(
                    name,
                    "is not a duration",
                    format!("write {}", duration::FORM),
                );
                None
            }
            length => length,
        }
    }

    /// A length of time, or `"off"` for none.
    pub(crate) fn optional_duration(&self, name: &str) -> Option<Option<Duration>> {
        if self.is_off(name) {
            return Some(None);
        }
        self.duration(name).map(Some)
    }

    /// A list of texts, each with its place; one text alone stands for a list of one.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<(Place, String)>> {
        let item = self.item(name)?;
        match &item.value {
            Value::Text(text) => Some(vec![(item.place.clone(), text.clone())]),
            Value::Loose(text) => Some(
                text.split(',')
                    .map(|part| (item.place.clone(), part.trim().to_owned()))
                    .filter(|(_, part)| !part.is_empty())
                    .collect(),
            ),
            Value::List(values) => {
                let mut texts = Vec::new();
                for (place, value) in values {
                    match value {
                        Value::Text(text) => texts.push((place.clone(), text.clone())),
                        other => {
                            let message = format!("a text is wanted here, not {}", other.kind());
                            self.refuse_at(place.clone(), name, message, "write [\"…\", \"…\"]");
                        }
                    }
                }
                Some(texts)
            }
            other => self.wrong_type(name, other, "a list of texts"),
        }
    }

    /// A path, resolved from the file's folder.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|text| self.reader.folder.join(text))
    }

    /// A file that must be readable and hold PEM.
    pub(crate) fn pem(&self, name: &str) -> Option<PathBuf> {
        let path = self.path(name)?;
        if let Err(message) = self.reader.check_pem(&path) {
            self.refuse(name, message, "name a readable file in PEM form");
        }
        Some(path)
    }

    /// Whether a key is set to `"off"`, `false` or 0, which mean the same.
    pub(crate) fn is_off(&self, name: &str) -> bool {
        self.item(name).is_some_and(|item| match &item.value {
            Value::Text(text) | Value::Loose(text) => text == key::OFF || text == "0",
            Value::Integer(number) => *number == 0,
            Value::Boolean(yes) => !yes,
            _ => false,
        })
    }

    pub(crate) fn child(&self, name: &str) -> Path {
        let mut path = self.path.clone();
        // The empty name is the section itself.
        if !name.is_empty() {
            path.push(name.to_owned());
        }
        path
    }

    fn wrong_type<T>(&self, name: &str, value: &Value, wanted: &str) -> Option<T> {
        // A table where a value belongs is told by the check of all keys.
        if !matches!(value, Value::Table) {
            self.refuse(
                name,
                format!("is {}", value.kind()),
                format!("write {wanted}"),
            );
        }
        None
    }
}

impl Reader<'_> {
    /// Notes a file and says what keeps it from being used as PEM.
    pub(crate) fn check_pem(&self, path: &FilePath) -> Result<(), String> {
        self.files.borrow_mut().push(path.to_owned());
        let content = std::fs::read(path)
            .map_err(|error| format!("can't read {}: {error}", path.display()))?;
        let begin = b"-----BEGIN ";
        if content.windows(begin.len()).any(|window| window == begin) {
            Ok(())
        } else {
            Err(format!("{} holds no PEM", path.display()))
        }
    }
}

/// Hint for a word that is none of the allowed ones.
pub(crate) fn choice(word: &str, allowed: &[&str]) -> String {
    let list = list(allowed);
    match nearest(word, allowed) {
        Some(near) => format!("did you mean `{near}`? allowed: {list}"),
        None => format!("allowed: {list}"),
    }
}
