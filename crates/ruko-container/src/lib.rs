//! Runs unprivileged LXC containers for builds and dynos, as root, for a caller that is not trusted.
//!
//! `run` is what openruko-serve starts through one line of sudoers: it reads what is wanted from its
//! stdin, says on stdout where the container answers, lives as long as the container, and leaves nothing
//! behind, whatever it or the container dies of. The other commands are for admins.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use ruko_core::names::ContainerName;
use ruko_core::{Exit, Fault, config, report};

mod addresses;
mod commands;
mod disk;
mod events;
mod filter;
mod host;
mod host_key;
mod image;
mod layout;
mod machine;
mod settings;
mod slot;
mod slug;
mod spec;
mod stack;
mod state;
mod watchdog;
mod work;

const PROGRAM: &str = "ruko-container";

#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    about = "Run unprivileged LXC containers for builds and dynos",
    after_help = "Examples:
  ruko-container setup
  ruko-container start try --client-key /root/.ssh/id_ed25519.pub
  ruko-container list --json
  ruko-container exec try -- ls -l /app
  ruko-container stop try
  ruko-container destroy try
  ruko-container reap --json
  ruko-container run <spec.json
  ruko-container teardown"
)]
struct Cli {
    /// The configuration file; only root may be able to write it
    #[arg(long, global = true, value_name = "PATH", default_value = config::DEFAULT_PATH, value_parser = absolute)]
    config: PathBuf,
    /// Read the configuration, act on nothing
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one container: its specification is the first line of stdin, events are lines of stdout, and
    /// the end of stdin ends it
    #[command(after_help = "Example:\n  key=$(cut -d' ' -f1,2 /root/.ssh/id_ed25519.pub)\n  \
                      spec='{\"name\":\"try\",\"template\":\"openruko-build\",\"purpose\":{\"login\":{\"client_key\":\"'$key'\"}},\
                      \"limits\":{\"seconds\":60,\"memory_bytes\":268435456,\"pids\":64,\"disk_bytes\":268435456}}'\n  \
                      (echo \"$spec\"; sleep 60) | ruko-container run")]
    Run,
    /// Run one container in the background, until `stop` or its time limit
    #[command(after_help = "Example:\n  ruko-container start try --client-key /root/.ssh/id_ed25519.pub")]
    Start(commands::start::Args),
    /// Show the containers of this configuration
    #[command(
        after_help = "Example:\n  ruko-container list --json | jq -r '.[] | select(.state == \"running\") | .name'"
    )]
    List {
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Destroy what has no owner any more
    #[command(after_help = "Example:\n  ruko-container reap --json")]
    Reap {
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a container as its user
    #[command(after_help = "Example:\n  ruko-container exec push-01jd… -- ls -l /app")]
    Exec {
        /// The container
        name: ContainerName,
        /// The command with its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Stop a container; its owner destroys it
    #[command(after_help = "Example:\n  ruko-container stop push-01jd…")]
    Stop {
        /// The container
        name: ContainerName,
    },
    /// Stop a container and wait until nothing of it is left
    #[command(after_help = "Example:\n  ruko-container destroy push-01jd…")]
    Destroy {
        /// The container
        name: ContainerName,
    },
    /// Prepare this machine: id ranges, bridge, packet filter
    #[command(after_help = "It changes nothing that is as it should be.\n\nExample:\n  ruko-container setup")]
    Setup,
    /// Make, show and remove stack images: root file systems that builds and dynos have instead of this machine's /usr
    #[command(
        subcommand,
        after_help = "Example:\n  ruko-container stack build debian-13 --suite trixie\n  ruko-container stack list\n  \
                      ruko-container start try --stack debian-13 --client-key /root/.ssh/id_ed25519.pub"
    )]
    Stack(commands::stack::StackCommand),
    /// Remove bridge and packet filter again
    #[command(after_help = "Example:\n  ruko-container teardown")]
    Teardown,
}

/// The program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return ruko_cli::print(&with_tip(usage)),
    };
    report(PROGRAM, dispatch(cli))
}

/// Adds what is most often forgotten where a command is to be run in a container.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    if error.kind() == ErrorKind::UnknownArgument && usage.contains(" -- <COMMAND>") {
        let tip = StyledStr::from("write `--` before the command that is to be run in the container");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// A path as the caller means it: this program leaves the caller's directory before it opens anything.
fn absolute(path: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

fn dispatch(cli: Cli) -> Result<Exit, Fault> {
    let Some(command) = cli.command else {
        if cli.check {
            return settings::Settings::load(&cli.config).map(|_| Exit::Ok);
        }
        return Err(Fault::usage("no command was given").hint(format!("see `{PROGRAM} --help`")));
    };
    // For `run` the caller must learn from an event too that this is not root or badly configured.
    if matches!(command, Command::Run) && !cli.check {
        return commands::run::run(&cli.config);
    }
    ruko_sys::process::enter_as_root()?;
    let settings = settings::Settings::load(&cli.config)?;
    if cli.check {
        return Ok(Exit::Ok);
    }
    match command {
        Command::Run => commands::run::run(&cli.config),
        Command::Start(args) => commands::start::start(&settings, &cli.config, &args),
        Command::List { json } => commands::list::list(&settings, json),
        Command::Reap { json } => commands::reap::reap(&settings, json),
        Command::Exec { name, command } => commands::exec::exec(&settings, &name, &command),
        Command::Stop { name } => commands::stop::stop(&settings, &name),
        Command::Destroy { name } => commands::destroy::destroy(&settings, &name),
        Command::Setup => commands::setup::setup(&settings),
        Command::Stack(command) => commands::stack::stack(&settings, command),
        Command::Teardown => commands::teardown::teardown(&settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_forgets_the_dashes_before_a_command_is_told() {
        let error = |args: &[&str]| {
            let all = [&[PROGRAM], args].concat();
            with_tip(Cli::try_parse_from(all).unwrap_err()).to_string()
        };
        let tip = "tip: write `--` before the command";
        assert!(error(&["exec", "one", "ls"]).contains(tip), "{}", error(&["exec", "one", "ls"]));
        assert!(!error(&["stop", "one", "ls"]).contains(tip));
    }

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Cli as clap::CommandFactory>::command(), "8");
    }
}
