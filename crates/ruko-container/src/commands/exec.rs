//! `exec`: a command in a container, as the build user, for admins.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use ruko_core::names::ContainerName;
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::Tool;

use crate::settings::Settings;
use crate::work;

/// The ids of the build user in the container.
const BUILD: &str = "1000";

/// Becomes the command; its exit status is ours.
pub(crate) fn exec(settings: &Settings, name: &ContainerName, command: &[OsString]) -> Result<Exit, Fault> {
    super::stop::owner(settings, name)?;
    let mut attach = Tool::new("lxc-attach")
        .arg("--lxcpath")
        .arg(work::lxc_path(&settings.bridge))
        .arg("--rcfile")
        .arg(settings.state_dir.join(name.as_str()).join("config"))
        .args(["--name", name.as_str(), "--clear-env", "--uid", BUILD, "--gid", BUILD])
        .args(["--set-var=HOME=/app", "--set-var=USER=build", "--set-var=LC_ALL=C.UTF-8"])
        .args(["--set-var=PATH=/usr/local/bin:/usr/bin:/bin", "--"])
        .args(command)
        .into_command();
    Err(attach.stdin(Stdio::inherit()).exec()).fault("cannot run `lxc-attach`")
}
