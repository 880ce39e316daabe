//! `teardown`: removes bridge and packet filter. Id ranges stay: files may be owned by them.

use std::fs;
use std::path::Path;

use ruko_core::{Exit, Fault};
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
    for family in ["inet", "bridge"] {
        // Declared first, so that a table that is not there is no error.
        System.run("nft", &[&format!("table {family} {bridge}; delete table {family} {bridge}")])?;
    }
    if host::mtu(bridge).is_some() {
        System.run("ip", &["link", "delete", bridge])?;
    }
    let _ = fs::remove_file(Path::new("/run/openruko").join(format!("{bridge}.nft")));
    Ok(Exit::Ok)
}
