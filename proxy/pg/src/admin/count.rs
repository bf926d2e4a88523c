//! Clients counted by pool, for the console and for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use twinport_core::clients::{Activity, Clients};

/// What the clients of one pool do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They hold an upstream connection.
    pub active: usize,
    /// They stand in the wait queue.
    pub waiting: usize,
    /// Nothing of theirs runs.
    pub idle: usize,
    /// They hold their connection beyond their transactions. Counted above, too.
    pub pinned: usize,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> usize {
        self.active + self.waiting + self.idle
    }
}

/// Clients counted by database and user.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<String, BTreeMap<String, Counts>>);

impl Tally {
    /// Counts who is there now. Who has not logged in yet is of no pool.
    #[must_use]
    pub fn of<'a>(clients: impl IntoIterator<Item = &'a Arc<Clients>>) -> Self {
        let mut tally: BTreeMap<String, BTreeMap<String, Counts>> = BTreeMap::new();
        let all = clients.into_iter().flat_map(|clients| clients.list());
        for client in all.filter(|client| !client.database.is_empty()) {
            let users = match tally.get_mut(&client.database) {
                Some(users) => users,
                None => tally.entry(client.database.clone()).or_default(),
            };
            let counts = match users.get_mut(&client.user) {
                Some(counts) => counts,
                None => users.entry(client.user.clone()).or_default(),
            };
            match client.activity() {
                Activity::Active => counts.active += 1,
                Activity::Waiting => counts.waiting += 1,
                Activity::Idle => counts.idle += 1,
            }
            counts.pinned += usize::from(client.pin().is_some());
        }
        Self(tally)
    }

    /// The clients of one pool: those of a user, or, where the pool serves all users of the database, of `None`.
    #[must_use]
    pub fn pool(&self, database: &str, user: Option<&str>) -> Counts {
        let users = self.0.get(database).into_iter().flatten();
        let theirs = users.filter(|(name, _)| user.is_none_or(|user| user == *name));
        theirs.fold(Counts::default(), |sum, (_, counts)| Counts {
            active: sum.active + counts.active,
            waiting: sum.waiting + counts.waiting,
            idle: sum.idle + counts.idle,
            pinned: sum.pinned + counts.pinned,
        })
    }

    /// How many clients a database has.
    #[must_use]
    pub fn database(&self, database: &str) -> usize {
        let users = self.0.get(database).into_iter().flat_map(BTreeMap::values);
        users.map(Counts::all).sum()
    }

    /// How many clients a user has.
    #[must_use]
    pub fn user(&self, user: &str) -> usize {
        let counts = self.0.values().filter_map(|users| users.get(user));
        counts.map(Counts::all).sum()
    }

    /// The users who are there.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(BTreeMap::keys).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use twinport_core::clients::{Arrival, Bounds};

    use super::*;

    #[test]
    fn clients_are_counted_by_what_they_do() {
        let clients = Arc::new(Clients::default());
        let enter = |user: &str, database: &str| {
            let arrival = Arrival {
                user: user.into(),
                database: database.into(),
                ..Arrival::default()
            };
            clients.enter(arrival, Bounds::default()).unwrap()
        };
        let pinned = enter("alice", "app");
        pinned.set_activity(Activity::Active);
        pinned.set_pin(Some("LISTEN".into()));
        let waiting = enter("alice", "app");
        waiting.set_activity(Activity::Waiting);
        let _idle = enter("alice", "other");
        let _stranger = enter("", "");
        let tally = Tally::of([&clients]);
        let expected = Counts {
            active: 1,
            waiting: 1,
            idle: 0,
            pinned: 1,
        };
        assert_eq!(tally.pool("app", Some("alice")), expected);
        assert_eq!(tally.pool("app", Some("bob")), Counts::default());
        let _other = enter("bob", "app");
        let tally = Tally::of([&clients]);
        let all = Counts {
            idle: 1,
            ..expected
        };
        assert_eq!(tally.pool("app", None), all);
        assert_eq!((tally.database("app"), tally.user("alice")), (3, 3));
    }
}
