//! Bytes from one file to another, with a bounded buffer, without waiting for either.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::{read, write};

/// A pipe that is ready takes so many bytes without waiting (`PIPE_BUF`, `pipe(7)`).
const CHUNK: usize = 4096;

/// One direction.
#[derive(Debug)]
pub(crate) struct Pump<F, T> {
    from: Option<F>,
    /// Once nobody reads there, what comes is read and dropped, so that no writer waits for ever.
    to: Option<T>,
    buffer: Vec<u8>,
    written: usize,
}

impl<F: AsFd, T: AsFd> Pump<F, T> {
    /// `first` is what was read of `from` before.
    pub(crate) fn new(from: F, to: T, first: Vec<u8>) -> Self {
        Self { from: Some(from), to: Some(to), buffer: first, written: 0 }
    }

    /// What to wait for next.
    pub(crate) fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.pending() {
            return self.to.as_ref().map(|to| (to.as_fd(), PollFlags::POLLOUT));
        }
        self.from.as_ref().map(|from| (from.as_fd(), PollFlags::POLLIN))
    }

    /// Whether all that can come has come and was written.
    pub(crate) fn is_done(&self) -> bool {
        self.from.is_none() && !self.pending()
    }

    fn pending(&self) -> bool {
        self.written < self.buffer.len()
    }

    /// Writes or reads once; call it when what it waits for is so.
    pub(crate) fn step(&mut self) {
        if self.pending() {
            self.write();
        } else {
            self.read();
        }
    }

    fn write(&mut self) {
        let end = self.buffer.len().min(self.written + CHUNK);
        let Some(to) = &self.to else { return };
        match write(to, &self.buffer[self.written..end]) {
            Ok(count) => self.written += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.to = None;
                self.buffer.clear();
                self.written = 0;
            }
        }
    }

    fn read(&mut self) {
        let Some(from) = &self.from else { return };
        self.buffer.resize(CHUNK, 0);
        self.buffer.shrink_to(CHUNK);
        self.written = 0;
        let count = match read(from, &mut self.buffer) {
            Ok(count) => count,
            Err(Errno::EAGAIN | Errno::EINTR) => return self.buffer.clear(),
            // A terminal whose other end is closed gives EIO.
            Err(_) => 0,
        };
        self.buffer.truncate(count);
        if self.to.is_none() {
            self.buffer.clear();
        }
        if count == 0 {
            self.from = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_was_read_before_comes_first_and_the_end_is_passed_on() {
        let (from, mut source) = std::io::pipe().unwrap();
        let (mut sink, to) = std::io::pipe().unwrap();
        let first = vec![b'x'; 3 * CHUNK];
        let mut pump = Pump::new(from, to, first);
        source.write_all(b"second").unwrap();
        drop(source);
        while !pump.is_done() {
            assert!(pump.waits_for().is_some());
            pump.step();
        }
        drop(pump);
        let mut all = Vec::new();
        sink.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 3 * CHUNK + 6);
        assert!(all.ends_with(b"xsecond"));
    }

    #[test]
    fn a_reader_that_has_gone_keeps_no_writer_waiting() {
        let (from, mut source) = std::io::pipe().unwrap();
        let (sink, to) = std::io::pipe().unwrap();
        drop(sink);
        let mut pump = Pump::new(from, to, b"lost".to_vec());
        source.write_all(b"as well").unwrap();
        drop(source);
        for _ in 0..3 {
            assert!(pump.waits_for().is_some());
            pump.step();
        }
        assert!(pump.is_done());
    }
}
