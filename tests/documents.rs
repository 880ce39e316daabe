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
            // A file of tests is a module too.
            text.push_str(&format!("\nmod {};\n", path.file_stem().unwrap().display()));
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The names of all functions and modules, and those that the system tests' lists give.
fn names(text: &str) -> HashSet<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let after = |keyword: &'static str| {
        text.split(keyword).skip(1).map(move |rest| rest.split(|c| !is_word(c)).next().unwrap())
    };
    let listed = text.split('"').filter(|quoted| quoted.contains("::")).filter_map(|q| q.rsplit("::").next());
    after("fn ").chain(after("mod ")).chain(listed).collect()
}

/// The tests and modules in the last column of each row of a table, `a::{b, c}` and `a::*` among them.
fn named(document: &str) -> Vec<String> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    let last = rows.filter_map(|row| row.trim_end().trim_end_matches('|').rsplit(" | ").next());
    let quoted = last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| name.contains("::"));
    quoted.flat_map(each).collect()
}

fn each(name: &str) -> Vec<String> {
    let (path, names) = match name.trim_end_matches('}').split_once('{') {
        Some((path, names)) => (path, names.split(',').map(str::trim).collect()),
        None => ("", vec![name]),
    };
    names.into_iter().map(|name| format!("{path}{name}")).collect()
}

/// The last part that is a name of its own: every module of unit tests is called the same.
fn own(name: &str) -> &str {
    let parts = name.rsplit("::");
    parts.into_iter().find(|part| !matches!(*part, "*" | "tests")).unwrap_or(name)
}

#[test]
fn tests_that_the_push_path_names_are_there() {
    let document = fs::read_to_string(root().join("docs/PUSH-PATH.md")).unwrap();
    let mut text = String::new();
    for dir in ["crates", "tests", "fuzz/targets"] {
        sources(&root().join(dir), &mut text);
    }
    let (there, named) = (names(&text), named(&document));
    assert!(named.len() > 150, "{} tests are named", named.len());
    let lost: Vec<_> = named.iter().filter(|test| !there.contains(own(test))).collect();
    assert!(lost.is_empty(), "these are nowhere: {lost:#?}");
}
