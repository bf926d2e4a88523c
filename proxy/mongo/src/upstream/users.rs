//! What is known of the users who write records: each has rights of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a user who may not use the table of records does not try again.
const REFUSED: Duration = Duration::from_secs(10);

/// How long a user's old records stay.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Users of whom something is known.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct Users(Mutex<HashMap<Arc<str>, User>>);

#[derive(Default)]
struct User {
    access: Access,
    /// When its records were last looked after.
    swept: Option<Instant>,
}

/// Whether a user has the table of records.
#[derive(Clone, Copy, Default)]
enum Access {
    #[default]
    Unknown,
    Open,
    Refused(Instant),
}

impl Users {
    /// Whether the table is known to be there for this user.
    pub(super) fn has_table(&self, user: &str) -> bool {
        matches!(self.access(user), Access::Open)
    }

    /// Whether the user was refused a moment ago.
    pub(super) fn is_refused(&self, user: &str) -> bool {
        matches!(self.access(user), Access::Refused(since) if since.elapsed() < REFUSED)
    }

    fn access(&self, user: &str) -> Access {
        let users = self.0.lock();
        users.get(user).map_or(Access::Unknown, |user| user.access)
    }

    /// Notes that the user has the table; whether that is news.
    pub(super) fn open(&self, user: &Arc<str>) -> bool {
        let before = self.change(user, |user| {
            std::mem::replace(&mut user.access, Access::Open)
        });
        !matches!(before, Access::Open)
    }

    /// Notes that the user may not use the table, nor make it.
    pub(super) fn refuse(&self, user: &Arc<str>) {
        self.change(user, |user| user.access = Access::Refused(Instant::now()));
    }

    /// Notes that what was known of the user's table is so no more.
    pub(super) fn forget(&self, user: &Arc<str>) {
        self.change(user, |user| user.access = Access::Unknown);
    }

    /// Whether it is time to look after the user's old records, by whoever asks.
    pub(super) fn is_due(&self, user: &Arc<str>) -> bool {
        self.change(user, |user| {
            let due = user.swept.is_none_or(|last| last.elapsed() >= SWEEP_EVERY);
            if due {
                user.swept = Some(Instant::now());
            }
            due
        })
    }

    fn change<T>(&self, user: &Arc<str>, change: impl FnOnce(&mut User) -> T) -> T {
        let mut users = self.0.lock();
        if let Some(known) = users.get_mut(user) {
            return change(known);
        }
        if users.len() >= MOST {
            users.clear();
        }
        change(users.entry(Arc::clone(user)).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_is_refused_and_another_not() {
        let users = Users::default();
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        assert!(users.open(&ann) && !users.open(&ann));
        users.refuse(&bob);
        assert!(users.has_table(&ann) && !users.is_refused(&ann));
        assert!(users.is_refused(&bob) && !users.has_table(&bob));
        users.forget(&ann);
        assert!(!users.has_table(&ann) && !users.is_refused(&ann));
    }

    #[test]
    fn each_users_records_are_looked_after_once_in_a_while() {
        let users = Users::default();
        for user in ["ann", "bob"] {
            let user = user.into();
            assert!(users.is_due(&user) && !users.is_due(&user));
        }
    }

    #[test]
    fn there_is_a_bound() {
        let users = Users::default();
        for number in 0..=MOST {
            users.refuse(&number.to_string().into());
        }
        assert!(users.0.lock().len() <= MOST);
    }
}
