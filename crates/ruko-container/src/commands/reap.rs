//! `reap`: destroys what has no owner any more.

use std::io::Write;

use ruko_core::{Exit, Fault};
use ruko_lxc::cgroup::Layout;

use crate::settings::Settings;
use crate::state;

/// Destroys and prints what was destroyed.
pub(crate) fn reap(settings: &Settings, json: bool) -> Result<Exit, Fault> {
    let state::Reaped { destroyed, failed } = state::reap(settings, &Layout::detect()?)?;
    let mut out = std::io::stdout().lock();
    if json {
        let _ = writeln!(out, "{}", serde_json::json!({ "destroyed": destroyed }));
    } else {
        for name in destroyed {
            let _ = writeln!(out, "{name}");
        }
    }
    match failed.into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok(Exit::Ok),
    }
}
