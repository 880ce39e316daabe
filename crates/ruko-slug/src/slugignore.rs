//! `.slugignore`: what of an app is removed before anything looks at it.
//!
//! Patterns as in gitignore(5), without negation ("Slug Compiler", Heroku Dev Center).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ruko_sys::{AtPath, PathError};

/// The largest `.slugignore` that is read, in bytes.
const MAX_BYTES: u64 = 256 << 10;

/// Patterns, and lines that are none.
pub struct SlugIgnore {
    matcher: Gitignore,
    /// What is wrong with which line, a sentence each.
    pub warnings: Vec<String>,
}

impl SlugIgnore {
    /// Reads the patterns of an app; none if it has no `.slugignore`.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(app: &Path) -> Result<Option<Self>, PathError> {
        let path = app.join(".slugignore");
        if !path.is_file() {
            return Ok(None);
        }
        let mut bytes = vec![];
        let reading = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        reading.at("read", &path)?;
        if bytes.len() as u64 > MAX_BYTES {
            let why = format!("it is larger than {MAX_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why)).at("read", &path);
        }
        Ok(Some(Self::parse(&String::from_utf8_lossy(&bytes))))
    }

    /// Reads patterns.
    pub fn parse(text: &str) -> Self {
        let mut builder = GitignoreBuilder::new("/");
        let mut warnings = vec![];
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let refused = if line.starts_with('!') {
                Some("a pattern cannot be negated".to_owned())
            } else {
                builder.add_line(None, line).err().map(|e| e.to_string())
            };
            if let Some(why) = refused {
                warnings.push(format!("Line {} of .slugignore is ignored: {why}", index + 1));
            }
        }
        let matcher = builder.build().unwrap_or_else(|e| {
            warnings.push(format!(".slugignore is ignored: {e}"));
            Gitignore::empty()
        });
        Self { matcher, warnings }
    }

    /// Whether the patterns name this path below the app's top.
    pub fn matches(&self, path: &Path, is_dir: bool) -> bool {
        self.matcher.matched(path, is_dir).is_ignore()
    }

    /// Removes what the patterns name, and gives how many entries that were. Symbolic links are removed
    /// themselves, never followed.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn apply(&self, app: &Path) -> Result<usize, PathError> {
        self.apply_below(app, Path::new(""))
    }

    fn apply_below(&self, app: &Path, below: &Path) -> Result<usize, PathError> {
        let dir = app.join(below);
        let mut removed = 0;
        for entry in fs::read_dir(&dir).at("read", &dir)? {
            let entry = entry.at("read", &dir)?;
            let path = below.join(entry.file_name());
            // Of the entry itself: a link to a directory is no directory.
            let is_dir = entry.file_type().at("read", &entry.path())?.is_dir();
            if self.matches(&path, is_dir) {
                let done =
                    if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
                done.at("remove", &entry.path())?;
                removed += 1;
            } else if is_dir {
                removed += self.apply_below(app, &path)?;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        dir
    }

    fn left(dir: &Path) -> BTreeSet<String> {
        fn walk(top: &Path, dir: &Path, found: &mut BTreeSet<String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    walk(top, &entry.path(), found);
                } else {
                    found.insert(entry.path().strip_prefix(top).unwrap().display().to_string());
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(dir, dir, &mut found);
        found
    }

    #[test]
    fn names_match_at_any_depth_and_a_slash_anchors() {
        let dir = tree(&["a.psd", "art/b.psd", "doc/x", "src/doc/y", "top", "sub/top", "keep/#x"]);
        let ignore = SlugIgnore::parse("# comment\n\n*.psd\n/doc/\n/top\r\n");
        assert_eq!(ignore.apply(dir.path()).unwrap(), 4);
        let expected = ["src/doc/y", "sub/top", "keep/#x"].map(str::to_owned);
        assert_eq!(left(dir.path()), BTreeSet::from(expected));
        assert!(ignore.warnings.is_empty());
    }

    #[test]
    fn negation_is_warned_about_and_skipped() {
        let ignore = SlugIgnore::parse("*.md\n!README.md\n");
        assert!(ignore.matches(Path::new("README.md"), false));
        assert_eq!(ignore.warnings, ["Line 2 of .slugignore is ignored: a pattern cannot be negated"]);
    }

    #[test]
    fn links_are_removed_and_never_followed() {
        let outside = tree(&["precious/x", "precious/gone"]);
        let dir = tree(&["a"]);
        std::os::unix::fs::symlink(outside.path().join("precious"), dir.path().join("gone")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("precious"), dir.path().join("kept")).unwrap();
        assert_eq!(SlugIgnore::parse("gone\n../*\n/../precious\n").apply(dir.path()).unwrap(), 1);
        assert_eq!(left(outside.path()).len(), 2);
        assert!(dir.path().join("kept").is_symlink());
    }

    proptest! {
        #[test]
        fn no_pattern_reaches_outside(patterns in proptest::collection::vec("[./*a\\[\\]!-]{1,8}", 1..5)) {
            let outer = tree(&["a", "b/app/a", "b/app/c/a", "b/a"]);
            let _ = SlugIgnore::parse(&patterns.join("\n")).apply(&outer.path().join("b/app"));
            let left = left(outer.path());
            prop_assert!(left.contains("a") && left.contains("b/a"));
        }
    }
}
