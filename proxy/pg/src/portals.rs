//! What a session's portals are bound to, for as long as they can last: to the end of the transaction.

use std::collections::HashMap;

use crate::reply::Bound;

/// All of a session's.
#[derive(Debug, Default)]
pub(crate) struct Portals {
    unnamed: Option<Bound>,
    named: HashMap<Box<[u8]>, Bound>,
}

impl Portals {
    /// What a portal is bound to, if that is one of our statements.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Bound> {
        if name.is_empty() {
            return self.unnamed.as_ref();
        }
        self.named.get(name)
    }

    /// Notes what a portal is bound to.
    pub(crate) fn set(&mut self, name: &[u8], bound: Option<Bound>) {
        if name.is_empty() {
            self.unnamed = bound;
            return;
        }
        match bound {
            Some(bound) => self.named.insert(name.into(), bound),
            None => self.named.remove(name),
        };
    }

    /// The transaction is over, and they are with it.
    pub(crate) fn clear(&mut self) {
        self.unnamed = None;
        if !self.named.is_empty() {
            self.named = HashMap::new();
        }
    }
}
