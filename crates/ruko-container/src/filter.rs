//! The packet filter of the bridge. Without it containers would reach the host and each other.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ruko_core::{Fault, Hint};
use ruko_lxc::net::Filter;
use ruko_lxc::{System, Tools, netfilter};
use ruko_sys::{AtPath, Lock, replace};

use crate::settings::Settings;
use crate::{PROGRAM, host};

/// The users that openruko's services run as: those who have business in containers, besides root.
const CALLERS: [&str; 2] = ["git", "openruko"];

/// Held by whoever changes bridge or filter.
pub(crate) fn lock() -> Result<Lock, Fault> {
    Ok(Lock::take(&lock_file()?)?)
}

fn lock_file() -> Result<PathBuf, Fault> {
    let run = Path::new("/run/openruko");
    fs::create_dir_all(run).at("create", run)?;
    Ok(run.join("setup.lock"))
}

/// Loads the filter where it is gone: `nft flush ruleset`, with which the usual nftables.conf begins, takes it along.
pub(crate) fn ensure(settings: &Settings) -> Result<(), Fault> {
    if is_there(settings)? { Ok(()) } else { load_again(settings, lock()?) }
}

/// The same, without waiting for somebody who is at it just now. Says whether the filter is there.
pub(crate) fn look_after(settings: &Settings) -> Result<bool, Fault> {
    if is_there(settings)? {
        return Ok(true);
    }
    let Some(lock) = Lock::try_take(&lock_file()?)? else { return Ok(false) };
    load_again(settings, lock)?;
    Ok(true)
}

fn is_there(settings: &Settings) -> Result<bool, Fault> {
    netfilter::is_there(settings.bridge.as_str()).fault("cannot ask the kernel for its packet filter")
}

/// Unless somebody did while the lock was waited for.
fn load_again(settings: &Settings, _lock: Lock) -> Result<(), Fault> {
    if is_there(settings)? {
        return Ok(());
    }
    load(settings, &System)?;
    let mut err = std::io::stderr().lock();
    let _ = writeln!(
        err,
        "{PROGRAM}: somebody had removed the packet filter of `{}`; it is loaded again (`nft flush ruleset` takes it \
         along)",
        settings.bridge.as_str()
    );
    Ok(())
}

/// Loads the filter, in place of what there is of it.
pub(crate) fn load(settings: &Settings, tools: &dyn Tools) -> Result<(), Fault> {
    let (path, nameservers) = host::resolv_conf();
    if nameservers.iter().all(Ipv4Addr::is_loopback) {
        let mut err = std::io::stderr().lock();
        let _ = writeln!(
            err,
            "{PROGRAM}: containers will resolve no names: `{}` has no IPv4 name server that they can reach",
            path.display()
        );
    }
    let callers: Vec<u32> = CALLERS.iter().filter_map(|name| ruko_sys::process::user(name)).collect();
    let filter = Filter {
        bridge: &settings.bridge,
        subnet: settings.subnet,
        allow: &settings.allow,
        nameservers: &nameservers,
        slots: settings.slots,
        connections: settings.connections,
        callers: &callers,
    };
    let path = host::ruleset(settings.bridge.as_str());
    replace(&path, 0o644, filter.ruleset().as_bytes())?;
    tools.run("nft", &["-f", &path.to_string_lossy()])?;
    Ok(())
}
