//! Transactions that run upstream: whose they are, and what they can't leave.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md>.
//! In a replica set a transaction belongs to the session and runs on whoever is the primary. A mongos keeps its
//! own count of it, so the transaction stays with that one; behind a balancer it stays on its connection.
//! A transaction that nobody here knows goes upstream all the same: another proxy may have begun it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use twinport_core::view;

use super::server::{Lease, Server};
use crate::fault::{Fault, known};
use crate::transaction::{self, Owner};

/// How long a transaction is remembered, for commits that are sent again.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);

/// So many sessions are kept, open or remembered.
const MOST: usize = 100_000;

/// The latest transaction of every session.
#[derive(Default)]
pub(crate) struct Pins {
    pins: Mutex<HashMap<[u8; 16], Pin>>,
}

struct Pin {
    user: Arc<str>,
    number: i64,
    phase: Phase,
    place: Place,
    /// The client's connection that began it.
    client: i32,
    touched: Instant,
    /// How many of its commands are on their way.
    running: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Ended,
}

/// What a transaction can't leave.
pub(crate) enum Place {
    /// Nothing is known yet, or whoever is the primary will do.
    Free,
    /// The mongos that has begun it.
    At(Arc<Server>),
    /// The connection behind a balancer.
    On(Arc<Server>, Lease),
    /// That connection is taken out by a command, or is gone and the transaction with it.
    Taken,
}

/// What a command is to its transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    First,
    Further,
    /// The commit or the abort.
    Last,
}

/// A transaction that a client has left open.
pub(crate) struct Left {
    pub(crate) session: [u8; 16],
    pub(crate) number: i64,
    pub(crate) place: Place,
}

/// A command of a transaction on its way. A server stops what it can't answer any more, and the transaction is over: so
/// it is if this is dropped before the answer is here.
pub(super) struct Unanswered<'a> {
    pins: &'a Pins,
    owner: &'a Owner,
    number: i64,
    pub(super) is_over: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.pins.of(self.owner, self.number, |pin| {
            pin.running = pin.running.saturating_sub(1);
            // It is idle from now on, however long the command took.
            pin.touched = Instant::now();
            if self.is_over {
                pin.phase = Phase::Ended;
            }
        });
    }
}

impl Pins {
    /// The place of a command's transaction; one on a connection is taken out until it is laid back.
    pub(crate) fn enter(
        &self,
        (user, session): &Owner,
        number: i64,
        part: Part,
        client: i32,
    ) -> Result<Place, Fault> {
        let mut pins = self.pins.lock();
        let known = pins.get_mut(session);
        if known.as_ref().is_some_and(|pin| pin.user != *user) {
            return Err(Fault::new(
                known::UNAUTHORIZED,
                "the session belongs to another user",
            ));
        }
        match known {
            Some(pin) if pin.number == number && part != Part::First => {
                pin.touched = Instant::now();
                match std::mem::replace(&mut pin.place, Place::Taken) {
                    Place::At(server) => {
                        pin.place = Place::At(Arc::clone(&server));
                        Ok(Place::At(server))
                    }
                    // What came of it can be asked anywhere.
                    Place::Free | Place::Taken if part == Part::Last => {
                        pin.place = Place::Free;
                        Ok(Place::Free)
                    }
                    Place::Free => {
                        pin.place = Place::Free;
                        Ok(Place::Free)
                    }
                    Place::Taken => Err(transaction::none(number)),
                    place @ Place::On(..) => Ok(place),
                }
            }
            // What is late or odd is for the server to judge.
            Some(pin) if pin.number > number => Ok(Place::Free),
            _ => {
                if pins.len() >= MOST {
                    pins.retain(|_, pin| pin.phase == Phase::Open);
                }
                if pins.len() >= MOST {
                    return Err(transaction::too_many());
                }
                let pin = Pin {
                    user: Arc::clone(user),
                    number,
                    phase: Phase::Open,
                    place: Place::Free,
                    client,
                    touched: Instant::now(),
                    running: 0,
                };
                pins.insert(*session, pin);
                Ok(Place::Free)
            }
        }
    }

    /// Takes out the connection that a transaction holds, until it is laid back; none if it holds none.
    pub(super) fn lend(
        &self,
        (user, session): &Owner,
        number: i64,
    ) -> Option<(Arc<Server>, Lease)> {
        let mut pins = self.pins.lock();
        let pin = pins.get_mut(session).filter(|pin| pin.user == *user)?;
        if pin.number != number || !matches!(pin.place, Place::On(..)) {
            return None;
        }
        match std::mem::replace(&mut pin.place, Place::Taken) {
            Place::On(server, lease) => Some((server, lease)),
            other => {
                pin.place = other;
                None
            }
        }
    }

    /// Does something with a session's transaction, if it is still the one of this number.
    fn of(&self, (_, session): &Owner, number: i64, act: impl FnOnce(&mut Pin)) {
        if let Some(pin) = self.pins.lock().get_mut(session)
            && pin.number == number
        {
            act(pin);
        }
    }

    /// Notes where a transaction runs.
    pub(crate) fn stay(&self, owner: &Owner, number: i64, place: Place) {
        self.of(owner, number, |pin| {
            pin.touched = Instant::now();
            pin.place = place;
        });
    }

    /// Notes that a transaction is over; its place is kept for a commit that is sent again.
    pub(crate) fn end(&self, owner: &Owner, number: i64) {
        self.of(owner, number, |pin| pin.phase = Phase::Ended);
    }

    /// Notes that a session goes on with a write of this number: what it has left open is over, as the server sees it.
    pub(super) fn overtake(&self, (user, session): &Owner, number: i64) {
        if let Some(pin) = self.pins.lock().get_mut(session)
            && pin.user == *user
            && pin.number < number
            && pin.phase == Phase::Open
        {
            pin.phase = Phase::Ended;
            pin.place = Place::Taken;
        }
    }

    /// For a command of a transaction.
    pub(super) fn unanswered<'a>(&'a self, owner: &'a Owner, number: i64) -> Unanswered<'a> {
        self.of(owner, number, |pin| pin.running += 1);
        Unanswered {
            pins: self,
            owner,
            number,
            is_over: true,
        }
    }

    /// Forgets sessions that their user has ended.
    pub(crate) fn forget(&self, (user, session): &Owner) {
        let mut pins = self.pins.lock();
        if pins.get(session).is_some_and(|pin| pin.user == *user) {
            pins.remove(session);
        }
    }

    /// Takes out what a client has left open.
    pub(crate) fn of_client(&self, client: i32) -> Vec<Left> {
        let mut pins = self.pins.lock();
        let gone = pins.extract_if(|_, pin| pin.client == client && pin.phase == Phase::Open);
        gone.map(|(session, pin)| Left {
            session,
            number: pin.number,
            place: pin.place,
        })
        .collect()
    }

    /// Ends transactions in which nothing has happened for `bound`, and forgets those that have long ended. What the
    /// server has to be told of comes back: held connections are closed, and end them by that.
    pub(crate) fn expire(&self, bound: Option<Duration>) -> Vec<Left> {
        let mut left = Vec::new();
        self.pins.lock().retain(|session, pin| {
            let idle = pin.touched.elapsed();
            let open = pin.phase == Phase::Open || matches!(pin.place, Place::On(..));
            if open && pin.running == 0 && bound.is_some_and(|bound| idle > bound) {
                pin.phase = Phase::Ended;
                let (kept, told) = match &pin.place {
                    Place::Free => (Place::Free, Some(Place::Free)),
                    Place::At(server) => (
                        Place::At(Arc::clone(server)),
                        Some(Place::At(Arc::clone(server))),
                    ),
                    // By another connection it can't go on.
                    Place::On(..) | Place::Taken => (Place::Taken, None),
                };
                pin.place = kept;
                left.extend(told.map(|place| Left {
                    session: *session,
                    number: pin.number,
                    place,
                }));
            }
            pin.running > 0 || idle < REMEMBERED
        });
        left
    }

    /// Whether a transaction goes on.
    pub(crate) fn is_open(&self, (user, session): &Owner, number: i64) -> bool {
        let pins = self.pins.lock();
        let pin = pins.get(session).filter(|pin| pin.user == *user);
        pin.is_some_and(|pin| pin.number == number && pin.phase == Phase::Open)
    }

    /// Those that are open, for the admin console.
    pub(crate) fn list(&self) -> Vec<view::Transaction> {
        let pins = self.pins.lock();
        let open = pins.iter().filter(|(_, pin)| pin.phase == Phase::Open);
        open.map(|(session, pin)| view::Transaction {
            user: pin.user.to_string(),
            session: view::session(session),
            number: pin.number,
            idle: Some(pin.touched.elapsed()),
            upstream: None,
        })
        .collect()
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        let pins = self.pins.lock();
        let open = pins.values().filter(|pin| pin.phase == Phase::Open);
        open.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(user: &str) -> Owner {
        (user.into(), [1; 16])
    }

    #[test]
    fn a_session_belongs_to_who_began_its_transaction() {
        let pins = Pins::default();
        assert!(pins.enter(&owner("ann"), 1, Part::First, 7).is_ok());
        let other = pins.enter(&owner("bob"), 1, Part::Further, 8);
        assert_eq!(
            other.err().map(|fault| fault.code),
            Some(known::UNAUTHORIZED)
        );
        assert!(pins.enter(&owner("ann"), 1, Part::Further, 8).is_ok());
        assert_eq!(pins.count(), 1);
        pins.end(&owner("ann"), 1);
        assert_eq!(pins.count(), 0);
    }

    #[test]
    fn only_what_is_open_is_left_by_a_client() {
        let pins = Pins::default();
        pins.enter(&owner("ann"), 1, Part::First, 7).unwrap();
        assert!(pins.of_client(8).is_empty());
        assert_eq!(pins.of_client(7).len(), 1);
        pins.enter(&owner("ann"), 2, Part::First, 7).unwrap();
        pins.end(&owner("ann"), 2);
        assert!(pins.of_client(7).is_empty());
    }

    #[test]
    fn nothing_runs_in_what_is_idle() {
        let (pins, ann) = (Pins::default(), owner("ann"));
        let bound = Some(Duration::ZERO);
        pins.enter(&ann, 1, Part::First, 7).unwrap();
        let mut running = pins.unanswered(&ann, 1);
        running.is_over = false;
        assert!(pins.expire(bound).is_empty());
        assert!(pins.is_open(&ann, 1));
        drop(running);
        assert!(pins.expire(None).is_empty());
        let left = pins.expire(bound);
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].session, left[0].number), ([1; 16], 1));
        assert!(!pins.is_open(&ann, 1));
        assert!(pins.expire(bound).is_empty(), "it is told once");
    }
}
