//! The tools that are called to their end, behind a trait, so that a test can read what would be done.

use ruko_sys::{Tool, ToolError};

/// Runs tools.
pub trait Tools {
    /// Runs a tool to its end and gives its stdout.
    ///
    /// # Errors
    /// It cannot be started or fails.
    fn output(&self, program: &str, args: &[&str]) -> Result<Vec<u8>, ToolError>;

    /// Runs a tool to its end.
    ///
    /// # Errors
    /// As [`Tools::output`].
    fn run(&self, program: &str, args: &[&str]) -> Result<(), ToolError> {
        self.output(program, args).map(|_| ())
    }
}

/// The tools of this machine. None outlives the thread that started it.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Tools for System {
    fn output(&self, program: &str, args: &[&str]) -> Result<Vec<u8>, ToolError> {
        Tool::new(program).args(args).die_with_parent().output()
    }
}
