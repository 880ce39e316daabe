//! What an answer of storage means, and how a refusal is put into words. Pure: the clock is an argument.

use std::time::{Duration, SystemTime};

use super::time::{self, Life};

/// What of an error's text is read, in bytes.
pub(crate) const MAX_TEXT: u64 = 16 << 10;

/// What of it is shown, in characters.
const SHOWN: usize = 200;

/// Clocks that differ by less are not spoken of.
const CLOCK_TOLERANCE: i64 = 60;

/// An answer that is not what was wished for.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) status: u16,
    /// `Date`.
    pub(crate) date: Option<SystemTime>,
    /// `Location`.
    pub(crate) location: Option<&'a str>,
    /// The beginning of its body.
    pub(crate) text: &'a str,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no such object.
    Missing,
    /// Trying again may help.
    Again(String),
    /// Trying again cannot help.
    Never(String),
    /// There is no room.
    Full,
}

/// Judges an answer to a request with a URL of this life.
pub(crate) fn judge(refused: &Refused<'_>, life: Option<Life>, now: SystemTime) -> Verdict {
    let error = Error::read(refused.text);
    let said = said(refused.status, &error);
    match (refused.status, error.code) {
        (404, "NoSuchBucket") => Verdict::Never(format!("{said}: the bucket is not there, make it first")),
        (404, _) => Verdict::Missing,
        (507, _) | (413, _) if quota(refused.text) || refused.status == 507 => Verdict::Full,
        (300..=399, _) => Verdict::Never(elsewhere(refused, &said)),
        // Refusals of this one attempt: its body came too slowly, or not as it was sent.
        (408 | 429, _) | (400, "RequestTimeout" | "BadDigest") | (422, _) => Verdict::Again(said),
        (501 | 505, _) => Verdict::Never(said),
        (500..=599, _) => Verdict::Again(said),
        (400 | 401 | 403, code) => Verdict::Never(match clocks(refused, code, life, now) {
            Some(why) => format!("{said}: {why}"),
            None => format!("{said}{}", keys(refused.status, code)),
        }),
        _ => Verdict::Never(said),
    }
}

/// Swift and Ceph say so when an account or container has a quota.
fn quota(text: &str) -> bool {
    text.to_ascii_lowercase().contains("quota")
}

/// The code and the sentence of an answer in S3's XML, or the first line of any other.
struct Error<'a> {
    code: &'a str,
    message: &'a str,
}

impl<'a> Error<'a> {
    fn read(text: &'a str) -> Self {
        if let Some(code) = between(text, "<Code>", "</Code>") {
            return Self { code, message: between(text, "<Message>", "</Message>").unwrap_or_default() };
        }
        // Swift answers with a page of HTML: what is said stands in its paragraph or its title.
        let html = text.trim_start().starts_with('<');
        let message = between(text, "<p>", "</p>").or_else(|| between(text, "<title>", "</title>"));
        let first = if html { "" } else { text.lines().next().unwrap_or_default() };
        Self { code: "", message: message.unwrap_or(first) }
    }
}

/// The text is the server's: nothing in it is unescaped or believed, and it is cut before it is shown.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let rest = &text[text.find(open)? + open.len()..];
    Some(&rest[..rest.find(close)?])
}

fn said(status: u16, error: &Error<'_>) -> String {
    let shown = |text: &str| -> String {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        text.trim().chars().take(SHOWN).map(plain).collect()
    };
    let (code, message) = (shown(error.code), shown(error.message));
    match (code.is_empty(), message.is_empty()) {
        (true, true) => format!("storage answered {status}"),
        (false, true) => format!("storage answered {status} {code}"),
        (true, false) => format!("storage answered {status} ({message})"),
        (false, false) => format!("storage answered {status} {code} ({message})"),
    }
}

fn elsewhere(refused: &Refused<'_>, said: &str) -> String {
    let host = refused.location.and_then(|to| to.split_once("://")?.1.split(['/', '?', '#']).next());
    let to = match host {
        Some(host) => format!(" to `{}`", host.chars().take(SHOWN).collect::<String>().escape_debug()),
        None => String::new(),
    };
    format!(
        "{said}, which sends us elsewhere{to}: a signed address is good for one place, see `endpoint` and `region`"
    )
}

/// Why time is what is wrong with a request, where it is.
fn clocks(refused: &Refused<'_>, code: &str, life: Option<Life>, now: SystemTime) -> Option<String> {
    let there = refused.date.unwrap_or(now);
    let ahead = time::seconds_between(there, now);
    let span = |seconds: i64| time::in_words(seconds.unsigned_abs());
    let expired = life.map(|life| time::seconds_between(life.ends, there)).filter(|late| *late >= 0);
    let early = life.and_then(|life| life.begins).map(|begins| time::seconds_between(there, begins));
    let early = early.filter(|early| *early > CLOCK_TOLERANCE);
    let skewed = code == "RequestTimeTooSkewed";
    if (skewed || expired.is_some() || early.is_some()) && ahead.abs() > CLOCK_TOLERANCE {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        return Some(format!(
            "this machine's clock is {} {direction} that of storage, and signed addresses hold for a time only: \
             set the clocks right (NTP)",
            span(ahead)
        ));
    }
    if let Some(late) = expired {
        return Some(format!("the address expired {} ago", span(late)));
    }
    if early.is_some() || skewed {
        let by = early.map_or_else(String::new, |early| format!(" is {} ahead", span(early)));
        return Some(format!(
            "the clock of the machine that signed the address{by}, or not right: set it (NTP)"
        ));
    }
    None
}

/// What else may be wrong with who asks.
fn keys(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (403, "SignatureDoesNotMatch") => ": is the secret that of the access key, and the region right?",
        (403, "InvalidAccessKeyId") => ": the service does not know the access key",
        (403, "AccessDenied") => {
            ": may the key do this? Without the right to list the bucket (s3:ListBucket) storage answers so for \
             what is not there, too"
        }
        (401, "") => {
            ": is the key a TempURL key of the account or container, and is the digest allowed there?"
        }
        _ => "",
    }
}

/// How long to wait as the server asks, `Retry-After` in seconds; bounded.
pub(crate) fn retry_after(text: Option<&str>, most: Duration) -> Option<Duration> {
    let seconds = text?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn xml(code: &str, message: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>")
    }

    const NOW: u64 = 1_000_000;

    fn judged(status: u16, text: &str, storage: u64, life: Option<(u64, u64)>) -> Verdict {
        let life = life.map(|(begins, ends)| Life { begins: Some(at(begins)), ends: at(ends) });
        judge(&Refused { status, date: Some(at(storage)), location: None, text }, life, at(NOW))
    }

    fn never(status: u16, text: &str, storage: u64, life: Option<(u64, u64)>) -> String {
        match judged(status, text, storage, life) {
            Verdict::Never(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_nothing_else() {
        for status in [408, 429, 500, 502, 503, 504, 422] {
            assert!(matches!(judged(status, "", NOW, None), Verdict::Again(_)), "{status}");
        }
        for code in ["RequestTimeout", "BadDigest"] {
            assert!(matches!(judged(400, &xml(code, ""), NOW, None), Verdict::Again(_)), "{code}");
        }
        for status in [400, 401, 403, 405, 409, 411, 412, 416, 501] {
            assert!(matches!(judged(status, "", NOW, None), Verdict::Never(_)), "{status}");
        }
        assert_eq!(judged(404, &xml("NoSuchKey", ""), NOW, None), Verdict::Missing);
        assert!(never(404, &xml("NoSuchBucket", "no"), NOW, None).ends_with("make it first"));
        assert_eq!(judged(507, "", NOW, None), Verdict::Full);
        assert_eq!(judged(413, "<p>Upload exceeds quota.</p>", NOW, None), Verdict::Full);
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_from_an_address_that_ended() {
        let expired = xml("AccessDenied", "Request has expired");
        let signed_here_long_ago = Some((NOW - 1000, NOW - 600));
        assert_eq!(
            never(403, &expired, NOW, signed_here_long_ago),
            "storage answered 403 AccessDenied (Request has expired): the address expired 10 minutes ago"
        );
        let behind = never(403, &expired, NOW + 7200, Some((NOW - 10, NOW + 600)));
        assert!(behind.contains("this machine's clock is 2 hours behind that of storage"), "{behind}");
        let ahead = never(403, &xml("RequestTimeTooSkewed", "x"), NOW - 1800, Some((NOW, NOW + 600)));
        assert!(ahead.contains("this machine's clock is 30 minutes ahead of that of storage"), "{ahead}");
        let signer = never(403, &xml("AccessDenied", "not yet"), NOW, Some((NOW + 3600, NOW + 7200)));
        assert!(signer.contains("the machine that signed the address is 60 minutes ahead"), "{signer}");
        assert!(
            never(401, "<html><h1>Unauthorized</h1>", NOW, Some((0, NOW - 1)))
                .contains("expired 1 seconds ago")
        );
        let wrong = never(403, &xml("SignatureDoesNotMatch", "x"), NOW, Some((NOW, NOW + 9)));
        assert!(wrong.contains("is the secret that of the access key"), "{wrong}");
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        let long = never(
            400,
            &format!("<Code>A\u{1b}[31m\nB</Code><Message>{}</Message>", "x".repeat(5000)),
            NOW,
            None,
        );
        assert!(long.len() < 300 && long.lines().count() == 1 && !long.contains('\u{1b}'), "{long}");
        assert_eq!(never(405, "", NOW, None), "storage answered 405");
        assert_eq!(never(405, "no\nsecond line", NOW, None), "storage answered 405 (no)");
        assert_eq!(never(405, "<html><title>Nope</title>", NOW, None), "storage answered 405 (Nope)");
        assert_eq!(never(405, "<Code>half", NOW, None), "storage answered 405");
    }

    #[test]
    fn a_redirect_is_named_without_what_is_secret_in_it() {
        let location = Some("https://b.eu-west-1.example/k?X-Amz-Signature=s3cret");
        let refused = Refused { status: 301, date: None, location, text: "" };
        let Verdict::Never(why) = judge(&refused, None, at(NOW)) else { panic!() };
        assert!(why.contains("`b.eu-west-1.example`") && !why.contains("s3cret"), "{why}");
    }

    #[test]
    fn servers_do_not_make_us_wait_for_ever() {
        let most = Duration::from_secs(20);
        assert_eq!(retry_after(Some("3"), most), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("86400"), most), Some(most));
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT"), most), None);
        assert_eq!(retry_after(None, most), None);
    }
}
