//! A RESET goes to what the client asked for at login, which on the connection was set by us: behind the RESET it is
//! set again.

use std::sync::Arc;

use twinport_rewriter::scan::Effects;
use twinport_wire::pg::frontend::build;

use crate::reply::Expect;
use crate::session::Session;

impl Session {
    /// Sets again what a text has taken back to the server's own values, whose answer is the last that is due.
    ///
    /// Inside a transaction that takes no snapshot, if it can be told what it is: the client's next statement may be
    /// one that must stand before any query. There nothing is set if the text has failed, for the transaction has.
    pub(super) fn restore_baseline(&mut self, text: &[u8]) {
        let spelling = self.reported_now().spelling();
        let told = if self.replies.is_one_in_transaction() {
            TakenBack::by(text)
        } else {
            None
        };
        let again = told.and_then(|taken| {
            self.baseline
                .set_again(|name| taken.contains(name), spelling)
        });
        let sql = again.or_else(|| self.baseline.restore(spelling));
        if let Some(sql) = sql.filter(|sql| !sql.is_empty()) {
            build::query(&mut self.to_upstream, sql.as_bytes());
            self.replies.push(Expect::Ours);
        }
    }

    /// As [`Session::restore_baseline`], for what was executed in the batch that has just been ended.
    pub(super) fn restore_behind_batch(&mut self) {
        let bound = self.replies.bound();
        let statement = bound.map(|bound| Arc::clone(&bound.statement));
        let text = statement.as_ref().map(|statement| &*statement.plan.text);
        self.restore_baseline(text.unwrap_or_default());
    }
}

/// Whether a statement may take settings back to the server's own values.
pub(super) fn takes_back(text: &[u8], effects: Effects) -> bool {
    if !effects.contains(Effects::SETTINGS) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let has = |word: &str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
    let sets_zone = || lower.trim_ascii_start().starts_with(b"set") && has("zone") && has("local");
    ["reset", "default", "discard"].into_iter().any(has) || sets_zone()
}

/// What one statement takes back to the server's own values.
#[derive(Debug, PartialEq, Eq)]
enum TakenBack {
    Nothing,
    One(String),
    /// All that `RESET ALL` does.
    All,
}

/// What `RESET ALL` passes over.
const KEPT: [&str; 6] = [
    "role",
    "seed",
    "session_authorization",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
];

impl TakenBack {
    /// What a text does; `None` if that isn't as plain as it is with a SET or a RESET alone.
    fn by(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
        let text = text.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == ';');
        if text.contains(';') || text.contains("--") || text.contains("/*") {
            return None;
        }
        let words = text.split(|c: char| c.is_ascii_whitespace() || c == '=');
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        match *words {
            ["set" | "reset", "session", "authorization", ..] => None,
            ["reset", "all"] => Some(Self::All),
            ["reset", "time", "zone"]
            | ["set", "time", "zone", "default" | "local"]
            | ["set", "session", "time", "zone", "default" | "local"] => Self::one("timezone"),
            ["set", "names", "default"] | ["set", "session", "names", "default"] => {
                Self::one("client_encoding")
            }
            ["reset", "transaction", "isolation", "level"] => Some(Self::Nothing),
            ["reset", name]
            | ["set", name, "default"]
            | ["set", name, "to", "default"]
            | ["set", "session", name, "default"]
            | ["set", "session", name, "to", "default"]
                if name != "local" =>
            {
                Self::one(name)
            }
            // The session's own value stays.
            ["set", "local", ..] => Some(Self::Nothing),
            ["set", .., last] if last != "default" => Some(Self::Nothing),
            ["discard", what] if what != "all" => Some(Self::Nothing),
            _ => None,
        }
    }

    fn one(name: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '"');
        let name = name.chars().all(is_plain).then(|| name.replace('"', ""))?;
        // As whom the session logged in decides its role as well.
        (name != "session_authorization").then_some(Self::One(name))
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(one) => one == name,
            Self::All => !KEPT.contains(&name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_statement_takes_back_is_told() {
        let one = |name: &str| Some(TakenBack::One(name.to_owned()));
        for (text, taken) in [
            ("RESET ALL; ", Some(TakenBack::All)),
            ("reset\n\"Search_Path\"", one("search_path")),
            ("SET app.\"tenant\" TO DEFAULT", one("app.tenant")),
            ("SET SESSION search_path=DEFAULT;", one("search_path")),
            ("SET TIME ZONE DEFAULT", one("timezone")),
            ("SET SESSION TIME ZONE LOCAL", one("timezone")),
            ("SET LOCAL a TO DEFAULT", Some(TakenBack::Nothing)),
            ("SET synchronous_commit = local", Some(TakenBack::Nothing)),
            ("SET NAMES DEFAULT", one("client_encoding")),
            ("RESET ROLE", one("role")),
            (
                "SET default_transaction_read_only = on",
                Some(TakenBack::Nothing),
            ),
            ("SET a TO \"default\"", Some(TakenBack::Nothing)),
            ("DISCARD PLANS", Some(TakenBack::Nothing)),
        ] {
            assert_eq!(TakenBack::by(text.as_bytes()), taken, "{text}");
        }
        for text in [
            "RESET ALL; SET a = 1",
            "SET a TO DEFAULT -- 'x'",
            "SET a /* to */ TO DEFAULT /* or not */",
            "RESET SESSION AUTHORIZATION",
            "RESET session_authorization",
            "RESET U&\"a\"",
            "DISCARD ALL",
            "SELECT set_config('a', 'reset', false)",
            "DO $$ BEGIN RESET ALL; END $$",
        ] {
            assert_eq!(TakenBack::by(text.as_bytes()), None, "{text}");
        }
        assert!(TakenBack::All.contains("work_mem") && !TakenBack::All.contains("role"));
    }
}
