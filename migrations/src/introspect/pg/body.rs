//! What the words of a function's body say of what it leaves behind.

use std::collections::HashSet;

use super::traces::{DDL, Trace};
use super::words::{Token, loose, sql};

/// A function's body, by its words.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// All of them, in lower case; those of strings if it runs dynamic SQL.
    pub(super) words: HashSet<String>,
    /// What it leaves by itself.
    pub(super) trace: Trace,
    /// What it leaves if its strings are code: it may hand them to a function that runs them.
    pub(super) quoted: Trace,
}

impl Body {
    /// Reads the text of a body in this language.
    pub(super) fn read(text: &str, language: &str) -> Self {
        let mut body = Self::default();
        if !matches!(language, "sql" | "plpgsql") {
            // All of it may be code, and what a comment is nobody knows.
            let tokens = loose(text);
            body.trace = trace_of(&tokens, true).without(Trace::SCHEMA);
            body.note_words(&tokens);
            return body;
        }
        body.read_sql(&sql(text, true));
        if text.contains('\\') {
            body.read_sql(&sql(text, false));
        }
        body
    }

    fn read_sql(&mut self, tokens: &[Token]) {
        self.trace |= trace_of(tokens, false);
        self.note_words(tokens);
        for token in tokens {
            let Token::Text { text, .. } = token else {
                continue;
            };
            let inside = loose(text);
            // What it makes of the schema is found when somebody looks for that: the text may be no code at all.
            self.quoted |= trace_of(&inside, true).without(Trace::SCHEMA);
            if self.trace.contains(Trace::OPAQUE) {
                self.note_words(&inside);
            }
        }
        if self.trace.contains(Trace::OPAQUE) {
            self.trace |= self.quoted;
        }
    }

    /// Whether it may write to a table.
    pub(super) fn writes(&self) -> bool {
        self.trace.contains(Trace::OPAQUE) || WRITING.iter().any(|verb| self.words.contains(*verb))
    }

    fn note_words(&mut self, tokens: &[Token]) {
        let words = tokens.iter().filter_map(|token| match token {
            Token::Word(word) | Token::Name(word) => Some(word.clone()),
            _ => None,
        });
        self.words.extend(words);
        let verbs = tokens.iter().filter_map(|token| match token {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        });
        // Event triggers fire on it.
        if verbs.into_iter().any(|word| DEFINING.contains(&word)) {
            self.words.insert(DDL.to_owned());
        }
    }
}

/// Verbs that write to tables.
const WRITING: [&str; 6] = ["copy", "delete", "insert", "merge", "truncate", "update"];

/// Verbs, or words of statements, that change the schema.
const DEFINING: [&str; 10] = [
    "alter", "comment", "create", "drop", "grant", "import", "refresh", "reindex", "revoke",
    "security",
];

/// What tokens leave; quotes among them begin a statement if they are read as a string's text may be.
fn trace_of(tokens: &[Token], quotes: bool) -> Trace {
    let mut found = Trace::NONE;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let after = tokens.get(at + 1..).unwrap_or_default();
        found |= match token {
            Token::Word(word) => keyword(word, before, after, quotes) | call(word, after),
            Token::Name(word) => call(word, after),
            Token::Escaped => Trace::SESSION | Trace::OPAQUE,
            Token::Text { .. } | Token::Sign(_) => Trace::NONE,
        };
    }
    found
}

fn is(token: Option<&Token>, words: &[&str]) -> bool {
    matches!(token, Some(Token::Word(word)) if words.contains(&word.as_str()))
}

fn if_so(holds: bool) -> Trace {
    if holds { Trace::SESSION } else { Trace::NONE }
}

/// What words of SQL say that are not called.
fn keyword(word: &str, before: Option<&Token>, after: &[Token], quotes: bool) -> Trace {
    let after_is = |words: &[&str]| is(after.first(), words);
    let before_is = |words: &[&str]| is(before, words);
    let starts = match before {
        None | Some(Token::Sign(';' | ':' | '>')) => true,
        Some(Token::Sign('\'' | '"' | '$')) => quotes,
        Some(Token::Word(_)) => before_is(&[
            "begin", "then", "else", "loop", "atomic", "explain", "analyze", "analyse", "verbose",
        ]),
        Some(_) => false,
    };
    match word {
        "set" => {
            // Not `SET local.name`.
            let named = !matches!(after.get(1), Some(Token::Sign('.' | '=')));
            match starts {
                false => Trace::NONE,
                true if named && after_is(&["transaction", "constraints"]) => Trace::NONE,
                // No text means anything else by a custom setting.
                true if named && after_is(&["local"]) => match after.get(2) {
                    Some(Token::Sign('.')) => Trace::NONE,
                    _ => Trace::LOCAL,
                },
                true => Trace::SESSION,
            }
        }
        "listen" | "unlisten" | "reset" | "discard" | "load" | "prepare" | "deallocate" => {
            if_so(starts)
        }
        // It goes with its session: nobody else's catalog changes.
        "create" if starts && makes_temporary(after) => Trace::SESSION,
        // In which schema it is made, the session's path may say.
        "create" | "alter" | "drop" | "import" if starts => Trace::SESSION | Trace::SCHEMA,
        "temp" | "temporary" => if_so(before_is(&["create", "local", "global", "replace", "into"])),
        "hold" => if_so(before_is(&["with"])),
        // What it runs is not to be known.
        "execute" if !after_is(&["function", "procedure", "on"]) => Trace::SESSION | Trace::OPAQUE,
        _ => Trace::NONE,
    }
}

/// Whether what follows CREATE says that it is temporary.
fn makes_temporary(after: &[Token]) -> bool {
    let mut words = after
        .iter()
        .skip_while(|token| is(Some(token), &["or", "replace", "local", "global"]));
    is(words.next(), &["temp", "temporary"])
}

/// What a function, or a relation, of the server's own leaves.
fn call(word: &str, after: &[Token]) -> Trace {
    match word {
        "set_config" => set_config(after),
        "pg_temp" | "pg_settings" => Trace::SESSION,
        "dblink_connect" | "dblink_connect_u" => Trace::SESSION | Trace::HIDDEN,
        "ts_stat" | "ts_rewrite" => Trace::SESSION | Trace::OPAQUE,
        _ if word.contains("_to_xml") => Trace::SESSION | Trace::OPAQUE,
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
    // In a string's text a comment may hide that it is another argument.
    let commented = arguments.windows(2).any(|pair| {
        matches!(
            pair,
            [Token::Sign('-'), Token::Sign('-')] | [Token::Sign('/'), Token::Sign('*')]
        )
    });
    let name_end = arguments
        .iter()
        .position(|token| *token == Token::Sign(','));
    let name = arguments.get(..name_end.unwrap_or(0));
    if let [.., Token::Sign(','), Token::Word(last)] = arguments
        && last == "true"
        && !commented
    {
        return match name {
            Some([Token::Text { text, plain: true }]) if text.contains('.') => Trace::NONE,
            _ => Trace::LOCAL,
        };
    }
    match name {
        Some([Token::Text { plain: true, .. }]) => Trace::SESSION,
        // 'name', or 'custom.name', each letter for itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(body: &str) -> bool {
        Body::read(body, "plpgsql").trace.without(Trace::LOCAL) != Trace::NONE
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
            "declare c cursor with hold for select 1",
            "create table pg_temp.t (n int)",
            "<<a>> set x = 1",
            "begin set local.x = 1; end",
            "begin execute format('select %L', x); end",
            "begin create table t (n int); end",
            "begin if p like '/api/*' then perform set_config('app.t', p, false); end if; end",
            "begin p := '--' || p; perform set_config('app.t', p, false); end",
            "select set_config('app.t', 'x, true)', false)",
            "select set_config('app.t', $$x, true)$$, false)",
            "select set_config('app.t', 'x', false -- , true\n)",
            r"select E'\' /*', set_config('app.t', 'x', false) -- */",
            r"select '\'' || set_config('app.t', 'x', false)",
            r#"select U&"s\0065t_config"('app.t', 'x', false)"#,
            "select \"set_config\"('app.t', 'x', false)",
            "begin execute 'select 1 /*' || $a$ */; set x = 1 $a$; end",
            "select table_to_xml('v', true, false, '')",
            "select * from schema_to_xml_and_xmlschema('s', true, false, '')",
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
            "select set_config('app.user', 'a)', true /* false) */)",
            "UPDATE \"User\" SET a = 1",
            "INSERT INTO log VALUES ('create'), ('set x = 1'), ($$load 'x'$$)",
            "select 'it''s; reset all'",
        ] {
            assert!(!changes(body), "{body}");
        }
    }

    #[test]
    fn what_ends_with_the_transaction_is_told() {
        for body in [
            "begin set local search_path = b; end",
            "begin if a then set local role b; end if; end",
            "select set_config('search_path', 'b', true)",
            "select set_config('app.' || $1, 'b', true)",
            "begin execute 'select 1'; perform set_config(n, v, true); end",
        ] {
            assert!(
                Body::read(body, "plpgsql").trace.contains(Trace::LOCAL),
                "{body}"
            );
        }
        for body in [
            "begin set local app.tenant = 'b'; end",
            "select set_config('app.tenant', $1, true)",
            "begin set transaction read only; set constraints all deferred; end",
        ] {
            assert_eq!(Body::read(body, "plpgsql").trace, Trace::NONE, "{body}");
        }
    }

    #[test]
    fn other_languages_are_read_to_their_last_word() {
        for body in [
            "plpy.execute(\"set work_mem = 1\")",
            "# plpy.execute('listen a')",
            "-- /* set_config('a.b', 'c', false)",
        ] {
            let found = Body::read(body, "plpython3u").trace;
            assert_ne!(found, Trace::NONE, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let of = |body: &str| Body::read(body, "plpgsql").trace;
        assert_eq!(
            of("select set_config('app.user', $1, false)"),
            Trace::SESSION
        );
        assert_eq!(
            of("select set_config('app.' || $1, $2, false)"),
            Trace::SESSION | Trace::UNTOLD
        );
        assert!(of("begin execute q using a; end").contains(Trace::OPAQUE));
        for body in [
            "select set_config(E'app.user', $1, false)",
            "select set_config('app.'\n'user', $1, false)",
            "select set_config($$app.user$$, $1, false)",
            "begin execute 'select set_config(''app.'' || n, v, false)'; end",
        ] {
            assert!(of(body).contains(Trace::UNTOLD), "{body}");
        }
        assert!(of("begin execute 'select dblink_connect(''x'')'; end").contains(Trace::HIDDEN));
    }

    #[test]
    fn another_schema_is_what_a_statement_makes() {
        let of = |body: &str| Body::read(body, "plpgsql").trace;
        for body in [
            "begin create table t (n int); end",
            "begin if a then drop table t; end if; end",
            "create or replace view v as select 1",
        ] {
            assert!(of(body).contains(Trace::SESSION | Trace::SCHEMA), "{body}");
        }
        for body in [
            "begin create temp table t (n int) on commit drop; end",
            "begin create or replace local temporary view t as select 1; end",
            "begin execute format('create table %I (n int)', n); end",
        ] {
            assert_eq!(of(body).without(Trace::OPAQUE), Trace::SESSION, "{body}");
        }
    }

    #[test]
    fn strings_are_code_for_whom_they_are_handed_to() {
        let body = Body::read("begin perform run('set x = 1; select f()'); end", "plpgsql");
        assert_eq!((body.trace, body.quoted), (Trace::NONE, Trace::SESSION));
        assert!(!body.words.contains("f"));
        let body = Body::read("begin execute 'select f()'; end", "plpgsql");
        assert!(body.words.contains("f"));
    }
}
