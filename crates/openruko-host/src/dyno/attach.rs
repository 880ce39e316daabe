//! The one client of an attached dyno.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::stream::Output;

/// Output that waits for the client, in bytes.
const ROOM: usize = 64 << 10;

/// How long a client may take for the last of the output.
const LAST_WITHIN: Duration = Duration::from_secs(30);

/// A connection that is the dyno's stdin and stdout.
pub(crate) struct Attach {
    stream: Option<UnixStream>,
    output: Output,
    said_all: bool,
    gone: bool,
    /// The dyno has ended: by when the rest must be taken.
    last: Option<Instant>,
}

impl Attach {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream: Some(stream), output: Output::default(), said_all: false, gone: false, last: None }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// What to poll for; a hang-up is always told.
    pub(crate) fn flags(&self, room: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, room && !self.said_all);
        flags.set(PollFlags::OUT, !self.output.is_empty());
        flags
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.last.filter(|_| self.stream.is_some())
    }

    /// So many bytes of output it takes. A client that is gone takes all and gets none.
    pub(crate) fn room(&self) -> usize {
        if self.stream.is_none() { ROOM } else { ROOM.saturating_sub(self.output.len()) }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.stream.is_some() {
            self.output.push(bytes);
            self.flush();
        }
    }

    /// Reads what the client says, if there is room for it, and sees whether it is still there.
    pub(crate) fn serve(&mut self, room: bool) -> Vec<u8> {
        let mut typed = Vec::new();
        let Some(stream) = &mut self.stream else { return typed };
        if room && !self.said_all {
            let mut chunk = [0; 16 << 10];
            match stream.read(&mut chunk) {
                Ok(0) => self.said_all = true,
                Ok(n) => typed.extend_from_slice(&chunk[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => self.hang_up(),
            }
        }
        if self.stream.as_ref().is_some_and(hung_up) {
            self.hang_up();
        }
        typed
    }

    fn hang_up(&mut self) {
        self.stream = None;
        self.gone = true;
        self.said_all = true;
        self.output = Output::default();
    }

    pub(crate) fn said_all(&self) -> bool {
        self.said_all
    }

    /// It went away before it had got everything.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// There will be no more output.
    pub(crate) fn end(&mut self) {
        self.last = Some(Instant::now() + LAST_WITHIN);
        self.flush();
    }

    /// It has got everything, or never will.
    pub(crate) fn is_over(&self) -> bool {
        self.stream.is_none()
    }

    pub(crate) fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if self.output.flush(stream).is_err() {
            self.hang_up();
        } else if let Some(last) = self.last
            && (self.output.is_empty() || Instant::now() >= last)
        {
            let _ = stream.shutdown(Shutdown::Both);
            self.stream = None;
        }
    }
}

/// Whether the other side is gone altogether, and has not only fallen silent (`poll(2)`, `POLLHUP`).
fn hung_up(stream: &UnixStream) -> bool {
    let mut polled = [rustix::event::PollFd::new(stream, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = rustix::event::poll(&mut polled, Some(&now));
    polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}
