//! Streams that do not block, and what waits to be written to them.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Lines from a stream that is polled elsewhere; each call of [`Input::fill`] reads at most once.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// What was looked through for the end of a line.
    seen: usize,
}

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Something, or nothing for now.
    Some,
    /// The other side says no more.
    End,
}

impl Input {
    /// Reads what is there.
    ///
    /// # Errors
    /// Reading fails, or a line is longer than `most`.
    pub(crate) fn fill(&mut self, from: &mut impl Read, most: usize) -> io::Result<Got> {
        let mut chunk = [0; 8192];
        match from.read(&mut chunk) {
            Ok(0) => return Ok(Got::End),
            Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(e) => return Err(e),
        }
        if self.buffer.len() > most && !self.buffer[..most].contains(&b'\n') {
            return Err(io::Error::other(format!("a line of more than {most} bytes was sent")));
        }
        Ok(Got::Some)
    }

    /// The next whole line, without its end.
    pub(crate) fn line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.buffer[self.seen..].iter().position(|&b| b == b'\n') else {
            self.seen = self.buffer.len();
            return None;
        };
        let mut line: Vec<u8> = self.buffer.drain(..=self.seen + end).collect();
        line.pop();
        self.seen = 0;
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        Some(line)
    }

    /// What was read after the last line.
    pub(crate) fn rest(self) -> Vec<u8> {
        self.buffer
    }
}

/// So many bytes that were written may be held beside what waits.
const FORGET: usize = 64 << 10;

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes as much as is taken at once.
    ///
    /// # Errors
    /// The other side is gone.
    pub(crate) fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        while !self.is_empty() {
            match to.write(&self.bytes[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.forget_written();
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        // A start of megabytes is not kept for the life of a dyno.
        *self = Self::default();
        Ok(())
    }

    /// A reader that is always behind never takes everything. What waits is moved only when it is the lesser part: no
    /// more is moved than was written.
    fn forget_written(&mut self) {
        if self.written >= FORGET.max(self.len()) {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }
}

/// A pipe's or socket's end that is read and written without blocking.
#[derive(Debug)]
pub(crate) struct Pipe(std::fs::File);

impl Pipe {
    pub(crate) fn new(fd: std::os::fd::OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self(fd.into()))
    }
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_what_follows_is_kept() {
        let mut input = Input::default();
        let mut bytes = &b"one\ntwo\nraw"[..];
        assert_eq!(input.fill(&mut bytes, 10).unwrap(), Got::Some);
        assert_eq!(
            (input.line().unwrap(), input.line().unwrap(), input.line()),
            (b"one".to_vec(), b"two".to_vec(), None)
        );
        assert_eq!(input.fill(&mut bytes, 10).unwrap(), Got::End);
        assert_eq!(input.rest(), b"raw");
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let mut input = Input::default();
        let refused = (0..10).find_map(|_| input.fill(&mut io::repeat(b'x'), 10_000).err()).unwrap();
        assert!(refused.to_string().contains("10000"));
    }

    /// Takes so many bytes, then none until it is asked again.
    struct Slow(usize);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match std::mem::take(&mut self.0).min(bytes.len()) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                taken => Ok(taken),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_slow_reader_has_taken_is_kept_no_longer() {
        const CHUNK: usize = 16 << 10;
        let mut output = Output::default();
        output.push(&[0; 4 * CHUNK]);
        for turn in 0..1000_usize {
            let byte = u8::try_from(turn % 251).unwrap();
            output.push(&[byte; CHUNK]);
            output.flush(&mut Slow(CHUNK)).unwrap();
            assert_eq!(output.len(), 4 * CHUNK);
            assert!(output.bytes.capacity() <= 1 << 20, "{} bytes are held", output.bytes.capacity());
        }
        assert_eq!(output.bytes()[0], u8::try_from(996 % 251).unwrap());
    }
}
