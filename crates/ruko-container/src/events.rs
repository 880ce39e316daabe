//! The two ends towards the caller: lines in, lines out, both bounded.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use ruko_core::container::{MAX_LINE, RunEvent};
use ruko_core::exit::one_line;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// The longest message of an event, in bytes: with its escapes the line stays below the 4096 bytes that a
/// pipe takes whole or not at all (`PIPE_BUF`, `pipe(7)`).
const MAX_MESSAGE: usize = 1024;

/// The event that says why a container could not be started.
pub(crate) fn failed(message: &str, try_again: bool) -> RunEvent {
    RunEvent::Failed { message: shortened(&one_line(message)), try_again }
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end == text.len() { text.to_owned() } else { format!("{}…", &text[..end]) }
}

/// Prints one event. A caller that no longer listens is no error: its end of our stdin tells. One that
/// does not read loses the event: waiting for it would keep us from watching the container.
pub(crate) fn send(event: &RunEvent) {
    let Ok(mut line) = serde_json::to_vec(event) else { return };
    line.push(b'\n');
    let mut out = io::stdout().lock();
    if takes_a_line(&out) {
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

/// Whether a line can be written without waiting. A pipe is writable when it takes `PIPE_BUF` bytes.
fn takes_a_line(out: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(out, PollFlags::OUT)];
    let ready = retry_on_intr(|| poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })));
    ready.is_ok_and(|count| count > 0)
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing more is there now.
    Later,
    /// The caller has gone.
    End,
}

/// Lines of a file that is polled elsewhere; each call of [`Lines::fill`] reads at most once.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines<File> {
    /// Lines of this process's stdin.
    pub(crate) fn stdin() -> io::Result<Self> {
        Ok(Self::new(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), ended: false }
    }

    /// Reads what is there; call it when a poll said so.
    ///
    /// # Errors
    /// The line exceeds [`MAX_LINE`], or reading fails.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match self.from.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(e) => return Err(e),
        }
        let longest = self.buffer.split(|b| *b == b'\n').map(<[u8]>::len).max();
        if longest.is_some_and(|length| length > MAX_LINE) {
            return Err(io::Error::other(format!("a line of more than {MAX_LINE} bytes was sent")));
        }
        Ok(())
    }

    /// Takes the next line that was read.
    pub(crate) fn next(&mut self) -> Input {
        match self.buffer.iter().position(|b| *b == b'\n') {
            Some(end) => {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                Input::Line(line)
            }
            None if self.ended => Input::End,
            None => Input::Later,
        }
    }
}

impl<R: AsFd> AsFd for Lines<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_half_a_line_at_the_end_is_none() {
        let mut lines = Lines::new(&b"one\ntwo\nhal"[..]);
        assert_eq!(lines.next(), Input::Later);
        lines.fill().unwrap();
        assert_eq!(lines.next(), Input::Line(b"one".to_vec()));
        assert_eq!(lines.next(), Input::Line(b"two".to_vec()));
        assert_eq!(lines.next(), Input::Later);
        lines.fill().unwrap();
        assert_eq!(lines.next(), Input::End);
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let mut lines = Lines::new(io::repeat(b'x'));
        let read = (0..=MAX_LINE / 4096).map(|_| lines.fill()).find(Result::is_err);
        assert!(read.unwrap().unwrap_err().to_string().contains("16384"));
        assert!(lines.buffer.len() <= MAX_LINE + 4096);
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_not_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        let chunk = [b'x'; 4096];
        let written = (0..10_000).take_while(|_| takes_a_line(&writer) && writer.write_all(&chunk).is_ok());
        assert!(written.count() < 10_000);
        drop(reader);
        assert!(takes_a_line(&writer), "an error is found by writing");
    }

    #[test]
    fn a_message_stays_one_short_line() {
        let RunEvent::Failed { message, .. } = failed(&format!("a\nb{}", "é".repeat(MAX_MESSAGE)), true)
        else {
            panic!("another event")
        };
        assert!(message.starts_with("a; b") && message.len() <= MAX_MESSAGE + 3);
    }
}
