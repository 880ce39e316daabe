//! The API of openruko: keys and access, pushes and their leases, releases, config vars.
//!
//! A component presents its token ([`auth`]), its call is found in one table ([`router`]) and answered by
//! a controller, which decides; all SQL stands in `store`. What was acknowledged is on disk.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use copy_database::CopyArgs;
use ruko_core::config::{Config, DEFAULT_PATH, PATH_VARIABLE};
use ruko_core::{Exit, Fault};

mod api;
pub mod auth;
mod certificate;
mod clock;
mod controllers;
mod copy_database;
pub mod database;
mod deploy_key;
mod dyno_size;
mod errors;
mod extract;
mod formation;
mod hostname;
mod judge;
mod log;
mod objects;
mod password;
mod places;
pub mod platform;
mod public_key;
mod release;
mod retention;
pub mod rights;
pub mod router;
mod routing;
mod running;
mod secret_file;
pub mod server;
pub mod settings;
mod sleep;
mod stacks;
mod store;
mod throttle;
mod token;
mod totp;
mod uploads;
mod webhooks;

pub use server::Server;
pub use settings::Settings;

const PROGRAM: &str = "openruko-api";

/// The API of openruko.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  openruko-api --config /etc/openruko/config.toml --check\n\n\
                  RUST_LOG=debug in the environment logs every request."
)]
struct Args {
    /// The configuration file [default: $OPENRUKO_CONFIG, else /etc/openruko/config.toml]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Read and judge the configuration, then end without doing anything
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    CopyDatabase(CopyArgs),
}

/// The program: reads its arguments and configuration, then serves until it is told to stop.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    ruko_cli::main(PROGRAM, args, |args| run(&args))
}

fn run(args: &Args) -> Result<Exit, Fault> {
    if let Some(Command::CopyDatabase(args)) = &args.command {
        return copy_database::run(args);
    }
    let config = Config::load(&config_path(args), ruko_cli::environment())?;
    let settings = Settings::try_from(config.api()?)?;
    if args.check {
        return Ok(Exit::Ok);
    }
    server::run(settings)
}

fn config_path(args: &Args) -> PathBuf {
    let named = args.config.clone().or_else(|| std::env::var_os(PATH_VARIABLE).map(PathBuf::from));
    named.unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Args as clap::CommandFactory>::command(), "8");
    }
}
