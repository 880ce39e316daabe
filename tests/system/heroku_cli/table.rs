//! docs/HEROKU-CLI.md, out of what was run.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::commands::{Line, Verdict};

/// Set, the page is written anew instead of compared.
const WRITE: &str = "OPENRUKO_WRITE_DOCS";

const HEAD: &str = "# What the Heroku CLI does with openruko\n\n\
    Written by the system test `heroku_cli`, which runs each of these with the real CLI from npm, through\n\
    `openruko`, against a running platform, and compares what it prints and its exit status.\n";

/// A line of the page.
pub(super) struct Row {
    group: String,
    line: String,
    verdict: Verdict,
    why: String,
    ran: Vec<u32>,
}

impl Row {
    pub(super) fn of(line: &Line) -> Self {
        Self {
            group: line.group.clone(),
            line: shown(&line.line),
            verdict: line.verdict,
            why: line.why.clone(),
            ran: Vec::new(),
        }
    }

    pub(super) fn ran(&mut self, major: u32) {
        self.ran.push(major);
    }

    fn cell(&self, major: u32) -> &'static str {
        match (self.ran.contains(&major), self.verdict) {
            (false, _) => "—",
            (true, Verdict::Works) => "works",
            (true, Verdict::Truthful) => "not offered",
            (true, Verdict::Impossible) => "not possible",
        }
    }
}

/// As a reader would type it.
fn shown(line: &str) -> String {
    line.replace("{app}", "my-app").replace("{dir}/", "").replace("{other}", "ann").replace("{user}", "matt")
}

fn page(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    let mut group = "";
    let mut told = HashSet::new();
    // A line that is run again, to see it refused or to have its effect once more, is told once.
    for row in rows.iter().filter(|row| told.insert(row.line.as_str())) {
        if row.group != group {
            group = &row.group;
            let _ = write!(page, "\n## {group}\n\n| `openruko …` | 11.x | 8.x | why |\n|---|---|---|---|\n");
        }
        let _ = writeln!(page, "| `{}` | {} | {} | {} |", row.line, row.cell(11), row.cell(8), row.why);
    }
    page
}

/// The page says what was seen.
pub(super) fn check(rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/HEROKU-CLI.md");
    let page = page(rows);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/HEROKU-CLI.md is not what was seen: run this test with {WRITE}=1");
}
