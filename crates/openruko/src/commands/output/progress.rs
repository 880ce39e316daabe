//! What is being done, and that it was done.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const TURN: Duration = Duration::from_millis(120);

const FRAMES: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];

/// Takes back the line that the terminal shows.
const BACK: &str = "\r\x1b[K";

/// Says on stderr what is done, with something that turns where it is a terminal, and how it ended: `work`
/// gives its result and the words for that.
pub(super) fn action<T, E>(
    terminal: bool,
    what: &str,
    work: impl FnOnce() -> Result<(T, String), E>,
) -> Result<T, E> {
    let worked = if terminal { with_spinner(what, work) } else { work() };
    let end = match &worked {
        Ok((_, end)) => ruko_core::exit::one_line(end),
        Err(_) => "!".to_owned(),
    };
    let _ = writeln!(io::stderr(), "{what}... {end}");
    worked.map(|(result, _)| result)
}

fn with_spinner<T>(what: &str, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (done, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            let mut frames = FRAMES.iter().cycle();
            loop {
                let frame = frames.next().copied().unwrap_or_default();
                let _ = write!(io::stderr(), "{BACK}{what}... {frame}");
                if ended.recv_timeout(TURN) != Err(RecvTimeoutError::Timeout) {
                    let _ = write!(io::stderr(), "{BACK}");
                    return;
                }
            }
        });
        let worked = work();
        drop(done);
        worked
    })
}
