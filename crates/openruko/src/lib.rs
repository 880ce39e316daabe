//! The command that people name: `openruko up` runs the whole platform in the foreground, `openruko admin`
//! manages users, keys and apps, and everything else is what developers type: Heroku's commands, carried out
//! by the Heroku CLI where it is installed, natively where not.

mod admin;
mod commands;
mod doctor;
mod escaped;
mod up;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use commands::{Line, NATIVE_VARIABLE, SERVER_VARIABLE};
use ruko_core::config::{Config, DEFAULT_PATH, PATH_VARIABLE};
use ruko_core::{Exit, Fault, Hint};

/// A small Heroku on your own machines.
#[derive(Parser)]
#[command(
    name = "openruko",
    version,
    after_help = "Commands can be written as Heroku writes them (`config:set`) or as words (`config set`). Where the
Heroku CLI is installed, it carries out all but login, logout, servers, auth:token and
git:credentials, and has many commands more.

Examples:
  openruko login https://paas.example.com
  openruko create my-app
  sudo openruko up --state /srv/openruko
  sudo openruko --config /srv/openruko/config.toml doctor"
)]
struct Cli {
    /// The configuration file of `openruko admin` and `openruko doctor`.
    #[arg(long, env = PATH_VARIABLE, default_value = DEFAULT_PATH, hide_env_values = true)]
    config: PathBuf,
    /// The server, by name or address.
    #[arg(long, global = true, env = SERVER_VARIABLE, value_name = "NAME|URL", hide_env_values = true)]
    server: Option<String>,
    /// Do not use the Heroku CLI; OPENRUKO_NATIVE=1 says the same.
    #[arg(long, global = true)]
    native: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Admin(admin::AdminArgs),
    Doctor(doctor::DoctorArgs),
    Up(up::UpArgs),
    Teardown(up::TeardownArgs),
    #[command(flatten)]
    Developer(commands::Command),
    /// Print what a shell needs to complete this program's words
    #[command(after_help = "Examples:
  openruko completions bash > ~/.local/share/bash-completion/completions/openruko
  openruko completions zsh > ~/.zfunc/_openruko
  openruko completions fish > ~/.config/fish/completions/openruko.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// Runs the program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let line = Line::new(args.collect());
    match by_heroku(&line) {
        Some(Ok(status)) => return status,
        Some(Err(fault)) => return ruko_core::report("openruko", Err(fault)),
        None => {}
    }
    match Cli::try_parse_from(line.normalised()) {
        Ok(cli) => run(cli).unwrap_or_else(|fault| ruko_core::report("openruko", Err(fault))),
        Err(usage) => ruko_cli::print(&usage),
    }
}

/// Gives the words to the Heroku CLI, if they may be its and it is there. A failure where they can be
/// nobody else's.
fn by_heroku(line: &Line) -> Option<Result<ExitCode, Fault>> {
    if line.is_ours() {
        return None;
    }
    let heroku = line.for_heroku();
    let native = std::env::var(NATIVE_VARIABLE).is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    if !native && !heroku.native {
        let server = heroku.server.or_else(|| std::env::var(SERVER_VARIABLE).ok());
        if let Some(outcome) = commands::heroku(&heroku.words, server.as_deref()) {
            return Some(outcome);
        }
    }
    let grammar = Cli::command();
    match line.is_in(&grammar) {
        true => None,
        false => Some(Err(commands::needs_heroku(&line.named(&grammar)))),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Fault> {
    match cli.command {
        Command::Admin(args) => {
            let config = Config::load(&cli.config, std::env::vars())
                .fault("the admin's configuration cannot be used")
                .map_err(|fault| {
                    fault.hint("name it with --config or OPENRUKO_CONFIG; `openruko up` says where it is")
                })?;
            admin::run(args, &config).map(ExitCode::from)
        }
        Command::Doctor(args) => doctor::run(&args, &cli.config).map(ExitCode::from),
        Command::Up(args) => up::run(&args).map(ExitCode::from),
        Command::Teardown(args) => up::teardown(&args).map(ExitCode::from),
        Command::Developer(command) => commands::carry_out(command, cli.server),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "openruko", &mut io::stdout());
            Ok(Exit::Ok.into())
        }
        Command::Version => {
            let _ = io::Write::write_all(&mut io::stdout(), Cli::command().render_version().as_bytes());
            Ok(Exit::Ok.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep_page(<Cli as clap::CommandFactory>::command(), "1");
    }
}
