//! What is known of a database's names: which functions are harmless, and what leaves something behind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Effects;

/// The server cuts names off behind so many bytes.
const LONGEST: usize = 63;

/// Names in lower case, without their schemas.
pub type NameSet = HashSet<Box<[u8]>>;

/// What is known of a database's names.
///
/// A call of a function that is not among them counts as [`Effects::ANYTHING`].
#[derive(Debug, Default)]
pub struct Names {
    /// Functions, types and keywords of the server's own.
    builtin: Arc<NameSet>,
    /// Functions of users that leave nothing behind, and types.
    harmless: NameSet,
    /// What leaves something behind: functions wherever they are named, relations by their rules, triggers, defaults.
    stateful: HashMap<Box<[u8]>, Effects>,
    /// What the stateful names that are not ASCII may do, together: they may be written in any encoding.
    beyond_ascii: Effects,
    /// The lengths of stateful names, one bit for each.
    lengths: u64,
    /// What any statement may do, because it can be reached without a name: by an operator, a cast, a domain.
    everywhere: Effects,
    /// Calls of unknown functions are let pass.
    trusting: bool,
}

/// A name that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Known(Effects),
    Unknown,
}

impl Names {
    /// From what the server has.
    pub fn new(
        builtin: Arc<NameSet>,
        harmless: impl IntoIterator<Item = String>,
        stateful: impl IntoIterator<Item = (String, Effects)>,
        everywhere: Effects,
    ) -> Self {
        let mut names = Self {
            builtin,
            everywhere,
            harmless: harmless.into_iter().map(|name| fold(&name)).collect(),
            ..Self::default()
        };
        for (name, effects) in stateful {
            let name = fold(&name);
            if !name.is_ascii() {
                names.beyond_ascii |= effects;
            }
            names.lengths |= bit(name.len());
            *names.stateful.entry(name).or_default() |= effects;
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

    /// What a word may do wherever it stands.
    #[inline]
    pub(super) fn word(&self, word: &[u8]) -> Effects {
        if self.lengths == 0 {
            return Effects::NONE;
        }
        self.stateful_word(word)
    }

    fn stateful_word(&self, word: &[u8]) -> Effects {
        if !self.beyond_ascii.is_empty() && !word.is_ascii() {
            return self.beyond_ascii;
        }
        if word.len() <= LONGEST && self.lengths & bit(word.len()) == 0 {
            return Effects::NONE;
        }
        let mut buffer = [0; LONGEST];
        let known = folded(word, &mut buffer).and_then(|name| self.stateful.get(name));
        match known {
            Some(effects) => *effects,
            None if word.len() > LONGEST => Effects::ANYTHING,
            None => Effects::NONE,
        }
    }

    /// What a function may do, unless it is stateful: that [`Names::word`] says.
    pub(super) fn call(&self, name: &[u8]) -> Call {
        if self.trusting {
            return Call::Known(Effects::NONE);
        }
        let mut buffer = [0; LONGEST];
        let Some(name) = folded(name, &mut buffer) else {
            return Call::Unknown;
        };
        if let Some(effects) = self.stateful.get(name) {
            return Call::Known(*effects);
        }
        if self.builtin.contains(name) || self.harmless.contains(name) {
            Call::Known(Effects::NONE)
        } else {
            Call::Unknown
        }
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
