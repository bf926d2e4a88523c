//! Cursors: what the client's numbers stand for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use twinport_core::sql::{Connection, Identity};
use twinport_core::view;
use twinport_wire::mongo::bson::RawDocument;

use crate::fault::{Fault, known};
use crate::forward::Remote;
use crate::transaction::Owner;

/// An open cursor.
pub(crate) struct Cursor {
    /// Its number, the same here and in the database.
    pub(crate) id: i64,
    /// Whose it is.
    pub(crate) identity: Identity,
    /// Its session, if it has one.
    pub(crate) session: Option<[u8; 16]>,
    /// The transaction in which it was opened.
    pub(crate) transaction: Option<i64>,
    /// The client's connection, if it has no session.
    pub(crate) client: i32,
    /// The database that it reads.
    pub(crate) database: String,
    /// `database.collection`.
    pub(crate) namespace: String,
    /// Where it stands.
    pub(crate) standing: Standing,
    /// It may wait for as long as it likes.
    pub(crate) patient: bool,
}

/// Where a cursor stands.
pub(crate) enum Standing {
    /// In the extension's own words.
    Continued {
        continuation: Vec<u8>,
        /// The connection that it can't leave.
        connection: Option<Box<dyn Connection>>,
    },
    /// On a server that requests are forwarded to.
    Upstream(Remote),
}

impl Cursor {
    /// Its transaction, if it was opened in one.
    fn transaction(&self) -> Option<(Owner, i64)> {
        let owner = (Arc::clone(&self.identity.user), self.session?);
        Some((owner, self.transaction?))
    }

    /// Whether the database keeps something of it that has to be thrown away.
    pub(crate) fn is_kept(&self) -> bool {
        let Standing::Continued { continuation, .. } = &self.standing else {
            return true;
        };
        let continuation = RawDocument::from_bytes(continuation);
        continuation.is_ok_and(|continuation| matches!(continuation.get("qf"), Ok(Some(_))))
    }
}

enum Place {
    Waiting(Box<Cursor>, Instant),
    /// A getMore has it, and wants to know if it is killed.
    Busy(Arc<str>, Arc<Notify>),
    /// A getMore has it, and it is killed when that is done.
    Doomed(Arc<str>),
}

/// What became of a cursor that is to be killed.
pub(crate) enum Killed {
    /// Nobody had it; it is to be closed.
    Now(Box<Cursor>),
    /// A getMore has it, and it is closed after that.
    Soon,
    /// There is none, or it is another's.
    NotFound,
}

/// All open cursors.
#[derive(Default)]
pub(crate) struct Cursors {
    places: Mutex<HashMap<i64, Place>>,
    /// Killed while a getMore had them, and now free to be closed.
    doomed: Mutex<Vec<Cursor>>,
}

/// A cursor while a getMore has it; dropped, it is gone.
pub(crate) struct Borrowed {
    cursors: Arc<Cursors>,
    cursor: Option<Box<Cursor>>,
    id: i64,
    killed: Arc<Notify>,
}

impl Cursors {
    /// Keeps a cursor for its next getMore, if there is room.
    pub(crate) fn keep(&self, cursor: Cursor, most: usize) -> Result<(), (Box<Cursor>, Fault)> {
        let mut places = self.places.lock();
        let cursor = Box::new(cursor);
        if places.len() >= most {
            let fault = Fault::new(
                known::EXCEEDED_MEMORY_LIMIT,
                format_args!("too many cursors: {most} are open"),
            )
            .hint("Read cursors to their end or close them, or raise mongo.max_cursors");
            return Err((cursor, fault));
        }
        places.insert(cursor.id, Place::Waiting(cursor, Instant::now()));
        Ok(())
    }

    /// As [`Cursors::keep`]; what is there already is never replaced.
    pub(crate) fn keep_new(&self, cursor: Cursor, most: usize) -> Result<(), (Box<Cursor>, Fault)> {
        if self.places.lock().contains_key(&cursor.id) {
            let fault = Fault::new(known::INTERNAL_ERROR, "the cursor's number is taken");
            return Err((Box::new(cursor), fault));
        }
        self.keep(cursor, most)
    }

    /// A number for a cursor that has this one on its server: another if it is taken, for servers don't know of
    /// one another's.
    pub(crate) fn number_for(&self, mut id: i64) -> i64 {
        let places = self.places.lock();
        while places.contains_key(&id) {
            id = rand::random_range(1..i64::MAX);
        }
        id
    }

    /// Whether no more can be kept.
    pub(crate) fn is_full(&self, most: usize) -> bool {
        self.places.lock().len() >= most
    }

    /// Takes a cursor for a getMore.
    pub(crate) fn borrow(self: &Arc<Self>, id: i64, user: &str) -> Result<Borrowed, Fault> {
        let mut places = self.places.lock();
        let Some(place) = places.get_mut(&id) else {
            return Err(not_found(id));
        };
        let owner = match &*place {
            Place::Waiting(cursor, _) => Arc::clone(&cursor.identity.user),
            Place::Busy(owner, _) => Arc::clone(owner),
            Place::Doomed(_) => return Err(not_found(id)),
        };
        // Whose cursor it is says nothing to others.
        if *owner != *user {
            return Err(not_found(id));
        }
        let killed = Arc::<Notify>::default();
        match std::mem::replace(place, Place::Busy(owner, Arc::clone(&killed))) {
            Place::Waiting(cursor, _) => Ok(Borrowed {
                cursors: Arc::clone(self),
                cursor: Some(cursor),
                id,
                killed,
            }),
            busy @ (Place::Busy(..) | Place::Doomed(_)) => {
                *place = busy;
                Err(Fault::new(
                    known::CURSOR_IN_USE,
                    format_args!("cursor id {id} is already in use"),
                ))
            }
        }
    }

    /// Takes a cursor away to be closed.
    pub(crate) fn kill(&self, id: i64, user: &str) -> Killed {
        let mut places = self.places.lock();
        match places.remove(&id) {
            Some(Place::Waiting(cursor, _)) if *cursor.identity.user == *user => {
                Killed::Now(cursor)
            }
            Some(Place::Busy(owner, killed)) if *owner == *user => {
                killed.notify_one();
                places.insert(id, Place::Doomed(owner));
                Killed::Soon
            }
            Some(other) => {
                places.insert(id, other);
                Killed::NotFound
            }
            None => Killed::NotFound,
        }
    }

    /// Lays back what a getMore had.
    fn lay_back(&self, id: i64, cursor: Box<Cursor>) {
        let mut places = self.places.lock();
        if matches!(places.get(&id), Some(Place::Doomed(_))) {
            places.remove(&id);
            self.doomed.lock().push(*cursor);
        } else {
            places.insert(id, Place::Waiting(cursor, Instant::now()));
        }
    }

    /// Takes away those that were killed while a getMore had them.
    pub(crate) fn doomed(&self) -> Vec<Cursor> {
        std::mem::take(&mut *self.doomed.lock())
    }

    /// Takes away those that nobody has asked for `bound`.
    pub(crate) fn expire(&self, bound: Duration) -> Vec<Cursor> {
        self.take_if(|cursor, since| !cursor.patient && since.elapsed() > bound)
    }

    /// Takes away those of a session.
    pub(crate) fn of_session(&self, (user, session): &Owner) -> Vec<Cursor> {
        self.take_if(|cursor, _| cursor.session == Some(*session) && cursor.identity.user == *user)
    }

    /// Takes away those of all sessions of a user.
    pub(crate) fn of_user(&self, user: &str) -> Vec<Cursor> {
        self.take_if(|cursor, _| cursor.session.is_some() && *cursor.identity.user == *user)
    }

    /// The sessions of a user that have cursors, and for how long these have been idle.
    pub(crate) fn sessions(&self, user: &str) -> Vec<([u8; 16], Duration)> {
        let places = self.places.lock();
        let waiting = places.values().filter_map(|place| match place {
            Place::Waiting(cursor, since) if *cursor.identity.user == *user => {
                Some((cursor.session?, since.elapsed()))
            }
            _ => None,
        });
        waiting.collect()
    }

    /// Takes away those of a transaction.
    pub(crate) fn of_transaction(&self, owner: &Owner, number: i64) -> Vec<Cursor> {
        self.take_if(|cursor, _| cursor.transaction() == Some((owner.clone(), number)))
    }

    /// Takes away those whose transaction is over.
    pub(crate) fn left_over(&self, is_open: impl Fn(&Owner, i64) -> bool) -> Vec<Cursor> {
        self.take_if(|cursor, _| {
            let transaction = cursor.transaction();
            transaction.is_some_and(|(owner, number)| !is_open(&owner, number))
        })
    }

    /// Takes away those of a client that is gone. Who has a session may come back by another connection, unless
    /// a balancer might lead it elsewhere.
    pub(crate) fn of_client(&self, client: i32, balanced: bool) -> Vec<Cursor> {
        let lost = |cursor: &Cursor| balanced || cursor.session.is_none();
        self.take_if(|cursor, _| cursor.client == client && lost(cursor))
    }

    fn take_if(&self, gone: impl Fn(&Cursor, &Instant) -> bool) -> Vec<Cursor> {
        let mut places = self.places.lock();
        places
            .extract_if(|_, place| match place {
                Place::Waiting(cursor, since) => gone(cursor, since),
                Place::Busy(..) | Place::Doomed(_) => false,
            })
            .filter_map(|(_, place)| match place {
                Place::Waiting(cursor, _) => Some(*cursor),
                Place::Busy(..) | Place::Doomed(_) => None,
            })
            .collect()
    }

    /// All, for the admin console.
    pub(crate) fn list(&self) -> Vec<view::Cursor> {
        let places = self.places.lock();
        let mut all: Vec<_> = places.iter().map(|(&id, place)| shown(id, place)).collect();
        all.sort_by_key(|cursor| cursor.id);
        all
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.places.lock().len()
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.places.lock().clear();
    }
}

impl Borrowed {
    pub(crate) fn cursor(&mut self) -> Option<&mut Cursor> {
        self.cursor.as_deref_mut()
    }

    /// Notified when it is killed.
    pub(crate) fn killed(&self) -> Arc<Notify> {
        Arc::clone(&self.killed)
    }

    /// Lays it back for the next getMore.
    pub(crate) fn lay_back(mut self) {
        if let Some(cursor) = self.cursor.take() {
            self.cursors.lay_back(self.id, cursor);
        }
    }

    /// Takes it off the list, read to its end or broken.
    pub(crate) fn end(mut self) -> Option<Box<Cursor>> {
        self.cursors.places.lock().remove(&self.id);
        self.cursor.take()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        match self.cursor.take() {
            // The server still has it, and it is to be closed there with the rest of its client's.
            Some(cursor) if matches!(cursor.standing, Standing::Upstream(_)) => {
                self.cursors.lay_back(self.id, cursor);
            }
            Some(_) => drop(self.cursors.places.lock().remove(&self.id)),
            None => {}
        }
    }
}

fn shown(id: i64, place: &Place) -> view::Cursor {
    match place {
        Place::Waiting(cursor, since) => view::Cursor {
            id,
            user: cursor.identity.user.to_string(),
            namespace: cursor.namespace.clone(),
            session: cursor.session.as_ref().map(view::session),
            transaction: cursor.transaction,
            idle: Some(since.elapsed()),
            upstream: match &cursor.standing {
                Standing::Continued {
                    connection: Some(held),
                    ..
                } => Some(held.number()),
                _ => None,
            },
        },
        Place::Busy(user, _) | Place::Doomed(user) => view::Cursor {
            id,
            user: user.to_string(),
            namespace: String::new(),
            session: None,
            transaction: None,
            idle: None,
            upstream: None,
        },
    }
}

fn not_found(id: i64) -> Fault {
    Fault::new(
        known::CURSOR_NOT_FOUND,
        format_args!("cursor id {id} not found"),
    )
}
