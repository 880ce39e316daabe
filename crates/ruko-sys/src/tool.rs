//! The one way to run a tool: no shell, an argument vector, an empty environment plus a fixed `PATH` and
//! locale, no stdin, and an error that shows command, status and stderr.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Command, ExitStatus, Stdio};

use crate::process::CommandSys;

/// Where tools are looked for.
pub const SAFE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A tool that could not be started, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there or cannot be executed.
    #[error("cannot run `{program}`")]
    Spawn {
        /// The tool.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("`{command}` failed ({status}): {}", .stderr.trim())]
    Failed {
        /// The tool with its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
}

/// A tool about to be run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
}

impl Tool {
    /// Names the tool; it is found on [`SAFE_PATH`].
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", SAFE_PATH).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).current_dir("/");
        Self { command }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The tool is killed when the thread that starts it ends: see [`CommandSys::die_with_parent`].
    #[must_use]
    pub fn die_with_parent(mut self) -> Self {
        self.command.die_with_parent();
        self
    }

    /// The command as prepared, for callers that need its streams or must outlive it.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end and gives its stdout.
    ///
    /// # Errors
    /// It cannot be started, or ends with another status than 0.
    pub fn output(mut self) -> Result<Vec<u8>, ToolError> {
        let program = self.command.get_program().to_string_lossy().into_owned();
        let out = self.command.output().map_err(|source| ToolError::Spawn { program, source })?;
        if out.status.success() {
            return Ok(out.stdout);
        }
        Err(ToolError::Failed {
            command: self.shown(),
            status: out.status,
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// As [`Tool::output`].
    pub fn run(self) -> Result<(), ToolError> {
        self.output().map(|_| ())
    }

    fn shown(&self) -> String {
        let words: Vec<OsString> = std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(OsStr::to_owned)
            .collect();
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_command_status_and_stderr() {
        let why = Tool::new("sh").args(["-c", "echo no luck >&2; exit 3"]).run().unwrap_err().to_string();
        assert!(why.contains("sh -c") && why.contains("3") && why.contains("no luck"), "{why}");
    }

    #[test]
    fn nothing_of_the_callers_environment_leaks() {
        let env = Tool::new("env").output().unwrap();
        let mut lines: Vec<_> = std::str::from_utf8(&env).unwrap().lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["LC_ALL=C.UTF-8", format!("PATH={SAFE_PATH}").as_str()]);
    }

    #[test]
    fn a_missing_tool_is_named() {
        let why = Tool::new("no-such-tool").run().unwrap_err().to_string();
        assert!(why.contains("no-such-tool"), "{why}");
    }
}
