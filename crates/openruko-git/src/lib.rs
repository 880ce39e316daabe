//! The door for git over HTTP (gitprotocol-http(5)), the second beside sshd.
//!
//! A request is read ([`wanted`]), its token is asked about at the internal API, and then openruko-serve is
//! started for that user as sshd would start it, with stdin and stdout carrying git's service: the same
//! authorization, hooks, refusals and limits on both ways. What openruko-serve says on its stderr is put
//! where git's client shows it ([`advertisement`], [`rpc`]).
//!
//! This program runs as the user of openruko-serve and parses what strangers send, so it does little:
//! it reads packet lengths, unpacks gzip within bounds, and knows nothing of repositories.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use ruko_cli::ServiceArgs;
use ruko_core::{Exit, Fault};

mod advertisement;
mod answer;
mod body;
mod credentials;
mod front;
mod packets;
mod prelude;
mod rpc;
mod serve;
mod server;
mod settings;
mod wanted;

pub use server::Server;
pub use settings::Settings;

const PROGRAM: &str = "openruko-git";

/// git over HTTP for openruko.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    after_help = "Example:\n  openruko-git --config /etc/openruko/config.toml --check\n\n\
                  RUST_LOG=debug in the environment logs every request; without it, those that\n\
                  started git."
)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
}

/// The program: reads its arguments and configuration, then serves until it is told to stop.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    ruko_cli::main(PROGRAM, args, run)
}

fn run(args: Args) -> Result<Exit, Fault> {
    let config = args.service.load()?;
    let settings = Settings::read(&config, args.service.config)?;
    if args.service.check {
        return Ok(Exit::Ok);
    }
    server::run(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Args as clap::CommandFactory>::command(), "8");
    }
}
