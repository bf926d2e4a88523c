//! What decides what a text means but its schema: settings by which its literals are read, and temporary tables. What is
//! prepared under some is another statement under others.

/// The settings by which the server reads the literals of a text, once and for all when it is prepared.
pub(crate) const READING: [&str; 11] = [
    "array_nulls",
    "backslash_quote",
    "client_encoding",
    "datestyle",
    "intervalstyle",
    "lc_monetary",
    "standard_conforming_strings",
    "timezone",
    "timezone_abbreviations",
    "transform_null_equals",
    "xmloption",
];

/// Those of them that the server doesn't report when they have changed.
const UNREPORTED: [&str; 7] = [
    "array_nulls",
    "backslash_quote",
    "lc_monetary",
    "timezone_abbreviations",
    "transform_null_equals",
    "xml option",
    "xmloption",
];

/// What a database's functions and views speak of, those that set or leave something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaks {
    /// Settings by which literals are read.
    pub reading: bool,
    /// Such that the server doesn't report.
    pub unreported: bool,
    /// Temporary tables.
    pub temporary: bool,
}

impl Speaks {
    /// Of nothing.
    pub const NONE: Self = Self {
        reading: false,
        unreported: false,
        temporary: false,
    };

    /// And of what a text speaks of.
    pub fn add(&mut self, text: &[u8]) {
        self.add_settings(text);
        self.temporary |= may_shadow(text);
    }

    /// And of the settings that a text speaks of.
    pub fn add_settings(&mut self, text: &[u8]) {
        let lower = text.to_ascii_lowercase();
        let has = |word: &str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
        self.reading |= may_change_reading(text);
        self.unreported |= UNREPORTED.into_iter().any(has);
    }
}

/// Whether a text that changes settings may change one of those by which literals are read.
pub(crate) fn may_change_reading(text: &[u8]) -> bool {
    // In TIME ZONE, NAMES and XML OPTION any blanks and comments may stand between.
    const OTHERS: [&str; 5] = ["zone", "names", "xml", "reset", "discard"];
    let lower = text.to_ascii_lowercase();
    let has = |word: &str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
    READING.into_iter().chain(OTHERS).any(has)
}

/// Whether a text may make a temporary table, whose name stands for it from there on and for no other table.
pub(crate) fn may_shadow(text: &[u8]) -> bool {
    text.windows(4)
        .any(|word| word.eq_ignore_ascii_case(b"temp"))
}

/// Whether a word of letters alone stands in a text.
pub(crate) fn says(text: &[u8], sought: &str) -> bool {
    let mut words = text.split(|b| !b.is_ascii_alphabetic());
    words.any(|word| word.eq_ignore_ascii_case(sought.as_bytes()))
}

/// Whether a text that changes the schema may give names a new meaning: by something new that stands before what had the
/// name in some search path. What is changed or goes the server notices itself.
pub(crate) fn may_rename(text: &[u8]) -> bool {
    const SKIPPED: [&[u8]; 4] = [b"global", b"local", b"or", b"replace"];
    /// What is made without a name that statements speak of, or for its client alone.
    const PASSED: [&[u8]; 11] = [
        b"database",
        b"index",
        b"policy",
        b"publication",
        b"role",
        b"subscription",
        b"temp",
        b"temporary",
        b"trigger",
        b"unique",
        b"user",
    ];
    let mut statements = text.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let is_one = statements.by_ref().filter(|text| !text.is_empty()).count() < 2;
    let words = text.split(|b| !b.is_ascii_alphabetic());
    let words = words.filter(|word| !word.is_empty());
    let mut words = words.map(<[u8]>::to_ascii_lowercase);
    let verb = words.next().unwrap_or_default();
    let object = words.find(|word| !SKIPPED.contains(&&**word));
    let object = object.unwrap_or_default();
    match &*verb {
        _ if !is_one || memchr::memmem::find(text, b"/*").is_some() => true,
        b"create" => !PASSED.contains(&&*object),
        b"alter" => says(text, "rename") || says(text, "schema"),
        b"analyze" | b"cluster" | b"comment" | b"drop" | b"grant" | b"reindex" | b"refresh"
        | b"revoke" | b"truncate" | b"vacuum" => false,
        _ => true,
    }
}

/// Whether a value is the name of a setting by which literals are read.
pub(crate) fn decides_reading(value: &[u8]) -> bool {
    let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
    READING.into_iter().any(is)
}

/// Whether a number stands for settings that nobody knows, and not for known ones, as [`Overrides::reader`] gives it.
///
/// [`Overrides::reader`]: crate::parameters::Overrides::reader
pub(crate) fn is_of_one_lease(reader: u64) -> bool {
    reader != 0 && reader.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_names_a_new_meaning_is_told() {
        for text in [
            "CREATE TABLE a (i int)",
            "create or replace view v AS SELECT 1",
            "CREATE TABLE temp ()",
            "ALTER TABLE a RENAME TO b",
            "ALTER TABLE a SET SCHEMA b",
            "SELECT 1 INTO t",
            "DROP TABLE a; CREATE TABLE a ()",
            "DROP /* ; */ TABLE a",
        ] {
            assert!(may_rename(text.as_bytes()), "{text}");
        }
        for text in [
            "CREATE UNIQUE INDEX ON a (i)",
            "ALTER TABLE a ADD COLUMN i int;",
            "DROP TABLE a",
            "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
        ] {
            assert!(!may_rename(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_decides_how_literals_are_read_is_told() {
        for text in [
            "SET LOCAL TIME ZONE 'UTC'",
            "set time /* c */\nzone 1",
            "set names 'x'",
            "RESET ALL",
            "SET DateStyle = ISO",
        ] {
            assert!(may_change_reading(text.as_bytes()), "{text}");
        }
        let other =
            b"SELECT set_config('request.headers', '{\"accept-encoding\": \"gzip\"}', true)";
        assert!(!may_change_reading(other));
        let mut speaks = Speaks::NONE;
        speaks.add(b"BEGIN PERFORM set_config('TimeZone', $1, false); END");
        assert!(speaks.reading && !speaks.unreported && !speaks.temporary);
        let known = crate::parameters::Overrides::from_pairs([("timezone", "UTC")]);
        assert!(is_of_one_lease(2) && !is_of_one_lease(known.reader()) && !is_of_one_lease(0));
        assert!(decides_reading(b"TimeZone") && !decides_reading(b"{\"timezone\": 1}"));
    }
}
