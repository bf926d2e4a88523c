//! What is known of a database's names: which functions are harmless, and what leaves something behind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Effects;

/// The server cuts names off behind so many bytes.
const LONGEST: usize = 63;

/// Names in lower case, without their schemas.
pub type NameSet = HashSet<Box<[u8]>>;

/// What a name may do, by how it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Wherever it stands: a view does so, or a table by its policies.
    pub named: Effects,
    /// Where it is called.
    pub called: Effects,
    /// In a text that writes: a table does so by its triggers and defaults.
    pub written: Effects,
}

impl Uses {
    fn add(&mut self, other: Self) {
        self.named |= other.named;
        self.called |= other.called;
        self.written |= other.written;
    }
}

/// What is known of a database's names.
///
/// A call of a function that is not among them counts as [`Effects::ANYTHING`].
#[derive(Debug, Default)]
pub struct Names {
    /// Functions, types and keywords of the server's own.
    builtin: Arc<NameSet>,
    /// Functions of users that leave nothing behind, and types.
    harmless: NameSet,
    /// What leaves something behind: functions, and relations by their rules, triggers, defaults.
    stateful: HashMap<Box<[u8]>, Uses>,
    /// What the stateful names that are not ASCII may do, together: they may be written in any encoding.
    beyond_ascii: Uses,
    /// The lengths of stateful names, one bit for each.
    lengths: u64,
    /// What any statement may do, because it can be reached without a name: by an operator, a cast, a domain.
    everywhere: Effects,
    /// What any statement may do that event triggers fire on.
    events: Effects,
    /// Calls of unknown functions are let pass.
    trusting: bool,
}

impl Names {
    /// From what the server has.
    pub fn new(
        builtin: Arc<NameSet>,
        harmless: impl IntoIterator<Item = String>,
        stateful: impl IntoIterator<Item = (String, Uses)>,
        everywhere: Effects,
        events: Effects,
    ) -> Self {
        let mut names = Self {
            builtin,
            everywhere,
            events,
            harmless: harmless.into_iter().map(|name| fold(&name)).collect(),
            ..Self::default()
        };
        for (name, uses) in stateful {
            let name = fold(&name);
            if !name.is_ascii() {
                names.beyond_ascii.add(uses);
            }
            names.lengths |= bit(name.len());
            names.stateful.entry(name).or_default().add(uses);
        }
        names
    }

    /// For statements of our own: functions that nobody knows are let pass.
    #[must_use]
    pub fn trusting() -> Self {
        Self {
            trusting: true,
            ..Self::default()
        }
    }

    /// What any statement may do.
    pub(super) fn everywhere(&self) -> Effects {
        self.everywhere
    }

    /// What a statement may do that event triggers fire on.
    pub(super) fn events(&self) -> Effects {
        self.events
    }

    /// What a word may do, if it is known to do something.
    #[inline]
    pub(super) fn word(&self, word: &[u8]) -> Option<Uses> {
        if self.lengths == 0 {
            return None;
        }
        self.stateful_word(word)
    }

    fn stateful_word(&self, word: &[u8]) -> Option<Uses> {
        if self.beyond_ascii != Uses::default() && !word.is_ascii() {
            return Some(self.beyond_ascii);
        }
        if word.len() > LONGEST {
            return Some(Uses {
                named: Effects::ANYTHING,
                ..Uses::default()
            });
        }
        if self.lengths & bit(word.len()) == 0 {
            return None;
        }
        let mut buffer = [0; LONGEST];
        let name = folded(word, &mut buffer)?;
        self.stateful.get(name).copied()
    }

    /// Whether it is known what a function does, if it does anything: that [`Names::word`] says.
    pub(super) fn knows(&self, name: &[u8]) -> bool {
        if self.trusting {
            return true;
        }
        let mut buffer = [0; LONGEST];
        let Some(name) = folded(name, &mut buffer) else {
            return false;
        };
        self.builtin.contains(name)
            || self.harmless.contains(name)
            || (self.stateful.get(name)).is_some_and(|uses| !uses.called.is_empty())
    }

    /// Whether a word may be a keyword: else it is the name of something.
    pub(super) fn may_be_keyword(&self, word: &[u8]) -> bool {
        let mut buffer = [0; LONGEST];
        self.builtin.is_empty()
            || folded(word, &mut buffer).is_none_or(|word| self.builtin.contains(word))
    }
}

/// A name as it is looked up: case is of no account, since it is not known whether it was quoted.
fn fold(name: &str) -> Box<[u8]> {
    name.to_ascii_lowercase().into_bytes().into()
}

fn bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn folded<'a>(name: &[u8], buffer: &'a mut [u8; LONGEST]) -> Option<&'a [u8]> {
    let place = buffer.get_mut(..name.len())?;
    place.copy_from_slice(name);
    place.make_ascii_lowercase();
    Some(place)
}
