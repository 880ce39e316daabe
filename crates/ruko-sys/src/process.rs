//! Processes: start-up hygiene, and a parent's death passed on.

use std::ffi::CString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, User, initgroups, setgid, setgroups, setuid};

/// The first act of a program that runs as root: narrow umask, a working directory that is nobody's.
///
/// # Errors
/// It does not run as root.
pub fn enter_as_root() -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    std::env::set_current_dir("/")?;
    if Uid::effective().is_root() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "this must run as root"))
    }
}

/// Makes this process, which is root's, one of another user for good: with that user's groups, or with `gid` alone where
/// there is no user of this id.
///
/// # Errors
/// It is not root's, or there is no such group.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let uid = Uid::from_raw(uid);
    match User::from_uid(uid)? {
        Some(user) => {
            initgroups(&CString::new(user.name)?, user.gid)?;
            setgid(user.gid)?;
        }
        None => {
            setgroups(&[])?;
            setgid(Gid::from_raw(gid))?;
        }
    }
    Ok(setuid(uid)?)
}

/// What became of the children of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// One has ended, with its process id; it is no zombie any more.
    Ended(i32, ExitStatus),
    /// All of them still run.
    None,
    /// There are none.
    Childless,
}

/// Takes notice of a child that has ended, whichever it is, without waiting. Unlike nix's `waitpid` it knows what a
/// real-time signal ended.
///
/// # Errors
/// None in practice: waitpid(2) has no other than those that are answers here.
pub fn reap() -> io::Result<Reaped> {
    let mut status = 0;
    // SAFETY: the kernel writes one int to the address.
    #[expect(unsafe_code, reason = "the safe wrapper fails after the child is gone, for some signals")]
    let child = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match Errno::result(child) {
        Ok(0) => Ok(Reaped::None),
        Ok(child) => Ok(Reaped::Ended(child, ExitStatus::from_raw(status))),
        Err(Errno::ECHILD) => Ok(Reaped::Childless),
        Err(errno) => Err(errno.into()),
    }
}

/// The id of a user of this machine, if there is one of this name.
pub fn user(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// Gives this process a mount namespace of its own. What it mounts afterwards is seen by its children
/// only, and is gone when the last of them is gone, whatever they died of.
///
/// # Errors
/// The kernel refuses (not root).
pub fn own_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Mounts and unmounts of the host still reach us; ours do not reach the host.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

/// Lets every signal do what it does by default, in this process and those that it starts: whoever started this one may
/// have had some ignored, and that is inherited. All but SIGPIPE, which Rust ignores here and not in its children.
pub fn default_signals() {
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| *signal != libc::SIGPIPE) {
        // SAFETY: the default action is no function of ours.
        #[expect(unsafe_code, reason = "setting a handler could be unsound, setting none is not")]
        unsafe {
            // Refused for those that cannot be set, and for the two that belong to the C library.
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Extensions of [`Command`] that need code between fork and exec.
pub trait CommandSys {
    /// The child is sent SIGKILL when the thread that started it ends. Start it from a thread that lives
    /// as long as it should.
    fn die_with_parent(&mut self) -> &mut Self;

    /// The child starts with no signal blocked, in a session of its own.
    fn own_session(&mut self) -> &mut Self;

    /// The child starts with no signal blocked, in a session of its own, whose terminal is its stdout.
    fn own_terminal(&mut self) -> &mut Self;
}

impl CommandSys for Command {
    fn die_with_parent(&mut self) -> &mut Self {
        let parent = nix::unistd::getpid();
        let tie = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above: then nobody would send the signal.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::Error::other("orphaned")) }
        };
        // SAFETY: between fork and exec only prctl and getppid are called, both async-signal-safe; the
        // closure allocates nothing unless it fails.
        #[expect(unsafe_code, reason = "pre_exec is the only place for this between fork and exec")]
        unsafe {
            self.pre_exec(tie)
        }
    }

    fn own_session(&mut self) -> &mut Self {
        let detach = || {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            nix::unistd::setsid()?;
            Ok(())
        };
        // SAFETY: sigprocmask and setsid are async-signal-safe; nothing is allocated.
        #[expect(unsafe_code, reason = "pre_exec is the only place for this between fork and exec")]
        unsafe {
            self.pre_exec(detach)
        }
    }
    fn own_terminal(&mut self) -> &mut Self {
        let take = || {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            nix::unistd::setsid()?;
            // SAFETY: stdout is open, the argument is a number, and the call is async-signal-safe.
            #[expect(unsafe_code, reason = "no safe wrapper of this ioctl exists")]
            let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCSCTTY, 0) };
            Errno::result(result)?;
            Ok(())
        };
        // SAFETY: sigprocmask, setsid and ioctl are async-signal-safe; nothing is allocated.
        #[expect(unsafe_code, reason = "pre_exec is the only place for this between fork and exec")]
        unsafe {
            self.pre_exec(take)
        }
    }
}
