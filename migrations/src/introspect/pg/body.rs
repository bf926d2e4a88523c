//! What the words of a function's body say of what it leaves behind.

use std::collections::HashSet;

use super::traces::Trace;

/// A function's body, by its words.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// All of them, in lower case.
    pub(super) words: HashSet<String>,
    /// What it leaves by itself.
    pub(super) trace: Trace,
}

impl Body {
    /// Reads the text of a body in any language.
    pub(super) fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let mut body = Self::default();
        for (at, token) in tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let before = at.checked_sub(1).and_then(|at| tokens.get(at));
            let after = tokens.get(at + 1..).unwrap_or_default();
            body.trace |= trace(word, before, after);
            body.words.insert(word.clone());
        }
        body
    }
}

fn trace(word: &str, before: Option<&Token>, after: &[Token]) -> Trace {
    let is = |token: Option<&Token>, words: &[&str]| matches!(token, Some(Token::Word(word)) if words.contains(&word.as_str()));
    let after_is = |words: &[&str]| is(after.first(), words);
    let before_is = |words: &[&str]| is(before, words);
    let starts = match before {
        None | Some(Token::Sign(';' | '\'' | '"' | '$' | ':' | '>')) => true,
        Some(Token::Sign(_)) => false,
        Some(Token::Word(_)) => before_is(&["begin", "then", "else", "loop", "atomic"]),
    };
    let if_so = |holds: bool| if holds { Trace::SESSION } else { Trace::NONE };
    match word {
        "set" => {
            // Not `SET local.name`.
            let named = !matches!(after.get(1), Some(Token::Sign('.' | '=')));
            let passes = named && after_is(&["local", "transaction", "constraints"]);
            if_so(starts && !passes)
        }
        "listen" | "unlisten" | "reset" | "discard" | "load" | "prepare" | "deallocate" => {
            if_so(starts)
        }
        // In which schema it is made, the session's path may say.
        "create" | "alter" | "drop" | "import" if starts => Trace::SESSION | Trace::SCHEMA,
        "temp" | "temporary" => if_so(before_is(&["create", "local", "global", "replace", "into"])),
        "hold" => if_so(before_is(&["with"])),
        // What it runs is not to be known.
        "execute" if !after_is(&["function", "procedure", "on"]) => Trace::SESSION | Trace::OPAQUE,
        "set_config" => set_config(after),
        "pg_temp" | "pg_settings" => Trace::SESSION,
        "dblink_connect" | "dblink_connect_u" => Trace::SESSION | Trace::HIDDEN,
        "query_to_xml"
        | "query_to_xmlschema"
        | "query_to_xml_and_xmlschema"
        | "ts_stat"
        | "ts_rewrite" => Trace::SESSION | Trace::OPAQUE,
        _ => if_so(
            (word.starts_with("pg_advisory_") || word.starts_with("pg_try_advisory_"))
                && !word.contains("_xact_")
                || word.ends_with("_replication_slot"),
        ),
    }
}

/// What `set_config` does with the arguments that follow.
fn set_config(after: &[Token]) -> Trace {
    let [Token::Sign('('), arguments @ ..] = after else {
        return Trace::SESSION;
    };
    let mut depth = 0usize;
    let end = arguments.iter().position(|token| {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') if depth == 0 => return true,
            Token::Sign(')') => depth -= 1,
            _ => {}
        }
        false
    });
    let arguments = arguments.get(..end.unwrap_or(0)).unwrap_or_default();
    if let [.., Token::Sign(','), Token::Word(last)] = arguments
        && last == "true"
    {
        return Trace::NONE;
    }
    // 'name', or 'custom.name', each letter for itself.
    let name_end = arguments
        .iter()
        .position(|token| *token == Token::Sign(','));
    match arguments.get(..name_end.unwrap_or(0)) {
        Some([Token::Sign('\''), inside @ .., Token::Sign('\'')])
            if inside
                .iter()
                .all(|token| matches!(token, Token::Word(_) | Token::Sign('.' | '\''))) =>
        {
            Trace::SESSION
        }
        _ => Trace::SESSION | Trace::UNTOLD,
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
        Body::read(body).trace != Trace::NONE
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
            "begin set local.x = 1; end",
            "begin execute format('select %L', x); end",
            "begin create table t (n int); end",
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
            "begin grant execute on function f() to x; end",
            "select temp from weather",
            "select set_config('app.user', f($1, 2), true)",
        ] {
            assert!(!changes(body), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let of = |body: &str| Body::read(body).trace;
        assert_eq!(
            of("select set_config('app.user', $1, false)"),
            Trace::SESSION
        );
        assert_eq!(
            of("select set_config('app.' || $1, $2, false)"),
            Trace::SESSION | Trace::UNTOLD
        );
        assert!(of("begin execute q using a; end").contains(Trace::OPAQUE));
        assert!(of("begin create table t (n int); end").contains(Trace::SCHEMA));
    }
}
