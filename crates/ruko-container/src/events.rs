//! The two ends towards the caller: lines in, lines out, both bounded.

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::atomic::{AtomicU8, Ordering};

use ruko_core::container::{MAX_LINE, RunEvent};
use ruko_core::exit::one_line;
use ruko_core::{Exit, Fault};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

/// The longest message of an event, in bytes: with its escapes the line stays below the 4096 bytes that a
/// pipe takes whole or not at all (`PIPE_BUF`, `pipe(7)`).
const MAX_MESSAGE: usize = 1024;

/// The files that a dyno's container is given: its stdin and its stdout.
pub(crate) const MAX_FILES: usize = 2;

/// The end of a container of which no more is known.
pub(crate) const ENDED: RunEvent = RunEvent::Ended { status: None, killed: false, out_of_memory: false };

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

/// How far the caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Told {
    /// Nothing yet.
    Nothing,
    /// That the container answers.
    Ready,
    /// How it went: no further event is due.
    End,
}

impl Told {
    /// What the caller knows after this event; an answer to a question changes nothing.
    fn by(event: &RunEvent) -> Self {
        match event {
            RunEvent::Limits { .. } | RunEvent::Usage { .. } => Self::Nothing,
            RunEvent::Ready { .. } | RunEvent::Started { .. } => Self::Ready,
            RunEvent::Failed { .. } | RunEvent::Stopped { .. } | RunEvent::Ended { .. } => Self::End,
        }
    }

    /// So far, by this process: it has one stdout and so one caller.
    pub(crate) fn so_far() -> Self {
        [Self::End, Self::Ready]
            .into_iter()
            .find(|told| TOLD.load(Ordering::SeqCst) >= *told as u8)
            .unwrap_or(Self::Nothing)
    }

    /// The event that is still due when it all ends with this fault.
    fn due(self, fault: &Fault) -> Option<RunEvent> {
        match self {
            Self::Nothing => {
                let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                Some(failed(&format!("{}{hint}", fault.message), fault.exit == Exit::TryAgain))
            }
            Self::Ready => Some(ENDED),
            Self::End => None,
        }
    }
}

static TOLD: AtomicU8 = AtomicU8::new(Told::Nothing as u8);

/// Prints one event. A caller that no longer listens is no error: its end of our stdin tells. One that
/// does not read loses the event: waiting for it would keep us from watching the container.
pub(crate) fn send(event: &RunEvent) {
    TOLD.fetch_max(Told::by(event) as u8, Ordering::SeqCst);
    let Ok(mut line) = serde_json::to_vec(event) else { return };
    line.push(b'\n');
    let mut out = io::stdout().lock();
    if takes_a_line(&out) {
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

/// Tells the caller of a fault that ends everything, unless it was told of an end before.
pub(crate) fn send_last(fault: &Fault) {
    if let Some(event) = Told::so_far().due(fault) {
        send(&event);
    }
}

/// From now on even a panic, which ends this process at once, is told first. What went wrong goes to
/// stderr as usual.
pub(crate) fn tell_of_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
        let place = place.unwrap_or_default();
        send_last(&Fault::refused(format!("the program that keeps the container has a defect{place}")));
        usual(panic);
    }));
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

/// The caller's end of stdin: bytes, and where it is a socket the files that come with the first of them.
#[derive(Debug)]
pub(crate) struct Stdin {
    file: File,
    is_socket: bool,
    begun: bool,
    files: Vec<OwnedFd>,
}

impl Stdin {
    pub(crate) fn new() -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let is_socket = file.metadata()?.file_type().is_socket();
        Ok(Self { file, is_socket, begun: false, files: Vec::new() })
    }

    /// Only a socket can bring files.
    pub(crate) fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// The files that came.
    pub(crate) fn take_files(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.files)
    }

    fn receive(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        // One more than can be meant, so that more than that is noticed.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES + 1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(chunk)];
        let message = recvmsg(&self.file, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = part {
                self.files.extend(files);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) || self.files.len() > MAX_FILES {
            return Err(io::Error::other(format!("more than {MAX_FILES} files were sent")));
        }
        Ok(message.bytes)
    }
}

impl Read for Stdin {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let read = if self.is_socket && !self.begun { self.receive(chunk) } else { self.file.read(chunk) };
        self.begun |= read.is_ok();
        match read {
            // A socket whose other end has gone.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            read => read,
        }
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Lines of a file that is polled elsewhere; each call of [`Lines::fill`] reads at most once.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    pub(crate) from: R,
    buffer: Vec<u8>,
    ended: bool,
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
    fn whatever_ends_it_the_caller_is_told_once() {
        let fault = Fault::try_again("it is full").hint("wait");
        let message = "it is full (wait)".to_owned();
        assert_eq!(Told::Nothing.due(&fault), Some(RunEvent::Failed { message, try_again: true }));
        assert_eq!(Told::Ready.due(&fault), Some(ENDED));
        assert_eq!(Told::End.due(&fault), None);
        assert!(Told::by(&failed("", false)) == Told::End && Told::by(&ENDED) == Told::End);
        assert_eq!(Told::by(&RunEvent::Limits { met: Vec::new() }), Told::Nothing);
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
