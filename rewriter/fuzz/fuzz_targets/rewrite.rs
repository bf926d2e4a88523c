//! The whole rewriting, on any text, with a small catalog.

#![no_main]

#[path = "../../tests/support/catalog.rs"]
mod catalog;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use orm_schema::Catalog;
use twinport_rewriter::Context;
use twinport_rewriter::pg::{JsonColumns, rewrite_with};

static CATALOG: LazyLock<Catalog> = LazyLock::new(catalog::catalog);

fuzz_target!(|input: (bool, u8, &str)| {
    let (standard, json, sql) = input;
    let path = ["public".to_owned()];
    let cx = Context {
        catalog: &CATALOG,
        search_path: &path,
        server_version: 150_000,
        standard_conforming_strings: standard,
    };
    let json = match json % 3 {
        0 => JsonColumns::Cast,
        1 => JsonColumns::Text,
        _ => JsonColumns::Packed,
    };
    match rewrite_with(sql, &cx, json) {
        Ok(rewritten) => assert!(rewritten.sql.len() >= sql.len()),
        Err(error) => {
            let position = error.position().unwrap_or(1);
            assert!((1..=sql.chars().count() + 1).contains(&position));
        }
    }
});
