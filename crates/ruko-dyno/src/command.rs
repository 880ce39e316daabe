//! The command as a process.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use ruko_core::dyno::DynoStart;
use ruko_core::{Fault, Hint};
use ruko_sys::process::CommandSys;

/// The ids of the dyno's user.
pub(crate) const USER: u32 = 1000;

const SHELL: &str = "/bin/bash";

/// Sources what is to be sourced, then runs its first argument.
const SCRIPT: &str = include_str!("run.sh");

/// Where the kernel is told whom to kill first when memory runs out.
const OOM_ADJUST: &str = "/proc/self/oom_score_adj";

/// The files of the command.
pub(crate) struct Files {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
    /// Whether stdout is a terminal that is to be the command's own.
    pub(crate) terminal: bool,
}

impl Files {
    /// Without a terminal: what is written goes where ours goes.
    pub(crate) fn plain(stdin: Option<OwnedFd>) -> io::Result<Self> {
        let stdout = || io::stdout().as_fd().try_clone_to_owned();
        Ok(Self {
            stdin: stdin.map_or_else(Stdio::null, Stdio::from),
            stdout: stdout()?.into(),
            stderr: stdout()?.into(),
            terminal: false,
        })
    }
}

/// Starts it, and gives its process id.
pub(crate) fn spawn(start: &DynoStart, files: Files) -> Result<i32, Fault> {
    let mut command = Command::new(SHELL);
    command.args(["--norc", "--noprofile", "-c", SCRIPT, "bash"]).arg(&start.command);
    command.env_clear().envs(&start.env).current_dir("/app");
    command.stdin(files.stdin).stdout(files.stdout).stderr(files.stderr);
    command.uid(USER).gid(USER);
    if files.terminal {
        command.own_terminal();
    } else {
        command.own_session();
    }
    // Of the dyno's processes, not of this one; and of dynos before what keeps the machine running. Where that cannot
    // be said the kernel goes by size, which leads to the same.
    let _ = fs::write(OOM_ADJUST, "300");
    let child = command.spawn();
    let _ = fs::write(OOM_ADJUST, "0");
    // The status of its end is read with that of all others.
    let child = child.fault("cannot run bash")?;
    i32::try_from(child.id()).fault("bash has no process id")
}
