//! A Procfile, and what comes of it together with a buildpack's defaults.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ruko_slug::procfile::{MAX_TYPES, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(procfile) = parse(bytes) else { return };
    assert!(procfile.types.len() <= MAX_TYPES);
    // What was understood is understood again when it is written plainly.
    let mut plain = String::new();
    for (name, command) in &procfile.types {
        assert!(!command.trim().is_empty() && !command.contains('\n'), "{command:?}");
        plain.push_str(&format!("{name}: {command}\n"));
    }
    assert_eq!(parse(plain.as_bytes()).unwrap().types, procfile.types);
});
