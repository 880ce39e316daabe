//! Time for what is measured in seconds and asked for with every read and write.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Now, as the kernel noted it at its last tick, some milliseconds ago at most: costs next to nothing.
pub(crate) fn now() -> Duration {
    // There is this clock since Linux 2.6.32.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_forward() {
        let (start, began) = (super::now(), std::time::Instant::now());
        while super::now() == start {
            assert!(began.elapsed().as_secs() < 10, "it stands still");
        }
        assert!(super::now() > start);
    }
}
