//! Exit statuses, and the one place that prints a failure.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// How a program ends when it does not pass on the status of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Refused: what was asked for is not allowed, not there or not possible.
    Refused = 1,
    /// The command line was wrong.
    Usage = 2,
    /// Nothing is wrong with the request; trying again later may work (`EX_TEMPFAIL` of sysexits.h).
    TryAgain = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure on its way to the user: what went wrong, what to do about it, and the exit status.
#[derive(Debug)]
pub struct Fault {
    /// The status the program ends with.
    pub exit: Exit,
    /// What was attempted on which object, with its causes.
    pub message: String,
    /// What to do next, where there is something to say.
    pub hint: Option<String>,
}

impl Fault {
    /// A refusal: exit status 1.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, message: message.into(), hint: None }
    }

    /// A passing trouble: exit status 75.
    pub fn try_again(message: impl Into<String>) -> Self {
        Self { exit: Exit::TryAgain, message: message.into(), hint: None }
    }

    /// A wrong command line: exit status 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::refused(chain(&error))
    }
}

/// Adds what was attempted to an error, and turns it into a [`Fault`].
pub trait Hint<T> {
    /// `what: cause`, exit status 1.
    fn fault(self, what: impl fmt::Display) -> Result<T, Fault>;
    /// `what: cause`, exit status 75.
    fn try_again(self, what: impl fmt::Display) -> Result<T, Fault>;
}

impl<T, E: std::error::Error> Hint<T> for Result<T, E> {
    fn fault(self, what: impl fmt::Display) -> Result<T, Fault> {
        self.map_err(|e| Fault::refused(format!("{what}: {}", chain(&e))))
    }

    fn try_again(self, what: impl fmt::Display) -> Result<T, Fault> {
        self.map_err(|e| Fault::try_again(format!("{what}: {}", chain(&e))))
    }
}

/// An error and its causes on one line. A cause that its outer error already printed is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = inner.source();
    }
    line
}

/// Prints a failure on one line of stderr, its hint on a second, and gives the exit status.
///
/// A peer that is gone is no reason to panic: what cannot be written is dropped.
pub fn report(program: &str, outcome: Result<Exit, Fault>) -> ExitCode {
    let fault = match outcome {
        Ok(exit) => return exit.into(),
        Err(fault) => fault,
    };
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{program}: {}", one_line(&fault.message));
    if let Some(hint) = &fault.hint {
        let _ = writeln!(err, "{program}: hint: {}", one_line(hint));
    }
    fault.exit.into()
}

/// Line breaks become `; ` and other control characters are escaped, so that foreign text can neither
/// forge a line nor drive a terminal.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str("; ");
        }
        for c in part.chars() {
            if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_cannot_drive_a_terminal() {
        assert_eq!(one_line("first\n\n  second\x1b[31m\r\n"), "first; second\\u{1b}[31m");
    }

    #[test]
    fn a_cause_that_was_printed_is_not_printed_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read `x`: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "cannot read `x`: disk on fire");
    }
}
