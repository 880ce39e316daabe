//! `stop`: ends a container through its owner.

use std::fs;
use std::os::fd::OwnedFd;

use ruko_core::names::ContainerName;
use ruko_core::{Exit, Fault};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::settings::Settings;
use crate::state::{self, Record};

/// Tells the owner to stop and destroy its container.
pub(crate) fn stop(settings: &Settings, name: &ContainerName) -> Result<Exit, Fault> {
    let handle = handle(owner(settings, name)?).map_err(std::io::Error::from)?;
    state::mark_ending(settings, name);
    pidfd_send_signal(&handle, Signal::TERM).map_err(std::io::Error::from)?;
    Ok(Exit::Ok)
}

/// The process that owns a running container, by its number, which is good as long as it holds its lock. A reaper takes
/// the same lock: see [`handle`].
pub(crate) fn owner(settings: &Settings, name: &ContainerName) -> Result<Pid, Fault> {
    let owner = running(settings, name)?.owner;
    Pid::from_raw(owner).ok_or_else(|| just_made(name))
}

/// A handle of an owner. The number of one that is gone may have come to a process of another program.
pub(crate) fn handle(owner: Pid) -> Result<OwnedFd, Errno> {
    let handle = pidfd_open(owner, PidfdFlags::empty())?;
    // Read after the handle was taken: if that process is the owner, it is so from now on.
    let name = |process: &str| fs::read(format!("/proc/{process}/comm")).ok();
    let theirs = name(&owner.as_raw_nonzero().to_string());
    if theirs.is_some() && theirs == name("self") { Ok(handle) } else { Err(Errno::SRCH) }
}

/// What is known of a running container.
pub(crate) fn running(settings: &Settings, name: &ContainerName) -> Result<Record, Fault> {
    let seen = state::all(settings)?.into_iter().find(|seen| seen.name == *name);
    let seen = seen.ok_or_else(|| Fault::refused(format!("there is no container named `{name}`")))?;
    if !seen.owned {
        return Err(Fault::refused(format!("the owner of `{name}` is gone"))
            .hint("`ruko-container reap` destroys what has no owner"));
    }
    seen.record.ok_or_else(|| just_made(name))
}

fn just_made(name: &ContainerName) -> Fault {
    Fault::try_again(format!("`{name}` is just being made"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_of_another_program_is_no_owner() {
        let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&other);
        assert_eq!(handle(pid).unwrap_err(), Errno::SRCH);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
