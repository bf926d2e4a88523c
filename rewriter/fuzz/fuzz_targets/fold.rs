//! Packed rows with a value of every type, and lists and rows inside.

#![no_main]

#[path = "../../tests/support/catalog.rs"]
mod catalog;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use twinport_rewriter::Context;
use twinport_rewriter::pg::fold::Fold;
use twinport_rewriter::pg::{JsonColumns, rewrite_with};

static FOLDS: LazyLock<Vec<Fold>> = LazyLock::new(|| {
    let catalog = catalog::catalog();
    let path = ["public".to_owned()];
    let cx = Context {
        catalog: &catalog,
        search_path: &path,
        server_version: 150_000,
        standard_conforming_strings: true,
    };
    let sql = "/* @include(samples, books.publisher, books.reviews) */ SELECT id FROM author";
    let rewritten = rewrite_with(sql, &cx, JsonColumns::Packed);
    rewritten.expect("it can be rewritten").folds
});

fuzz_target!(|packed: &[u8]| {
    for fold in FOLDS.iter() {
        let mut json = Vec::new();
        if fold.json(Some(packed), &mut json).is_ok() {
            assert!(json.starts_with(b"[") && json.ends_with(b"]"));
        }
    }
});
