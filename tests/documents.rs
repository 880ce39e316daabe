//! What the documents say of tests is true: every test that docs/PUSH-PATH.md names is there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All sources below a directory, one after the other.
fn sources(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !matches!(path.file_name().and_then(|name| name.to_str()), Some("target" | "corpus")) {
                sources(&path, text);
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The names of all functions, and the names that the system tests' lists give.
fn names(text: &str) -> HashSet<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let functions = text.split("fn ").skip(1).map(|after| after.split(|c| !is_word(c)).next().unwrap());
    let listed = text.split('"').filter(|quoted| quoted.contains("::")).filter_map(|q| q.rsplit("::").next());
    functions.chain(listed).collect()
}

/// What stands between backticks in the last column of each row of a table.
fn named(document: &str) -> Vec<&str> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    let last = rows.filter_map(|row| row.trim_end().trim_end_matches('|').rsplit(" | ").next());
    last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn tests_that_the_push_path_names_are_there() {
    let document = fs::read_to_string(root().join("docs/PUSH-PATH.md")).unwrap();
    let mut text = String::new();
    for dir in ["crates", "tests", "fuzz/targets"] {
        sources(&root().join(dir), &mut text);
    }
    let (there, named) = (names(&text), named(&document));
    assert!(named.len() > 100, "{} tests are named", named.len());
    let lost: Vec<_> =
        named.iter().filter(|test| !there.contains(test.rsplit("::").next().unwrap())).collect();
    assert!(lost.is_empty(), "these are nowhere: {lost:#?}");
}
