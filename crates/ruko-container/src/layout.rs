//! The LXC configuration of a container, without what its template adds.

use std::path::Path;

use ruko_core::Fault;
use ruko_core::names::ContainerName;
use ruko_lxc::cgroup::{Layout, Limits};
use ruko_lxc::{BadValue, Config, net};
use rustix::process::{Resource, getrlimit};

use crate::settings::Settings;
use crate::slot::Slot;

/// The file of system calls that containers are refused, beside the templates.
pub(crate) const SECCOMP: &str = "openruko.seccomp";

/// What sshd needs to bind its port, to separate its privileges and to become the build user. They reach
/// no further than the container's own ids.
const LOGIN_CAPABILITIES: &str = "kill net_bind_service setgid setuid sys_chroot";

/// What ruko-dyno needs to become the dyno's user and to signal its processes.
const DYNO_CAPABILITIES: &str = "kill setgid setuid";

/// Where things are that the configuration names.
pub(crate) struct Places<'a> {
    /// The root file system.
    pub(crate) rootfs: &'a Path,
    /// Whether its files have the container's ids already. Otherwise LXC maps them.
    pub(crate) mapped: bool,
    /// The profile of refused system calls.
    pub(crate) seccomp: &'a Path,
    /// The largest packet of the bridge.
    pub(crate) mtu: u32,
}

/// What a container is, as far as its isolation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// sshd is its process 1.
    Login,
    /// ruko-dyno is.
    Dyno,
}

/// The configuration. Limits for which the machine has no means are an error unless they are allowed to
/// be missing.
pub(crate) fn config(
    (name, kind): (&ContainerName, Kind),
    settings: &Settings,
    slot: &Slot,
    places: &Places<'_>,
    layout: &Layout,
    limits: &Limits,
) -> Result<Config, Fault> {
    let (keys, missing) = layout.keys(limits);
    if let Some(missing) = missing.first().filter(|_| !settings.allow_missing_limits) {
        return Err(limit_fault(&missing.to_string()));
    }
    let mut config = Config::default();
    isolation(&mut config, name, slot, places)?;
    privileges(&mut config, kind, limits)?;
    network(&mut config, settings, slot, places.mtu)?;
    for (key, value) in keys {
        config.set(&key, value)?;
    }
    Ok(config)
}

/// A limit that is not in force, with what to do.
pub(crate) fn limit_fault(what: &str) -> Fault {
    Fault::refused(what).hint("`allow_missing_limits` of [container] starts containers all the same")
}

fn isolation(
    config: &mut Config,
    name: &ContainerName,
    slot: &Slot,
    places: &Places<'_>,
) -> Result<(), BadValue> {
    config
        .set("lxc.uts.name", name.as_str())?
        .set("lxc.rootfs.path", format!("dir:{}", places.rootfs.display()))?;
    if !places.mapped {
        // On disk the container's files have its own ids, so a template need not know the range.
        config.set("lxc.rootfs.options", "idmap=container")?;
    }
    config
        .id_map(slot.ids)?
        .set("lxc.no_new_privs", "1")?
        .set("lxc.seccomp.profile", places.seccomp.to_string_lossy())?
        .set("lxc.prlimit.core", "0")?
        .set("lxc.prlimit.nofile", open_files().to_string())?
        // sshd's log is on its stderr, which is ours.
        .set("lxc.console.path", "none")?
        .set("lxc.monitor.signal.pdeath", "SIGKILL")?
        .set("lxc.cgroup.dir.monitor", slot.monitor_group())?
        .set("lxc.cgroup.dir.container", slot.payload_group())?;
    Ok(())
}

fn privileges(config: &mut Config, kind: Kind, limits: &Limits) -> Result<(), BadValue> {
    match kind {
        Kind::Login => config.set("lxc.cap.keep", LOGIN_CAPABILITIES)?,
        // Some buildpacks size what they start by this limit, and know those of Heroku's dynos by their number.
        Kind::Dyno => config
            .set("lxc.cap.keep", DYNO_CAPABILITIES)?
            .set("lxc.prlimit.nproc", limits.pids.to_string())?,
    };
    Ok(())
}

/// How many files a process in a container may have open: plenty for any build, few enough for programs
/// that close every number there could be; and no more than this process may hand on.
fn open_files() -> u64 {
    const PLENTY: u64 = 65536;
    getrlimit(Resource::Nofile).maximum.map_or(PLENTY, |own| own.min(PLENTY))
}

fn network(config: &mut Config, settings: &Settings, slot: &Slot, mtu: u32) -> Result<(), BadValue> {
    let address = format!("{}/{}", slot.address, settings.subnet.prefix);
    config
        .set("lxc.net.0.type", "veth")?
        .set("lxc.net.0.link", settings.bridge.as_str())?
        .set("lxc.net.0.flags", "up")?
        .set("lxc.net.0.name", "eth0")?
        .set("lxc.net.0.mtu", mtu.to_string())?
        .set("lxc.net.0.hwaddr", net::mac(slot.address))?
        .set("lxc.net.0.veth.pair", settings.bridge.port(slot.index))?
        .set("lxc.net.0.ipv4.address", address)?
        .set("lxc.net.0.ipv4.gateway", settings.gateway.to_string())?;
    Ok(())
}
