//! Finding annotations in SQL: the full lexer against the quick scan, which must miss none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_rewriter::pg::annotations;
use twinport_rewriter::scan::{Effects, Names, custom_names, scan};

fuzz_target!(|sql: &str| {
    for conforming in [true, false] {
        let flags = scan(sql.as_bytes(), &Names::default(), conforming);
        if annotations(sql, conforming).is_ok_and(|found| !found.is_empty()) {
            assert!(flags.contains(Effects::ANNOTATED));
        }
    }
    let _ = custom_names(sql.as_bytes());
});
