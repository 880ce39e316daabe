//! The clock of the API, by which every lease is judged: milliseconds since 1970-01-01 UTC.

/// A moment, or a span, in milliseconds.
pub(crate) type Millis = i64;

/// Microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

pub(crate) fn now() -> Millis {
    jiff::Timestamp::now().as_millisecond()
}

/// RFC 3339, UTC, whole seconds: `2026-11-22T20:15:00Z`.
pub(crate) fn rfc3339(moment: Millis) -> String {
    let moment = jiff::Timestamp::from_second(moment.div_euclid(1000)).unwrap_or_default();
    moment.to_string()
}

/// The same with microseconds and an offset, of microseconds, as logs have it:
/// `2026-11-22T20:15:00.123000+00:00`.
pub(crate) fn rfc3339_of_micros(moment: i64) -> String {
    let moment = jiff::Timestamp::from_microsecond(moment).unwrap_or_default();
    moment.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// Whole seconds from `since` to `now`; 0 when the clock was set back in between.
pub(crate) fn seconds_between(since: Millis, now: Millis) -> u64 {
    u64::try_from((now - since) / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_rfc_3339_without_fractions() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_795_381_402_999), "2026-11-22T21:03:22Z");
    }

    #[test]
    fn moments_in_logs_are_finer() {
        assert_eq!(rfc3339_of_micros(1_795_381_402_099_000), "2026-11-22T21:03:22.099000+00:00");
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_negative_span() {
        assert_eq!(seconds_between(1000, 3999), 2);
        assert_eq!(seconds_between(5000, 1000), 0);
    }
}
