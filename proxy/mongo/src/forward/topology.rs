//! Which servers there are, and what they are: each is looked after by a task of its own.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring/server-discovery-and-monitoring.md>.
//! Servers are asked again and again; streamed answers, by which drivers learn of changes sooner, are not used:
//! a request that fails asks at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use twinport_config::{HostPort, Shape};

use super::connection::Connection;
use super::description::{Description, Kind, Membership, Term};
use super::server::{Common, Server, heartbeat, hello};

/// The shortest distance between two questions to a server.
const LEAST: Duration = Duration::from_millis(100);

/// How often a server is asked that does not answer.
const WHILE_DOWN: Duration = Duration::from_secs(1);

/// Why a server leaves that comes back under the name that its set has for it.
const RENAMED: &str = "the set knows it by another name";

/// All servers of a deployment.
pub(crate) struct Topology {
    pub(crate) common: Arc<Common>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    servers: BTreeMap<HostPort, Watched>,
    /// The newest of all primaries that were ever seen.
    term: Option<Term>,
    /// The replica set's name, once it is known.
    set: Option<String>,
}

struct Watched {
    server: Arc<Server>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.server.close();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Topology {
    /// Begins to look after the servers of the URL.
    pub(crate) fn new(common: Common) -> Arc<Self> {
        let common = Arc::new(common);
        let topology = Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            common,
        });
        {
            let mut state = topology.state.lock();
            if let Shape::ReplicaSet(name) = &topology.common.settings.shape {
                state.set = Some(name.clone());
            }
            for seed in &topology.common.settings.seeds {
                topology.add(&mut state, seed.clone());
            }
        }
        topology
    }

    fn add(self: &Arc<Self>, state: &mut State, place: HostPort) {
        let server = Server::new(place.clone(), &self.common);
        // Behind a balancer nobody is asked.
        let watches = self.common.settings.shape != Shape::LoadBalanced;
        let task = watches.then(|| {
            let watch = watch_over(Arc::downgrade(self), Arc::clone(&server));
            tokio::spawn(watch)
        });
        state.servers.insert(place, Watched { server, task });
    }

    /// All servers.
    pub(crate) fn servers(&self) -> Vec<Arc<Server>> {
        let state = self.state.lock();
        let servers = state.servers.values();
        servers.map(|watched| Arc::clone(&watched.server)).collect()
    }

    /// Changes whenever something was learned.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes those who look after servers: somebody waits.
    pub(crate) fn ask(&self) {
        for server in self.servers() {
            server.wanted.notify_one();
        }
    }

    /// Notes that a server has shown not to be what it was, and has it asked.
    pub(crate) fn distrust(&self, server: &Server) {
        if self.common.settings.shape == Shape::LoadBalanced {
            return;
        }
        server.describe(Description::unknown(None));
        server.wanted.notify_one();
        self.tell();
    }

    fn tell(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes what a server has said, or why it did not.
    fn learn(self: &Arc<Self>, server: &Arc<Server>, mut seen: Description) {
        let mut state = self.state.lock();
        if !state.servers.contains_key(&server.place) {
            return;
        }
        let mut leaves = None;
        if self.common.settings.shape != Shape::Direct {
            match judge(&mut state, &server.place, &seen) {
                Verdict::Keep => {}
                Verdict::Members(members) => self.follow(&mut state, &members),
                Verdict::Further(members) => {
                    self.join(&mut state, &members);
                    let renamed = members.me.is_some_and(|me| me != server.place);
                    leaves = renamed.then_some(RENAMED);
                }
                Verdict::Distrust(why) => seen = Description::unknown(Some(why)),
                Verdict::Leave(why) => leaves = Some(why),
            }
        }
        if let Some(why) = leaves {
            tracing::info!(server = %server.place, why, "a server left the deployment");
            state.servers.remove(&server.place);
            drop(state);
            self.tell();
            return;
        }
        let (now, error) = (seen.kind, seen.error.clone());
        let before = server.describe(seen);
        if now == Kind::Primary {
            // There is one at a time: who was it before isn't any more.
            for watched in state.servers.values() {
                let other = &watched.server;
                if other.place != server.place && other.description().kind == Kind::Primary {
                    other.describe(Description::unknown(None));
                    other.wanted.notify_one();
                }
            }
        }
        drop(state);
        if before.kind != now {
            let why = error.unwrap_or_default();
            tracing::info!(server = %server.place, was = ?before.kind, is = ?now, why, "upstream");
        }
        self.tell();
    }

    /// Makes the servers those that the replica set names.
    fn follow(self: &Arc<Self>, state: &mut State, members: &Membership) {
        let named: BTreeSet<&HostPort> = members.members.iter().collect();
        state.servers.retain(|place, _| named.contains(place));
        self.join(state, members);
    }

    /// Adds the servers that a replica set names.
    fn join(self: &Arc<Self>, state: &mut State, members: &Membership) {
        for place in &members.members {
            if !state.servers.contains_key(place) {
                tracing::info!(server = %place, "a server joined the deployment");
                self.add(state, place.clone());
            }
        }
    }

    /// Stops looking.
    pub(crate) fn close(&self) {
        self.state.lock().servers.clear();
    }
}

/// What becomes of a server by what it has said.
enum Verdict {
    Keep,
    /// The set is as its primary says.
    Members(Membership),
    /// There was no primary yet: who is named may be one, and who is not may be one as well.
    Further(Membership),
    Distrust(String),
    Leave(&'static str),
}

fn judge(state: &mut State, place: &HostPort, seen: &Description) -> Verdict {
    let Some(set) = &seen.set else {
        let alone = state.servers.len() == 1;
        return match seen.kind {
            Kind::Unknown | Kind::Mongos | Kind::Balanced => Verdict::Keep,
            _ if state.set.is_some() => {
                Verdict::Distrust("it belongs to no replica set".to_owned())
            }
            Kind::Standalone if !alone => Verdict::Leave("it stands alone"),
            _ => Verdict::Keep,
        };
    };
    match &state.set {
        Some(known) if *known != set.name => {
            let why = format!(
                "it belongs to the replica set `{}`, not `{known}`",
                set.name
            );
            return Verdict::Distrust(why);
        }
        Some(_) => {}
        None => state.set = Some(set.name.clone()),
    }
    if seen.kind == Kind::Primary {
        let newest = state.term.unwrap_or_default();
        let Some(newest) = newest.followed_by(set.term, seen.limits.max_wire_version) else {
            return Verdict::Distrust("a newer primary was seen".to_owned());
        };
        state.term = Some(newest);
        return Verdict::Members(set.clone());
    }
    if state.term.is_none() && !set.members.is_empty() {
        return Verdict::Further(set.clone());
    }
    match &set.me {
        Some(me) if me != place => Verdict::Leave(RENAMED),
        _ => Verdict::Keep,
    }
}

/// So often in a row a server has to be silent for those to be told who wait for its answers: once it may be busy.
pub(super) const SILENT: u32 = 2;

/// Asks a server how it is, from time to time or when somebody wants to know.
async fn watch_over(topology: Weak<Topology>, server: Arc<Server>) {
    let mut connection: Option<Connection> = None;
    let mut silent = 0;
    loop {
        let Some(strong) = topology.upgrade() else {
            return;
        };
        let common = Arc::clone(&strong.common);
        drop(strong);
        let began = Instant::now();
        let bound = common.settings.pool.connect_timeout;
        let asked = tokio::time::timeout(bound, ask(&common, &server.place, &mut connection)).await;
        silent = match &asked {
            Err(_) => silent + 1,
            // After a silence there may be nobody left to be connected to.
            Ok(Err(_)) if silent > 0 => silent + 1,
            Ok(_) => 0,
        };
        let seen = match asked {
            Ok(Ok(seen)) => smoothed(&server.description(), seen),
            Ok(Err(why)) => Description::unknown(Some(why)),
            Err(_) => Description::unknown(Some(format!("no answer within {bound:?}"))),
        };
        let down = seen.kind == Kind::Unknown;
        if down {
            connection = None;
        }
        let Some(strong) = topology.upgrade() else {
            return;
        };
        strong.learn(&server, seen);
        drop(strong);
        if silent >= SILENT {
            server.interrupt();
        }
        let pause = if down {
            common.settings.heartbeat.min(WHILE_DOWN)
        } else {
            common.settings.heartbeat
        };
        // A timeout is as good as a call.
        let _ = tokio::time::timeout(pause, server.wanted.notified()).await;
        tokio::time::sleep_until(began + LEAST).await;
    }
}

async fn ask(
    common: &Common,
    place: &HostPort,
    connection: &mut Option<Connection>,
) -> Result<Description, String> {
    // Taken out, so that it is closed if this is dropped in the middle.
    let (mut open, question) = match connection.take() {
        Some(open) => (open, heartbeat(&common.settings)),
        None => {
            let open = Connection::open(place, common.tls.as_deref()).await?;
            (open, hello(&common.settings, None))
        }
    };
    open.greet(&question).await?;
    let seen = open.description.clone();
    *connection = Some(open);
    Ok(seen)
}

/// The time of the answer counts for a fifth, so that one slow answer changes little.
fn smoothed(before: &Description, mut seen: Description) -> Description {
    if before.kind != Kind::Unknown {
        seen.round_trip = before.round_trip.mul_f64(0.8) + seen.round_trip.mul_f64(0.2);
    }
    seen
}
