//! The startup parameter `options`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::pg::startup::options;

fuzz_target!(|text: &str| {
    if let Ok(settings) = options::parse(text) {
        assert!(settings.len() <= text.len());
        for (name, _) in settings {
            assert!(!name.is_empty() && !name.contains('='));
        }
    }
});
