//! How a program begins: its command line, and for a service its configuration.
//!
//! Apart from `ruko-core`, so that what runs inside a dyno reads no command lines.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use ruko_core::config::{Config, ConfigError, DEFAULT_PATH, PATH_VARIABLE};
use ruko_core::{Exit, Fault, report};

/// Reads a command line, carries it out, and says how that ended: as [`print`] where it is none, else as [`report`].
pub fn main<C: Parser>(
    program: &str,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(C) -> Result<Exit, Fault>,
) -> ExitCode {
    match C::try_parse_from(args) {
        Ok(cli) => report(program, run(cli)),
        Err(usage) => print(&usage),
    }
}

/// Prints help on stdout, status 0, or what is wrong with a command line on stderr, status 2. A peer that is gone needs
/// neither.
pub fn print(usage: &clap::Error) -> ExitCode {
    let _ = usage.print();
    if usage.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() }
}

/// The options of every service.
#[derive(Args, Clone, Debug)]
pub struct ServiceArgs {
    /// The configuration file
    #[arg(long, global = true, value_name = "PATH", env = PATH_VARIABLE, default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// Read and judge the configuration, then end without doing anything
    #[arg(long)]
    pub check: bool,
}

impl ServiceArgs {
    /// The configuration, with the environment laid over it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.config, environment())
    }
}

/// The environment as far as it is text; a variable of ours is never anything else.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
