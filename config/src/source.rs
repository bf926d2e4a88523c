//! What was set and where: the file, overlaid by environment and flags, not yet judged.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Place, Problem};
use crate::key::{self, Standing};

/// A key's path, part by part.
pub(crate) type Path = Vec<String>;

/// All that was set, flat: every key and every table by its path.
#[derive(Debug, Default)]
pub(crate) struct Source {
    items: BTreeMap<Path, Item>,
    /// Where to point for what is missing.
    pub(crate) whole: Option<Place>,
}

/// One key with its value.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where the key stands, for what is wrong with the key.
    pub(crate) key: Place,
    /// Where the value stands, for what is wrong with the value.
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value before anyone asked for a type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    /// From environment or flag: becomes what the key wants.
    Loose(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<(Place, Value)>),
    /// Its content has items of its own.
    Table,
    /// Something no key takes.
    Other(&'static str),
}

impl Value {
    /// What it is, for messages. Never its content, which may be secret.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Loose(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table => "a table",
            Self::Other(kind) => kind,
        }
    }
}

impl Source {
    /// Reads a file's text. What can be understood is kept even if there are problems.
    pub(crate) fn file(text: &str, name: &str) -> (Self, Vec<Problem>) {
        let lines = Lines::new(text, name);
        let (table, errors) = DeTable::parse_recoverable(text);
        let problems = errors
            .iter()
            .map(|error| {
                let (place, key) = match error.span() {
                    Some(span) => (lines.place(&span), lines.key(&span)),
                    None => (lines.whole(), String::new()),
                };
                // The message alone: the error's Display shows the line, with its secrets.
                Problem::new(place, key, format!("not valid TOML: {}", error.message()))
            })
            .collect();
        let mut source = Self {
            items: BTreeMap::new(),
            whole: Some(lines.whole()),
        };
        source.add_table(&lines, &mut Vec::new(), table.get_ref());
        (source, problems)
    }

    /// Sets a key over whatever is there, and the tables around it.
    pub(crate) fn overlay(&mut self, path: Path, place: &Place, text: String) {
        for end in 1..path.len() {
            let table = path.get(..end).unwrap_or_default().to_vec();
            self.items.entry(table).or_insert_with(|| Item {
                key: place.clone(),
                place: place.clone(),
                value: Value::Table,
            });
        }
        for rival in rivals(&path) {
            self.items.remove(&rival);
        }
        let item = Item {
            key: place.clone(),
            place: place.clone(),
            value: Value::Loose(text),
        };
        self.items.insert(path, item);
    }

    /// Sets a key, at a place where there is none.
    pub(crate) fn put(&mut self, path: Path, place: &Place, value: Value) {
        let item = Item {
            key: place.clone(),
            place: place.clone(),
            value,
        };
        self.items.insert(path, item);
    }

    pub(crate) fn get(&self, path: &[String]) -> Option<&Item> {
        self.items.get(path)
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = (&Path, &Item)> {
        self.items.iter()
    }

    /// Names directly under a table.
    pub(crate) fn names(&self, table: &[String]) -> Vec<String> {
        // Paths are sorted, so a table's content stands right behind it.
        let inside = self.items.range(table.to_vec()..);
        inside
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(table))
            .filter(|path| path.len() == table.len() + 1)
            .filter_map(|path| path.last().cloned())
            .collect()
    }

    /// Where to point for a path: its value, or the nearest table around it.
    pub(crate) fn place(&self, path: &[String]) -> Place {
        let mut path = path;
        loop {
            if let Some(item) = self.get(path) {
                return item.place.clone();
            }
            match path.split_last() {
                Some((_, shorter)) => path = shorter,
                None => return self.whole.clone().unwrap_or(Place::Default),
            }
        }
    }

    fn add_table(&mut self, lines: &Lines<'_>, path: &mut Path, table: &DeTable<'_>) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            let key = lines.place(&key.span());
            let item = Item {
                // A table's own span is its header or brace, which says less than its name.
                place: match value.get_ref() {
                    DeValue::Table(_) => key.clone(),
                    _ => lines.place(&value.span()),
                },
                key,
                value: convert(lines, value),
            };
            self.items.insert(path.clone(), item);
            if let DeValue::Table(inner) = value.get_ref() {
                self.add_table(lines, path, inner);
            }
            path.pop();
        }
    }
}

/// Other spellings of the same secret: what a higher layer sets replaces them all.
fn rivals(path: &[String]) -> Vec<Path> {
    const NAMES: [&str; 6] = [
        "password",
        "password_env",
        "password_file",
        "verifier",
        "verifier_env",
        "verifier_file",
    ];
    match path.split_last() {
        Some((last, table)) if NAMES.contains(&last.as_str()) => {
            let sibling = |name: &str| [table, &[name.to_owned()]].concat();
            NAMES.iter().map(|name| sibling(name)).collect()
        }
        _ => Vec::new(),
    }
}

fn convert(lines: &Lines<'_>, value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            // Too large for i64 is too large for every key.
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(parsed.unwrap_or(i64::MAX))
        }
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Array(values) => Value::List(
            values
                .iter()
                .map(|value| (lines.place(&value.span()), convert(lines, value)))
                .collect(),
        ),
        DeValue::Table(_) => Value::Table,
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date or time"),
    }
}

/// Turns byte offsets into lines and columns.
struct Lines<'a> {
    text: &'a str,
    name: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, name: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            name,
            starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let line = self.starts.partition_point(|start| *start <= span.start);
        let start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let before = self.text.get(start..span.start).unwrap_or_default();
        Place::File {
            name: self.name.to_owned(),
            position: Some((line, before.chars().count() + 1)),
        }
    }

    /// The key that a line sets, as far as a line that isn't valid TOML tells. Only keys that
    /// exist: anything else could be a piece of a secret.
    fn key(&self, span: &Range<usize>) -> String {
        let line = self.starts.partition_point(|start| *start <= span.start);
        let mut above = self
            .text
            .lines()
            .take(line)
            .collect::<Vec<_>>()
            .into_iter()
            .rev();
        let Some((name, _)) = above.next().and_then(|line| line.split_once('=')) else {
            return String::new();
        };
        let header = above.find_map(|line| line.trim().strip_prefix('[')?.split(']').next());
        let mut path = header.and_then(key::split).unwrap_or_default();
        path.extend(key::split(name.trim()).unwrap_or_default());
        match key::standing(&path) {
            Standing::Key(_) => key::display(&path),
            Standing::Section | Standing::Unknown => String::new(),
        }
    }

    fn whole(&self) -> Place {
        Place::File {
            name: self.name.to_owned(),
            position: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let (source, problems) = Source::file("a = 1\n\"é\" = { x = 'ü', y = true }\n", "f");
        assert!(problems.is_empty());
        let path = ["é".to_owned(), "y".to_owned()];
        assert_eq!(source.place(&path).to_string(), "f:2:22");
        assert_eq!(source.get(&path).unwrap().key.to_string(), "f:2:18");
    }

    #[test]
    fn a_higher_layer_replaces_every_spelling_of_a_secret() {
        let (mut source, _) = Source::file("[users.a]\npassword_file = '/x'\n", "f");
        let path = ["users", "a", "password"].map(str::to_owned).to_vec();
        source.overlay(path, &Place::Flag("--set".into()), "p".into());
        assert_eq!(source.names(&["users".into(), "a".into()]), ["password"]);
    }
}
