//! The directive grammar, on any text.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = twinport_rewriter::directive::parse(text) {
        let position = error.position().unwrap_or(1);
        assert!((1..=text.chars().count() + 1).contains(&position));
    }
});
