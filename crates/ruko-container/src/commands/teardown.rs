//! `teardown`: removes bridge and packet filter. Id ranges stay: files may be owned by them.

use std::fs;

use ruko_core::{Exit, Fault};
use ruko_lxc::net::{self, Bridge};
use ruko_lxc::{System, Tools};

use crate::host;
use crate::settings::Settings;
use crate::state;

/// Removes what `setup` made.
pub(crate) fn teardown(settings: &Settings) -> Result<Exit, Fault> {
    let running = state::all(settings)?.into_iter().filter(|seen| seen.owned).count();
    if running > 0 {
        return Err(Fault::refused(format!(
            "{running} containers are running on `{}`",
            settings.bridge.as_str()
        ))
        .hint("`ruko-container list` shows them, `ruko-container destroy NAME` ends one"));
    }
    let bridge = settings.bridge.as_str();
    remove_filter(bridge)?;
    if host::mtu(bridge).is_some() {
        System.run("ip", &["link", "delete", bridge])?;
    }
    for old in renamed(settings) {
        remove_filter(old.as_str())?;
    }
    Ok(Exit::Ok)
}

/// Bridges that are gone but whose packet filter for the same subnet is still there: they were renamed in
/// the configuration.
fn renamed(settings: &Settings) -> Vec<Bridge> {
    let files = fs::read_dir("/run/openruko").into_iter().flatten().flatten();
    let bridges = files
        .filter_map(|file| file.file_name().to_str()?.strip_suffix(".nft")?.parse::<Bridge>().ok())
        .filter(|bridge| host::mtu(bridge.as_str()).is_none());
    let of_this_subnet = |bridge: &Bridge| {
        fs::read_to_string(host::ruleset(bridge.as_str()))
            .is_ok_and(|ruleset| net::is_of_subnet(&ruleset, settings.subnet))
    };
    bridges.filter(of_this_subnet).collect()
}

fn remove_filter(bridge: &str) -> Result<(), Fault> {
    for family in ["inet", "bridge"] {
        // Declared first, so that a table that is not there is no error.
        System.run("nft", &[&format!("table {family} {bridge}; delete table {family} {bridge}")])?;
    }
    let _ = fs::remove_file(host::ruleset(bridge));
    Ok(())
}
