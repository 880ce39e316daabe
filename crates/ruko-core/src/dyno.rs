//! What openruko-host and `ruko-dyno`, process 1 of a dyno's container, say to each other.
//!
//! The host writes one [`DynoStart`] as a line of JSON to the container's stdin. What follows it there is the stdin of
//! the command, if it has one; what the command prints is the container's stdout, as it is. No process that runs as
//! root reads any of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::ProcessType;

/// The longest line of a [`DynoStart`], in bytes: JSON may write a byte of the MiB that config vars may have as six.
pub const MAX_START: usize = 8 << 20;

/// What `ruko-dyno` says on its stderr, a line each, to the keeper of the container. The command's stderr is another
/// file, so no tenant can say these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynoWord {
    /// It waits for the [`DynoStart`].
    Waiting,
    /// The command has ended with this status, and all that it wrote was passed on. `ruko-dyno` then ends as soon as
    /// nobody reads its stderr any more.
    Ended(u8),
}

impl fmt::Display for DynoWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("ruko-dyno: waiting"),
            Self::Ended(status) => write!(f, "ruko-dyno: ended {status}"),
        }
    }
}

/// It is no [`DynoWord`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ruko-dyno says no such thing")]
pub struct BadDynoWord;

impl FromStr for DynoWord {
    type Err = BadDynoWord;

    fn from_str(line: &str) -> Result<Self, BadDynoWord> {
        let word = line.strip_prefix("ruko-dyno: ").ok_or(BadDynoWord)?;
        match word.strip_prefix("ended ") {
            Some(status) => status.parse().map(Self::Ended).map_err(|_| BadDynoWord),
            None if word == "waiting" => Ok(Self::Waiting),
            None => Err(BadDynoWord),
        }
    }
}

/// The name of a dyno: `web.1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DynoName {
    /// `web`.
    pub process_type: ProcessType,
    /// From 1 on.
    pub number: u32,
}

/// It is not like `web.1`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a dyno's name is a process type, a dot and a number from 1 on")]
pub struct BadDynoName;

impl fmt::Display for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process_type, self.number)
    }
}

impl FromStr for DynoName {
    type Err = BadDynoName;

    fn from_str(raw: &str) -> Result<Self, BadDynoName> {
        let (process_type, digits) = raw.rsplit_once('.').ok_or(BadDynoName)?;
        let number = digits.parse().map_err(|_| BadDynoName)?;
        let plain = digits.starts_with(|c: char| matches!(c, '1'..='9'));
        let process_type = process_type.parse().map_err(|_| BadDynoName)?;
        if plain { Ok(Self { process_type, number }) } else { Err(BadDynoName) }
    }
}

impl TryFrom<String> for DynoName {
    type Error = BadDynoName;

    fn try_from(raw: String) -> Result<Self, BadDynoName> {
        raw.parse()
    }
}

impl From<DynoName> for String {
    fn from(name: DynoName) -> Self {
        name.to_string()
    }
}

/// What runs in a dyno.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynoStart {
    /// A line for bash, run as the dyno's user in `/app` after `.profile.d/*.sh` and `.profile` were sourced.
    pub command: String,
    /// The whole environment: config vars, then what the platform sets.
    pub env: BTreeMap<String, String>,
    /// The size of its terminal; none: it has none.
    pub terminal: Option<TerminalSize>,
    /// Whether what follows on stdin is for the command. If not, its stdin is empty.
    pub stdin: bool,
}

/// Config vars are never printed.
impl fmt::Debug for DynoStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynoStart").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// `COLUMNS`.
    pub columns: u16,
    /// `LINES`.
    pub lines: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynos_name_is_a_type_and_a_number() {
        let name: DynoName = "web.12".parse().unwrap();
        assert_eq!((name.process_type.as_str(), name.number), ("web", 12));
        assert_eq!(name.to_string(), "web.12");
        for bad in
            ["", "web", "web.", "web.0", "web.01", "web.+1", "web.-1", "we b.1", ".1", "web.1.", "web.x"]
        {
            assert_eq!(bad.parse::<DynoName>(), Err(BadDynoName), "{bad:?}");
        }
    }

    #[test]
    fn a_word_is_read_as_it_is_written() {
        for word in [DynoWord::Waiting, DynoWord::Ended(0), DynoWord::Ended(255)] {
            assert_eq!(word.to_string().parse(), Ok(word));
        }
        for bad in
            ["", "waiting", "ruko-dyno: ", "ruko-dyno: ended 256", "ruko-dyno: ended ", "ruko-dyno: waiting "]
        {
            assert_eq!(bad.parse::<DynoWord>(), Err(BadDynoWord), "{bad:?}");
        }
    }

    #[test]
    fn an_environment_is_not_printed() {
        let env = [("KEY".to_owned(), "secret".to_owned())].into();
        let start = DynoStart { command: "secret".into(), env, terminal: None, stdin: false };
        assert!(!format!("{start:?}").contains("secret"));
    }
}
