//! The reverse proxy in front of web dynos.
//!
//! A connection comes in at a [`door`]; the head of a request is judged ([`head`]) before anybody else reads it; an
//! [`exchange`] looks the app up in the [`table`], has the [`router`] choose a dyno, waking the app if it sleeps, and
//! the [`pump`] passes request and answer on. Every request leaves a [`line`] in the [`log`] of its app.
//!
//! HTTP itself is [Pingora](https://docs.rs/pingora-core)'s: its sessions read and write HTTP/1 and HTTP/2. What is
//! between two sessions is this program's own, since it has to know why something failed in Heroku's terms ([`code`]),
//! has two kinds of time limits, holds requests, and must read one direction while it writes the other.
//!
//! The table follows the API ([`follow`]). While the API is down, the router goes on with the last one, also over a
//! restart.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use ruko_cli::ServiceArgs;
use ruko_core::{Exit, Fault};

mod app;
mod clock;
mod code;
mod digits;
mod door;
mod dyno;
mod exchange;
mod fields;
mod follow;
mod head;
mod id;
mod line;
mod log;
mod metrics;
mod page;
mod pump;
mod router;
mod server;
mod settings;
mod sockets;
mod table;
mod tls;
mod websocket;
mod wire;

pub use settings::Settings;

/// Most of what a request costs beside system calls is memory that is taken and given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: &str = "openruko-router";

/// The reverse proxy in front of openruko's web dynos.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    after_help = "Example:\n  openruko-router --config /etc/openruko/config.toml --check\n\n\
                  SIGHUP reads certificates again (they are also read when their files change). SIGTERM ends the\n\
                  router when open requests have ended, after shutdown_seconds at the latest.\n\n\
                  An upgrade that refuses no connection: start the new router with --upgrade, as the same user and\n\
                  with the same state_file. It takes the listening sockets from the old one, which then ends by\n\
                  itself. Or let systemd hold the sockets (FileDescriptorName= http, https, metrics) and restart."
)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// Take the listening sockets over from the router that runs now, which then ends when its open requests have
    /// ended; no connection is refused in between
    #[arg(long)]
    upgrade: bool,
}

/// The program: reads its arguments and configuration, then serves until it is told to stop.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    ruko_cli::main(PROGRAM, args, run)
}

fn run(args: Args) -> Result<Exit, Fault> {
    let config = args.service.load()?;
    let settings = Settings::read(&config)?;
    if args.service.check {
        return Ok(Exit::Ok);
    }
    server::run(settings, args.upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Args as clap::CommandFactory>::command(), "8");
    }
}
