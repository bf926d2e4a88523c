//! A session's own prepared statements: its names, our entries.
//!
//! A change takes effect when it is received, so that the rest of a batch can build on it. The server has the last
//! word: a [`Change`] travels with the answer that is due, and is undone where that answer never comes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::reply::Settled;
use crate::statement::{Local, Statement};
use crate::upstream::PreparedKey;

/// How many rewritings of an annotated statement a name keeps, besides the one in use: one for each search path.
const REWRITINGS: usize = 16;

/// One name's statement.
#[derive(Debug)]
pub struct Handle {
    /// What it stands for.
    pub statement: Arc<Statement>,
    /// What the client has been told of the result's columns: it will decode rows by them.
    pub told: Told,
    more: Option<Box<More>>,
}

/// What a client knows of a result's columns.
#[derive(Debug)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// A description that was not looked at.
    Something,
    /// A description, of the statement as it was prepared then.
    Columns(Box<Columns>),
}

/// The columns that a client was told of.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// Whose.
    pub key: PreparedKey,
    /// In which schema.
    pub view: u64,
    /// A number that is equal for equal ones.
    pub number: u64,
}

/// What decides which table an unqualified name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The search path.
    pub path: Arc<str>,
    /// Whose name `$user` in it stands for.
    pub user: Arc<str>,
}

impl Told {
    /// The columns, if they were looked at.
    pub fn columns(&self) -> Option<Columns> {
        match self {
            Self::Columns(told) => Some(**told),
            _ => None,
        }
    }
}

/// What few handles need.
#[derive(Debug, Default)]
struct More {
    /// The same with its JSON written by the server.
    alone: Option<Arc<Statement>>,
    /// What names meant when the statement was rewritten.
    names: Option<Names>,
    /// What it was rewritten to where names meant something else.
    rewritings: Vec<(Names, Arc<Statement>)>,
}

impl Handle {
    fn new(statement: Arc<Statement>) -> Self {
        Self {
            statement,
            told: Told::Nothing,
            more: None,
        }
    }

    /// Whether the client has been told the result's columns.
    pub fn is_described(&self) -> bool {
        !matches!(self.told, Told::Nothing)
    }

    /// The same with its JSON written by the server, once that was needed.
    pub fn alone(&self) -> Option<&Arc<Statement>> {
        self.more.as_ref()?.alone.as_ref()
    }

    /// Keeps the same with its JSON written by the server.
    pub fn set_alone(&mut self, alone: Arc<Statement>) {
        self.more.get_or_insert_default().alone = Some(alone);
    }

    /// What names meant when the statement was rewritten.
    pub fn names(&self) -> Option<&Names> {
        self.more.as_ref()?.names.as_ref()
    }

    /// Puts another statement in the place of this one, which the client doesn't notice.
    pub fn replace(&mut self, statement: Arc<Statement>) {
        self.statement = statement;
        if let Some(more) = &mut self.more {
            more.alone = None;
        }
    }

    /// What the statement was rewritten to where names meant this.
    pub fn rewriting(&self, names: &Names) -> Option<Arc<Statement>> {
        let mut known = self.more.as_ref()?.rewritings.iter();
        let (_, found) = known.find(|(known, _)| known == names)?;
        Some(Arc::clone(found))
    }

    /// The statement as it was rewritten where names mean this.
    pub fn rewritten(&mut self, names: Names, statement: Arc<Statement>) {
        let before = std::mem::replace(&mut self.statement, statement);
        let more = self.more.get_or_insert_default();
        more.alone = None;
        more.rewritings.retain(|(known, _)| *known != names);
        if let Some(known) = more.names.replace(names)
            && !before.is_stale()
        {
            if more.rewritings.len() >= REWRITINGS {
                more.rewritings.remove(0);
            }
            more.rewritings.push((known, before));
        }
    }
}

/// What a name stands for, and which change made it so.
#[derive(Debug, Default)]
struct Slot {
    serial: u64,
    handle: Option<Handle>,
}

/// A change of one name that the server has not confirmed.
#[derive(Debug)]
pub struct Change {
    name: Box<[u8]>,
    serial: u64,
    before: Slot,
}

impl Change {
    /// Whose statement is another.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// As if `undone`, which came before this, had never been made; `false` if that did not lead to this one.
    pub(crate) fn forget(&mut self, undone: &mut Self) -> bool {
        let follows = self.name == undone.name && self.before.serial == undone.serial;
        if follows {
            self.before = std::mem::take(&mut undone.before);
        }
        follows
    }

    /// The server has taken the statement that stood there before: it doesn't come back.
    pub(crate) fn is_final(&mut self) {
        self.before.handle = None;
    }
}

/// All of a session's.
#[derive(Debug, Default)]
pub struct Handles {
    last: u64,
    unnamed: Slot,
    named: HashMap<Box<[u8]>, Handle>,
}

impl Handles {
    /// The statement of a name; the empty name is the unnamed one.
    pub fn get(&self, name: &[u8]) -> Option<&Handle> {
        if name.is_empty() {
            return self.unnamed.handle.as_ref();
        }
        self.named.get(name)
    }

    /// As [`Handles::get`], to be changed.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Handle> {
        if name.is_empty() {
            return self.unnamed.handle.as_mut();
        }
        self.named.get_mut(name)
    }

    /// Gives a name a statement; how that is undone.
    pub fn set(&mut self, name: &[u8], statement: Arc<Statement>, names: Option<Names>) -> Change {
        let mut handle = Handle::new(statement);
        if names.is_some() {
            handle.more.get_or_insert_default().names = names;
        }
        self.put(name, Some(handle))
    }

    /// Takes a name away; how that is undone, if there was one.
    pub fn remove(&mut self, name: &[u8]) -> Option<Change> {
        self.get(name)?;
        Some(self.put(name, None))
    }

    fn put(&mut self, name: &[u8], handle: Option<Handle>) -> Change {
        self.last += 1;
        let serial = self.last;
        let before = if name.is_empty() {
            std::mem::replace(&mut self.unnamed, Slot { serial, handle })
        } else {
            let before = match handle {
                Some(handle) => self.named.insert(name.into(), handle),
                None => self.named.remove(name),
            };
            Slot {
                serial: 0,
                handle: before,
            }
        };
        Change {
            name: name.into(),
            serial,
            before,
        }
    }

    /// Undoes a change. Of the changes to one name the last is undone first.
    pub fn undo(&mut self, change: Change) {
        if change.name.is_empty() {
            // Another may have taken the place since: that one stays.
            if self.unnamed.serial == change.serial {
                self.unnamed = change.before;
            }
            return;
        }
        match change.before.handle {
            Some(handle) => self.named.insert(change.name, handle),
            None => self.named.remove(&change.name),
        };
    }

    /// Follows what the server's answers say.
    pub fn settle(&mut self, settled: Settled) {
        match settled {
            Settled::Undone(change) => self.undo(change),
            Settled::Local(local) => self.carry_out(&local),
            Settled::Cleared => self.clear(),
        }
    }

    /// Does a command that concerns our names only.
    pub fn carry_out(&mut self, local: &Local) {
        match local {
            Local::Deallocate(name) => drop(self.remove(name)),
            Local::DeallocateAll => self.clear(),
        }
    }

    /// Takes all names away, but not the unnamed statement, as `DEALLOCATE ALL` does.
    pub fn clear(&mut self) {
        self.named = HashMap::new();
    }

    /// Notes that the client knows the columns of this statement's result.
    pub fn note_described(&mut self, description: &Described) {
        let id = description.key.0;
        let unnamed = self.unnamed.handle.iter_mut();
        let named = self.named.values_mut();
        for handle in unnamed.chain(named) {
            if handle.statement.id == id || handle.alone().is_some_and(|alone| alone.id == id) {
                handle.told = match description.columns {
                    Some(number) => Told::Columns(Box::new(Columns {
                        key: description.key,
                        view: description.view,
                        number,
                    })),
                    None => Told::Something,
                };
            }
        }
    }
}

/// That a client was told of a result's columns.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Whose.
    pub key: PreparedKey,
    /// In which schema.
    pub view: u64,
    /// A number that is equal for equal columns, if they were looked at.
    pub columns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Plan, Statements};

    fn id(handles: &Handles, name: &str) -> Option<u64> {
        Some(handles.get(name.as_bytes())?.statement.id)
    }

    fn make() -> (Arc<Statement>, Arc<Statement>) {
        let statements = Statements::default();
        (
            statements.private(Plan::default()),
            statements.private(Plan::default()),
        )
    }

    #[test]
    fn what_is_undone_leaves_what_was_there() {
        let (a, b) = make();
        let mut handles = Handles::default();
        handles.set(b"n", Arc::clone(&a), None);
        let closed = handles.remove(b"n").unwrap();
        let parsed = handles.set(b"n", Arc::clone(&b), None);
        assert_eq!(id(&handles, "n"), Some(b.id));
        handles.undo(parsed);
        assert_eq!(id(&handles, "n"), None);
        handles.undo(closed);
        assert_eq!(id(&handles, "n"), Some(a.id));
        assert!(handles.remove(b"other").is_none());
    }

    #[test]
    fn a_later_unnamed_statement_outlives_the_undoing_of_an_earlier_one() {
        let (a, b) = make();
        let mut handles = Handles::default();
        let mut first = handles.set(b"", Arc::clone(&a), None);
        let mut second = handles.set(b"", Arc::clone(&b), None);
        // The first never came about: what undoes the second must not bring it back.
        assert!(second.forget(&mut first));
        handles.undo(first);
        assert_eq!(id(&handles, ""), Some(b.id));
        handles.undo(second);
        assert_eq!(id(&handles, ""), None);
    }
}
