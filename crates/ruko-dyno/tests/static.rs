//! The program as it is linked.

use std::process::Command;

/// It runs on every stack, whatever C library that has.
#[test]
fn it_needs_no_shared_library() {
    let headers = ["--program-headers", "--dynamic", "--wide", env!("CARGO_BIN_EXE_ruko-dyno")];
    let out = Command::new("readelf").args(headers).output().unwrap();
    let seen = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && seen.contains("LOAD"), "{out:?}");
    assert!(!seen.contains("INTERP") && !seen.contains("NEEDED"), "{seen}");
}
