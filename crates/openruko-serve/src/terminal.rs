//! What the app developer reads, on stderr, and how a refusal reaches git.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ruko_core::exit::one_line;
use ruko_core::{Fault, message};

use crate::request::Service;

/// How long a client may take to make room for what it is told. It is its own loss if it does not read.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// How often somebody who waits for room looks whether that is still wanted.
const LOOK_EVERY: u16 = 100;
/// Where poll(2) says that there is room, there is room for so many bytes (pipe(7), `PIPE_BUF`): writing them does not
/// wait.
const PIECE: usize = 4096;
/// The client did not read the last thing that it was told: it is not waited for again until it does.
static DEAF: AtomicBool = AtomicBool::new(false);

/// Prints a line of progress.
pub(crate) fn step(text: impl Display) {
    say(&message::step(text));
}

/// Prints lines of trouble.
pub(crate) fn trouble(text: impl Display) {
    say(&message::trouble(text));
}

/// A line and its end in one write: git prints beside it, and would do so in the middle. The client may be
/// gone, or read nothing: what cannot be written is dropped.
pub(crate) fn say(text: &str) {
    let patience = if DEAF.load(Ordering::Relaxed) { Duration::ZERO } else { READ_WITHIN };
    let deadline = Instant::now() + patience;
    let line = format!("{text}\n");
    let said = write(io::stderr(), line.as_bytes(), || Instant::now() < deadline);
    DEAF.store(!said, Ordering::Relaxed);
}

/// Passes on what others say, as fast as the client reads.
pub(crate) fn pass_on(bytes: &[u8]) {
    write(io::stderr(), bytes, || true);
}

/// Writes, waiting for room as long as that is wanted. False: it gave up, and what was left is lost.
fn write(to: impl AsFd, mut bytes: &[u8], is_wanted: impl Fn() -> bool) -> bool {
    while !bytes.is_empty() {
        match write_now(&to, &bytes[..bytes.len().min(PIECE)]) {
            Ok(Some(count)) => bytes = &bytes[count..],
            Ok(None) if is_wanted() => drop(has_room(&to, LOOK_EVERY)),
            // Nobody is there any more: that is no reason to be impatient with others.
            Err(_) => return true,
            Ok(None) => return false,
        }
    }
    true
}

/// Writes what there is room for; none where there is none.
fn write_now(to: impl AsFd, piece: &[u8]) -> nix::Result<Option<usize>> {
    // Nobody else writes between the look and the write.
    let _one_at_a_time = io::stderr().lock();
    if !has_room(&to, PollTimeout::ZERO)? {
        return Ok(None);
    }
    match nix::unistd::write(&to, piece) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::EINTR | Errno::EAGAIN) => Ok(None),
        Err(why) => Err(why),
    }
}

/// An end that is closed has room: writing to it says so.
fn has_room(to: impl AsFd, within: impl Into<PollTimeout>) -> nix::Result<bool> {
    let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut fds, within) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(why) => Err(why),
    }
}

/// Says to the admin, in the log of the service that `openruko-serve builds` is.
pub(crate) fn say_as_service(line: &str) {
    say(&format!("openruko-serve: {line}"));
}

/// Keeps what is for the admin alone, in the system log.
pub(crate) fn log(cause: &str) {
    let line = one_line(cause);
    let _ = ruko_sys::Tool::new("logger").args(["-t", "openruko-serve", "-p", "auth.err", "--", &line]).run();
}

/// Says in words why it ends so.
pub(crate) fn tell(fault: &Fault) -> ExitCode {
    trouble(&fault.message);
    if let Some(hint) = &fault.hint {
        trouble(hint);
    }
    fault.exit.into()
}

/// Says why nothing was started: to the developer in words, to git in its own protocol, so that it does not
/// add a guess about access rights.
pub(crate) fn refuse(service: Service, fault: &Fault) -> ExitCode {
    let status = tell(fault);
    let _ = io::stdout().lock().write_all(error_packet(service).as_bytes());
    status
}

/// git's error packet (`git help protocol-pack`, "ERR" line). git takes it only in place of its first
/// packet, so it is sent only when the service was never started.
fn error_packet(service: Service) -> String {
    let text = format!("ERR {} was not started", service.name());
    format!("{:04x}{text}", text.len() + 4)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::thread;

    use super::*;

    #[test]
    fn a_client_that_reads_gets_everything_and_one_that_does_not_is_given_up() {
        let text = vec![b'x'; 1 << 20];
        let (mut reader, writer) = io::pipe().unwrap();
        let reading = thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        assert!(write(&writer, &text, || true));
        drop(writer);
        assert!(reading.join().unwrap().unwrap() == text);

        let begun = Instant::now();
        let wanted = || begun.elapsed() < Duration::from_millis(300);
        let (_deaf, writer) = io::pipe().unwrap();
        assert!(!write(&writer, &text, wanted));
        let (_deaf, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!write(&writer, &text, wanted));
        assert!(begun.elapsed() < Duration::from_secs(5));
        let (gone, writer) = io::pipe().unwrap();
        drop(gone);
        assert!(write(&writer, &text, wanted));
    }

    #[test]
    fn the_error_packet_counts_itself() {
        let packet = error_packet(Service::ReceivePack);
        let length = usize::from_str_radix(&packet[..4], 16).unwrap();
        assert_eq!(length, packet.len());
    }
}
