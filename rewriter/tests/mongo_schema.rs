//! Validators in, relations out: one snapshot for the file of cases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

#[path = "support/commands.rs"]
#[allow(dead_code, reason = "the tests of commands use the rest")]
mod commands;

use std::collections::BTreeSet;
use std::fmt::Write;

use bson::rawdoc;
use twinport_rewriter::mongo::{Context, Relation, Relations, Schemas, read};

/// `above books.writer authors author_id _id one`
fn add_above(relations: &mut Relations, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    let (owner, name) = words[0].rsplit_once('.').unwrap();
    let relation = Relation {
        name: name.to_owned(),
        target: words[1].to_owned(),
        local: words[2].to_owned(),
        foreign: words[3].to_owned(),
        many: words[4] == "many",
        through: None,
    };
    relations.add(owner, relation).unwrap();
}

/// The relations of a case, and what is wrong with it.
fn derived(lines: &str) -> (Relations, Vec<(String, String)>) {
    let (mut relations, mut schemas) = (Relations::new(), Schemas::default());
    for line in lines.lines() {
        let (first, rest) = line.split_once(' ').unwrap();
        match first {
            "above" => add_above(&mut relations, rest),
            "fault" => {
                let (collection, fault) = rest.split_once(' ').unwrap();
                relations.note(Some(collection), fault);
            }
            collection => schemas.read("shop", collection, &commands::raw(rest)),
        }
    }
    let faults = schemas.relate(&mut relations);
    (relations, faults)
}

fn shown(name: &str, lines: &str) -> String {
    let (relations, faults) = derived(lines);
    let mut out = format!("== {name}\n{lines}-->\n");
    let collections: BTreeSet<&str> = relations.collections().collect();
    for collection in collections {
        for relation in relations.of(collection) {
            let Relation {
                name,
                target,
                local,
                foreign,
                many,
                ..
            } = relation;
            let kind = if *many { "many" } else { "one" };
            let _ = writeln!(
                out,
                "{collection}.{name}: {local} -> {target}.{foreign} ({kind})"
            );
        }
    }
    for (collection, fault) in faults {
        assert!(relations.fault_of(&collection).unwrap().contains(&fault));
        let _ = writeln!(out, "fault of {collection}: {fault}");
    }
    out
}

#[test]
fn mongo_schema() {
    let cases = commands::read(include_str!("cases/mongo_schema.txt"));
    assert!(cases.len() > 20);
    let shown: Vec<String> = cases
        .iter()
        .map(|case| shown(&case.name, &case.command))
        .collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("mongo_schema", shown.join("\n"));
    });
}

#[test]
fn a_missing_relation_says_what_was_left_out() {
    let lines = "books {\"$jsonSchema\":{\"properties\":{\"author_id\":{\"description\":\"@reff(authors)\"}}}}\n";
    let (relations, _) = derived(lines);
    let find = rawdoc! { "find": "books", "comment": "@include(author)" };
    let request = read(&find, &[]).unwrap().unwrap();
    let error = request
        .rewrite(&Context {
            relations: &relations,
            unique_indexes: &[],
        })
        .unwrap_err();
    assert!(error.is_undefined_relation());
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("\"books\"") && hint.contains("author_id") && hint.contains("@reff"),
        "{hint}"
    );
}

#[test]
fn as_many_keys_as_anybody_likes() {
    let fields: Vec<String> = (0..2_000)
        .map(|n| format!("\"f{n}_id\":{{\"description\":\"@ref(authors)\"}}"))
        .collect();
    let line = format!(
        "books {{\"$jsonSchema\":{{\"properties\":{{{}}}}}}}\n",
        fields.join(",")
    );
    let (relations, faults) = derived(&line);
    assert_eq!(relations.of("books").len(), 256);
    assert!(
        faults
            .iter()
            .any(|(_, fault)| fault.contains("more than 256"))
    );
    assert!(relations.fault_of("books").unwrap().len() < 2_000);
}
