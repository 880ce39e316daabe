//! Waiting for files.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until one of these is ready or has failed, or the time has come, and says which.
pub(crate) fn for_any<const N: usize>(
    files: [Option<(BorrowedFd<'_>, PollFlags)>; N],
    until: Option<Instant>,
) -> Result<[bool; N], Errno> {
    let mut polled: Vec<PollFd<'_>> =
        files.iter().flatten().map(|(file, events)| PollFd::new(*file, *events)).collect();
    match poll(&mut polled, timeout(until)) {
        Err(Errno::EINTR) => return Ok([false; N]),
        other => other?,
    };
    let mut ready = polled.iter().map(|file| file.any().unwrap_or(true));
    Ok(files.map(|file| file.is_some() && ready.next().unwrap_or(false)))
}

/// Waits until the other end of a file has gone; `false` when the time has come before.
pub(crate) fn for_error(file: BorrowedFd<'_>, until: Instant) -> Result<bool, Errno> {
    for_any([Some((file, PollFlags::empty()))], Some(until)).map(|[ready]| ready)
}

/// Rounded up, so that the time has come when this is over.
fn timeout(until: Option<Instant>) -> PollTimeout {
    let Some(until) = until else { return PollTimeout::NONE };
    let left = until.saturating_duration_since(Instant::now());
    let left = left.saturating_add(Duration::from_micros(999));
    PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX)
}
