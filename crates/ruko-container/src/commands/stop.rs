//! `stop`: ends a container through its owner.

use ruko_core::names::ContainerName;
use ruko_core::{Exit, Fault};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::settings::Settings;
use crate::state::{self, Record};

/// Tells the owner to stop and destroy its container.
pub(crate) fn stop(settings: &Settings, name: &ContainerName) -> Result<Exit, Fault> {
    let owner = owner(settings, name)?;
    let handle = pidfd_open(owner, PidfdFlags::empty()).map_err(std::io::Error::from)?;
    state::mark_ending(settings, name);
    pidfd_send_signal(&handle, Signal::TERM).map_err(std::io::Error::from)?;
    Ok(Exit::Ok)
}

/// The process that owns a running container. Its number can be trusted while its lock is held.
pub(crate) fn owner(settings: &Settings, name: &ContainerName) -> Result<Pid, Fault> {
    let owner = running(settings, name)?.owner;
    Pid::from_raw(owner).ok_or_else(|| just_made(name))
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
