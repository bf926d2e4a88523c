//! Finding annotations in SQL: the full lexer against the quick scan, which must miss none.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use twinport_rewriter::pg::annotations;
use twinport_rewriter::scan::{Effects, scan};

fuzz_target!(|sql: &str| {
    let _ = annotations(sql, false);
    let flags = scan(sql.as_bytes(), &HashSet::new());
    if annotations(sql, true).is_ok_and(|found| !found.is_empty()) {
        assert!(flags.contains(Effects::ANNOTATED));
    }
});
