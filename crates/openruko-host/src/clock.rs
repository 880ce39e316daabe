//! What time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn millis() -> u64 {
    micros() / 1000
}

/// Milliseconds since 1970 that never go back, whatever is done to the system's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    at: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), at: millis() }
    }

    pub(crate) fn now(&self) -> u64 {
        self.at + u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }

    /// When it will be that time; now, when it was.
    pub(crate) fn instant(&self, at: u64) -> Instant {
        let now = Instant::now();
        now + Duration::from_millis(at.saturating_sub(self.now()))
    }
}

/// A time as it stands in a log: `2026-11-22T11:06:39.172134+00:00`. The days are counted as Howard Hinnant's
/// `civil_from_days` does (<https://howardhinnant.github.io/date_algorithms.html>).
pub(crate) fn rfc3339(micros: u64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (days, second) = (seconds / 86400, seconds % 86400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_a_log() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(rfc3339(951_782_400_000_001), "2000-02-29T00:00:00.000001+00:00");
        assert_eq!(rfc3339(1_795_345_599_172_134), "2026-11-22T11:06:39.172134+00:00");
    }
}
