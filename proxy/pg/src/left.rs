//! What a session left on its connection: the question to the server, and what its answer means.
//!
//! What is asked is in [`LookBack`]; [`Left`] is what the server said. Operators are named by their schema: with
//! others the session's own search path could have put its own in their place.

use twinport_rewriter::scan::{CustomNames, Effects, custom_names, is_custom_name};

use crate::parameters::Overrides;
use crate::pin::Pinned;
use crate::reading::says;
use crate::reply::{Fate, Last};
use crate::session::Held;
use crate::spelling::{Spelling, unhex};
use crate::transaction::bounded;
use crate::upstream::{ExchangeError, Row};

/// Whether the session could set it again on another connection: a function that runs as its owner may have set what
/// the session itself may not. Behind this, whether it may.
const KIND: &str =
    "'s' OPERATOR(pg_catalog.||) CASE WHEN context OPERATOR(pg_catalog.=) 'superuser' AND NOT ";

/// It may.
const MAY_SET: &str = "pg_catalog.has_parameter_privilege(session_user, name, 'SET')";

/// As [`MAY_SET`], before Postgres 15: the right to set one could not be granted.
const IS_SUPERUSER: &str = "EXISTS (SELECT FROM pg_catalog.pg_roles r \
     WHERE r.rolname OPERATOR(pg_catalog.=) session_user AND r.rolsuper)";

/// Where it is told what of the session's settings differs from what it began with.
const CHANGED: &str = " FROM pg_catalog.pg_settings \
     WHERE source OPERATOR(pg_catalog.=) 'session' AND name OPERATOR(pg_catalog.<>) ALL \
     (ARRAY['transaction_isolation', 'transaction_read_only', 'transaction_deferrable']) \
     UNION ALL SELECT 's', 'role', ";

/// And the role. That there is none is something set, too, where the server begins with one: behind this, for whom.
const ROLE: &str = " WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' \
     OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting d, pg_catalog.unnest(d.setconfig) c \
     WHERE pg_catalog.starts_with(c, 'role=') AND (d.setrole OPERATOR(pg_catalog.=) 0 \
     OR pg_catalog.pg_get_userbyid(d.setrole)::pg_catalog.text OPERATOR(pg_catalog.=) ";

/// And as whom it logged in.
const AUTHORIZATION: &str = ")) UNION ALL SELECT 's', 'session_authorization', ";

/// What the session holds that can't be moved to another connection.
const STATE: &str = " UNION ALL SELECT 'p', 'LISTEN', NULL \
     WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels()) \
     UNION ALL SELECT 'p', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_class \
     WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
     THEN 'temporary table' ELSE 'temporary object' END, NULL \
     WHERE EXISTS (SELECT FROM pg_catalog.pg_depend \
     WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
     AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
     UNION ALL SELECT 'p', 'advisory lock', NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_locks \
     WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
     AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) \
     UNION ALL SELECT 'p', 'cursor WITH HOLD', NULL \
     WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable) \
     UNION ALL SELECT 'p', 'SQL PREPARE', NULL \
     WHERE EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) \
     UNION ALL SELECT 'p', 'replication slot', NULL \
     WHERE EXISTS (SELECT FROM pg_catalog.pg_get_replication_slots() \
     WHERE temporary AND active_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())";

/// How often a question is asked again that fell to the session's own `statement_timeout`: even to put that aside
/// takes a moment, which is long where the server is busy.
const ASK_AGAIN: usize = 8;

/// Effects after which the server is asked.
pub(crate) const ASKED: Effects = Effects::ANYTHING
    .or(Effects::LOAD)
    .or(Effects::HIDDEN)
    .or(Effects::UNTOLD);

/// Effects whose trace can't be asked for.
const KEPT: Effects = Effects::LOAD.or(Effects::HIDDEN);

/// What is noted during a lease, to be asked for when its transaction is over.
#[derive(Debug, Default)]
pub(crate) struct LookBack {
    /// What may be names of custom settings.
    names: Vec<String>,
    /// Whether there may be more of these.
    more: bool,
    /// What stays on the connection, and nobody can ask for.
    kept: Effects,
    /// What was said with a setting whose name is computed, in lower case: it may name one all the same.
    said: Vec<u8>,
    /// Whether the last text ends with `RESET ALL`.
    resets_all: bool,
    /// Whether something has run that may commit in the middle: what it did before lasts, though it failed.
    commits: bool,
}

/// So much of it is kept, in bytes.
const SAID: usize = 16 * 1024;

/// So many names are kept for one question.
const MOST: usize = 256;

impl LookBack {
    /// Takes the names of custom settings from a text.
    pub(crate) fn note_text(&mut self, text: &[u8], effects: Effects) {
        if effects.contains(Effects::UNTOLD) {
            self.note_said(text);
        }
        self.resets_all = ends_with_reset_all(text);
        let CustomNames { names, more } = custom_names(text);
        self.more |= more;
        for name in names {
            self.note_name(name);
        }
    }

    /// Notes that a text runs outside of a transaction.
    pub(crate) fn note_outside(&mut self, text: &[u8]) {
        self.commits |= may_commit(text);
    }

    /// Whether something may have lasted of what failed.
    pub(crate) fn may_have_committed(&self) -> bool {
        self.commits
    }

    /// Takes a value that is bound to a statement, which may name a custom setting.
    pub(crate) fn note_value(&mut self, value: &[u8], effects: Effects) {
        if effects.contains(Effects::UNTOLD) {
            self.note_said(value);
        }
        if is_custom_name(value)
            && let Ok(name) = std::str::from_utf8(value)
        {
            self.note_name(name.to_ascii_lowercase());
        }
        // Names may have any signs beyond ASCII.
        self.more |= value.contains(&b'.') && !value.is_ascii();
    }

    /// Notes that something may have been named that was not looked at.
    pub(crate) fn note_more(&mut self) {
        self.more = true;
    }

    fn note_said(&mut self, text: &[u8]) {
        if self.said.len() + text.len() < SAID {
            self.said.extend(text.to_ascii_lowercase());
            self.said.push(b' ');
        }
    }

    /// Whether a setting that was found is one that was spoken of.
    fn tells(&self, name: &str) -> bool {
        self.names.iter().any(|noted| noted == name)
            || memchr::memmem::find(&self.said, name.as_bytes()).is_some()
    }

    /// Whether something stays on the connection that `DISCARD ALL` doesn't take.
    pub(crate) fn lasts(&self, effects: Effects) -> bool {
        (self.kept | effects).intersects(KEPT)
    }

    fn note_name(&mut self, name: String) {
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() >= MOST {
            self.more = true;
        } else {
            self.names.push(name);
        }
    }
}

/// What was left.
pub(crate) struct Left {
    /// What is set on the connection.
    pub(crate) on_connection: Overrides,
    /// What of it is the session's own.
    pub(crate) settings: Overrides,
    /// Why the session can't be moved, if it can't.
    pub(crate) pin: Pinned,
}

impl Held {
    /// Asks the server what was left; `known` are names of custom settings that may have been set unseen, `fate` is what
    /// became of the session's statements.
    pub(crate) async fn look_back(
        &mut self,
        effects: Effects,
        wanted: &Overrides,
        known: &[String],
        user: &str,
        fate: Fate,
    ) -> Result<Left, ExchangeError> {
        let spelling = self.upstream.reported.spelling();
        let was_unclear = self.upstream.settings.is_unclear();
        let noted = std::mem::take(&mut self.look_back);
        let discarded = fate.last == Last::DiscardAll;
        let is_taken_back = discarded || (fate.last == Last::Reset && noted.resets_all);
        let mut kept = noted.kept | effects;
        if !fate.lasted {
            // What was set has gone with its transaction.
            kept = noted.kept | effects.without(Effects::UNTOLD);
        }
        if is_taken_back {
            kept = kept.without(Effects::UNTOLD);
        }
        let sql = {
            let carried = self.upstream.settings.custom_names();
            let carried = carried.chain(wanted.custom_names());
            let names = noted.names.iter().chain(known).map(String::as_str);
            let version = self.upstream.reported.server_version();
            question(version, spelling, user, names.chain(carried))
        };
        let answer = self.ask(&sql, spelling).await.and_then(answers);
        let (settings, mut reasons) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.look_back = noted;
                self.look_back.kept = kept;
                return Err(error);
            }
        };
        let told = |name: &str, value: &str| {
            noted.tells(name) || (!value.is_empty() && known.iter().any(|known| known == name))
        };
        if effects.contains(Effects::UNTOLD)
            && settings.iter().any(|(name, value)| told(name, value))
        {
            kept = kept.without(Effects::UNTOLD) | noted.kept.only(kept);
        }
        // A custom setting that was ever set on the connection is there for good, and empty.
        let settings = settings.into_iter().filter(|(name, value)| {
            let is_rest = value.is_empty() && name.contains('.');
            !is_rest || noted.names.contains(name) || wanted.get(name).is_some()
        });
        let settings = Overrides::from_pairs(settings);
        for (flag, reason) in [
            (Effects::LOAD, "LOAD"),
            (Effects::HIDDEN, "hidden state"),
            (Effects::UNTOLD, "custom setting"),
        ] {
            if kept.contains(flag) {
                reasons.push(reason.to_owned());
            }
        }
        self.look_back.kept = kept.only(KEPT | Effects::UNTOLD);
        let unknown = effects.intersects(Effects::OPAQUE | Effects::UNTOLD) || noted.more;
        let is_read_once = |reason: &String| READ_ONCE.contains(&reason.as_str());
        if reasons.iter().any(is_read_once) {
            // What it runs was read when it was made, and may be run again.
            self.look_back.more = noted.more;
            self.look_back.names = noted.names;
        }
        let on_connection = if (unknown || was_unclear) && !discarded {
            settings.clone().made_unclear()
        } else {
            settings.clone()
        };
        Ok(Left {
            on_connection,
            settings,
            pin: match &*reasons {
                [] => Pinned::No,
                reasons => Pinned::By {
                    reason: reasons.join(", ").into(),
                    lasting: kept.only(KEPT | Effects::UNTOLD),
                },
            },
        })
    }

    /// Asks. If the session has left so short a `statement_timeout` that the question falls to it, asks without one.
    async fn ask(&mut self, sql: &str, spelling: Spelling) -> Result<Vec<Row>, ExchangeError> {
        let mut answer = bounded(self.upstream.ask_aside(&[sql])).await;
        for _ in 0..ASK_AGAIN {
            match &answer {
                Err(ExchangeError::Server { code, .. }) if code == "57014" => {}
                _ => break,
            }
            // How long the session lets its statements run, before that is put aside.
            let value = spelling.hex("pg_catalog.current_setting('statement_timeout')");
            let timeout = format!("SELECT 's', 'statement_timeout', {value}");
            let unhurried = [&timeout, "SET LOCAL statement_timeout = 0", sql];
            answer = bounded(self.upstream.ask_aside(&unhurried)).await;
            if let Ok(rows) = &mut answer {
                // The first one is what the session has set; among the others stands what we have.
                let ours = |row: &Row| {
                    row.get(1)
                        .is_some_and(|name| name.as_deref() == Some("statement_timeout"))
                };
                let first = rows.first().cloned();
                rows.retain(|row| !ours(row));
                rows.extend(first);
            }
        }
        answer
    }
}

/// Why a session is pinned that holds what runs other statements, or expressions: those of a temporary view or table's
/// defaults.
const READ_ONCE: [&str; 3] = ["SQL PREPARE", "temporary object", "temporary table"];

/// Whether a text may run a procedure, or is a body that ends transactions by itself.
fn may_commit(text: &[u8]) -> bool {
    says(text, "call") || (says(text, "do") && says(text, "commit"))
}

/// Whether the last that a text does is to take every setting back.
fn ends_with_reset_all(text: &[u8]) -> bool {
    let mut words = text
        .split(|byte| byte.is_ascii_whitespace() || *byte == b';')
        .filter(|word| !word.is_empty());
    let last = [words.next_back(), words.next_back()];
    last.iter()
        .zip(["all", "reset"])
        .all(|(word, of)| word.is_some_and(|word| word.eq_ignore_ascii_case(of.as_bytes())))
}

/// Settings with their values, and reasons to keep the connection.
type Answers = (Vec<(String, String)>, Vec<String>);

fn answers(rows: Vec<Row>) -> Result<Answers, ExchangeError> {
    let mut settings = Vec::new();
    let mut reasons = Vec::new();
    for row in rows {
        match <[_; 3]>::try_from(row) {
            Ok([kind, Some(name), Some(value)]) => {
                let name = match kind.as_deref() {
                    Some("c") => unhex(&name),
                    Some("su") => {
                        reasons.push(format!("superuser's setting {name}"));
                        Some(name)
                    }
                    _ => Some(name),
                };
                let both = name.zip(unhex(&value));
                settings.push(both.ok_or(ExchangeError::Text)?);
            }
            Ok([_, Some(reason), None]) => reasons.push(reason),
            _ => {}
        }
    }
    Ok((settings, reasons))
}

/// The whole question. A custom setting counts if it was ever set; one that the server does list counts as it does.
fn question<'a>(
    version: u32,
    spelling: Spelling,
    user: &str,
    names: impl Iterator<Item = &'a str>,
) -> String {
    let value = |of: &str| spelling.hex(&format!("pg_catalog.current_setting({of})"));
    let may_set = if version < 150_000 {
        IS_SUPERUSER
    } else {
        MAY_SET
    };
    let name = value("name");
    let mut sql = format!("SELECT {KIND}{may_set} THEN 'u' ELSE '' END, name, {name}");
    sql.push_str(CHANGED);
    sql.push_str(&value("'role'"));
    sql.push_str(ROLE);
    spelling.push_literal(&mut sql, user);
    sql.push_str(AUTHORIZATION);
    sql.push_str(&spelling.hex("session_user"));
    sql.push_str(" WHERE session_user::pg_catalog.text OPERATOR(pg_catalog.<>) ");
    spelling.push_literal(&mut sql, user);
    sql.push_str(STATE);
    let mut custom = String::new();
    for name in names {
        custom.push_str(if custom.is_empty() { "" } else { ", " });
        spelling.push_literal(&mut custom, name);
    }
    if !custom.is_empty() {
        sql.push_str(" UNION ALL SELECT DISTINCT 'c', ");
        sql.push_str(&spelling.hex("c.name"));
        sql.push_str(", ");
        sql.push_str(&value("c.name, true"));
        sql.push_str(" FROM pg_catalog.unnest(ARRAY[");
        sql.push_str(&custom);
        sql.push_str(
            "]) c(name) WHERE pg_catalog.current_setting(c.name, true) IS NOT NULL \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_settings p \
             WHERE p.name OPERATOR(pg_catalog.=) c.name)",
        );
    }
    sql
}

/// The values of a Bind, from behind its names on.
pub(crate) fn bound_values(rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    let skipped = take_count(rest).and_then(|(formats, rest)| rest.get(2 * formats..));
    let (mut left, mut rest) = skipped.and_then(take_count).unwrap_or((0, &[]));
    std::iter::from_fn(move || {
        while left > 0 {
            left -= 1;
            let (length, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            if let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) {
                let (value, after) = rest.split_at_checked(length)?;
                rest = after;
                return Some(value);
            }
        }
        None
    })
}

fn take_count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    Some((usize::from(u16::from_be_bytes(*count)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_bind_are_read() {
        let rest = [
            0, 1, 0, 0, 0, 3, 0, 0, 0, 1, b'a', 255, 255, 255, 255, 0, 0, 0, 2, b'b', b'c', 0, 0,
        ];
        let values: Vec<_> = bound_values(&rest).collect();
        assert_eq!(values, [&b"a"[..], b"bc"]);
        assert_eq!(bound_values(&rest[..9]).count(), 0);
        assert_eq!(bound_values(&[]).count(), 0);
    }

    #[test]
    fn names_are_noted_from_texts_and_values() {
        let mut noted = LookBack::default();
        noted.note_text(
            b"SELECT set_config('App.tenant', $1, false)",
            Effects::SETTINGS,
        );
        noted.note_value(b"Job.id", Effects::SETTINGS);
        noted.note_value(b"not a.name", Effects::SETTINGS);
        assert_eq!(noted.names, ["app.tenant", "job.id"]);
        assert!(!noted.more);
        let sql = question(
            150_000,
            Spelling::Escapes,
            "o'x",
            noted.names.iter().map(String::as_str),
        );
        assert!(noted.tells("job.id") && !noted.tells("work_mem"));
        noted.note_value(b"Work_Mem", Effects::UNTOLD);
        assert!(noted.tells("work_mem"));
        noted.note_value("no.n\u{e9}".as_bytes(), Effects::SETTINGS);
        assert!(noted.more);
        assert!(sql.contains("'o''x'") && sql.contains("ARRAY['app.tenant', 'job.id']"));
    }
}
