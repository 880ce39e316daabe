//! One line of a log, and what of a text may stand in it.

use std::borrow::Cow;

use ruko_api_types::log::{LogSource, MAX_TEXT};

use crate::clock;

/// How much later than now a line may have been said, in microseconds: clocks differ.
const AHEAD: i64 = 5 * 60 * 1_000_000;

/// The longest name of a process, in bytes: a process type of 63, a dot, and the ten digits of a dyno's number.
const MAX_PROCESS: usize = 63 + 1 + 10;

/// The length of a moment as it is shown.
const MOMENT: usize = 32;

/// The longest sequence that sets colours, in bytes.
const MAX_COLOUR: usize = 64;

/// A line that is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number in the app's log: it only rises.
    pub(crate) seq: u64,
    /// When it was said, in microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) source: LogSource,
    /// `2026-11-22T11:06:39.172000+00:00 app[web.1]: text`
    shown: String,
    /// Where the text begins.
    text: usize,
}

impl Line {
    /// The process must be a name, the text one that was [`judged`].
    pub(crate) fn new(seq: u64, said: &Said) -> Self {
        let Said { at, source, process, text } = said;
        let mut shown = format!("{} {}[{process}]: ", clock::rfc3339_of_micros(*at), source.as_str());
        let start = shown.len();
        shown.push_str(text);
        Self { seq, at: *at, source: *source, shown, text: start }
    }

    /// As it stands in the file.
    pub(super) fn of_record(record: &str) -> Option<Self> {
        let (seq, shown) = record.split_once(' ')?;
        let rest = shown.get(MOMENT + 1..)?;
        let (head, _) = rest.split_once("]: ")?;
        let (source, process) = head.split_once('[')?;
        let source = [LogSource::App, LogSource::Heroku].into_iter().find(|s| s.as_str() == source)?;
        let at = shown.get(..MOMENT)?.parse::<jiff::Timestamp>().ok()?.as_microsecond();
        let text = MOMENT + 1 + head.len() + "]: ".len();
        is_process(process).then_some(())?;
        Some(Self { seq: seq.parse().ok()?, at, source, shown: shown.to_owned(), text })
    }

    /// As it is told.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// When it was said, as it is told.
    pub(crate) fn moment(&self) -> &str {
        &self.shown[..MOMENT]
    }

    /// `web.1`
    pub(crate) fn process(&self) -> &str {
        &self.shown[MOMENT + 1 + self.source.as_str().len() + 1..self.text - "]: ".len()]
    }

    pub(crate) fn text(&self) -> &str {
        &self.shown[self.text..]
    }

    /// What it takes in memory, roughly.
    pub(super) fn size(&self) -> usize {
        self.shown.len() + size_of::<Self>()
    }
}

/// What is to become a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// In microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) source: LogSource,
    pub(crate) process: String,
    /// One that was [`judged`].
    pub(crate) text: String,
}

impl Said {
    /// What the platform says now.
    pub(crate) fn now(source: LogSource, process: &str, text: &str) -> Vec<Self> {
        Self::all(clock::now_micros(), source, process, text)
    }

    /// What was said, as one line or, if it is too long for that, as several.
    pub(crate) fn all(at: i64, source: LogSource, process: &str, text: &str) -> Vec<Self> {
        let said = |text: &str| Self { at, source, process: process.to_owned(), text: text.to_owned() };
        pieces(&judged(source, text)).map(said).collect()
    }
}

/// A time that a line can have.
pub(crate) fn time(micros: u64, now: i64) -> i64 {
    i64::try_from(micros).map_or(now, |at| at.min(now.saturating_add(AHEAD)))
}

/// Whether it can stand for a process.
pub(crate) fn is_process(name: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=MAX_PROCESS).contains(&name.len()) && name.bytes().all(fit)
}

/// A text as it can stand in a line: nobody makes another line with it, or drives the terminal of its reader.
/// Breaks of lines become spaces, and other control characters but the tab U+FFFD. What apps say may have colours,
/// as on Heroku; the escape character of every other sequence becomes its picture, `␛`.
pub(crate) fn judged(source: LogSource, text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches(['\n', '\r']);
    // The last two begin the encodings of U+0080 to U+009F, and of U+2028 and U+2029.
    let suspect = |b: u8| (b < b' ' && b != b'\t') || matches!(b, 0x7f | 0xc2 | 0xe2);
    if !text.bytes().any(suspect) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match c {
            '\x1b' if source == LogSource::App && colour(rest) > 0 => {
                let (sequence, after) = rest.split_at(colour(rest));
                kept.push_str(sequence);
                rest = after;
                continue;
            }
            '\x1b' => kept.push('\u{241b}'),
            '\t' => kept.push('\t'),
            '\n' | '\r' | '\x0b' | '\x0c' | '\u{85}' | '\u{2028}' | '\u{2029}' => kept.push(' '),
            c if c.is_control() => kept.push(char::REPLACEMENT_CHARACTER),
            c => kept.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(kept)
}

/// How long the sequence is that sets colours and stands at the beginning; 0: there is none. (SGR of ECMA-48.)
fn colour(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else { return 0 };
    let is_parameter = |b: &u8| b.is_ascii_digit() || b";:".contains(b);
    let length = parameters.bytes().take(MAX_COLOUR).take_while(is_parameter).count();
    if parameters[length..].starts_with('m') { "\x1b[m".len() + length } else { 0 }
}

/// In pieces that are not too long; at least one.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (piece, after) = rest?.split_at(rest?.floor_char_boundary(MAX_TEXT));
        rest = (!after.is_empty()).then_some(after);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_of_apps_pass_and_nothing_that_drives_a_terminal() {
        for (said, kept) in [
            ("plain\ttext é", "plain\ttext é"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[38:5:1mx\x1b[m", "\x1b[38:5:1mx\x1b[m"),
            ("\x1b[2J\x1b]0;title\x07", "\u{241b}[2J\u{241b}]0;title\u{fffd}"),
            ("a\x1b", "a\u{241b}"),
            ("one\r\n", "one"),
            ("10%\r20%", "10% 20%"),
            ("a\nb\u{2028}c\u{85}d", "a b c d"),
            ("\0\u{9b}31m\x7f", "\u{fffd}\u{fffd}31m\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(judged(LogSource::App, said), kept, "{said:?}");
        }
        assert_eq!(judged(LogSource::Heroku, "\x1b[31mx"), "\u{241b}[31mx");
    }

    #[test]
    fn what_is_too_long_becomes_several_lines() {
        let long = "é".repeat(MAX_TEXT);
        let lines = Said::all(0, LogSource::App, "web.1", &long);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<String>(), long);
        assert_eq!(Said::all(0, LogSource::App, "web.1", "").len(), 1);
    }

    #[test]
    fn nobody_says_something_in_the_far_future() {
        assert_eq!(time(u64::MAX, 5), 5);
        assert_eq!(time(1 << 60, 5), 5 + AHEAD);
        assert_eq!(time(3, 5), 3);
    }

    #[test]
    fn a_process_is_a_plain_name() {
        assert!(["web.1", "router", "run.1234", "logplex", "a-b_c.1"].iter().all(|name| is_process(name)));
        assert!(is_process(&format!("{}.{}", "x".repeat(63), u32::MAX)));
        let long = "x".repeat(75);
        assert!(!["", "a b", "a]", "é", "a\n", &long].iter().any(|name| is_process(name)));
    }

    proptest! {
        #[test]
        fn a_line_reads_back_from_its_record(text: String, app: bool, at in 0_i64..4_000_000_000_000_000) {
            let source = if app { LogSource::App } else { LogSource::Heroku };
            let said = Said::all(at, source, "web.1", &text).remove(0);
            let line = Line::new(7, &said);
            prop_assert!(!line.shown().contains(['\n', '\r']));
            prop_assert_eq!(line.process(), "web.1");
            prop_assert_eq!(line.text(), said.text.as_str());
            prop_assert_eq!(line.moment(), clock::rfc3339_of_micros(at));
            prop_assert_eq!(Line::of_record(&format!("7 {}", line.shown())), Some(line));
        }
    }
}
