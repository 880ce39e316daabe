//! This terminal, connected with a one-off dyno's.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use ruko_client::Rendezvous;
use signal_hook::consts::{SIGHUP, SIGTERM};

/// End of transmission: what stands for the end of stdin, since there is no framing.
const EOT: u8 = 0x04;

const CTRL_C: u8 = 0x03;

/// So many Ctrl-C within [`PATIENCE`] end the connection, since a dyno that hangs hears none of them.
const CTRL_CS: usize = 4;

const PATIENCE: Duration = Duration::from_secs(1);

/// A signal may come just before poll(2) waits: so often it is looked for, in milliseconds.
const LOOK: u16 = 1000;

/// What is typed goes in pieces of at most so many bytes.
const PIECE: usize = 8 << 10;

/// Every key as it is, until this is dropped.
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes stdin raw.
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// Columns and lines of the terminal on stdout.
pub(super) fn size() -> Option<(u16, u16)> {
    terminal_size::terminal_size_of(io::stdout()).map(|(columns, lines)| (columns.0, lines.0))
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The process did.
    Process,
    /// The user gave up, or this program was told to end.
    Left,
}

/// Carries what is typed to the dyno and what it prints to `out`, until one of them ends.
pub(super) fn connect(
    dyno: &mut Rendezvous,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Ended> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, told.clone())?;
    }
    // Past the buffer of `io::stdin`, which poll(2) does not know.
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let terminal = io::stdin().is_terminal();
    let (mut typing, mut impatience) = (true, Impatience::default());
    let (mut printed, mut typed) = (Vec::new(), [0; PIECE]);
    loop {
        printed.clear();
        let open = dyno.receive(&mut printed)?;
        out(&printed)?;
        if !open {
            return Ok(Ended::Process);
        }
        if told.load(Ordering::Relaxed) {
            return Ok(Ended::Left);
        }
        // No more is taken from stdin than the connection takes.
        let listen = typing && !dyno.wants_write();
        if wait(dyno, &stdin, listen)? {
            match stdin.read(&mut typed)? {
                0 => {
                    typing = false;
                    dyno.send(&[EOT])?;
                }
                length => {
                    let keys = &typed[..length];
                    if terminal && impatience.is_out(keys, Instant::now()) {
                        return Ok(Ended::Left);
                    }
                    dyno.send(keys)?;
                }
            }
        }
        dyno.flush()?;
    }
}

/// Waits until something can be done; gives whether stdin has something.
fn wait(dyno: &Rendezvous, stdin: &File, listen: bool) -> io::Result<bool> {
    let mut wanted = PollFlags::POLLIN;
    wanted.set(PollFlags::POLLOUT, dyno.wants_write());
    let mut both = [PollFd::new(dyno.as_fd(), wanted), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let watched = if listen { &mut both[..] } else { &mut both[..1] };
    match poll(watched, PollTimeout::from(LOOK)) {
        Ok(_) => Ok(listen && both[1].any().unwrap_or(false)),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Counts Ctrl-C.
#[derive(Default)]
struct Impatience {
    pressed: Vec<Instant>,
}

impl Impatience {
    fn is_out(&mut self, keys: &[u8], now: Instant) -> bool {
        self.pressed.retain(|then| now.duration_since(*then) < PATIENCE);
        self.pressed.extend(keys.iter().filter(|&&key| key == CTRL_C).map(|_| now));
        self.pressed.len() >= CTRL_CS
    }
}

/// `CR LF` becomes `LF`, for a file or another program.
#[derive(Default)]
pub(super) struct Lines {
    /// A CR of which it is not known yet what follows.
    held: bool,
}

impl Lines {
    /// What of this can be written.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if self.held && byte != b'\n' {
                passed.push(b'\r');
            }
            self.held = byte == b'\r';
            if !self.held {
                passed.push(byte);
            }
        }
        passed
    }

    /// What is left at the end.
    pub(super) fn rest(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held) { b"\r" } else { b"" }
    }
}

/// Writes and does not wait for more.
pub(super) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_those_of_files() {
        let mut lines = Lines::default();
        let passed = [lines.pass(b"a\r\nb\rc\r"), lines.pass(b"\nd\r"), lines.rest().to_vec()].concat();
        assert_eq!(passed, b"a\nb\rc\nd\r");
    }

    #[test]
    fn four_ctrl_c_in_a_second_are_enough() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut impatience = Impatience::default();
        assert!(!impatience.is_out(&[CTRL_C, CTRL_C], start));
        assert!(!impatience.is_out(&[CTRL_C, b'x'], after(500)));
        assert!(!impatience.is_out(&[CTRL_C], after(1100)), "the first two are long ago");
        assert!(impatience.is_out(&[CTRL_C, CTRL_C], after(1200)));
    }
}
