//! A `.slugignore`, and a path that it is asked about, after a NUL.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use ruko_slug::slugignore::SlugIgnore;

fuzz_target!(|bytes: &[u8]| {
    let (patterns, path) = match bytes.iter().position(|b| *b == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b"a/b.txt"[..]),
    };
    let text = String::from_utf8_lossy(patterns);
    let ignore = SlugIgnore::parse(&text);
    assert!(ignore.warnings.len() <= text.lines().count() + 1);
    let path = Path::new(OsStr::from_bytes(path));
    // Such as a walk below the app's top meets.
    if path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_))) {
        let _ = (ignore.matches(path, false), ignore.matches(path, true));
    }
});
