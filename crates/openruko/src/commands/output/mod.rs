//! What people and scripts see: headings, tables, JSON, progress.

pub(crate) mod plain;
mod progress;
mod table;
mod when;

use std::io::{self, IsTerminal, Write};

use ruko_core::exit::one_line;
use serde_json::Value;

pub(crate) use table::Table;
pub(crate) use when::when;

/// Where output goes, and what may be done there.
pub(crate) struct Screen {
    /// Whether stdout is a terminal.
    pub(crate) out_terminal: bool,
    /// Whether stderr is a terminal.
    err_terminal: bool,
    /// Whether colour may be used on stdout.
    pub(crate) colour: bool,
    /// The terminal's width in columns; absent where lines may be as long as they are.
    width: Option<usize>,
}

impl Screen {
    /// Looks at the process's own streams.
    pub(crate) fn of_this_process() -> Self {
        let out_terminal = io::stdout().is_terminal();
        // https://no-color.org
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            out_terminal,
            err_terminal: io::stderr().is_terminal(),
            colour: out_terminal && !no_color && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            width: terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0.into()),
        }
    }

    /// One line of our own words and of foreign text, which cannot break it.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(io::stdout(), "{}", one_line(text.as_ref()))
    }

    /// Foreign text of several lines: as it is for a program, without what drives a terminal for people.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        match self.out_terminal {
            true => writeln!(io::stdout(), "{}", plain::text(text)),
            false => writeln!(io::stdout(), "{text}"),
        }
    }

    /// `=== shop Config Vars`, and an empty line.
    pub(crate) fn heading(&self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(io::stdout(), "{}\n", self.bold(&format!("=== {}", one_line(text.as_ref()))))
    }

    /// An empty line.
    pub(crate) fn gap(&self) -> io::Result<()> {
        writeln!(io::stdout())
    }

    /// Rows below each other, cut to the terminal's width.
    pub(crate) fn table(&self, table: &Table) -> io::Result<()> {
        for (index, line) in table.lines(self.width).iter().enumerate() {
            match index == 0 && table.has_head() {
                true => writeln!(io::stdout(), "{}", self.bold(line))?,
                false => writeln!(io::stdout(), "{line}")?,
            }
        }
        Ok(())
    }

    /// The API's own JSON, indented. JSON escapes control characters by itself, but not those of Latin 1.
    pub(crate) fn json(&self, value: &Value) -> io::Result<()> {
        self.text(&serde_json::to_string_pretty(value)?)
    }

    /// A remark that no program should read: to stderr.
    pub(crate) fn remark(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr(), "{}", one_line(text.as_ref()));
    }

    /// ` ▸    …`, Heroku's mark of a warning: to stderr.
    pub(crate) fn warn(text: &str) {
        let _ = writeln!(io::stderr(), " ▸    {}", one_line(text));
    }

    /// Does something that may take long, and says so on stderr: `Restarting dynos on ⬢ shop... done`. `work`
    /// gives its result and what stands behind `done`.
    pub(crate) fn action<T, E>(
        &self,
        what: impl AsRef<str>,
        work: impl FnOnce() -> Result<(T, String), E>,
    ) -> Result<T, E> {
        self.action_until(what, || work().map(|(result, detail)| (result, format!("done{detail}"))))
    }

    /// The same with other words than `done` for the end.
    pub(crate) fn action_until<T, E>(
        &self,
        what: impl AsRef<str>,
        work: impl FnOnce() -> Result<(T, String), E>,
    ) -> Result<T, E> {
        progress::action(self.err_terminal, &one_line(what.as_ref()), work)
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}
