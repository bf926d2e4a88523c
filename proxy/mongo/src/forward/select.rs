//! Which server a request goes to.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/server-selection/server-selection.md>.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom;
use tokio::time::Instant;
use twinport_config::{ReadMode, ReadPreference, Shape};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument};
use twinport_wire::mongo::document::integer;

use super::description::{Description, Kind};
use super::server::Server;
use super::topology::Topology;
use crate::fault::{Fault, known};

/// The least staleness that can be told from none, whatever the heartbeat.
const LEAST_STALENESS: Duration = Duration::from_secs(90);

/// How often an idle primary writes, so that its secondaries know how far they are.
const IDLE_WRITE: Duration = Duration::from_secs(10);

/// What a request needs of a server.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// One that takes writes.
    Writable,
    /// One that reads may go to.
    Readable(ReadPreference),
}

/// A server as selection sees it.
struct Candidate {
    server: Arc<Server>,
    description: Arc<Description>,
}

impl Topology {
    /// A server that fits; waits while one may still come, as during an election.
    pub(crate) async fn select(&self, want: &Want) -> Result<Arc<Server>, Fault> {
        let bound = self.common.settings.selection_timeout;
        let began = Instant::now();
        let deadline = began + bound;
        let mut changes = self.changes();
        let mut asked = false;
        loop {
            changes.mark_unchanged();
            let candidates = self.candidates();
            if let Want::Readable(preference) = want
                && !self.is_direct()
            {
                check_staleness(&candidates, preference, self.common.settings.heartbeat)?;
            }
            if let Some(server) = self.choose(&candidates, want) {
                return Ok(server);
            }
            if let Some(why) = nobody_there(&candidates, began.into_std()) {
                return Err(Fault::new(
                    known::HOST_UNREACHABLE,
                    format_args!("the upstream can't be reached: {why}"),
                ));
            }
            if !asked {
                asked = true;
                self.ask();
            }
            if tokio::time::timeout_at(deadline, changes.changed())
                .await
                .is_err()
            {
                return Err(Fault::new(
                    known::FAILED_TO_SATISFY_READ_PREFERENCE,
                    format_args!("no server of the upstream can take this within {bound:?}"),
                )
                .hint(explained(want, &candidates)));
            }
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let servers = self.servers().into_iter();
        servers
            .map(|server| Candidate {
                description: server.description(),
                server,
            })
            .collect()
    }

    fn choose(&self, candidates: &[Candidate], want: &Want) -> Option<Arc<Server>> {
        if self.is_direct() {
            let known = |each: &&Candidate| each.description.kind != Kind::Unknown;
            return Some(Arc::clone(&candidates.iter().find(known)?.server));
        }
        let settings = &self.common.settings;
        let pace = Pace {
            threshold: settings.local_threshold,
            heartbeat: settings.heartbeat,
        };
        choose(candidates, want, pace)
    }

    /// Whether the upstream is as [`Shape::Direct`] says: one server, whatever it is.
    pub(crate) fn is_direct(&self) -> bool {
        self.common.settings.shape == Shape::Direct
    }
}

/// Why nobody is there, if every server was asked in vain since then.
fn nobody_there(candidates: &[Candidate], since: std::time::Instant) -> Option<String> {
    let mut errors = Vec::new();
    for each in candidates {
        let fresh = each.description.at >= since;
        let error = each.description.error.as_ref().filter(|_| fresh)?;
        errors.push(format!("{}: {error}", each.server.place));
    }
    Some(if errors.is_empty() {
        "no server is left of those in mongo.upstream".to_owned()
    } else {
        errors.join("; ")
    })
}

fn explained(want: &Want, candidates: &[Candidate]) -> String {
    let wanted = match want {
        Want::Writable => "a primary".to_owned(),
        Want::Readable(preference) => format!("read preference {}", preference.mode.name()),
    };
    let seen: Vec<String> = candidates
        .iter()
        .map(|each| format!("{} is {:?}", each.server.place, each.description.kind))
        .collect();
    format!("It needs {wanted}; {}", seen.join(", "))
}

/// How near is near, and how old what was seen may be.
#[derive(Clone, Copy)]
struct Pace {
    threshold: Duration,
    heartbeat: Duration,
}

/// Whether what is known of a replica set's members can tell a staleness as small as is asked for. Others see to it
/// themselves.
fn check_staleness(
    candidates: &[Candidate],
    preference: &ReadPreference,
    heartbeat: Duration,
) -> Result<(), Fault> {
    let of_a_set = candidates.iter().any(|each| each.description.set.is_some());
    let least = LEAST_STALENESS.max(heartbeat + IDLE_WRITE);
    match preference.max_staleness {
        Some(staleness) if of_a_set && staleness < least => Err(Fault::new(
            known::MAX_STALENESS_OUT_OF_RANGE,
            format_args!(
                "maxStalenessSeconds is {}, and must be at least {}",
                staleness.as_secs(),
                least.as_secs_f64().ceil()
            ),
        )
        .hint(format_args!(
            "It is at least 90, and heartbeatFrequencyMS ({heartbeat:?} in mongo.upstream) and 10 seconds together"
        ))),
        _ => Ok(()),
    }
}

fn choose(candidates: &[Candidate], want: &Want, pace: Pace) -> Option<Arc<Server>> {
    let threshold = pace.threshold;
    let of = |kinds: &[Kind]| -> Vec<&Candidate> {
        let fitting = |each: &&Candidate| kinds.contains(&each.description.kind);
        candidates.iter().filter(fitting).collect()
    };
    // These take everything, and see to the rest themselves.
    let whole = of(&[Kind::Mongos, Kind::Standalone, Kind::Balanced]);
    if !whole.is_empty() {
        return near(whole, threshold);
    }
    let primary = || of(&[Kind::Primary]);
    let Want::Readable(preference) = want else {
        return near(primary(), threshold);
    };
    let fitting = |from: Vec<&'_ Candidate>| {
        let fresh = fresh_enough(from, candidates, preference.max_staleness, pace.heartbeat);
        near(tagged(fresh, &preference.tags), threshold)
    };
    let secondary = || fitting(of(&[Kind::Secondary]));
    match preference.mode {
        ReadMode::Primary => near(primary(), threshold),
        ReadMode::PrimaryPreferred => near(primary(), threshold).or_else(secondary),
        ReadMode::Secondary => secondary(),
        ReadMode::SecondaryPreferred => secondary().or_else(|| near(primary(), threshold)),
        ReadMode::Nearest => fitting(of(&[Kind::Primary, Kind::Secondary])),
    }
}

/// Those with the first set of tags that anybody has.
fn tagged<'a>(
    candidates: Vec<&'a Candidate>,
    sets: &[BTreeMap<String, String>],
) -> Vec<&'a Candidate> {
    if sets.is_empty() {
        return candidates;
    }
    let has = |each: &Candidate, set: &BTreeMap<String, String>| {
        let tags = &each.description.tags;
        set.iter().all(|(key, value)| tags.get(key) == Some(value))
    };
    for set in sets {
        let found: Vec<_> = candidates
            .iter()
            .copied()
            .filter(|each| has(each, set))
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Those that are not too far behind the primary, or behind the furthest secondary if there is none. Until it is
/// asked again a server may fall behind by another heartbeat.
fn fresh_enough<'a>(
    from: Vec<&'a Candidate>,
    all: &[Candidate],
    bound: Option<Duration>,
    heartbeat: Duration,
) -> Vec<&'a Candidate> {
    let Some(bound) = bound else {
        return from;
    };
    let primary = all
        .iter()
        .find(|each| each.description.kind == Kind::Primary)
        .and_then(|each| each.description.last_write);
    let newest = all
        .iter()
        .filter(|each| each.description.kind == Kind::Secondary)
        .filter_map(|each| Some(each.description.last_write?.0.timestamp_millis()))
        .max();
    let behind = |each: &Candidate| {
        let (wrote, told) = each.description.last_write?;
        let (wrote, told) = (wrote.timestamp_millis(), told.timestamp_millis());
        let millis = match primary {
            Some((p_wrote, p_told)) => {
                (told - wrote) - (p_told.timestamp_millis() - p_wrote.timestamp_millis())
            }
            None => newest? - wrote,
        };
        let heartbeat = i64::try_from(heartbeat.as_millis()).unwrap_or(i64::MAX);
        Some(millis.saturating_add(heartbeat))
    };
    let bound = i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
    from.into_iter()
        .filter(|each| {
            each.description.kind == Kind::Primary || behind(each).is_none_or(|lag| lag <= bound)
        })
        .collect()
}

/// One of those about as near as the nearest.
fn near(candidates: Vec<&Candidate>, threshold: Duration) -> Option<Arc<Server>> {
    let nearest = candidates
        .iter()
        .map(|each| each.description.round_trip)
        .min()?;
    let close: Vec<_> = candidates
        .into_iter()
        .filter(|each| each.description.round_trip <= nearest + threshold)
        .collect();
    let chosen = close.choose(&mut rand::rng())?;
    Some(Arc::clone(&chosen.server))
}

/// Reads `$readPreference`.
pub(crate) fn preference(document: &RawDocument) -> Result<ReadPreference, Fault> {
    let mode = document.get_str("mode").ok().and_then(ReadMode::by_name);
    let mode = mode.ok_or_else(|| {
        Fault::new(
            known::FAILED_TO_PARSE,
            "$readPreference has no mode that is known",
        )
        .hint("Modes are primary, primaryPreferred, secondary, secondaryPreferred, nearest")
    })?;
    let mut tags = Vec::new();
    for set in document.get_array("tags").into_iter().flatten().flatten() {
        let RawBsonRef::Document(set) = set else {
            continue;
        };
        let pairs = set.into_iter().flatten();
        let pairs =
            pairs.filter_map(|(k, v)| Some((k.as_str().to_owned(), v.as_str()?.to_owned())));
        tags.push(pairs.collect());
    }
    let staleness = document.get("maxStalenessSeconds").ok().flatten();
    let staleness = staleness
        .and_then(integer)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0);
    Ok(ReadPreference {
        mode,
        tags,
        max_staleness: staleness.map(Duration::from_secs),
    })
}
