//! Cursors: what the client's numbers stand for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use twinport_core::sql::{Connection, Identity};
use twinport_core::view;

use crate::fault::{Fault, known};
use crate::forward::Remote;
use crate::transaction::Owner;

mod lost;
mod place;
mod room;

use place::{Holder, Place};
pub(crate) use room::no_file;

/// How long a session lives that nobody uses, and with it the cursors that may wait for as long as they like.
pub(crate) const SESSION: Duration = Duration::from_secs(30 * 60);

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
    /// It may wait for as long as its session lives.
    pub(crate) patient: bool,
    /// The database keeps its documents in a file.
    pub(crate) filed: bool,
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
    /// Nowhere: what it read is gone, as this says.
    Lost(Arc<str>),
}

/// What becomes of a cursor that nobody wants any more, where it waits to be closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A task has to be made that sees to those who wait.
    First,
    /// There is one.
    Further,
    /// There was no room.
    Lost,
}

impl Cursor {
    fn owner(&self) -> Option<Owner> {
        Some((Arc::clone(&self.identity.user), self.session?))
    }

    /// Its transaction, if it was opened in one.
    fn transaction(&self) -> Option<(Owner, i64)> {
        Some((self.owner()?, self.transaction?))
    }

    /// Whether the database keeps something of it that has to be thrown away.
    pub(crate) fn is_kept(&self) -> bool {
        match &self.standing {
            Standing::Continued { .. } => self.filed,
            Standing::Upstream(_) => true,
            Standing::Lost(_) => false,
        }
    }
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
    /// Killed while a getMore had them, or left by it, and now free to be closed.
    doomed: Mutex<Vec<Cursor>>,
    /// The sessions that patient cursors belong to, and when they were last used.
    sessions: Mutex<HashMap<Owner, Instant>>,
}

/// How a client that is gone may come back to its cursors by another connection.
#[derive(Clone, Copy)]
pub(crate) enum Back {
    /// A balancer might lead it elsewhere.
    Never,
    /// By naming its session.
    BySession,
    /// There are no sessions to be named. What times out is kept for it until then.
    Anyhow,
}

/// A cursor while a getMore has it; dropped, it is to be closed.
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
        if !room::has_room(&places, &cursor.identity.user, most) {
            let fault = room::too_many(&places, &cursor.identity.user, most);
            return Err((cursor, fault));
        }
        self.note(&cursor);
        places.insert(cursor.id, Place::Waiting(cursor, Instant::now()));
        Ok(())
    }

    /// As [`Cursors::keep`], where the database has no more files than this for all cursors.
    pub(crate) fn keep_within(
        &self,
        cursor: Cursor,
        most: usize,
        files: Option<usize>,
    ) -> Result<(), (Box<Cursor>, Fault)> {
        if cursor.filed
            && let Some(files) = files
        {
            let places = self.places.lock();
            let user = &cursor.identity.user;
            if !room::has_file(&places, user, files) {
                let fault = room::too_many_files(&places, user, files);
                return Err((Box::new(cursor), fault));
            }
        }
        self.keep(cursor, most)
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

    /// Whether this user may open no more.
    pub(crate) fn is_full(&self, user: &str, most: usize) -> bool {
        !room::has_room(&self.places.lock(), user, most)
    }

    /// Notes that a session is used: it lives on, and so do its cursors.
    pub(crate) fn used(&self, user: &Arc<str>, session: [u8; 16]) {
        let mut sessions = self.sessions.lock();
        if !sessions.is_empty()
            && let Some(last) = sessions.get_mut(&(Arc::clone(user), session))
        {
            *last = Instant::now();
        }
    }

    /// Takes a cursor for a getMore.
    pub(crate) fn borrow(self: &Arc<Self>, id: i64, user: &str) -> Result<Borrowed, Fault> {
        let mut places = self.places.lock();
        let Some(place) = places.get_mut(&id) else {
            return Err(not_found(id));
        };
        let holder = match &*place {
            Place::Waiting(cursor, _) => Holder::of(cursor),
            Place::Busy(holder, _) => holder.clone(),
            Place::Doomed(_) => return Err(not_found(id)),
        };
        // Whose cursor it is says nothing to others.
        if *holder.user != *user {
            return Err(not_found(id));
        }
        let killed = Arc::<Notify>::default();
        match std::mem::replace(place, Place::Busy(holder, Arc::clone(&killed))) {
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
            Some(Place::Busy(holder, killed)) if *holder.user == *user => {
                killed.notify_one();
                places.insert(id, Place::Doomed(holder));
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
    fn lay_back(&self, id: i64, mut cursor: Box<Cursor>) {
        let mut places = self.places.lock();
        match places.get(&id) {
            Some(Place::Doomed(_)) => {
                places.remove(&id);
                self.doomed.lock().push(*cursor);
                return;
            }
            Some(Place::Busy(holder, _)) => {
                let left = holder.lost.as_ref().and_then(|why| cursor.lose(why));
                self.doomed.lock().extend(left);
            }
            _ => {}
        }
        self.note(&cursor);
        places.insert(id, Place::Waiting(cursor, Instant::now()));
    }

    /// Notes the session of a patient cursor, which is used now.
    fn note(&self, cursor: &Cursor) {
        if cursor.patient
            && let Some(owner) = cursor.owner()
        {
            self.sessions.lock().insert(owner, Instant::now());
        }
    }

    /// Takes away those that were killed while a getMore had them, or left by it.
    pub(crate) fn doomed(&self) -> Vec<Cursor> {
        std::mem::take(&mut *self.doomed.lock())
    }

    /// Takes away those that nobody has asked for `bound`, and those whose session nobody has used for `session`.
    pub(crate) fn expire(&self, bound: Option<Duration>, session: Duration) -> Vec<Cursor> {
        let ended = self.ended(session);
        self.prune();
        self.take_if(|cursor, since| match cursor.owner() {
            Some(owner) if cursor.patient => ended.contains(&owner),
            _ => !cursor.patient && bound.is_some_and(|bound| since.elapsed() > bound),
        })
    }

    /// Forgets sessions that have no patient cursor any more. One whose cursor a getMore has is noted after that.
    fn prune(&self) {
        let places = self.places.lock();
        let mut sessions = self.sessions.lock();
        if sessions.len() > places.len() {
            let waiting = places.values().filter_map(Place::patient);
            let open: HashSet<Owner> = waiting.filter_map(Cursor::owner).collect();
            sessions.retain(|owner, _| open.contains(owner));
        }
    }

    /// The sessions with patient cursors that nobody has used for so long; they are forgotten.
    fn ended(&self, bound: Duration) -> Vec<Owner> {
        let mut sessions = self.sessions.lock();
        let ended = sessions.extract_if(|_, last| last.elapsed() > bound);
        ended.map(|(owner, _)| owner).collect()
    }

    /// Takes away those of a session; what a getMore has is killed after that.
    pub(crate) fn of_session(&self, owner: &Owner) -> Vec<Cursor> {
        self.sessions.lock().remove(owner);
        let (user, session) = owner;
        stop(self.doom_if(|holder| holder.session == Some(*session) && holder.user == *user));
        self.take_if(|cursor, _| cursor.session == Some(*session) && cursor.identity.user == *user)
    }

    /// As [`Cursors::of_session`], of all sessions of a user.
    pub(crate) fn of_user(&self, user: &str) -> Vec<Cursor> {
        stop(self.doom_if(|holder| holder.session.is_some() && *holder.user == *user));
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

    /// Takes away those of a client that is gone for good, or that may come back by another connection: then its
    /// sessions' stay.
    pub(crate) fn of_client(&self, client: i32, back: Back) -> Vec<Cursor> {
        let lost = |cursor: &Cursor| match back {
            Back::Never => true,
            Back::BySession => cursor.session.is_none(),
            Back::Anyhow => cursor.session.is_none() && cursor.patient,
        };
        self.take_if(|cursor, _| cursor.client == client && lost(cursor))
    }

    /// Takes away those of servers, by where they stand there.
    pub(crate) fn at(&self, gone: impl Fn(&Remote) -> bool) -> Vec<Cursor> {
        self.take_if(|cursor, _| match &cursor.standing {
            Standing::Upstream(remote) => gone(remote),
            Standing::Continued { .. } | Standing::Lost(_) => false,
        })
    }

    /// Has all that getMores have closed after that.
    pub(crate) fn doom_busy(&self) {
        self.doom_if(|_| true);
    }

    /// Whether some are closed when a getMore is done.
    pub(crate) fn awaits_an_end(&self) -> bool {
        let places = self.places.lock();
        places
            .values()
            .any(|place| matches!(place, Place::Doomed(_)))
    }

    /// Has those closed that getMores have; gives what stops these.
    fn doom_if(&self, gone: impl Fn(&Holder) -> bool) -> Vec<Arc<Notify>> {
        let mut stops = Vec::new();
        for place in self.places.lock().values_mut() {
            if let Place::Busy(holder, stop) = place
                && gone(holder)
            {
                stops.push(Arc::clone(stop));
                *place = Place::Doomed(holder.clone());
            }
        }
        stops
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
        let mut all: Vec<_> = places.iter().map(|(&id, place)| place.shown(id)).collect();
        all.sort_by_key(|cursor| cursor.id);
        all
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.places.lock().len()
    }

    /// Takes away all.
    pub(crate) fn take_all(&self) -> Vec<Cursor> {
        self.take_if(|_, _| true)
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.places.lock().clear();
        self.sessions.lock().clear();
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
        // Its client has left in the middle, and nobody can say where it stands.
        if let Some(cursor) = self.cursor.take() {
            self.cursors.places.lock().remove(&self.id);
            self.cursors.doomed.lock().push(*cursor);
        }
    }
}

/// Ends getMores whose cursors are killed.
fn stop(getmores: Vec<Arc<Notify>>) {
    for each in getmores {
        each.notify_one();
    }
}

fn not_found(id: i64) -> Fault {
    Fault::new(
        known::CURSOR_NOT_FOUND,
        format_args!("cursor id {id} not found"),
    )
}

#[cfg(test)]
mod tests;
