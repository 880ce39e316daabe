//! Where the benchmarks write what they measured: `target/bench/results.json`, one document for all of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// Names and values.
pub type Figures = Vec<(String, Value)>;

/// A figure, to three places.
#[must_use]
pub fn figure(name: &str, value: f64) -> (String, Value) {
    (name.to_owned(), json!((value * 1000.0).round() / 1000.0))
}

/// Adds to what was measured before, and prints all of it.
pub fn add(figures: Figures) {
    let file = file();
    let before = fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mut results: Map<String, Value> = before.unwrap_or_default();
    results.extend(figures);
    let text = format!("{:#}\n", Value::Object(results));
    fs::write(&file, &text).unwrap();
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The file; its directory is there.
#[must_use]
pub fn file() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    fs::create_dir_all(target.join("bench")).unwrap();
    target.join("bench/results.json")
}
