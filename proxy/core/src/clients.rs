//! The registry of clients: who is connected, what each does, and limits on how many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

/// What a client does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Logged in, nothing running.
    Idle = 0,
    /// Holds an upstream connection.
    Active = 1,
    /// In the wait queue.
    Waiting = 2,
}

/// One connected client.
pub struct Client {
    /// A number of its own among the clients of all ports, never used again while the server runs.
    pub id: u64,
    /// The user that it logged in as.
    pub user: String,
    /// The database that it asked for.
    pub database: String,
    /// Where it comes from, for logs and `SHOW CLIENTS`.
    pub peer: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// When it logged in.
    pub since: SystemTime,
    /// What the client calls itself.
    pub application_name: Mutex<String>,
    activity: AtomicU8,
    /// Why the client's lease outlives its transactions; empty if it does not.
    pin: Mutex<Option<Arc<str>>>,
    /// The upstream connection that it holds; 0 is none.
    upstream: AtomicU64,
}

impl Client {
    /// What it does now.
    pub fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) {
            1 => Activity::Active,
            2 => Activity::Waiting,
            _ => Activity::Idle,
        }
    }

    /// Notes what it does now.
    pub fn set_activity(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// Why it is pinned, if it is.
    pub fn pin(&self) -> Option<Arc<str>> {
        self.pin.lock().clone()
    }

    /// Notes why it is pinned.
    pub fn set_pin(&self, reason: Option<Arc<str>>) {
        *self.pin.lock() = reason;
    }

    /// The number of the upstream connection that it holds.
    pub fn upstream(&self) -> Option<u64> {
        Some(self.upstream.load(Ordering::Relaxed)).filter(|&id| id != 0)
    }

    /// Notes the upstream connection that it holds.
    pub fn set_upstream(&self, id: Option<u64>) {
        self.upstream.store(id.unwrap_or(0), Ordering::Relaxed);
    }
}

/// What a new client says of itself.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// The user that it logged in as.
    pub user: String,
    /// The database that it asked for.
    pub database: String,
    /// Where it comes from.
    pub peer: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// What it calls itself.
    pub application_name: String,
}

/// Bounds for [`Clients::enter`]; `None` is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// All clients together.
    pub all: Option<usize>,
    /// Clients of this user.
    pub user: Option<usize>,
    /// Clients of this database.
    pub database: Option<usize>,
}

/// Which bound refused a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many clients in all.
    All(usize),
    /// Too many of this user.
    User(usize),
    /// Too many of this database.
    Database(usize),
}

/// The number of the client that came last.
static LAST: AtomicU64 = AtomicU64::new(0);

/// All clients of a port.
#[derive(Default)]
pub struct Clients {
    state: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    clients: HashMap<u64, Arc<Client>>,
    by_user: HashMap<String, usize>,
    by_database: HashMap<String, usize>,
}

impl Clients {
    /// Lets a client in if no bound is reached. It leaves when the guard is dropped.
    ///
    /// # Errors
    /// Which bound is reached.
    pub fn enter(self: &Arc<Self>, arrival: Arrival, bounds: Bounds) -> Result<Presence, Full> {
        let mut state = self.state.lock();
        if let Some(bound) = bounds.all.filter(|&bound| state.clients.len() >= bound) {
            return Err(Full::All(bound));
        }
        state.count(&arrival.user, &arrival.database, bounds)?;
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client {
            id,
            user: arrival.user,
            database: arrival.database,
            peer: arrival.peer,
            tls: arrival.tls,
            since: SystemTime::now(),
            application_name: Mutex::new(arrival.application_name),
            activity: AtomicU8::new(Activity::Idle as u8),
            pin: Mutex::new(None),
            upstream: AtomicU64::new(0),
        });
        state.clients.insert(id, Arc::clone(&client));
        Ok(Presence {
            client,
            clients: Arc::clone(self),
        })
    }

    /// Everybody who is there, in order of arrival.
    pub fn list(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.state.lock().clients.values().cloned().collect();
        all.sort_by_key(|client| client.id);
        all
    }

    /// How many are there.
    pub fn count(&self) -> usize {
        self.state.lock().clients.len()
    }

    fn leave(&self, client: &Client) {
        let mut state = self.state.lock();
        state.clients.remove(&client.id);
        state.discount(&client.user, &client.database);
    }
}

impl Counted {
    /// Counts one more of a user and a database, if no bound is reached.
    fn count(&mut self, user: &str, database: &str, bounds: Bounds) -> Result<(), Full> {
        let reached = |bound: Option<usize>, counts: &HashMap<String, usize>, name: &str| {
            let now = counts.get(name).copied().unwrap_or(0);
            bound.filter(|&bound| now >= bound)
        };
        if let Some(bound) = reached(bounds.user, &self.by_user, user) {
            return Err(Full::User(bound));
        }
        if let Some(bound) = reached(bounds.database, &self.by_database, database) {
            return Err(Full::Database(bound));
        }
        *self.by_user.entry(user.to_owned()).or_default() += 1;
        *self.by_database.entry(database.to_owned()).or_default() += 1;
        Ok(())
    }

    fn discount(&mut self, user: &str, database: &str) {
        let less = |counts: &mut HashMap<String, usize>, name: &str| {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        };
        less(&mut self.by_user, user);
        less(&mut self.by_database, database);
    }
}

/// A client's place in the registry, as long as it is connected.
pub struct Presence {
    client: Arc<Client>,
    clients: Arc<Clients>,
}

impl Presence {
    /// The client has logged in, or has done so again as somebody else: it keeps its place, and counts as this
    /// user's and this database's from now on. The bound for all clients has no part in it.
    ///
    /// # Errors
    /// Which bound is reached; then nothing has changed.
    pub fn log_in(&mut self, user: &str, database: &str, bounds: Bounds) -> Result<(), Full> {
        let mut state = self.clients.state.lock();
        state.discount(&self.client.user, &self.client.database);
        if let Err(full) = state.count(user, database, bounds) {
            let (user, database) = (&self.client.user, &self.client.database);
            state.count(user, database, Bounds::default())?;
            return Err(full);
        }
        let client = Arc::new(Client {
            id: self.client.id,
            user: user.to_owned(),
            database: database.to_owned(),
            peer: self.client.peer.clone(),
            tls: self.client.tls,
            since: SystemTime::now(),
            application_name: Mutex::new(self.client.application_name.lock().clone()),
            activity: AtomicU8::new(self.client.activity() as u8),
            pin: Mutex::new(self.client.pin()),
            upstream: AtomicU64::new(self.client.upstream().unwrap_or(0)),
        });
        state.clients.insert(client.id, Arc::clone(&client));
        self.client = client;
        Ok(())
    }
}

impl std::ops::Deref for Presence {
    type Target = Arc<Client>;
    fn deref(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.clients.leave(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(user: &str) -> Arrival {
        Arrival {
            user: user.into(),
            database: "app".into(),
            ..Arrival::default()
        }
    }

    #[test]
    fn bounds_hold_until_somebody_leaves() {
        let clients = Arc::new(Clients::default());
        let bounds = Bounds {
            user: Some(1),
            database: Some(2),
            ..Bounds::default()
        };
        let alice = clients.enter(arrival("alice"), bounds).ok();
        assert!(alice.is_some());
        assert_eq!(
            clients.enter(arrival("alice"), bounds).err(),
            Some(Full::User(1))
        );
        let _bob = clients.enter(arrival("bob"), bounds).ok();
        assert_eq!(
            clients.enter(arrival("eve"), bounds).err(),
            Some(Full::Database(2))
        );
        drop(alice);
        assert!(clients.enter(arrival("alice"), bounds).is_ok());
        assert_eq!(clients.count(), 1);
    }

    #[test]
    fn who_logs_in_keeps_its_place_and_counts_once() {
        let clients = Arc::new(Clients::default());
        let stranger = Bounds {
            all: Some(2),
            ..Bounds::default()
        };
        let one_each = Bounds {
            user: Some(1),
            ..Bounds::default()
        };
        let mut first = clients.enter(Arrival::default(), stranger).ok().unwrap();
        let mut second = clients.enter(Arrival::default(), stranger).ok().unwrap();
        assert_eq!(first.log_in("alice", "app", one_each), Ok(()));
        assert_eq!(second.log_in("alice", "app", one_each), Err(Full::User(1)));
        assert_eq!(second.log_in("bob", "app", one_each), Ok(()));
        assert_eq!(first.log_in("alice", "app", one_each), Ok(()), "itself");
        assert_eq!(clients.count(), 2);
        let users: Vec<_> = clients
            .list()
            .iter()
            .map(|each| each.user.clone())
            .collect();
        assert_eq!(users, ["alice", "bob"]);
        drop(first);
        assert_eq!(second.log_in("alice", "app", one_each), Ok(()));
        drop(second);
        assert_eq!(clients.count(), 0);
        let state = clients.state.lock();
        assert!(state.by_user.is_empty() && state.by_database.is_empty());
    }
}
