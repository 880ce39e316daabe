//! Moments as people read them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// An RFC 3339 time in this machine's time zone, and how long ago it was. Text that is no time stays.
pub(crate) fn when(time: &str) -> String {
    shown(time, Timestamp::now(), TimeZone::system())
}

fn shown(time: &str, now: Timestamp, zone: TimeZone) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return time.to_owned() };
    let local = then.to_zoned(zone).strftime("%Y/%m/%d %H:%M:%S %z");
    format!("{local} (~ {} ago)", length(now.duration_since(then)))
}

fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_and_say_how_long_ago() {
        let now = "2026-11-22T11:09:39Z".parse().unwrap();
        let said = |time| shown(time, now, TimeZone::fixed(jiff::tz::offset(1)));
        assert_eq!(said("2026-11-22T11:06:39Z"), "2026/11/22 12:06:39 +0100 (~ 3m ago)");
        assert_eq!(said("2026-11-20T11:06:39Z"), "2026/11/20 12:06:39 +0100 (~ 2d ago)");
        assert_eq!(said("2026-11-22T11:10:39Z"), "2026/11/22 12:10:39 +0100 (~ 0s ago)");
        assert_eq!(said("yesterday"), "yesterday");
    }
}
