//! Texts between us and the server that mean the same in whatever encoding the client speaks.
//!
//! A client chooses its connection's encoding, and our own questions go over the same connection. So they are ASCII:
//! what isn't goes there as escapes and comes back as hexadecimal numbers of its UTF-8.

use std::fmt::Write;

/// A setting that not every version of its extension knows: where it is unknown it stays unset.
const OPTIONAL: &str = "documentdb_core.enablecollation";

/// How texts are written for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// It converts: signs beyond ASCII are written as escapes, and sent back in UTF-8.
    Escapes,
    /// It knows no signs, but bytes (`SQL_ASCII`): they go as they are.
    Bytes,
}

impl Spelling {
    /// An expression for a text's bytes in hexadecimal digits.
    pub(crate) fn hex(self, expression: &str) -> String {
        let encoding = match self {
            Self::Escapes => "UTF8",
            Self::Bytes => "SQL_ASCII",
        };
        format!(
            "pg_catalog.encode(pg_catalog.convert_to({expression}::pg_catalog.text, '{encoding}'), 'hex')"
        )
    }

    /// A literal that means the same whatever `standard_conforming_strings` says.
    pub(crate) fn push_literal(self, sql: &mut String, text: &str) {
        let escapes = text.contains('\\') || (self == Self::Escapes && !text.is_ascii());
        sql.push_str(if escapes { " E'" } else { "'" });
        for c in text.chars() {
            match c {
                '\'' => sql.push_str("''"),
                '\\' => sql.push_str("\\\\"),
                '\0' => {}
                c if c.is_ascii() || self == Self::Bytes => sql.push(c),
                // Writing to a string can't fail.
                c => drop(write!(sql, "\\U{:08X}", u32::from(c))),
            }
        }
        sql.push('\'');
    }

    /// A statement that gives a setting a value, or takes it back to what it is without the session.
    pub(crate) fn push_config(self, sql: &mut String, name: &str, value: Option<&str>) {
        sql.push_str("SELECT pg_catalog.set_config(");
        self.push_literal(sql, name);
        sql.push_str(", ");
        match value {
            Some(value) => self.push_literal(sql, value),
            None => sql.push_str("NULL"),
        }
        sql.push_str(", false)");
        if name == OPTIONAL {
            sql.push_str(" WHERE pg_catalog.current_setting(");
            self.push_literal(sql, name);
            sql.push_str(", true) IS NOT NULL");
        }
        sql.push_str("; ");
    }

    /// A statement that takes a setting back to what it is without the session: `app.tenant` has two parts.
    pub(crate) fn push_reset(self, sql: &mut String, name: &str) {
        if name == OPTIONAL || (self == Self::Escapes && !name.is_ascii()) {
            return self.push_config(sql, name, None);
        }
        sql.push_str("RESET ");
        push_name(sql, name);
        sql.push_str("; ");
    }

    /// A SET, which takes no snapshot as `set_config` does; `None` if it can't be said so. Of a list of names this is
    /// the spelling that the server gives it: `a,b` becomes `a, b`.
    pub(crate) fn push_set(self, sql: &mut String, name: &str, value: &str) -> Option<()> {
        /// Lists of libraries, whose names are written in another way.
        const PATHS: [&str; 2] = ["local_preload_libraries", "session_preload_libraries"];
        /// Each value of such is one name to SET.
        const LISTS: [&str; 2] = ["search_path", "temp_tablespaces"];
        let is_list = LISTS.contains(&name);
        let is_plain = self == Self::Bytes || name.is_ascii();
        // Which other letters are the small ones of names, the server says.
        if !is_plain || PATHS.contains(&name) || (is_list && !value.is_ascii()) {
            return None;
        }
        sql.push_str("SET ");
        push_name(sql, name);
        sql.push_str(" TO ");
        if is_list {
            let names = listed(value);
            for (i, name) in names.iter().enumerate() {
                sql.push_str(if i > 0 { ", " } else { "" });
                self.push_literal(sql, name);
            }
            if names.is_empty() {
                sql.push_str("''");
            }
        } else {
            self.push_literal(sql, value);
        }
        sql.push_str("; ");
        Some(())
    }
}

/// The quoted name of a setting.
fn push_name(sql: &mut String, name: &str) {
    for (i, part) in name.split('.').enumerate() {
        sql.push_str(if i > 0 { ".\"" } else { "\"" });
        sql.push_str(&part.replace('"', "\"\""));
        sql.push('"');
    }
}

/// The names in a list such as `search_path`.
pub(crate) fn listed(list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_name(quoted)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            (name.trim().to_lowercase(), after)
        };
        if !name.is_empty() {
            found.push(name);
        }
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    found
}

fn quoted_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if text.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) {
            name.push('"');
            chars.next();
        } else {
            return (name, text.get(at + 1..).unwrap_or_default());
        }
    }
    (name, "")
}

/// The text of hexadecimal digits; `None` if it isn't UTF-8.
pub(crate) fn unhex(digits: &str) -> Option<String> {
    let mut pairs = digits.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> = pairs
        .by_ref()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let bytes = bytes.filter(|_| pairs.remainder().is_empty())?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(spelling: Spelling, text: &str) -> String {
        let mut sql = String::new();
        spelling.push_literal(&mut sql, text);
        sql
    }

    #[test]
    fn literals_are_ascii_where_the_server_converts() {
        assert_eq!(literal(Spelling::Escapes, "it's"), "'it''s'");
        assert_eq!(literal(Spelling::Escapes, "Zü\\"), " E'Z\\U000000FC\\\\'");
        assert_eq!(literal(Spelling::Bytes, "Zü"), "'Zü'");
    }

    #[test]
    fn settings_are_reset_whatever_their_names() {
        let mut sql = String::new();
        Spelling::Escapes.push_reset(&mut sql, "app.tenant");
        Spelling::Escapes.push_reset(&mut sql, "app.ü");
        assert_eq!(
            sql,
            "RESET \"app\".\"tenant\"; \
             SELECT pg_catalog.set_config( E'app.\\U000000FC', NULL, false); "
        );
    }

    #[test]
    fn settings_are_set_without_a_query() {
        let set = |name: &str, value: &str| {
            let mut sql = String::new();
            let done = Spelling::Escapes.push_set(&mut sql, name, value);
            done.map(|()| sql)
        };
        for (name, value, sql) in [
            (
                "app.tenant",
                "it's, x",
                "SET \"app\".\"tenant\" TO 'it''s, x'; ",
            ),
            (
                "search_path",
                "\"$user\",App, \"B,c\"",
                "SET \"search_path\" TO '$user', 'app', 'B,c'; ",
            ),
            ("search_path", "", "SET \"search_path\" TO ''; "),
            ("datestyle", "ISO, DMY", "SET \"datestyle\" TO 'ISO, DMY'; "),
        ] {
            assert_eq!(set(name, value).as_deref(), Some(sql));
        }
        assert_eq!(set("search_path", "\u{c4}"), None);
        assert_eq!(set("app.\u{fc}", "x"), None);
        assert_eq!(set("local_preload_libraries", "x"), None);
    }

    #[test]
    fn lists_are_taken_apart() {
        assert_eq!(listed("\"$user\", public"), ["$user", "public"]);
        assert_eq!(
            listed("App , \"My \"\"One\"\",x\",b"),
            ["app", "My \"One\",x", "b"]
        );
        assert!(listed("").is_empty());
    }

    #[test]
    fn what_a_server_may_not_know_is_set_where_it_does() {
        let mut sql = String::new();
        Spelling::Escapes.push_config(&mut sql, OPTIONAL, Some("on"));
        Spelling::Escapes.push_reset(&mut sql, OPTIONAL);
        Spelling::Escapes.push_config(&mut sql, "a.b", Some("on"));
        let known = "WHERE pg_catalog.current_setting('documentdb_core.enablecollation', true) IS NOT NULL; ";
        assert_eq!(
            sql,
            format!(
                "SELECT pg_catalog.set_config('documentdb_core.enablecollation', 'on', false) {known}\
                 SELECT pg_catalog.set_config('documentdb_core.enablecollation', NULL, false) {known}\
                 SELECT pg_catalog.set_config('a.b', 'on', false); "
            )
        );
    }

    #[test]
    fn hexadecimal_digits_are_read_or_refused() {
        assert_eq!(unhex("5ac3bc").as_deref(), Some("Zü"));
        assert_eq!(unhex("").as_deref(), Some(""));
        assert_eq!(unhex("5afc"), None, "LATIN1");
        assert_eq!(unhex("5"), None);
        assert_eq!(unhex("zz"), None);
    }
}
