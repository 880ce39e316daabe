//! `destroy`: as `stop`, and waits until nothing is left.

use std::io;
use std::time::Duration;

use ruko_core::names::ContainerName;
use ruko_core::{Exit, Fault};
use ruko_lxc::cgroup::Layout;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::{reap, stop};
use crate::settings::Settings;
use crate::state::{self, Reaped};

/// How long an owner may take to destroy its container before it is killed, and then to die.
const TIME: Duration = Duration::from_secs(10);

/// Stops a container and waits for its end; one without owner is destroyed like any other such.
pub(crate) fn destroy(settings: &Settings, name: &ContainerName) -> Result<Exit, Fault> {
    let layout = Layout::detect()?;
    let reaped = state::reap(settings, &layout, reap::TIME)?;
    if reaped.destroyed.contains(name) {
        return Ok(Exit::Ok);
    }
    failure(reaped, name)?;
    end(stop::owner(settings, name)?)?;
    let reaped = state::reap(settings, &layout, reap::TIME)?;
    let listed = state::all(settings)?.into_iter().any(|seen| seen.name == *name);
    judge(reaped, name, listed)
}

/// Lets the owner destroy its container, and kills it if it does not.
fn end(owner: Pid) -> io::Result<()> {
    let handle = match stop::handle(owner) {
        // It ended meanwhile, which is what is wanted.
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    for signal in [Signal::TERM, Signal::KILL] {
        let _ = pidfd_send_signal(&handle, signal);
        let time = Timespec::try_from(TIME).map_err(io::Error::other)?;
        if retry_on_intr(|| poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&time)))? > 0 {
            break;
        }
    }
    Ok(())
}

/// Whether nothing is left, after everything was tried.
fn judge(reaped: Reaped, name: &ContainerName, listed: bool) -> Result<Exit, Fault> {
    failure(reaped, name)?;
    if listed {
        let seconds = 2 * TIME.as_secs();
        return Err(Fault::try_again(format!(
            "`{name}` is still there: its owner did not end within {seconds} seconds"
        )));
    }
    Ok(Exit::Ok)
}

/// Why this one could not be destroyed; others are not what was asked for.
fn failure(reaped: Reaped, name: &ContainerName) -> Result<(), Fault> {
    reaped.failed.into_iter().find(|(failed, _)| failed == name).map_or(Ok(()), |(_, fault)| Err(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ContainerName {
        text.parse().unwrap()
    }

    fn failed(text: &str) -> Reaped {
        Reaped { failed: vec![(name(text), Fault::refused("it is busy"))], ..Reaped::default() }
    }

    #[test]
    fn what_is_still_there_was_not_destroyed() {
        let one = name("one");
        assert_eq!(judge(Reaped::default(), &one, false).unwrap(), Exit::Ok);
        assert!(judge(Reaped::default(), &one, true).unwrap_err().message.contains("`one` is still there"));
        assert_eq!(judge(failed("one"), &one, true).unwrap_err().message, "it is busy");
        assert_eq!(judge(failed("two"), &one, false).unwrap(), Exit::Ok);
    }
}
