//! Signals, read like a file.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// Those that are passed on to all processes of the dyno.
const PASSED_ON: [Signal; 3] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT];

/// The signals that this process is sent.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A process has ended.
    Child,
    /// One to be passed on.
    PassOn(Signal),
}

impl Signals {
    /// From now on they come here. One that was sent to a process 1 before would be lost.
    pub(crate) fn block() -> Result<Self, std::io::Error> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        PASSED_ON.into_iter().for_each(|signal| set.add(signal));
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next one, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Came>, Errno> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
        Ok(signal.map(|signal| if signal == Signal::SIGCHLD { Came::Child } else { Came::PassOn(signal) }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a signal to every process of the dyno. That there is none is no error.
pub(crate) fn to_all(signal: Signal) {
    // `kill(2)`: -1 is every process but process 1 that is in its namespace.
    let _ = kill(Pid::from_raw(-1), signal);
}

/// The exit status that a shell gives for a process that a signal ended.
pub(crate) fn status_of(signal: Signal) -> u8 {
    u8::try_from(signal as i32).map_or(u8::MAX, |number| number.saturating_add(128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signals_status_is_a_shells() {
        assert_eq!((status_of(Signal::SIGTERM), status_of(Signal::SIGKILL)), (143, 137));
    }
}
