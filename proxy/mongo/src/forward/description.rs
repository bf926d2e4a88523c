//! What a server says of itself in its answer to `hello`.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring/server-discovery-and-monitoring.md>.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twinport_config::HostPort;
use twinport_wire::mongo::bson::oid::ObjectId;
use twinport_wire::mongo::bson::{DateTime, RawBsonRef, RawDocument};
use twinport_wire::mongo::compressed::Compressor;
use twinport_wire::mongo::document::{integer, truth};

use crate::handshake::Limits;

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody knows: it was not asked yet, or does not answer.
    Unknown,
    Standalone,
    Mongos,
    Primary,
    Secondary,
    /// A member of a replica set that serves nobody now: an arbiter, one that recovers.
    Other,
    /// One of those behind a balancer.
    Balanced,
}

/// A server as it was last seen.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) kind: Kind,
    /// When it was seen so.
    pub(crate) at: Instant,
    /// Why it does not answer, or is not to be used; none if it was not asked.
    pub(crate) error: Option<String>,
    /// How long its answer took, smoothed.
    pub(crate) round_trip: Duration,
    pub(crate) limits: Limits,
    pub(crate) set: Option<Membership>,
    pub(crate) tags: BTreeMap<String, String>,
    /// The latest write that it has seen, and when it told so.
    pub(crate) last_write: Option<(DateTime, DateTime)>,
    /// The compressors that it has agreed on.
    pub(crate) compressors: Vec<Compressor>,
    /// The mechanisms that it offers for our user.
    pub(crate) mechanisms: Vec<String>,
}

/// A server's place in a replica set.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) name: String,
    /// Everybody, by the names that the set has for them.
    pub(crate) members: Vec<HostPort>,
    /// The server's own name there.
    pub(crate) me: Option<HostPort>,
    /// What tells an older primary from a newer.
    pub(crate) term: Term,
}

/// What orders primaries: the newest election, and the newest configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term {
    election: Option<ObjectId>,
    version: Option<i64>,
}

/// From this wire version on (MongoDB 6.0) an election counts before a configuration.
const BY_ELECTION: i32 = 17;

impl Term {
    /// What is the newest after a primary with this term was seen; `None` if it is a stale one.
    pub(crate) fn followed_by(self, seen: Self, wire_version: i32) -> Option<Self> {
        if wire_version >= BY_ELECTION {
            return (seen >= self).then_some(seen);
        }
        let mut newest = self;
        if let (Some(election), Some(version)) = (seen.election, seen.version) {
            let known = self.version.zip(self.election);
            if known.is_some_and(|known| known > (version, election)) {
                return None;
            }
            newest.election = seen.election;
        }
        newest.version = newest.version.max(seen.version);
        Some(newest)
    }
}

impl Description {
    /// A server that was not asked yet, or whose last answer never came.
    pub(crate) fn unknown(error: Option<String>) -> Self {
        Self {
            kind: Kind::Unknown,
            at: Instant::now(),
            error,
            round_trip: Duration::ZERO,
            limits: Limits {
                max_wire_version: 0,
                max_document: 0,
                max_message: 0,
                max_batch: 0,
                session_minutes: None,
            },
            set: None,
            tags: BTreeMap::new(),
            last_write: None,
            compressors: Vec::new(),
            mechanisms: Vec::new(),
        }
    }

    /// Reads the answer to `hello`.
    pub(crate) fn read(body: &RawDocument, round_trip: Duration) -> Self {
        let yes = |key: &str| matches!(body.get(key), Ok(Some(value)) if truth(value));
        let set = membership(body);
        let kind = if !yes("ok") {
            Kind::Unknown
        } else if body.get_str("msg").ok() == Some("isdbgrid") {
            Kind::Mongos
        } else if set.is_some() {
            match (
                yes("isWritablePrimary") || yes("ismaster"),
                yes("secondary"),
            ) {
                _ if yes("hidden") => Kind::Other,
                (true, _) => Kind::Primary,
                (false, true) => Kind::Secondary,
                (false, false) => Kind::Other,
            }
        } else if yes("isreplicaset") {
            Kind::Other
        } else {
            Kind::Standalone
        };
        let error = match kind {
            Kind::Unknown => Some(body.get_str("errmsg").unwrap_or("no answer").to_owned()),
            _ => None,
        };
        Self {
            kind,
            at: Instant::now(),
            error,
            round_trip,
            limits: limits(body),
            set,
            tags: tags(body),
            last_write: body
                .get_document("lastWrite")
                .and_then(|last| last.get_datetime("lastWriteDate"))
                .ok()
                .map(|at| (at, DateTime::now())),
            compressors: texts(body, "compression")
                .filter_map(Compressor::by_name)
                .collect(),
            mechanisms: texts(body, "saslSupportedMechs")
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn limits(body: &RawDocument) -> Limits {
    let number = |key: &str, default: i32| {
        let value = body.get(key).ok().flatten().and_then(integer);
        value.map_or(default, |value| i32::try_from(value).unwrap_or(default))
    };
    // The defaults are those that drivers assume.
    Limits {
        max_wire_version: number("maxWireVersion", 0),
        max_document: number("maxBsonObjectSize", 16 * 1024 * 1024),
        max_message: number("maxMessageSizeBytes", 48_000_000),
        max_batch: number("maxWriteBatchSize", 1_000),
        session_minutes: body
            .get("logicalSessionTimeoutMinutes")
            .ok()
            .flatten()
            .and_then(integer)
            .and_then(|minutes| i32::try_from(minutes).ok()),
    }
}

fn membership(body: &RawDocument) -> Option<Membership> {
    let name = body.get_str("setName").ok()?.to_owned();
    let members = ["hosts", "passives", "arbiters"]
        .into_iter()
        .flat_map(|key| texts(body, key))
        .filter_map(HostPort::parse)
        .collect();
    Some(Membership {
        name,
        members,
        me: body.get_str("me").ok().and_then(HostPort::parse),
        term: Term {
            election: body.get_object_id("electionId").ok(),
            version: body.get("setVersion").ok().flatten().and_then(integer),
        },
    })
}

fn tags(body: &RawDocument) -> BTreeMap<String, String> {
    let tags = body.get_document("tags").into_iter().flatten().flatten();
    tags.filter_map(|(key, value)| Some((key.as_str().to_owned(), value.as_str()?.to_owned())))
        .collect()
}

fn texts<'a>(body: &'a RawDocument, key: &str) -> impl Iterator<Item = &'a str> {
    let list = body.get_array(key).into_iter().flatten().flatten();
    list.filter_map(RawBsonRef::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinport_wire::mongo::bson::{RawDocumentBuf, rawdoc};

    fn kind(body: &RawDocumentBuf) -> Kind {
        Description::read(body, Duration::ZERO).kind
    }

    #[test]
    fn every_kind_of_server_is_known() {
        let standalone = rawdoc! { "ismaster": true, "maxWireVersion": 21, "ok": 1.0 };
        assert_eq!(kind(&standalone), Kind::Standalone);
        let mongos = rawdoc! { "isWritablePrimary": true, "msg": "isdbgrid", "ok": 1 };
        assert_eq!(kind(&mongos), Kind::Mongos);
        let primary = rawdoc! { "isWritablePrimary": true, "setName": "rs", "ok": 1 };
        assert_eq!(kind(&primary), Kind::Primary);
        let secondary = rawdoc! { "secondary": true, "setName": "rs", "ok": 1 };
        assert_eq!(kind(&secondary), Kind::Secondary);
        let hidden = rawdoc! { "secondary": true, "hidden": true, "setName": "rs", "ok": 1 };
        assert_eq!(kind(&hidden), Kind::Other);
        let arbiter = rawdoc! { "arbiterOnly": true, "setName": "rs", "ok": 1 };
        assert_eq!(kind(&arbiter), Kind::Other);
        assert_eq!(
            kind(&rawdoc! { "isreplicaset": true, "ok": 1 }),
            Kind::Other
        );
        let refused = Description::read(&rawdoc! { "ok": 0, "errmsg": "no" }, Duration::ZERO);
        assert_eq!(
            (refused.kind, refused.error.as_deref()),
            (Kind::Unknown, Some("no"))
        );
    }

    fn term(election: Option<u8>, version: Option<i64>) -> Term {
        Term {
            election: election.map(|first| ObjectId::from_bytes([first; 12])),
            version,
        }
    }

    #[test]
    fn a_newer_election_goes_before_a_newer_configuration() {
        let taken = |before: Term, seen: Term| before.followed_by(seen, 17) == Some(seen);
        assert!(taken(term(Some(1), Some(9)), term(Some(2), Some(1))));
        assert!(!taken(term(Some(2), Some(1)), term(Some(1), Some(9))));
        assert!(taken(term(Some(1), Some(1)), term(Some(1), Some(2))));
        assert!(taken(term(Some(1), Some(1)), term(Some(1), Some(1))));
        assert!(taken(term(None, Some(1)), term(Some(1), None)));
        assert!(!taken(term(Some(1), None), term(None, Some(1))));
    }

    #[test]
    fn before_mongodb_6_a_newer_configuration_goes_before_a_newer_election() {
        let after = |before: Term, seen: Term| before.followed_by(seen, 16);
        let newer = term(Some(1), Some(9));
        assert_eq!(after(term(Some(2), Some(1)), newer), Some(newer));
        assert_eq!(after(newer, term(Some(2), Some(1))), None);
        assert_eq!(
            after(newer, term(Some(2), Some(9))),
            Some(term(Some(2), Some(9)))
        );
        assert_eq!(after(term(Some(2), Some(9)), newer), None);
        // Who doesn't tell both is believed, and what it tells is remembered.
        assert_eq!(after(newer, term(None, Some(3))), Some(newer));
        assert_eq!(
            after(newer, term(None, Some(10))),
            Some(term(Some(1), Some(10)))
        );
        assert_eq!(after(newer, term(None, None)), Some(newer));
        assert_eq!(
            after(term(None, Some(9)), term(Some(1), Some(3))),
            Some(newer)
        );
    }
}
