//! The first line of stdin.

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::signal::Signal;
use nix::unistd::read as read_file;
use ruko_core::dyno::{DynoStart, MAX_START};
use ruko_core::message::bytes;
use ruko_core::{Fault, Hint};
use std::io;
use std::os::fd::AsFd;

use crate::signals::{Came, Signals};
use crate::wait;

/// How much is read at a time.
const CHUNK: usize = 16 << 10;

/// What came first.
pub(crate) enum Read {
    /// What to run, and what was read of the command's stdin.
    Start(DynoStart, Vec<u8>),
    /// It is to end before it began.
    Signalled(Signal),
}

/// Waits for the line, however long that takes: the keeper ends with its caller, and this with the keeper.
pub(crate) fn read(signals: &mut Signals) -> Result<Read, Fault> {
    let stdin = io::stdin();
    let mut line = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let files = [Some((signals.as_fd(), PollFlags::POLLIN)), Some((stdin.as_fd(), PollFlags::POLLIN))];
        let [signal, input] = wait::for_any(files, None).map_err(io::Error::from)?;
        if signal && let Some(Came::PassOn(signal)) = signals.next().map_err(io::Error::from)? {
            return Ok(Read::Signalled(signal));
        }
        if !input {
            continue;
        }
        let count = match read_file(stdin.as_fd(), &mut chunk) {
            Err(Errno::EINTR | Errno::EAGAIN) => continue,
            other => other.map_err(io::Error::from).fault("cannot read what to run")?,
        };
        if count == 0 {
            return Err(Fault::refused("nothing came that is to be run"));
        }
        if let Some(whole) = extend(&mut line, &chunk[..count])? {
            return whole;
        }
    }
}

/// Adds what was read; the end of the line makes it whole.
fn extend(line: &mut Vec<u8>, chunk: &[u8]) -> Result<Option<Result<Read, Fault>>, Fault> {
    let end = chunk.iter().position(|byte| *byte == b'\n');
    let (part, rest) = match end {
        Some(end) => (&chunk[..end], &chunk[end + 1..]),
        None => (chunk, &[][..]),
    };
    if line.len() + part.len() > MAX_START {
        return Err(Fault::refused(format!("what to run is longer than {}", bytes(MAX_START as u64))));
    }
    line.extend_from_slice(part);
    let parse = |_| {
        // Without the parser's words: they may show a part of a config var.
        let start = serde_json::from_slice(line).map_err(|_| Fault::refused("what to run is not valid"));
        start.map(|start| Read::Start(start, rest.to_vec()))
    };
    Ok(end.map(parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = br#"{"command":"true","env":{"A":"b"},"terminal":null,"stdin":true}"#;

    #[test]
    fn what_follows_the_line_is_the_commands() {
        let mut line = Vec::new();
        assert!(extend(&mut line, &LINE[..10]).unwrap().is_none());
        let rest = [&LINE[10..], b"\nfirst\nsecond"].concat();
        let Some(Ok(Read::Start(start, rest))) = extend(&mut line, &rest).unwrap() else {
            panic!("not whole")
        };
        assert_eq!((start.command.as_str(), rest.as_slice()), ("true", &b"first\nsecond"[..]));
    }

    #[test]
    fn a_line_that_is_wrong_shows_nothing_of_itself() {
        let mut line = Vec::new();
        let Some(Err(fault)) = extend(&mut line, b"{\"env\":{\"KEY\":7777}}\n").unwrap() else {
            panic!("valid")
        };
        assert!(!fault.message.contains("7777"), "{}", fault.message);
    }

    #[test]
    fn a_line_without_end_is_refused_at_its_bound() {
        let mut line = vec![b' '; MAX_START - 1];
        assert!(extend(&mut line, b" ").unwrap().is_none());
        let why = extend(&mut line, b" ").err().unwrap().message;
        assert!(why.contains("8.0 MB"), "{why}");
    }
}
