//! SQL that speaks of prepared statements by name: `EXECUTE`, also explained, and `DEALLOCATE`. What the client has
//! prepared by the protocol has a name of ours on the server.

use std::ops::Range;
use std::sync::Arc;

use twinport_rewriter::scan::Effects;

use crate::statement::{Local, Statement};

/// Which statement an `EXECUTE` runs, and where in its text the name stands.
#[derive(Debug)]
pub struct Executes {
    /// What is run.
    pub statement: Arc<Statement>,
    /// By which of the client's names.
    pub name: Box<[u8]>,
    /// Where the name stands in the text, with its quotes.
    pub at: Range<usize>,
}

impl Executes {
    /// The text with another name.
    #[must_use]
    pub fn with_name(&self, text: &[u8], name: &[u8]) -> Vec<u8> {
        let before = text.get(..self.at.start).unwrap_or_default();
        let after = text.get(self.at.end..).unwrap_or_default();
        [before, name, after].concat()
    }
}

/// What an `EXECUTE` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Execute {
    /// The statement's name as the server would read it.
    pub(crate) name: Vec<u8>,
    /// Where it stands, with its quotes.
    pub(crate) at: Range<usize>,
    /// Whether it is only explained: the result is a plan.
    pub(crate) explained: bool,
}

/// The `EXECUTE` or `EXPLAIN EXECUTE` that a text is.
pub(crate) fn executed(text: &[u8], effects: Effects) -> Option<Execute> {
    if !effects.contains(Effects::EXECUTE) || effects.contains(Effects::SEVERAL) {
        return None;
    }
    let mut words = Words::of(text)?;
    let mut word = words.keyword()?;
    let explained = word.eq_ignore_ascii_case("explain");
    if explained {
        words.options();
        word = words.keyword()?;
        while ["analyze", "analyse", "verbose"]
            .iter()
            .any(|option| word.eq_ignore_ascii_case(option))
        {
            word = words.keyword()?;
        }
    }
    if !word.eq_ignore_ascii_case("execute") {
        return None;
    }
    let (name, at) = words.name()?;
    Some(Execute {
        name,
        at,
        explained,
    })
}

/// The name that a text prepares a statement by; `None` if the text is anything else.
pub(crate) fn prepared(text: &[u8], effects: Effects) -> Option<Vec<u8>> {
    if !effects.contains(Effects::STATE) || effects.contains(Effects::SEVERAL) {
        return None;
    }
    let mut words = Words::of(text)?;
    if !words.keyword()?.eq_ignore_ascii_case("prepare") {
        return None;
    }
    words.name().map(|(name, _)| name)
}

/// The statements that a `DEALLOCATE` names; `None` if the text is anything else.
pub(crate) fn deallocated(text: &[u8], effects: Effects) -> Option<Local> {
    if !effects.contains(Effects::DEALLOCATE) || effects.contains(Effects::SEVERAL) {
        return None;
    }
    let mut words = Words::of(text)?;
    if !words.keyword()?.eq_ignore_ascii_case("deallocate") {
        return None;
    }
    let (mut name, mut at) = words.name()?;
    if name == b"prepare" && !words.is_quoted(&at) {
        // Without another name it is one itself.
        if let Some(after) = words.name() {
            (name, at) = after;
        }
    }
    let all = name == b"all" && !words.is_quoted(&at);
    words.end()?;
    Some(if all {
        Local::DeallocateAll
    } else {
        Local::Deallocate(name.into())
    })
}

/// The words of a short statement, one after the other.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

impl<'a> Words<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        Some(Self { text, at: 0 })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over blanks and comments.
    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find(['\n', '\r']).unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.comment();
            } else {
                return;
            }
        }
    }

    fn comment(&mut self) {
        let mut depth = 0usize;
        loop {
            let rest = self.rest();
            let Some(next) = rest.find(['*', '/']) else {
                self.at = self.text.len();
                return;
            };
            let sign = rest.get(next..).unwrap_or_default();
            self.at += next;
            if sign.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if sign.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
    }

    /// The next word, if there is one that is not quoted.
    fn keyword(&mut self) -> Option<&'a str> {
        self.blanks();
        let rest = self.rest();
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).filter(|word| !word.is_empty())
    }

    /// Passes over options in parentheses.
    fn options(&mut self) {
        self.blanks();
        if let Some(options) = self.rest().strip_prefix('(') {
            let len = options.find(')').unwrap_or(options.len());
            self.at += len + 2;
        }
    }

    /// The next name, as the server would read it, and where it stands.
    fn name(&mut self) -> Option<(Vec<u8>, Range<usize>)> {
        self.blanks();
        let start = self.at;
        let Some(quoted) = self.rest().strip_prefix('"') else {
            let name = self.keyword()?;
            return Some((name.to_lowercase().into_bytes(), start..self.at));
        };
        let mut end = 0;
        loop {
            end += quoted.get(end..)?.find('"')?;
            if !quoted.get(end + 1..)?.starts_with('"') {
                break;
            }
            end += 2;
        }
        self.at = start + end + 2;
        let name = quoted.get(..end)?.replace("\"\"", "\"");
        Some((name.into_bytes(), start..self.at))
    }

    fn is_quoted(&self, name: &Range<usize>) -> bool {
        self.text
            .get(name.clone())
            .is_some_and(|name| name.starts_with('"'))
    }

    /// Whether nothing follows.
    fn end(&mut self) -> Option<()> {
        self.blanks();
        while self.rest().starts_with(';') {
            self.at += 1;
            self.blanks();
        }
        self.rest().is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(String, &str)> {
        let execute = executed(text.as_bytes(), Effects::EXECUTE)?;
        Some((String::from_utf8(execute.name).unwrap(), &text[execute.at]))
    }

    #[test]
    fn names_are_found_in_their_forms() {
        let found = |name: &str, written| Some((name.to_owned(), written));
        assert_eq!(of("EXECUTE S1"), found("s1", "S1"));
        assert_eq!(of(" execute s1(1, 'execute x');"), found("s1", "s1"));
        assert_eq!(of("EXPLAIN (ANALYZE) EXECUTE s1 (2)"), found("s1", "s1"));
        assert_eq!(of("explain analyze verbose execute s1"), found("s1", "s1"));
        assert_eq!(
            of("EXECUTE \"a \"\" b\"(1)"),
            found("a \" b", "\"a \"\" b\"")
        );
        assert_eq!(of("EXECUTE"), None);
        assert_eq!(of("EXECUTE \"open"), None);
        assert_eq!(of("EXECUTE \""), None);
    }

    #[test]
    fn a_comment_names_nothing() {
        let found = |name: &str, written| Some((name.to_owned(), written));
        assert_eq!(of("/* execute old */ EXECUTE s1"), found("s1", "s1"));
        assert_eq!(
            of("-- execute old\nexecute /* a /* b */ */ s1"),
            found("s1", "s1")
        );
        assert_eq!(of("CREATE TRIGGER t EXECUTE FUNCTION f()"), None);
        assert_eq!(of("/* execute s1"), None);
    }

    #[test]
    fn an_explained_one_is_told_from_one_that_runs() {
        let explained = |text: &str| {
            executed(text.as_bytes(), Effects::EXECUTE)
                .unwrap()
                .explained
        };
        assert!(explained("EXPLAIN (FORMAT json) EXECUTE s1"));
        assert!(!explained("/* explain */ EXECUTE s1"));
    }

    #[test]
    fn prepare_names_a_statement() {
        let of = |text: &str| prepared(text.as_bytes(), Effects::STATE);
        assert_eq!(of("PREPARE _TP1 AS SELECT 1"), Some(b"_tp1".to_vec()));
        assert_eq!(
            of("/* x */ prepare \"A\"(int) AS SELECT 1"),
            Some(b"A".to_vec())
        );
        assert_eq!(of("LISTEN prepare"), None);
    }

    #[test]
    fn deallocate_is_understood_in_its_forms() {
        let of = |text: &str| deallocated(text.as_bytes(), Effects::DEALLOCATE);
        let named = |name: &str| Some(Local::Deallocate(name.as_bytes().into()));
        assert_eq!(of("DEALLOCATE s1"), named("s1"));
        assert_eq!(of("deallocate PREPARE S1;"), named("s1"));
        assert_eq!(
            of("/* app */ DEALLOCATE \"_pg\"\"3_0\" ; --"),
            named("_pg\"3_0")
        );
        assert_eq!(of("DEALLOCATE prepare"), named("prepare"));
        assert_eq!(of("DEALLOCATE \"all\""), named("all"));
        assert_eq!(of("DEALLOCATE ALL"), Some(Local::DeallocateAll));
        assert_eq!(of("DEALLOCATE PREPARE ALL"), Some(Local::DeallocateAll));
        assert_eq!(of("DISCARD ALL"), None);
        assert_eq!(of("DEALLOCATE a, b"), None);
    }
}
