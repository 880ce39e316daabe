//! The Procfile: which process types an app has and what each runs.
//!
//! Read as leniently as Heroku does ("The Procfile", Heroku Dev Center), with a warning where a line was
//! probably meant otherwise.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ruko_core::ProcessType;
use ruko_sys::{AtPath, PathError};

use crate::refusal::Refusal;

/// The largest Procfile, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Process types that an app may have.
pub const MAX_TYPES: usize = 100;

/// What a Procfile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Procfile {
    /// Process types with their commands.
    pub types: BTreeMap<ProcessType, String>,
    /// What was probably meant otherwise, a sentence each.
    pub warnings: Vec<String>,
}

/// Why a Procfile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProcfileError {
    /// It holds both sides of a merge.
    #[error("line {line} of the Procfile is a merge conflict marker: resolve the conflict and commit")]
    Conflict {
        /// Counted from 1.
        line: usize,
    },
    /// It is too large.
    #[error("the Procfile is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// It declares too many types.
    #[error("the Procfile declares {0} process types, and {MAX_TYPES} is the limit")]
    TooMany(usize),
    /// It is there and cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
}

impl From<ProcfileError> for Refusal {
    fn from(error: ProcfileError) -> Self {
        Self::new(format!("Push rejected: {}.", ruko_core::exit::chain(&error)))
    }
}

/// Reads the Procfile of an app; none if it has none.
///
/// # Errors
/// See [`ProcfileError`].
pub fn read(app: &Path) -> Result<Option<Procfile>, ProcfileError> {
    let path = app.join("Procfile");
    // A fifo would wait for ever, and a directory is no Procfile.
    if !path.is_file() {
        return Ok(None);
    }
    let mut bytes = vec![];
    let reading: io::Result<_> =
        File::open(&path).and_then(|f| f.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    reading.at("read", &path)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ProcfileError::TooLarge);
    }
    parse(&bytes).map(Some)
}

/// Reads a Procfile's contents.
///
/// # Errors
/// See [`ProcfileError`].
pub fn parse(bytes: &[u8]) -> Result<Procfile, ProcfileError> {
    let text = String::from_utf8_lossy(bytes);
    let mut procfile = Procfile::default();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if is_conflict_marker(line) {
            return Err(ProcfileError::Conflict { line: index + 1 });
        }
        procfile.line(index + 1, line.trim());
    }
    if procfile.types.len() > MAX_TYPES {
        return Err(ProcfileError::TooMany(procfile.types.len()));
    }
    Ok(procfile)
}

impl Procfile {
    fn line(&mut self, number: usize, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let Some((name, command, colon)) = split(line) else {
            return self.warn(number, "has no process type and is ignored");
        };
        if command.is_empty() {
            return self.warn(number, &format!("gives no command for {name} and is ignored"));
        }
        if !colon {
            self.warn(number, &format!("has no colon; it is read as `{name}: …`"));
        }
        if self.types.insert(name.clone(), command.to_owned()).is_some() {
            self.warn(number, &format!("declares {name} again; the last one counts"));
        }
    }

    fn warn(&mut self, number: usize, what: &str) {
        // Enough to see what is wrong; a file that is no Procfile at all would fill the screen.
        if self.warnings.len() < 10 {
            self.warnings.push(format!("Line {number} of the Procfile {what}"));
        }
    }
}

/// Type, command, and whether a colon is between them. Heroku takes a space for the colon.
fn split(line: &str) -> Option<(ProcessType, &str, bool)> {
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(line.len());
    let (name, rest) = (line[..end].parse().ok()?, line[end..].trim_start());
    match rest.strip_prefix(':') {
        Some(command) => Some((name, command.trim(), true)),
        None if rest.len() < line.len() - end => Some((name, rest.trim(), false)),
        None => None,
    }
}

/// Seven times the same character, alone or before a space, as git writes it (git-merge(1)).
fn is_conflict_marker(line: &str) -> bool {
    ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|marker| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r']))
    })
}

/// Merges as Heroku does: types of the Procfile, and those of the buildpack that the Procfile does not
/// define. Gives all types and the names of the latter.
pub fn merge(
    procfile: BTreeMap<ProcessType, String>,
    defaults: BTreeMap<ProcessType, String>,
) -> (BTreeMap<ProcessType, String>, Vec<ProcessType>) {
    let added: BTreeMap<_, _> =
        defaults.into_iter().filter(|(name, _)| !procfile.contains_key(name)).collect();
    let names = added.keys().cloned().collect();
    (procfile.into_iter().chain(added).collect(), names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn types(text: &str) -> Vec<(String, String)> {
        let types = parse(text.as_bytes()).unwrap().types;
        types.into_iter().map(|(name, command)| (name.to_string(), command)).collect()
    }

    fn one(name: &str, command: &str) -> Vec<(String, String)> {
        vec![(name.into(), command.into())]
    }

    #[test]
    fn what_the_field_writes_is_read() {
        assert_eq!(types("web: run $PORT"), one("web", "run $PORT"));
        assert_eq!(types("\u{feff}web: a\r\n\r\n# c\r\n"), one("web", "a"));
        assert_eq!(types("web:a && b: c\n"), one("web", "a && b: c"));
        assert_eq!(types("web  :  a  \n"), one("web", "a"));
        assert_eq!(types("clock-2_x: a\n"), one("clock-2_x", "a"));
    }

    #[test]
    fn what_was_probably_meant_otherwise_is_warned_about() {
        for (text, word, count) in [
            ("web run", "no colon", 1),
            ("web:", "no command", 0),
            ("web: a\nweb: b", "again", 1),
            ("!!! what", "no process type", 0),
            ("-x: a", "no process type", 0),
            ("web", "no process type", 0),
        ] {
            let procfile = parse(text.as_bytes()).unwrap();
            assert_eq!(procfile.types.len(), count, "{text}");
            assert!(procfile.warnings.len() == 1 && procfile.warnings[0].contains(word), "{procfile:?}");
        }
        assert_eq!(types("web: a\nweb: b"), one("web", "b"));
    }

    #[test]
    fn both_sides_of_a_merge_are_refused_with_the_line() {
        for marker in ["<<<<<<< HEAD", "=======", ">>>>>>> theirs", "=======\r"] {
            let text = format!("web: a\n{marker}\nweb: b\n");
            let why = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(why.contains("line 2"), "{why}");
        }
        assert!(parse(b"web: a <<<<<<< b").is_ok());
    }

    #[test]
    fn bounds_are_named() {
        let many: String = (0..=MAX_TYPES).map(|n| format!("t{n}: x\n")).collect();
        assert!(parse(many.as_bytes()).unwrap_err().to_string().contains("100"));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Procfile"), " ".repeat(70_000)).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("65536"));
    }

    #[test]
    fn the_procfile_wins_and_other_defaults_are_kept() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(n, c)| (n.parse().unwrap(), (*c).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let (all, defaults) = merge(map(&[("web", "mine")]), map(&[("web", "theirs"), ("console", "c")]));
        assert_eq!(all, map(&[("web", "mine"), ("console", "c")]));
        assert_eq!(defaults, ["console".parse().unwrap()]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_types_with_commands(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(procfile) = parse(&bytes) {
                for command in procfile.types.values() {
                    prop_assert!(!command.trim().is_empty() && !command.contains('\n'));
                }
            }
        }

        #[test]
        fn added_types_are_among_all_and_not_of_the_procfile(
            own in proptest::collection::btree_map("[a-d]", "[a-z]", 0..4),
            defaults in proptest::collection::btree_map("[a-d]", "[a-z]", 0..4),
        ) {
            let typed = |types: &BTreeMap<String, String>| -> BTreeMap<ProcessType, String> {
                types.iter().map(|(name, command)| (name.parse().unwrap(), command.clone())).collect()
            };
            let (own, defaults) = (typed(&own), typed(&defaults));
            let (all, added) = merge(own.clone(), defaults);
            for name in &added {
                prop_assert!(all.contains_key(name) && !own.contains_key(name));
            }
            prop_assert_eq!(all.len(), own.len() + added.len());
        }

        #[test]
        fn a_plain_line_is_read_exactly(name in "[a-zA-Z0-9][a-zA-Z0-9_-]{0,30}", command in "[!-~]([ -~]{0,40}[!-~])?") {
            let procfile = parse(format!("{name}: {command}\r\n").as_bytes()).unwrap();
            prop_assert_eq!(procfile.types.get(&name.parse().unwrap()), Some(&command));
            prop_assert!(procfile.warnings.is_empty());
        }
    }
}
