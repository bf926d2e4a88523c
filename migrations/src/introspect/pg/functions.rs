//! Which functions leave something behind in the session that called them.

use std::collections::{HashMap, HashSet};

use tokio_postgres::GenericClient;

use super::{get, rows};
use crate::Error;

/// Name and body of what is not compiled.
const FUNCTIONS: &str = "
SELECT p.proname::text,
       CASE WHEN p.prosqlbody IS NULL THEN p.prosrc
            ELSE pg_catalog.pg_get_function_sqlbody(p.oid) END
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND l.lanname NOT IN ('c', 'internal') AND p.prokind <> 'a'";

/// The names (unqualified, as stored) of functions and procedures that may change their session's
/// state: settings, advisory locks, temporary tables, `LISTEN`, held cursors, prepared statements;
/// themselves or by a function that they call. Judged by the words of their bodies, so rather too
/// many than too few: dynamic SQL from a variable counts.
///
/// Functions written in C are not in it, and neither is what a trigger does, unless the statement
/// names the trigger's function.
///
/// # Errors
/// What the server or the connection says.
pub async fn session_functions(client: &impl GenericClient) -> Result<HashSet<String>, Error> {
    let mut bodies = Vec::new();
    for row in rows(client, FUNCTIONS).await? {
        let body: Option<String> = get(&row, 1)?;
        bodies.push((get::<String>(&row, 0)?, body.unwrap_or_default()));
    }
    Ok(select(&bodies))
}

fn select(functions: &[(String, String)]) -> HashSet<String> {
    let read: Vec<_> = functions
        .iter()
        .map(|(name, body)| (name, Body::read(body)))
        .collect();
    let mut callers: HashMap<String, Vec<&String>> = HashMap::new();
    let names: HashSet<String> = functions
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    for (name, body) in &read {
        for word in body.words.intersection(&names) {
            callers.entry(word.clone()).or_default().push(*name);
        }
    }
    let mut found = HashSet::new();
    let mut next: Vec<&String> = read
        .iter()
        .filter(|(_, body)| body.changes_session)
        .map(|(name, _)| *name)
        .collect();
    while let Some(name) = next.pop() {
        if found.insert(name.clone()) {
            next.extend(callers.get(&name.to_lowercase()).into_iter().flatten());
        }
    }
    found
}

#[derive(Debug, Default)]
struct Body {
    words: HashSet<String>,
    changes_session: bool,
}

impl Body {
    fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let mut body = Self::default();
        for (at, token) in tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let before = at.checked_sub(1).and_then(|at| tokens.get(at));
            body.changes_session |= changes_session(word, before, tokens.get(at + 1));
            body.words.insert(word.clone());
        }
        body
    }
}

fn changes_session(word: &str, before: Option<&Token>, after: Option<&Token>) -> bool {
    let after_is =
        |words: &[&str]| matches!(after, Some(Token::Word(word)) if words.contains(&word.as_str()));
    let before_is = |words: &[&str]| matches!(before, Some(Token::Word(word)) if words.contains(&word.as_str()));
    let starts = match before {
        None | Some(Token::Sign(';' | '\'' | '"' | '$' | ':' | '>')) => true,
        Some(Token::Sign(_)) => false,
        Some(Token::Word(_)) => before_is(&["begin", "then", "else", "loop", "atomic"]),
    };
    match word {
        "set" => starts && !after_is(&["local", "transaction", "constraints"]),
        "listen" | "unlisten" | "reset" | "discard" | "load" | "prepare" | "deallocate" => starts,
        "temp" | "temporary" => before_is(&["create", "local", "global", "replace", "into"]),
        "hold" => before_is(&["with"]),
        // What a variable holds is not to be known.
        "execute" => {
            matches!(after, Some(Token::Word(_)))
                && !after_is(&["format", "function", "procedure", "on"])
        }
        "set_config" | "pg_temp" | "dblink_connect" | "dblink_connect_u" => true,
        _ => {
            (word.starts_with("pg_advisory_") || word.starts_with("pg_try_advisory_"))
                && !word.contains("_xact_")
        }
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    /// In lower case.
    Word(String),
    Sign(char),
}

/// Words and signs without comments. Literals are read like all else, for they may be statements.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first.is_alphabetic() || first == '_' {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let (word, _) = rest.split_at(length);
            tokens.push(Token::Word(word.to_lowercase()));
            length
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(body: &str) -> bool {
        Body::read(body).changes_session
    }

    #[test]
    fn state_that_stays_is_seen() {
        for body in [
            "SELECT set_config('app.user', $1, false)",
            "begin\n  -- who\n  SET app.user = 'x';\nend",
            "BEGIN IF a THEN SET search_path TO b; END IF; END",
            "begin perform 1; LISTEN news; end",
            "select pg_try_advisory_lock(1)",
            "begin create temp table t (n int); end",
            "begin create local temporary table t (n int); end",
            "select 1 as n into temp t",
            "begin execute 'set work_mem = ' || n; end",
            "begin execute format('SET %I = 1', n); end",
            "begin execute query; end",
            "plpy.execute(\"set work_mem = 1\")",
            "declare c cursor with hold for select 1",
            "create table pg_temp.t (n int)",
            "<<a>> set x = 1",
        ] {
            assert!(changes(body), "{body}");
        }
    }

    #[test]
    fn what_passes_is_left_out() {
        for body in [
            "UPDATE t SET a = 1 WHERE b",
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
            "begin /* set x = 1; */ return; -- ; set y = 2\nend",
            "begin set local work_mem = '1MB'; end",
            "select pg_advisory_xact_lock(1)",
            "create trigger t after insert on u for each row execute function f()",
            "select temp from weather",
        ] {
            assert!(!changes(body), "{body}");
        }
    }

    #[test]
    fn callers_inherit_it() {
        let functions: Vec<_> = [
            ("low", "select set_config('a', 'b', false)"),
            ("Middle", "select low()"),
            ("high", "select 1 from \"Middle\"()"),
            ("other", "select 1"),
        ]
        .map(|(name, body)| (name.to_owned(), body.to_owned()))
        .into();
        let mut found: Vec<_> = select(&functions).into_iter().collect();
        found.sort();
        assert_eq!(found, ["Middle", "high", "low"]);
    }
}
