//! The dyno agent of a node: it learns from the API what should run here, and runs it.
//!
//! Three programs in one. The *agent* ([`agent`]) is one process that decides ([`plan`]) and talks; it may be killed at
//! any moment, and the next one adopts what runs. Every dyno has a *supervisor* ([`dyno`]), a small process of its own
//! that owns its container. A slug becomes an *image* ([`image`]) in a process that can do nothing else.
//!
//! All run unprivileged. What is root's is in ruko-container, which reads nothing that a tenant wrote.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ruko_cli::ServiceArgs;
use ruko_core::{Exit, Fault};

mod agent;
mod clock;
pub mod dyno;
mod environment;
mod image;
mod plan;
mod rendezvous;
mod settings;
mod words;

const PROGRAM: &str = "openruko-host";

/// The dyno agent of a node.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    after_help = "Example:\n  openruko-host --config /etc/openruko/config.toml --check\n\n\
                  It runs as the user that may start containers. To end it ends no dyno;\n\
                  `openruko-host stop` does."
)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Supervise the dyno of a directory below `state_dir`; the agent starts this
    Dyno {
        /// The directory
        dir: PathBuf,
        /// The socket to listen on is stdin, and stdout holds the lock
        #[arg(long, hide = true)]
        handed_over: bool,
    },
    /// Make the image of a slug, whose tar.gz is read from stdin; the agent starts this
    Image {
        /// The image
        image: PathBuf,
    },
    /// Stop all dynos of this node and wait for their end
    Stop,
}

/// The program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    ruko_cli::main(PROGRAM, args, dispatch)
}

fn dispatch(cli: Cli) -> Result<Exit, Fault> {
    match cli.command {
        Some(Command::Dyno { dir, handed_over }) => return dyno::run(&dir, handed_over),
        Some(Command::Image { image }) => return image::make(&image),
        Some(Command::Stop) | None => {}
    }
    let config = cli.service.load()?;
    let settings = settings::Settings::read(&config)?;
    if matches!(cli.command, Some(Command::Stop)) {
        return agent::stop_all(&settings);
    }
    let api = settings::api(&config)?;
    if cli.service.check {
        return Ok(Exit::Ok);
    }
    agent::run(settings, api)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Cli as clap::CommandFactory>::command(), "8");
    }
}
