//! Settings of a session, and what the server has reported of them.
//!
//! [`Overrides`] is what a session has set beyond the server's own values; an upstream connection carries the
//! overrides that were last applied to it, and only the difference is sent when the two meet. [`Reported`] is
//! what ParameterStatus has told, so that a client always knows the truth about the connection it is on.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::reading::READING;
use crate::spelling::Spelling;

/// Settings that take the whole identity with them: dropped first, applied last.
const IDENTITY: [&str; 2] = ["session_authorization", "role"];

/// The settings that decide what a statement's names mean, and so whether a plan may be shared.
const PLANNER: [&str; 3] = ["search_path", "role", "session_authorization"];

/// What a session has set: name (lower case) to value, as `set_config` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    values: BTreeMap<Box<str>, Box<str>>,
    planner: u64,
    reader: u64,
    /// There may be more, under names that nobody knows.
    unclear: bool,
}

impl Overrides {
    /// Nothing set.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// From pairs; a later one wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let values = pairs
            .into_iter()
            .map(|(name, value)| {
                (
                    name.as_ref().to_ascii_lowercase().into(),
                    value.as_ref().into(),
                )
            })
            .collect();
        Self::new(values)
    }

    fn new(values: BTreeMap<Box<str>, Box<str>>) -> Self {
        let mut planner = 0;
        let mut hasher = DefaultHasher::new();
        for name in PLANNER {
            if let Some(value) = values.get(name) {
                (name, value).hash(&mut hasher);
                planner = hasher.finish() | 1;
            }
        }
        let mut reader = planner;
        for name in READING {
            if let Some(value) = values.get(name) {
                (name, value.to_ascii_lowercase()).hash(&mut hasher);
                reader = hasher.finish() | 1;
            }
        }
        Self {
            values,
            planner,
            reader,
            unclear: false,
        }
    }

    /// The same where more may be set, under names that nobody knows: whatever is applied after these begins with a
    /// reset of everything.
    #[must_use]
    pub fn made_unclear(self) -> Self {
        Self {
            unclear: true,
            ..self
        }
    }

    /// Whether more may be set than is known.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        self.unclear
    }

    /// The names of custom settings, which the server doesn't list.
    pub fn custom_names(&self) -> impl Iterator<Item = &str> {
        self.values
            .keys()
            .map(AsRef::as_ref)
            .filter(|name: &&str| name.contains('.'))
    }

    /// A number that is equal where names mean the same: of `search_path` and the role. 0 if none is set.
    #[must_use]
    pub fn planner(&self) -> u64 {
        self.planner
    }

    /// A number that is equal where a text means the same once it is prepared: its names, and its literals. 0 if nothing
    /// of that is set.
    #[must_use]
    pub fn reader(&self) -> u64 {
        self.reader
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// One value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(AsRef::as_ref)
    }

    /// Names and values in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// These, and those of `below` that these don't set.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let mut values = below.values.clone();
        values.extend(self.values.iter().map(|(n, v)| (n.clone(), v.clone())));
        Self::new(values)
    }

    /// These without one.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut values = self.values.clone();
        values.remove(name);
        Self::new(values)
    }

    /// The SQL that turns a connection that carries `from` into one that carries `self`; `None` if equal.
    #[must_use]
    pub fn apply_after(&self, from: &Self, spelling: Spelling) -> Option<String> {
        if self.values == from.values && !from.unclear {
            return None;
        }
        let mut sql = String::new();
        // Under another identity not everything may be set or reset: it is laid down first and put on last.
        let puts_on = IDENTITY.iter().any(|name| self.get(name).is_some());
        let lays_down = IDENTITY.iter().any(|name| from.get(name).is_some());
        if puts_on || lays_down || from.unclear {
            sql.push_str("RESET SESSION AUTHORIZATION; RESET ROLE; ");
        }
        if from.unclear {
            sql.push_str("RESET ALL; ");
        }
        for name in from.values.keys().filter(|_| !from.unclear) {
            if !self.values.contains_key(name) && !IDENTITY.contains(&&**name) {
                spelling.push_reset(&mut sql, name);
            }
        }
        let plain = self.values.iter().filter(|(name, value)| {
            let is_there = !from.unclear && from.values.get(*name) == Some(*value);
            !IDENTITY.contains(&&***name) && !is_there
        });
        let identity = IDENTITY
            .iter()
            .filter_map(|name| self.values.get_key_value(*name));
        for (name, value) in plain.chain(identity) {
            spelling.push_config(&mut sql, name, Some(value));
        }
        Some(sql)
    }

    /// The SQL that sets those of these again that `is_meant`, whatever they are now, and takes no snapshot; empty if
    /// there are none, `None` if one can't be set so.
    #[must_use]
    pub fn set_again(&self, is_meant: impl Fn(&str) -> bool, spelling: Spelling) -> Option<String> {
        let mut sql = String::new();
        for (name, value) in self.iter().filter(|(name, _)| is_meant(name)) {
            spelling.push_set(&mut sql, name, value)?;
        }
        Some(sql)
    }

    /// The SQL that sets again what a RESET has taken back to the server's own value, and leaves alone what has been
    /// set since; `None` if there is nothing to set.
    #[must_use]
    pub fn restore(&self, spelling: Spelling) -> Option<String> {
        let mut sql = String::new();
        let plain = self.iter().filter(|(name, _)| !IDENTITY.contains(name));
        for (name, value) in plain {
            let start = if sql.is_empty() {
                "SELECT pg_catalog.set_config(b.name, b.value, false) FROM (VALUES ("
            } else {
                ", ("
            };
            sql.push_str(start);
            spelling.push_literal(&mut sql, name);
            sql.push_str(", ");
            spelling.push_literal(&mut sql, value);
            sql.push(')');
        }
        if !sql.is_empty() {
            sql.push_str(RESTORE);
        }
        let identity = IDENTITY
            .iter()
            .filter_map(|name| Some((*name, self.get(name)?)));
        for (name, value) in identity {
            let unset = match name {
                "role" => "pg_catalog.current_setting('role') = 'none'",
                _ => "session_user <> ",
            };
            sql.push_str("SELECT pg_catalog.set_config('");
            sql.push_str(name);
            sql.push_str("', ");
            spelling.push_literal(&mut sql, value);
            sql.push_str(", false) WHERE ");
            sql.push_str(unset);
            if name != "role" {
                spelling.push_literal(&mut sql, value);
            }
            sql.push_str("; ");
        }
        (!sql.is_empty()).then_some(sql)
    }
}

/// SQL whose FROM clause holds a session's own values as `b`: those that stand at the server's value are set.
const RESTORE: &str = ") AS b (name, value) LEFT JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name) = b.name \
     WHERE CASE WHEN s.name IS NULL THEN coalesce(pg_catalog.current_setting(b.name, true), '') = '' \
     ELSE s.source <> 'session' END; ";

/// Equal overrides are one: sessions that set the same find by a glance that a connection fits.
#[derive(Debug, Default)]
pub struct Shared {
    known: Mutex<HashMap<u64, Weak<Overrides>>>,
}

impl Shared {
    /// The one of this content.
    pub fn one(&self, overrides: Overrides) -> Arc<Overrides> {
        let mut hasher = DefaultHasher::new();
        (&overrides.values, overrides.unclear).hash(&mut hasher);
        let mut known = self.known.lock();
        let place = known.entry(hasher.finish()).or_default();
        if let Some(same) = place.upgrade().filter(|same| **same == overrides) {
            return same;
        }
        let one = Arc::new(overrides);
        *place = Arc::downgrade(&one);
        one
    }

    /// Forgets what nobody holds; to be called now and then.
    pub fn sweep(&self) {
        self.known.lock().retain(|_, held| held.strong_count() > 0);
    }
}

/// What the server has said by ParameterStatus, name to value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    values: BTreeMap<Box<str>, Box<str>>,
    hash: u64,
    /// `standard_conforming_strings` is off: backslashes mean something in every string.
    backslashes: bool,
    /// The client's encoding has signs whose later bytes look like ASCII, such as a backslash.
    disguises: bool,
}

/// Encodings that only clients can have, for that reason.
const DISGUISING: [&str; 7] = [
    "BIG5",
    "GB18030",
    "GBK",
    "JOHAB",
    "SHIFT_JIS_2004",
    "SJIS",
    "UHC",
];

impl Reported {
    /// From pairs; a later one wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut reported = Self::default();
        for (name, value) in pairs {
            reported
                .values
                .insert(name.as_ref().into(), value.as_ref().into());
        }
        reported.rehash();
        reported
    }

    /// Takes a new value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.into(), value.into());
        self.rehash();
    }

    fn rehash(&mut self) {
        let mut hasher = DefaultHasher::new();
        self.values.hash(&mut hasher);
        self.hash = hasher.finish();
        self.backslashes = self.get("standard_conforming_strings") == Some("off");
        self.disguises = self
            .get("client_encoding")
            .is_some_and(|encoding| DISGUISING.contains(&encoding));
    }

    /// Whether strings are read by the standard: a backslash is a backslash.
    #[must_use]
    pub fn conforming(&self) -> bool {
        !self.backslashes
    }

    /// Whether this text can be read byte by byte.
    #[must_use]
    pub fn is_plain(&self, text: &[u8]) -> bool {
        !self.disguises || text.is_ascii()
    }

    /// How texts of our own are written for this server.
    #[must_use]
    pub fn spelling(&self) -> Spelling {
        match self.get("server_encoding") {
            Some("SQL_ASCII") => Spelling::Bytes,
            _ => Spelling::Escapes,
        }
    }

    /// One value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(AsRef::as_ref)
    }

    /// Names and values in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// What a client that knows `known` must be told to know these.
    pub fn news<'a>(&'a self, known: &'a Self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let equal = self.hash == known.hash;
        let looked_at = if equal { 0 } else { usize::MAX };
        self.iter()
            .take(looked_at)
            .filter(move |(name, value)| known.get(name) != Some(value))
    }

    /// `server_version` as a number, e.g. 150004; 0 if it was not reported.
    #[must_use]
    pub fn server_version(&self) -> u32 {
        let text = self.get("server_version").unwrap_or_default();
        let mut parts = text
            .split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse::<u32>().unwrap_or(0));
        let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        major * 10_000 + minor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_difference_is_applied() {
        let from = Overrides::from_pairs([("a", "1"), ("b", "2"), ("app.tenant", "x")]);
        let to = Overrides::from_pairs([("a", "1"), ("b", "it's \\"), ("c", "4")]);
        assert_eq!(
            to.apply_after(&from, Spelling::Escapes).as_deref(),
            Some(
                "RESET \"app\".\"tenant\"; SELECT pg_catalog.set_config('b',  E'it''s \\\\', false); \
                 SELECT pg_catalog.set_config('c', '4', false); "
            )
        );
        assert_eq!(to.apply_after(&to, Spelling::Escapes), None);
    }

    #[test]
    fn what_was_asked_for_at_login_is_restored() {
        assert_eq!(Overrides::none().restore(Spelling::Escapes), None);
        let baseline = Overrides::from_pairs([("TimeZone", "UTC"), ("role", "low"), ("a", "1")]);
        let sql = baseline.restore(Spelling::Escapes).unwrap();
        let values = "SELECT pg_catalog.set_config(b.name, b.value, false) FROM (VALUES ('a', '1'), ('timezone', 'UTC')";
        assert!(sql.starts_with(values), "{sql}");
        let role = "SELECT pg_catalog.set_config('role', 'low', false) \
                    WHERE pg_catalog.current_setting('role') = 'none'; ";
        assert!(sql.ends_with(role), "{sql}");
        let set = |name: &str| baseline.set_again(|of| of == name, Spelling::Escapes);
        assert_eq!(set("a").as_deref(), Some("SET \"a\" TO '1'; "));
        assert_eq!(set("b").as_deref(), Some(""));
    }

    #[test]
    fn the_role_is_dropped_first_and_applied_last() {
        let from = Overrides::from_pairs([("role", "low")]);
        let to = Overrides::from_pairs([("role", "other"), ("zz", "1")]);
        assert_eq!(
            to.apply_after(&from, Spelling::Escapes).as_deref(),
            Some(
                "RESET SESSION AUTHORIZATION; RESET ROLE; SELECT pg_catalog.set_config('zz', '1', false); \
                 SELECT pg_catalog.set_config('role', 'other', false); "
            )
        );
    }

    #[test]
    fn under_another_role_it_is_laid_down_before_anything_is_changed() {
        let from = Overrides::from_pairs([("log_duration", "on"), ("role", "low")]);
        let to = Overrides::from_pairs([("role", "low")]);
        assert_eq!(
            to.apply_after(&from, Spelling::Escapes).as_deref(),
            Some(
                "RESET SESSION AUTHORIZATION; RESET ROLE; RESET \"log_duration\"; \
                 SELECT pg_catalog.set_config('role', 'low', false); "
            )
        );
    }

    #[test]
    fn where_names_are_not_known_everything_is_reset() {
        let from = Overrides::from_pairs([("a", "1")]).made_unclear();
        let to = Overrides::from_pairs([("a", "1")]);
        assert_ne!(from, to);
        assert_eq!(
            to.apply_after(&from, Spelling::Escapes).as_deref(),
            Some(
                "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; \
                 SELECT pg_catalog.set_config('a', '1', false); "
            )
        );
    }

    #[test]
    fn how_texts_are_read_is_known_from_what_was_reported() {
        let mut reported = Reported::from_pairs([("client_encoding", "SJIS")]);
        assert!(reported.conforming() && !reported.is_plain(b"\x95\\"));
        reported.set("standard_conforming_strings", "off");
        assert!(!reported.conforming() && reported.is_plain(b"a\\"));
    }

    #[test]
    fn plans_are_kept_apart_by_search_path_and_role_alone() {
        let plain = Overrides::from_pairs([("datestyle", "ISO")]);
        let a = Overrides::from_pairs([("search_path", "a")]);
        let b = Overrides::from_pairs([("search_path", "b")]);
        assert_eq!(plain.planner(), 0);
        assert_ne!(plain.reader(), 0);
        assert_ne!(plain.reader(), a.reader());
        assert_eq!(a.reader(), a.planner());
        assert_ne!(a.planner(), b.planner());
        assert_ne!(
            a.planner(),
            Overrides::from_pairs([("role", "a")]).planner()
        );
    }

    #[test]
    fn news_is_what_differs() {
        let old = Reported::from_pairs([("TimeZone", "UTC"), ("server_version", "18.1 (Debian)")]);
        let mut new = old.clone();
        assert_eq!(new.news(&old).count(), 0);
        new.set("TimeZone", "Asia/Tokyo");
        assert_eq!(
            new.news(&old).collect::<Vec<_>>(),
            [("TimeZone", "Asia/Tokyo")]
        );
        assert_eq!(new.server_version(), 180_001);
    }
}
