//! A dyno, from its command's first process to the last one that is left.

use std::io::{self, Stdin, Stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, seteuid};
use ruko_core::dyno::{DynoStart, TerminalSize};
use ruko_core::{Fault, Hint};
use ruko_sys::process::{Reaped, reap};

use crate::command::{self, Files};
use crate::pump::Pump;
use crate::signals::{self, Came, Signals};
use crate::wait;

/// How long what the command left behind may take to end after SIGTERM.
const LEFT_TIME: Duration = Duration::from_secs(2);

/// How long the kernel may take to end what was killed, and a reader to take what is left in a terminal.
const LAST_TIME: Duration = Duration::from_secs(5);

/// What runs.
pub(crate) struct Dyno {
    signals: Signals,
    /// The process that the command began as.
    main: i32,
    status: Option<u8>,
    input: Option<Pump<Stdin, OwnedFd>>,
    terminal: Option<Terminal>,
}

/// The command's terminal, as this process sees it.
struct Terminal {
    output: Pump<OwnedFd, Stdout>,
    /// Keeps it open when the command closes it and opens it again.
    _slave: OwnedFd,
}

impl Dyno {
    /// Runs the command and gives its status when nothing is left to do.
    pub(crate) fn run(start: DynoStart, first: Vec<u8>, signals: Signals) -> Result<u8, Fault> {
        let mut dyno = Self::start(&start, first, signals)?;
        // They may be large.
        drop(start);
        let status = dyno.until_command_ended()?;
        dyno.end_the_rest()?;
        dyno.drain();
        Ok(status)
    }

    fn start(start: &DynoStart, first: Vec<u8>, signals: Signals) -> Result<Self, Fault> {
        let mut dyno = Self { signals, main: 0, status: None, input: None, terminal: None };
        let files = match start.terminal {
            Some(size) => dyno.with_terminal(size, start.stdin, first),
            None if start.stdin => dyno.with_pipe(first),
            None => Files::plain(None),
        };
        dyno.main = command::spawn(start, files.fault("cannot make a terminal or a pipe")?)?;
        Ok(dyno)
    }

    fn with_pipe(&mut self, first: Vec<u8>) -> io::Result<Files> {
        let (reader, writer) = as_user(io::pipe)?;
        self.input = Some(Pump::new(io::stdin(), without_waiting(writer.into())?, first));
        Files::plain(Some(reader.into()))
    }

    fn with_terminal(&mut self, size: TerminalSize, stdin: bool, first: Vec<u8>) -> io::Result<Files> {
        let OpenptyResult { master, slave } = open_terminal(size)?;
        if stdin {
            self.input = Some(Pump::new(io::stdin(), without_waiting(master.try_clone()?)?, first));
        }
        let files = Files {
            stdin: if stdin { slave.try_clone()?.into() } else { std::process::Stdio::null() },
            stdout: slave.try_clone()?.into(),
            stderr: slave.try_clone()?.into(),
            terminal: true,
        };
        self.terminal = Some(Terminal { output: Pump::new(master, io::stdout(), Vec::new()), _slave: slave });
        Ok(files)
    }

    fn until_command_ended(&mut self) -> io::Result<u8> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            self.turn(None)?;
            if self.input.as_ref().is_some_and(Pump::is_done) {
                self.input_ended();
            }
        }
    }

    /// Waits for one thing to happen and does what it asks for.
    fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        let files = [
            Some((self.signals.as_fd(), PollFlags::POLLIN)),
            self.input.as_ref().and_then(Pump::waits_for),
            self.terminal.as_ref().and_then(|terminal| terminal.output.waits_for()),
        ];
        let [signal, input, output] = wait::for_any(files, until)?;
        if input && let Some(pump) = &mut self.input {
            pump.step();
        }
        if output && let Some(terminal) = &mut self.terminal {
            terminal.output.step();
        }
        if signal {
            self.heed_signals()?;
        }
        Ok(())
    }

    fn heed_signals(&mut self) -> io::Result<()> {
        while let Some(came) = self.signals.next()? {
            match came {
                Came::Child => drop(self.reap()?),
                Came::PassOn(signal) => signals::to_all(signal),
            }
        }
        Ok(())
    }

    /// Takes notice of every process that has ended; whether there are any that have not.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match reap()? {
                Reaped::Ended(child, ended) if child == self.main => self.status = Some(status(ended)),
                Reaped::Ended(..) => {}
                Reaped::None => return Ok(true),
                Reaped::Childless => return Ok(false),
            }
        }
    }

    /// A command without terminal sees the end of its stdin. One whose terminal has nobody any more at its other end
    /// is hung up, as it would be anywhere.
    fn input_ended(&mut self) {
        self.input = None;
        if self.terminal.take().is_some() {
            signals::to_all(Signal::SIGHUP);
            signals::to_all(Signal::SIGCONT);
        }
    }

    /// Ends what the command has left running.
    fn end_the_rest(&mut self) -> io::Result<()> {
        self.input = None;
        for (signal, time) in [(Signal::SIGTERM, LEFT_TIME), (Signal::SIGKILL, LAST_TIME)] {
            if !self.reap()? {
                return Ok(());
            }
            signals::to_all(signal);
            // What was stopped cannot end otherwise.
            signals::to_all(Signal::SIGCONT);
            let until = Instant::now() + time;
            while Instant::now() < until && self.reap()? {
                self.turn(Some(until))?;
            }
        }
        Ok(())
    }

    /// Passes on what is left in the terminal: after its last process there comes no more.
    fn drain(&mut self) {
        let Some(Terminal { mut output, _slave }) = self.terminal.take() else { return };
        drop(_slave);
        let until = Instant::now() + LAST_TIME;
        while let Some(file) = output.waits_for() {
            match wait::for_any([Some(file)], Some(until)) {
                Ok([true]) => output.step(),
                Ok([false]) if Instant::now() < until => {}
                Ok(_) | Err(_) => break,
            }
        }
    }
}

/// The status that a shell would give.
fn status(ended: ExitStatus) -> u8 {
    let signalled = || ended.signal().map_or(u8::MAX.into(), |signal| 128 + signal);
    u8::try_from(ended.code().unwrap_or_else(signalled)).unwrap_or(u8::MAX)
}

/// A terminal that belongs to the dyno's user.
fn open_terminal(size: TerminalSize) -> io::Result<OpenptyResult> {
    let size = Winsize { ws_row: size.lines, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = as_user(|| Ok(openpty(&size, None)?))?;
    close_on_exec(terminal.master.as_fd())?;
    close_on_exec(terminal.slave.as_fd())?;
    Ok(terminal)
}

/// Makes something that the dyno's user can open again, as `/dev/tty` or `/dev/stdin`: whoever makes it owns it.
fn as_user<T>(make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    seteuid(Uid::from_raw(command::USER))?;
    let made = make();
    seteuid(Uid::from_raw(0))?;
    made
}

fn close_on_exec(file: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(())
}

fn without_waiting(file: OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_shells() {
        // wait(2): the exit status in the second byte, or the signal in the first.
        let of = |raw| status(ExitStatus::from_raw(raw));
        assert_eq!((of(0), of(7 << 8), of(255 << 8)), (0, 7, 255));
        assert_eq!((of(15), of(11 | 0x80), of(64)), (143, 139, 192));
    }
}
