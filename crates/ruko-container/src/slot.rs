//! Slots: one pool for the whole machine, however many installations it has, so that no two containers
//! ever share ids, control groups or, within an installation, an address.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ruko_core::{Fault, Hint};
use ruko_lxc::cgroup::Layout;
use ruko_lxc::{IdRange, System, Tools, idrange, net};
use ruko_sys::{AtPath, Lock};

use crate::settings::Settings;

/// Where the locks of all slots of the machine are.
const POOL: &str = "/run/openruko/slots";

/// How long the remains of a container may take to go away.
pub(crate) const CLEAR_TIME: Duration = Duration::from_secs(5);

/// A slot that this process holds.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) ids: IdRange,
    pub(crate) address: Ipv4Addr,
    _lock: Lock,
}

impl Slot {
    /// Takes the slot that has been free longest and makes sure that nothing of its last container is left: whoever
    /// still takes its address for that of the last one, such as a router that hears nothing, has time to learn better.
    /// What is left in one slot is waited for only where no other is free.
    pub(crate) fn take(settings: &Settings, layout: &Layout) -> Result<Self, Fault> {
        let range = id_range(settings.slots)?;
        make_pool()?;
        let mut stuck = None;
        let slots = longest_free_first((0..settings.slots).map(|index| (last_used(index), index)).collect());
        let tries = [Duration::ZERO, CLEAR_TIME].into_iter();
        for (time, index) in tries.flat_map(|time| slots.iter().map(move |&index| (time, index))) {
            let Some(lock) = lock(index)? else { continue };
            let ids = range.of_slot(index);
            let address = net::address(settings.subnet, index);
            let (Some(ids), Some(address)) = (ids, address) else { continue };
            match clear(index, settings, layout, time) {
                Ok(()) => {
                    note_use(index);
                    return Ok(Self { index, ids, address, _lock: lock });
                }
                Err(fault) => stuck = Some(fault),
            }
        }
        Err(stuck.unwrap_or_else(|| {
            Fault::try_again(format!(
                "all {} container slots are in use; they are shared by all installations on this machine",
                settings.slots
            ))
            .hint("wait for a build to end, or raise `slots` of [container]")
        }))
    }

    /// The group of the container itself.
    pub(crate) fn payload_group(&self) -> String {
        payload_group(self.index)
    }

    /// The group of the process that watches the container.
    pub(crate) fn monitor_group(&self) -> String {
        monitor_group(self.index)
    }

    /// Kills and removes whatever is left of a container in this slot.
    pub(crate) fn clear(&self, settings: &Settings, layout: &Layout) -> Result<(), Fault> {
        clear(self.index, settings, layout, CLEAR_TIME)?;
        let_go(self.index, self.address);
        Ok(())
    }
}

/// What outlives the container beside its group and port: connections that the kernel remembers for days, by an address
/// that others will have.
fn let_go(index: u32, address: Ipv4Addr) {
    // There may be none, and the tool may be missing: neither is worth a container.
    let _ = System.output("conntrack", &["-D", "-s", &address.to_string()]);
    note_use(index);
}

/// When a slot was last taken or let go, as far as that is known.
fn last_used(index: u32) -> Option<SystemTime> {
    fs::metadata(place(index)).and_then(|meta| meta.modified()).ok()
}

fn note_use(index: u32) {
    let noted = File::options().write(true).open(place(index));
    let _ = noted.and_then(|file| file.set_modified(SystemTime::now()));
}

fn longest_free_first(mut slots: Vec<(Option<SystemTime>, u32)>) -> Vec<u32> {
    slots.sort_unstable();
    slots.into_iter().map(|(_, index)| index).collect()
}

fn payload_group(index: u32) -> String {
    format!("openruko.payload.{index:03}")
}

fn monitor_group(index: u32) -> String {
    format!("openruko.monitor.{index:03}")
}

/// Clears a slot that nobody holds. A slot that is held was cleared by its holder.
pub(crate) fn clear_if_free(
    index: u32,
    settings: &Settings,
    layout: &Layout,
    time: Duration,
) -> Result<(), Fault> {
    make_pool()?;
    match lock(index)? {
        Some(_lock) => {
            clear(index, settings, layout, time)?;
            net::address(settings.subnet, index).into_iter().for_each(|address| let_go(index, address));
            Ok(())
        }
        None => Ok(()),
    }
}

fn clear(index: u32, settings: &Settings, layout: &Layout, time: Duration) -> Result<(), Fault> {
    let until = Instant::now() + time;
    // The watcher first: with it goes its container, as its signal of parent's death says.
    for group in [monitor_group(index), payload_group(index)] {
        let left = until.saturating_duration_since(Instant::now());
        layout.clear(&group, left).try_again(format!("cannot clear control group `{group}`"))?;
    }
    let port = settings.bridge.port(index);
    if Path::new("/sys/class/net").join(&port).exists() {
        // It may vanish by itself at the same moment, with the container's network namespace.
        let removed = System.run("ip", &["link", "delete", &port]);
        if Path::new("/sys/class/net").join(&port).exists() {
            removed?;
        }
    }
    Ok(())
}

fn make_pool() -> Result<(), Fault> {
    fs::create_dir_all(POOL).at("create", Path::new(POOL))?;
    Ok(())
}

fn lock(index: u32) -> Result<Option<Lock>, Fault> {
    Ok(Lock::try_take(&place(index))?)
}

fn place(index: u32) -> PathBuf {
    Path::new(POOL).join(format!("{index:03}"))
}

/// The range of ids for so many containers.
pub(crate) fn id_range(slots: u32) -> Result<IdRange, Fault> {
    let read = |path: &str| fs::read_to_string(path).map(|text| idrange::of_root(&text)).unwrap_or_default();
    idrange::shared(&read("/etc/subuid"), &read("/etc/subgid"), slots).ok_or_else(|| {
        let wanted = u64::from(slots) * u64::from(idrange::PER_CONTAINER);
        Fault::refused(format!("root has no range of {wanted} ids in both /etc/subuid and /etc/subgid"))
            .hint("`ruko-container setup` adds one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_rests_as_long_as_there_are_others() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let order = longest_free_first(vec![(at(9), 0), (None, 1), (at(3), 2), (None, 3)]);
        assert_eq!(order, [1, 3, 2, 0]);
    }
}
