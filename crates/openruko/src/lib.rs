//! The command that people name: `openruko up` runs the whole platform in the foreground, `openruko admin`
//! manages users, keys and apps through the API.

mod admin;
mod up;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ruko_core::config::{Config, DEFAULT_PATH, PATH_VARIABLE};
use ruko_core::{Exit, Fault, Hint};

/// A small Heroku on your own machine.
#[derive(Parser)]
#[command(name = "openruko", version)]
struct Cli {
    /// The configuration file of `openruko admin`.
    #[arg(long, env = PATH_VARIABLE, default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Admin(admin::AdminArgs),
    Up(up::UpArgs),
    Teardown(up::TeardownArgs),
}

/// Runs the program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(cli) => ruko_core::report("openruko", run(cli)),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Ok })
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Fault> {
    match cli.command {
        Command::Admin(args) => {
            let config = Config::load(&cli.config, std::env::vars())
                .fault("the admin's configuration cannot be used")
                .map_err(|fault| {
                    fault.hint("name it with --config or OPENRUKO_CONFIG; `openruko up` says where it is")
                })?;
            admin::run(args, &config)
        }
        Command::Up(args) => up::run(&args),
        Command::Teardown(args) => up::teardown(&args),
    }
}
