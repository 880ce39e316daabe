//! The table of command lines.

use std::path::PathBuf;

use serde::Deserialize;

use super::Outcome;

/// A command line and what it must do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) group: String,
    pub(super) line: String,
    #[serde(default)]
    exit: i32,
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    pub(super) verdict: Verdict,
    #[serde(default)]
    pub(super) why: String,
    #[serde(default)]
    pub(super) input: String,
    /// After a `git push openruko main`.
    #[serde(default)]
    pub(super) after_push: bool,
    only: Option<u32>,
    v8: Option<Differs>,
}

/// Where version 8 differs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Differs {
    exit: Option<i32>,
    says: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It does what it does with Heroku.
    #[default]
    Works,
    /// It says truthfully that this is not offered.
    Truthful,
    /// The CLI cannot do it with any other host than Heroku's.
    Impossible,
}

#[derive(Deserialize)]
struct Table {
    command: Vec<Line>,
}

pub(super) fn read() -> Vec<Line> {
    let table: Table = toml::from_str(include_str!("../../heroku-cli/commands.toml")).unwrap();
    table.command
}

/// What the placeholders stand for.
pub(super) struct Places {
    pub(super) app: String,
    pub(super) dir: PathBuf,
    pub(super) user: String,
    pub(super) other: String,
    pub(super) web: u16,
}

impl Places {
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{app}", &self.app)
            .replace("{dir}", self.dir.to_str().unwrap())
            .replace("{user}", &self.user)
            .replace("{other}", &self.other)
            .replace("{web}", &self.web.to_string())
    }
}

impl Line {
    pub(super) fn is_for(&self, major: u32) -> bool {
        self.only.is_none_or(|only| only == major)
    }

    pub(super) fn judge(&self, major: u32, places: &Places, outcome: &Outcome) -> Result<(), String> {
        let differs = self.v8.as_ref().filter(|_| major == 8);
        let exit = differs.and_then(|differs| differs.exit).unwrap_or(self.exit);
        if outcome.exit != exit {
            return Err(format!("exit status {}, not {exit}", outcome.exit));
        }
        let says = differs.and_then(|differs| differs.says.as_ref()).unwrap_or(&self.says);
        // The CLI breaks lines to fit a terminal, and begins each with an arrow: only words count.
        let seen = words(&outcome.seen);
        match says.iter().map(|said| places.fill(said)).find(|said| !seen.contains(&words(said))) {
            Some(missing) => Err(format!("it does not say `{missing}`")),
            None => Ok(()),
        }
    }
}

fn words(text: &str) -> String {
    text.replace(['›', '▸'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}
