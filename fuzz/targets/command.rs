//! `SSH_ORIGINAL_COMMAND` and `GIT_PROTOCOL`, which the client of sshd writes.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use libfuzzer_sys::fuzz_target;

// The program keeps it to itself.
#[allow(dead_code, reason = "of the parser alone")]
#[path = "../../crates/openruko-serve/src/request.rs"]
mod request;

use request::{Exchange, Request, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Request { service, app, .. }) = parse(Some(OsStr::from_bytes(bytes)), Exchange::Whole) else {
        let _ = request::git_protocol(Some(std::ffi::OsString::from_vec(bytes.to_vec())));
        return;
    };
    // What is understood is what its plain spelling says, and nothing of it can mean something to a shell or a path.
    let plain = format!("git-{} '{app}.git'", service.name());
    assert_eq!(parse(Some(OsStr::new(&plain)), Exchange::Whole).map(|same| same.app), Ok(app.clone()));
    assert!(app.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    assert!(!app.as_str().starts_with('-'));
});
