//! What a buildpack's `bin/release` prints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ruko_slug::procfile::MAX_TYPES;
use ruko_slug::yaml::parse;

fuzz_target!(|bytes: &[u8]| {
    let release = parse(bytes);
    assert!(release.default_process_types.len() <= MAX_TYPES);
    assert!(release.warnings.len() <= 20, "{}", release.warnings.len());
    assert!(release.default_process_types.values().all(|command| !command.trim().is_empty()));
});
