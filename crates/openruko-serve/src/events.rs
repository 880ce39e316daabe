//! Everything that can happen to a run, in one queue: the main thread waits on it and on nothing else.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ruko_core::container::RunEvent;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// Nobody reads our stdout any more.
    ClientGone,
    /// We were told to stop.
    Signal,
    /// The lease ran out or was taken away.
    LeaseLost,
    /// The container's keeper spoke.
    Container(RunEvent),
    /// The container's keeper has ended.
    ContainerClosed {
        /// What it said on stderr, for the admin.
        last_word: String,
    },
    /// The ssh that runs the git service in the container ended.
    GitEnded,
}

/// The queue.
pub(crate) struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Events {
    /// Makes the queue and starts to watch stdout's other end and the signals that ask for an end.
    pub(crate) fn watch_client_and_signals() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let client = sender.clone();
        thread::spawn(move || {
            wait_for_hang_up(io::stdout());
            let _ = client.send(Event::ClientGone);
        });
        let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let told = sender.clone();
        thread::spawn(move || {
            for _ in signals.forever() {
                let _ = told.send(Event::Signal);
            }
        });
        Ok(Self { sender, receiver })
    }

    /// A queue into which nothing comes but what a test sends.
    #[cfg(test)]
    pub(crate) fn of_test() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }

    /// Another sender into the queue.
    pub(crate) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Waits for the next event, until `deadline` at the latest.
    pub(crate) fn next_before(&self, deadline: Instant) -> Option<Event> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.receiver.recv_timeout(left).ok()
    }

    /// Waits for the next event.
    pub(crate) fn next(&self) -> Event {
        loop {
            // `self` holds a sender, so the queue never closes.
            if let Some(event) = self.next_before(Instant::now() + Duration::from_secs(3600)) {
                return event;
            }
        }
    }

    /// An event that already happened.
    pub(crate) fn happened(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }
}

/// Returns when the other end of a pipe or socket is closed; for ever asleep on a file or terminal.
///
/// sshd sends no signal when a client without a terminal goes away. It closes our pipes; poll reports
/// that even when asked for no event (poll(2): POLLERR, POLLHUP).
fn wait_for_hang_up(out: impl AsFd) {
    loop {
        let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
        if poll(&mut fds, PollTimeout::NONE).is_ok_and(|ready| ready > 0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_away_is_seen_at_once() {
        let (reader, writer) = std::io::pipe().unwrap();
        let watcher = thread::spawn(move || wait_for_hang_up(writer));
        assert!(!watcher.is_finished());
        drop(reader);
        watcher.join().unwrap();
    }

    #[test]
    fn so_is_a_socket_whose_peer_goes_away() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let watcher = thread::spawn(move || wait_for_hang_up(here));
        drop(there);
        watcher.join().unwrap();
    }
}
