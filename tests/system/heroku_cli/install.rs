//! The Heroku CLI as npm has it, kept in the target directory between runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The directory that has `heroku` of this version; installed if it is not there yet. The tests of ruko-forward
/// keep theirs at the same place.
pub(super) fn heroku(version: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("heroku-{version}"));
    if !dir.exists() {
        // Installed beside its place and moved there: an interrupted installation is none.
        let beside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let installed = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"])
            .arg(beside.path())
            .arg(format!("heroku@{version}"))
            .output()
            .expect("npm is installed: `make deps`");
        let why = String::from_utf8_lossy(&installed.stderr);
        assert!(installed.status.success(), "heroku@{version} cannot be installed from npm: {why}");
        fs::rename(beside.keep(), &dir).unwrap();
    }
    dir.join("node_modules/.bin")
}
