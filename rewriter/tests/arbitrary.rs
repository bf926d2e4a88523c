//! Arbitrary input: nothing panics, and what is not annotated is not changed.

#[path = "support/catalog.rs"]
mod catalog;

use proptest::prelude::*;
use twinport_rewriter::pg::fold::Fold;
use twinport_rewriter::pg::{JsonColumns, annotations, rewrite_with};
use twinport_rewriter::scan::{Effects, Names, custom_names, scan};
use twinport_rewriter::{Context, directive};

/// Pieces of annotations and of SQL, so that random text gets past the first token.
const PIECES: &[&str] = &[
    "@include",
    "@upsert",
    "@timeout",
    "@",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    ".",
    "-",
    "\"",
    "'",
    "2s",
    "5",
    "books",
    "author",
    "order",
    "limit",
    "where",
    "columns",
    "id",
    "nothing",
    "update",
    "é",
    "\u{0}",
    " ",
    "\n",
    "/*",
    "*/",
    "--",
    ";",
    "$$",
    "$1",
    "E'",
    "\\",
    "U&\"",
    "SELECT",
    "FROM",
    "INSERT INTO",
    "VALUES",
    "ON CONFLICT",
    "RETURNING",
    "WITH",
    "AS",
    "*",
    "author",
    "book",
    "account",
    "email",
    "GROUP BY",
    "LIMIT",
    "JOIN",
    "DISTINCT",
    "::",
    "price > 1",
    "EXPLAIN",
    "DECLARE",
    "FOR",
    "PREPARE",
    "BEGIN ATOMIC",
    "END",
    "CASE",
    "count(",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.join(" "))
}

/// An annotation of random pieces before a statement of random pieces.
fn annotated() -> impl Strategy<Value = String> {
    (soup(), soup())
        .prop_map(|(annotation, sql)| format!("/* @include(books {annotation} */ {sql}"))
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), soup(), annotated()]
}

fn any_json() -> impl Strategy<Value = JsonColumns> {
    prop::sample::select(vec![
        JsonColumns::Cast,
        JsonColumns::Text,
        JsonColumns::Packed,
    ])
}

/// How the samples of an author, who has a value of each type, are read.
fn fold_of_samples() -> Option<Fold> {
    let catalog = catalog::catalog();
    let cx = Context {
        catalog: &catalog,
        search_path: &["public".to_owned()],
        server_version: 150_000,
        standard_conforming_strings: true,
    };
    let sql = "/* @include(samples, books.publisher, books.reviews) */ SELECT id FROM author";
    let rewritten = rewrite_with(sql, &cx, JsonColumns::Packed).ok()?;
    rewritten.folds.into_iter().next()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_directive_parser_never_panics(text in any_text()) {
        if let Err(error) = directive::parse(&text) {
            let position = error.position().unwrap_or(1);
            prop_assert!((1..=text.chars().count() + 1).contains(&position));
        }
    }

    #[test]
    fn the_lexer_never_panics_and_the_quick_scan_misses_nothing(sql in any_text()) {
        for conforming in [true, false] {
            let flags = scan(sql.as_bytes(), &Names::default(), conforming);
            if annotations(&sql, conforming).is_ok_and(|found| !found.is_empty()) {
                prop_assert!(flags.contains(Effects::ANNOTATED));
            }
        }
        let _ = custom_names(sql.as_bytes());
    }

    #[test]
    fn folding_never_panics(mut packed in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..400)) {
        let fold = fold_of_samples();
        if let Some(first) = packed.first_mut() {
            *first = 1;
        }
        let _ = fold.unwrap().json(Some(&packed), &mut Vec::new());
    }

    #[test]
    fn rewriting_never_panics(sql in any_text(), standard in any::<bool>(), json in any_json()) {
        let catalog = catalog::catalog();
        let path = ["public".to_owned()];
        let cx = Context {
            catalog: &catalog,
            search_path: &path,
            server_version: 150_000,
            standard_conforming_strings: standard,
        };
        match rewrite_with(&sql, &cx, json) {
            Ok(rewritten) if !sql.contains('@') => prop_assert_eq!(rewritten.sql, sql),
            Ok(rewritten) => prop_assert!(rewritten.sql.len() >= sql.len()),
            Err(error) => {
                let position = error.position().unwrap_or(1);
                prop_assert!((1..=sql.chars().count() + 1).contains(&position), "{position}");
            }
        }
    }
}
