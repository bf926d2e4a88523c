//! A session's own prepared statements: its names, our entries.

use std::collections::HashMap;
use std::sync::Arc;

use crate::statement::Statement;

/// One name's statement.
#[derive(Clone, Debug)]
pub struct Handle {
    /// What it stands for.
    pub statement: Arc<Statement>,
    /// The same with its JSON written by the server, once that was needed.
    pub alone: Option<Arc<Statement>>,
    /// Whether the client has been told the result's columns: it will decode rows by them.
    pub described: bool,
}

/// All of a session's.
#[derive(Debug, Default)]
pub struct Handles {
    unnamed: Option<Handle>,
    named: HashMap<Box<[u8]>, Handle>,
}

impl Handles {
    /// The statement of a name; the empty name is the unnamed one.
    pub fn get(&self, name: &[u8]) -> Option<&Handle> {
        if name.is_empty() {
            return self.unnamed.as_ref();
        }
        self.named.get(name)
    }

    /// As [`Handles::get`], to be changed.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Handle> {
        if name.is_empty() {
            return self.unnamed.as_mut();
        }
        self.named.get_mut(name)
    }

    /// Gives a name a statement.
    pub fn set(&mut self, name: &[u8], statement: Arc<Statement>) {
        let handle = Handle {
            statement,
            alone: None,
            described: false,
        };
        if name.is_empty() {
            self.unnamed = Some(handle);
        } else {
            self.named.insert(name.into(), handle);
        }
    }

    /// Takes a name away; whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        if name.is_empty() {
            return self.unnamed.take().is_some();
        }
        self.named.remove(name).is_some()
    }

    /// Takes all names away.
    pub fn clear(&mut self) {
        self.unnamed = None;
        self.named = HashMap::new();
    }

    /// Notes that the client knows the columns of this statement's result.
    pub fn note_described(&mut self, id: u64) {
        let unnamed = self.unnamed.iter_mut();
        let named = self.named.values_mut();
        for handle in unnamed.chain(named) {
            let alone = handle.alone.as_ref();
            if handle.statement.id == id || alone.is_some_and(|alone| alone.id == id) {
                handle.described = true;
            }
        }
    }

    /// How many names there are.
    pub fn count(&self) -> usize {
        self.named.len()
    }
}
