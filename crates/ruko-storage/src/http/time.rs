//! Times as they stand in signed URLs and in answers.

use std::time::{Duration, SystemTime};

/// When a URL was signed, where it says so, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) begins: Option<SystemTime>,
    pub(crate) ends: SystemTime,
}

/// The life of a signed URL: S3's `X-Amz-Date` and `X-Amz-Expires`, Swift's `temp_url_expires`.
pub(crate) fn life(url: &str) -> Option<Life> {
    let query = url.split_once('?')?.1;
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    if let Some(ends) = value("temp_url_expires") {
        return Some(Life { begins: None, ends: at(ends.parse().ok()?)? });
    }
    let begins = basic_iso(value("X-Amz-Date")?)?;
    let ends = begins.checked_add(Duration::from_secs(value("X-Amz-Expires")?.parse().ok()?))?;
    Some(Life { begins: Some(begins), ends })
}

/// `20130524T000000Z`
fn basic_iso(text: &str) -> Option<SystemTime> {
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let shape = text.len() == 16 && text.is_ascii() && &text[8..9] == "T" && text.ends_with('Z');
    if !shape {
        return None;
    }
    date_time(digits(0, 4)?, digits(4, 6)?, digits(6, 8)?, (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?))
}

/// The time of an answer: `Fri, 24 May 2013 00:00:00 GMT` (RFC 9110, section 5.6.7, IMF-fixdate).
pub(crate) fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let clock = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() == Some("GMT") { date_time(year, month, day, clock) } else { None }
}

fn date_time(year: u64, month: u64, day: u64, (hour, minute, second): (u64, u64, u64)) -> Option<SystemTime> {
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !fits {
        return None;
    }
    // Days since 1 March of the year 0, so that a leap day is a year's last: months have 153 days in five.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    // 1 January 1970 is the day 719468 of that count.
    at((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn at(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Seconds from one time to another; negative when that is before it.
pub(crate) fn seconds_between(from: SystemTime, to: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    to.duration_since(from).map_or_else(|earlier| -seconds(earlier.duration()), seconds)
}

/// A span in words, in the largest unit of which there are two.
pub(crate) fn in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Fri, 24 May 2013 00:00:00 GMT", 1_369_353_600),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Mon, 30 Nov 2026 20:17:46 GMT", 1_796_069_866),
        ] {
            assert_eq!(http_date(text), at(seconds), "{text}");
        }
        for wrong in
            ["", "now", "Fri, 24 May 2013 00:00:00", "Fri, 24 Foo 2013 00:00:00 GMT", "Fri, 24 May 2013"]
        {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_signed_url_says_how_long_it_lives() {
        let s3 =
            "https://b/k?X-Amz-Algorithm=A&X-Amz-Date=20130524T000000Z&X-Amz-Expires=60&X-Amz-Signature=s";
        assert_eq!(life(s3), Some(Life { begins: at(1_369_353_600), ends: at(1_369_353_660).unwrap() }));
        let swift = "https://s/v1/a/c/k?temp_url_sig=s&temp_url_expires=1323479485";
        assert_eq!(life(swift), Some(Life { begins: None, ends: at(1_323_479_485).unwrap() }));
        for none in
            ["https://b/k", "https://b/k?X-Amz-Date=2013&X-Amz-Expires=1", "https://b/k?temp_url_expires=x"]
        {
            assert_eq!(life(none), None, "{none}");
        }
        let huge = "https://b/k?X-Amz-Date=20130524T000000Z&X-Amz-Expires=99999999999999999999";
        assert_eq!(life(huge), None);
    }

    #[test]
    fn spans_are_told_in_units_that_say_something() {
        for (seconds, words) in
            [(61, "61 seconds"), (900, "15 minutes"), (10_000, "2 hours"), (200_000, "2 days")]
        {
            assert_eq!(in_words(seconds), words);
        }
    }
}
