//! Waiting for an event, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How often is looked where nothing tells.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` gives something.
///
/// # Panics
/// `within` passes first.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < within, "{what}: not seen within {within:?}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `look` is true.
///
/// # Panics
/// `within` passes first.
pub fn until(what: &str, within: Duration, mut look: impl FnMut() -> bool) {
    eventually(what, within, || look().then_some(()));
}
