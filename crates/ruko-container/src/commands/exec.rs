//! `exec`: a command in a container, as its user, for admins.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use ruko_core::names::ContainerName;
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::Tool;

use crate::settings::Settings;
use crate::work;

/// The ids of the build user and of a dyno's user in the container.
const USER: &str = "1000";

/// Becomes the command; its exit status is ours.
pub(crate) fn exec(settings: &Settings, name: &ContainerName, command: &[OsString]) -> Result<Exit, Fault> {
    let dyno = super::stop::running(settings, name)?.image.is_some();
    let user = if dyno { "dyno" } else { "build" };
    let mut attach = Tool::new("lxc-attach")
        .arg("--lxcpath")
        .arg(work::lxc_path(&settings.bridge))
        .arg("--rcfile")
        .arg(settings.state_dir.join(name.as_str()).join("config"))
        .args(["--name", name.as_str(), "--clear-env", "--uid", USER, "--gid", USER])
        .args(["--set-var=HOME=/app", "--set-var=LC_ALL=C.UTF-8"])
        .arg(format!("--set-var=USER={user}"))
        .args(["--set-var=PATH=/usr/local/bin:/usr/bin:/bin", "--"])
        .args(command)
        .into_command();
    Err(attach.stdin(Stdio::inherit()).exec()).fault("cannot run `lxc-attach`")
}
