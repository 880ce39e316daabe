//! The container of a dyno. `ruko-container run` keeps it for as long as we hold its stdin.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use ruko_core::container::{MAX_LINE, RunEvent, RunRequest, RunSpec};
use ruko_core::{Fault, Hint};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};

use super::stream::{Got, Input, Output, Pipe};

/// What is kept of what a keeper says on its stderr, in bytes.
const WORDS: usize = 2048;

/// The keeper of a container, and the ends of the container's stdin and stdout.
pub(crate) struct Keeper {
    child: Child,
    /// The life-line: dropped, the container is destroyed.
    requests: Option<UnixStream>,
    waiting: Output,
    events: Option<Pipe>,
    input: Input,
    stderr: Option<Pipe>,
    words: Vec<u8>,
}

impl Keeper {
    /// Starts it, and gives what the container will read and write: its stdin to be written, its stdout to be read.
    pub(crate) fn start(command: &[String], spec: &RunSpec) -> Result<(Self, Pipe, Pipe), Fault> {
        let (program, args) = command
            .split_first()
            .ok_or_else(|| Fault::refused("`container_command` in [host] of the configuration is empty"))?;
        let (requests, stdin) = UnixStream::pair().try_again("cannot make a socket")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(OwnedFd::from(stdin))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .spawn()
            .try_again(format!("cannot run `{program}`"))?;
        let missing = || Fault::refused("a stream of the keeper is missing");
        let events = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (to_read, write) = pipe_with(PipeFlags::CLOEXEC).try_again("cannot make a pipe")?;
        let (read, to_write) = pipe_with(PipeFlags::CLOEXEC).try_again("cannot make a pipe")?;
        send_spec(&requests, spec, [to_read.as_fd(), to_write.as_fd()])
            .try_again(format!("`{program}` takes no specification"))?;
        requests.set_nonblocking(true)?;
        let keeper = Self {
            child,
            requests: Some(requests),
            waiting: Output::default(),
            events: Some(Pipe::new(events.into())?),
            input: Input::default(),
            stderr: Some(Pipe::new(stderr.into())?),
            words: Vec::new(),
        };
        Ok((keeper, Pipe::new(write)?, Pipe::new(read)?))
    }

    /// What is polled for events; none when there will be no more.
    pub(crate) fn events(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// What is polled for its words.
    pub(crate) fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }

    /// What is polled for writing; none when nothing waits.
    pub(crate) fn writable(&self) -> Option<BorrowedFd<'_>> {
        self.requests.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    /// Asks for something. A keeper that is gone is noticed by its events.
    pub(crate) fn ask(&mut self, request: RunRequest) {
        if let Ok(mut line) = serde_json::to_vec(&request) {
            line.push(b'\n');
            self.waiting.push(&line);
            self.flush();
        }
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) {
        if let Some(requests) = &mut self.requests
            && self.waiting.flush(requests).is_err()
        {
            self.let_go();
        }
    }

    /// Lets go of the life-line: the container is destroyed.
    pub(crate) fn let_go(&mut self) {
        self.requests = None;
    }

    /// Reads events; the last is none when there will be no more.
    pub(crate) fn hear(&mut self) -> Vec<Option<RunEvent>> {
        let Some(events) = &mut self.events else { return Vec::new() };
        let got = self.input.fill(events, MAX_LINE);
        let mut heard = Vec::new();
        while let Some(line) = self.input.line() {
            match serde_json::from_slice(&line) {
                Ok(event) => heard.push(Some(event)),
                // It may well go on living; nothing more is believed of it.
                Err(_) => return self.silenced(heard),
            }
        }
        if matches!(got, Ok(Got::Some)) { heard } else { self.silenced(heard) }
    }

    fn silenced(&mut self, mut heard: Vec<Option<RunEvent>>) -> Vec<Option<RunEvent>> {
        self.events = None;
        self.let_go();
        heard.push(None);
        heard
    }

    /// Reads its words.
    pub(crate) fn listen(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut chunk = [0; 1024];
        match io::Read::read(stderr, &mut chunk) {
            Ok(n) if n > 0 => {
                let room = WORDS.saturating_sub(self.words.len()).min(n);
                self.words.extend_from_slice(&chunk[..room]);
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            _ => self.stderr = None,
        }
    }

    /// What it said on its stderr, on one line.
    pub(crate) fn words(&mut self) -> String {
        self.listen();
        ruko_core::exit::one_line(&String::from_utf8_lossy(&self.words))
    }

    /// Takes note of its end, so that no zombie stays.
    pub(crate) fn reap(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

/// Writes the specification; with its first byte go the two descriptors (`unix(7)`, `SCM_RIGHTS`).
fn send_spec(to: &UnixStream, spec: &RunSpec, fds: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(to, &[IoSlice::new(&line)], &mut control, SendFlags::empty())?;
    (&*to).write_all(&line[sent..])
}
