//! The reference and the example say what the code does.

use std::collections::BTreeMap;
use std::path::Path;

use twinport_config::{KEYS, Settings, check};

/// Rows of the tables of keys: what each key takes, its default, its reload.
fn documented() -> BTreeMap<String, [String; 3]> {
    let mut rows = BTreeMap::new();
    let mut in_table = false;
    for line in include_str!("../../docs/settings.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", "key", "takes", "default", "reload", "meaning", ""] => in_table = true,
            ["", key, takes, default, reload, meaning, ""] if in_table => {
                if key.starts_with('`') {
                    assert!(!meaning.is_empty(), "{key} has no meaning");
                    let values = [takes, default.trim_matches('`'), reload].map(str::to_owned);
                    let twice = rows.insert(key.trim_matches('`').to_owned(), values);
                    assert!(twice.is_none(), "{key} stands twice");
                }
            }
            _ => in_table = false,
        }
    }
    rows
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let documented = documented();
    let built: BTreeMap<String, [String; 3]> = KEYS
        .iter()
        .map(|key| {
            let values = [key.kind, key.default, key.reload.as_str()].map(str::to_owned);
            (key.pattern.to_owned(), values)
        })
        .collect();
    for (key, values) in &built {
        assert_eq!(
            documented.get(key),
            Some(values),
            "{key} in docs/settings.md"
        );
    }
    for key in documented.keys() {
        assert!(
            built.contains_key(key),
            "{key} is documented but doesn't exist"
        );
    }
}

/// The list of keys repeats defaults that the code fills in: both must agree.
#[test]
fn defaults_are_those_of_the_reference() {
    let text = "[databases.d]\nurl = 'postgres://h'\n[users.u]\npassword = 'x'\n\
                [mongo]\nupstream = 'postgres://h'";
    let entries = Settings::parse(text, "minimal.toml").unwrap().entries();
    let set = ["databases.d.url", "users.u.password", "mongo.upstream"];
    for entry in &entries {
        if !set.contains(&entry.key.as_str()) {
            assert_eq!(entry.value, entry.default, "{}", entry.key);
        }
    }
    // Keys that only show when they are set, or that end up in another.
    let hidden = [
        "_env",
        "_file",
        ".settings.NAME",
        ".cert_map.NAME",
        "NAME.pool",
        "mongo.password",
    ];
    let names: Vec<String> = entries
        .iter()
        .map(|entry| {
            let key = entry.key.replacen("databases.d.", "databases.NAME.", 1);
            key.replacen("users.u.", "users.NAME.", 1)
        })
        .collect();
    for key in KEYS {
        let shown = names.iter().any(|name| name == key.pattern);
        let excused = hidden.iter().any(|end| key.pattern.ends_with(end))
            || ["databases.NAME.password", "users.NAME.verifier"].contains(&key.pattern)
            // Only with MongoDB as the upstream, and only with a mask.
            || ["mongo.await_connections", "mongo.replica_set", "mongo.advertise"]
                .contains(&key.pattern)
            // Shown once for each relation that is declared.
            || key.pattern.starts_with("mongo.relations.");
        assert!(shown || excused, "{} is not listed", key.pattern);
    }
}

#[test]
fn the_example_is_good() {
    let summary =
        check(Path::new("twinport.example.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    insta::assert_snapshot!("example", summary);
}

/// What the example has in comments must work too, once its comment signs are gone.
#[test]
fn the_examples_comments_name_keys_that_exist() {
    let text = include_str!("../twinport.example.toml");
    let is_setting = |line: &str| {
        line.starts_with('[')
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| !key.contains(' '))
    };
    let full: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if is_setting(setting) => setting,
            _ => line,
        })
        .collect();
    let errors = Settings::parse(&full.join("\n"), "example.toml").unwrap_err();
    for problem in errors.problems() {
        // Files and variables of the example aren't there; everything else must be right.
        let absent = problem.message().starts_with("can't read")
            || problem.message().ends_with("is not set");
        assert!(absent, "{problem}");
    }
    assert_eq!(errors.problems().len(), 4);
}
