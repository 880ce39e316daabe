//! Process 1 of a dyno's container. It belongs to the container's root, so that the command, which runs as another
//! user, can neither signal nor trace it. What it is told and says: [`ruko_core::dyno`].
//!
//! It waits for a [`DynoStart`](ruko_core::dyno::DynoStart) on its stdin, runs the command, and ends with the
//! command's status when nothing of the dyno runs any more and everything that it wrote was passed on. SIGTERM,
//! SIGHUP and SIGINT go to all processes of the dyno. One thread, and in most dynos nothing to do but to sleep.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::unistd::getpid;
use ruko_core::dyno::DynoWord;
use ruko_core::{Exit, Fault, report};

mod command;
mod dyno;
mod pump;
mod signals;
mod start;
mod wait;

use dyno::Dyno;
use signals::Signals;

const PROGRAM: &str = "ruko-dyno";

/// How long the keeper may take to note how the dyno ended, before this ends all the same.
const NOTE_TIME: Duration = Duration::from_secs(5);

/// What a shell gives for a command that cannot be run.
const CANNOT_RUN: u8 = 126;

/// The program.
pub fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(fault) => report(PROGRAM, Err(fault)),
    }
}

fn run() -> Result<u8, Fault> {
    // It signals every process that it sees.
    if getpid().as_raw() != 1 {
        return Err(Fault {
            exit: Exit::Usage,
            ..Fault::refused("this is process 1 of a dyno's container only")
        });
    }
    ruko_sys::process::default_signals();
    let mut signals = Signals::block()?;
    say(DynoWord::Waiting);
    let status = match start::read(&mut signals) {
        Ok(start::Read::Start(start, rest)) => Dyno::run(start, rest, signals),
        Ok(start::Read::Signalled(signal)) => Ok(signals::status_of(signal)),
        Err(fault) => Err(fault),
    };
    let status = status.unwrap_or_else(|fault| {
        // To who reads what the command would have written: stderr is the keeper's.
        print(&format!("{PROGRAM}: {}\n", fault.message));
        CANNOT_RUN
    });
    end(status);
    Ok(status)
}

/// Nobody left to hear it is no error.
fn say(word: DynoWord) {
    let _ = nix::unistd::write(std::io::stderr(), format!("{word}\n").as_bytes());
}

fn print(text: &str) {
    let _ = nix::unistd::write(std::io::stdout(), text.as_bytes());
}

/// Says how it ended and waits until the reader of stderr has gone, so that the container is still there when its
/// keeper looks at what the kernel counted.
fn end(status: u8) {
    say(DynoWord::Ended(status));
    let until = Instant::now() + NOTE_TIME;
    // No events are asked for: only an error is waited for.
    let stderr = std::io::stderr();
    while Instant::now() < until {
        match wait::for_error(stderr.as_fd(), until) {
            Ok(false) => {}
            Ok(true) | Err(_) => break,
        }
    }
}
