//! The Heroku CLI as npm has it, kept in the target directory between runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ruko_sys::Lock;

/// The directory that has `heroku` of this version; installed if it is not there yet.
pub(super) fn heroku(version: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("heroku-cli");
    fs::create_dir_all(&root).unwrap();
    let _lock = Lock::take(&root.join("lock")).unwrap();
    let dir = root.join(version);
    let bin = dir.join("node_modules/.bin");
    if !dir.join("complete").exists() {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let installed = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"])
            .arg(&dir)
            .arg(format!("heroku@{version}"))
            .output()
            .expect("npm is installed: `make deps`");
        let why = String::from_utf8_lossy(&installed.stderr);
        assert!(installed.status.success(), "heroku@{version} cannot be installed from npm: {why}");
        fs::write(dir.join("complete"), "").unwrap();
    }
    bin
}
