//! `destroy`: as `stop`, and waits until nothing is left.

use std::time::Duration;

use ruko_core::names::ContainerName;
use ruko_core::{Exit, Fault};
use ruko_lxc::cgroup::Layout;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::stop;
use crate::settings::Settings;
use crate::state;

/// How long an owner may take to destroy its container before it is killed.
const TIME: Duration = Duration::from_secs(10);

/// Stops a container and waits for its end; one without owner is destroyed like any other such.
pub(crate) fn destroy(settings: &Settings, name: &ContainerName) -> Result<Exit, Fault> {
    let layout = Layout::detect()?;
    if state::reap(settings, &layout)?.destroyed.contains(name) {
        return Ok(Exit::Ok);
    }
    let owner = stop::owner(settings, name)?;
    let handle = pidfd_open(owner, PidfdFlags::empty()).map_err(std::io::Error::from)?;
    for signal in [Signal::TERM, Signal::KILL] {
        // An owner that ended meanwhile is what is wanted.
        let _ = pidfd_send_signal(&handle, signal);
        let time = Timespec::try_from(TIME).map_err(std::io::Error::other)?;
        let ended = retry_on_intr(|| poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&time)));
        if ended.map_err(std::io::Error::from)? > 0 {
            break;
        }
    }
    state::reap(settings, &layout)?;
    Ok(Exit::Ok)
}
