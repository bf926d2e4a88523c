//! `EXECUTE name` of a statement that the client has prepared by the protocol: on the server it has a name of ours.

use std::ops::Range;
use std::sync::Arc;

use twinport_rewriter::scan::Effects;

use crate::statement::Statement;

/// Which statement an `EXECUTE` runs, and where in its text the name stands.
#[derive(Debug)]
pub struct Executes {
    /// What is run.
    pub statement: Arc<Statement>,
    /// The name, with its quotes.
    pub name: Range<usize>,
}

impl Executes {
    /// The text with another name.
    #[must_use]
    pub fn with_name(&self, text: &[u8], name: &[u8]) -> Vec<u8> {
        let before = text.get(..self.name.start).unwrap_or_default();
        let after = text.get(self.name.end..).unwrap_or_default();
        [before, name, after].concat()
    }
}

/// The name that an `EXECUTE` or `EXPLAIN EXECUTE` speaks of, as the server would read it, and where it stands.
pub(crate) fn executed(text: &[u8], effects: Effects) -> Option<(Vec<u8>, Range<usize>)> {
    if !effects.contains(Effects::EXECUTE) || effects.contains(Effects::SEVERAL) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let word = text.to_ascii_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let keyword = word
        .match_indices("execute")
        .map(|(at, _)| at)
        .find(|&at| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let after = text.get(at + 7..).and_then(|after| after.chars().next());
            !before.is_some_and(is_part) && after.is_some_and(|c| c.is_whitespace() || c == '"')
        })?;
    let rest = text.get(keyword + 7..)?;
    let start = keyword + 7 + (rest.len() - rest.trim_start().len());
    let rest = text.get(start..)?;
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut end = 0;
        loop {
            end += quoted.get(end..)?.find('"')?;
            if !quoted.get(end + 1..)?.starts_with('"') {
                break;
            }
            end += 2;
        }
        let name = quoted.get(..end)?.replace("\"\"", "\"");
        return Some((name.into_bytes(), start..start + end + 2));
    }
    let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let name = rest.get(..len).filter(|name| !name.is_empty())?;
    Some((name.to_lowercase().into_bytes(), start..start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(String, &str)> {
        let (name, at) = executed(text.as_bytes(), Effects::EXECUTE)?;
        Some((String::from_utf8(name).unwrap(), &text[at]))
    }

    #[test]
    fn names_are_found_in_their_forms() {
        let found = |name: &str, written| Some((name.to_owned(), written));
        assert_eq!(of("EXECUTE S1"), found("s1", "S1"));
        assert_eq!(of(" execute s1(1, 'execute x');"), found("s1", "s1"));
        assert_eq!(of("EXPLAIN (ANALYZE) EXECUTE s1 (2)"), found("s1", "s1"));
        assert_eq!(
            of("EXECUTE \"a \"\" b\"(1)"),
            found("a \" b", "\"a \"\" b\"")
        );
        assert_eq!(of("EXECUTE"), None);
        assert_eq!(of("EXECUTE \"open"), None);
        assert_eq!(of("EXECUTE \""), None);
    }
}
