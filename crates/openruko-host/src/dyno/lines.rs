//! From bytes to lines, bounded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ruko_api_types::log::{LogSource, MAX_TEXT};

use super::wire::Line;

/// What is kept for an agent that is away, in bytes.
const RING: usize = 1 << 20;

/// What a line costs beside its text.
const COST: usize = 64;

/// Lines that a dyno may print in a second.
const LINES_A_SECOND: f64 = 2000.0;

/// Bytes that a dyno may print in a second.
const BYTES_A_SECOND: f64 = 1048576.0;

/// So many seconds' worth may come at once.
const BURST: f64 = 2.0;

/// Cuts bytes into lines of at most [`MAX_TEXT`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    held: Vec<u8>,
}

impl Splitter {
    /// Takes bytes and gives each line that they end, without its end.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (head, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.held.is_empty() {
                pieces(head, &mut line);
            } else {
                self.held.extend_from_slice(head);
                pieces(&self.held, &mut line);
                self.held.clear();
            }
            bytes = rest;
        }
        self.held.extend_from_slice(bytes);
        while self.held.len() > MAX_TEXT {
            let cut = cut(&self.held);
            line(&self.held[..cut]);
            self.held.drain(..cut);
        }
        if self.held.is_empty() && self.held.capacity() > 4096 {
            self.held = Vec::new();
        }
    }

    /// What was said last without an end of line.
    pub(crate) fn end(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.held)).filter(|held| !held.is_empty())
    }
}

/// A line as it is passed on: in pieces if it is too long.
fn pieces(mut whole: &[u8], line: &mut impl FnMut(&[u8])) {
    if let [head @ .., b'\r'] = whole {
        whole = head;
    }
    while whole.len() > MAX_TEXT {
        let (piece, rest) = whole.split_at(cut(whole));
        line(piece);
        whole = rest;
    }
    line(whole);
}

/// Where a text that is too long is cut: not within a character, unless it is no UTF-8 anyway.
fn cut(bytes: &[u8]) -> usize {
    let most = MAX_TEXT.min(bytes.len());
    let back = bytes[..=most.min(bytes.len() - 1)].iter().rev().take(4).position(|b| b & 0xc0 != 0x80);
    match back {
        Some(back) if back < most => most - back,
        _ => most,
    }
}

/// Text that is UTF-8 whatever the bytes, in pieces that are short enough.
pub(crate) fn texts(bytes: &[u8]) -> Vec<String> {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let mut texts = Vec::new();
    while text.len() > MAX_TEXT {
        let rest = text.split_off(cut(text.as_bytes()));
        texts.push(std::mem::replace(&mut text, rest));
    }
    texts.push(text);
    texts
}

/// How much a dyno may print.
#[derive(Debug)]
struct Allowance {
    lines: f64,
    bytes: f64,
    at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { lines: BURST * LINES_A_SECOND, bytes: BURST * BYTES_A_SECOND, at: now }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.lines = (self.lines + passed * LINES_A_SECOND).min(BURST * LINES_A_SECOND);
        self.bytes = (self.bytes + passed * BYTES_A_SECOND).min(BURST * BYTES_A_SECOND);
        #[expect(clippy::cast_precision_loss, reason = "lengths are small")]
        let bytes = bytes as f64;
        let enough = self.lines >= 1.0 && self.bytes >= bytes;
        if enough {
            self.lines -= 1.0;
            self.bytes -= bytes;
        }
        enough
    }
}

/// Lines that were dropped.
#[derive(Clone, Debug)]
struct Dropped {
    lines: u64,
    since: u64,
    /// When somebody is told, if no line comes before; none: when the agent has made room for it.
    tell: Option<Instant>,
}

/// The lines of a dyno that are not yet kept elsewhere.
#[derive(Debug)]
pub(crate) struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    next: u64,
    offset: u64,
    allowance: Allowance,
    dropped: Option<Dropped>,
}

/// How long the news of dropped lines waits for a line that it can come with.
const TELL_AFTER: Duration = Duration::from_secs(1);

impl Ring {
    pub(crate) fn new(now: Instant) -> Self {
        let allowance = Allowance::new(now);
        Self { lines: VecDeque::new(), bytes: 0, next: 1, offset: 0, allowance, dropped: None }
    }

    /// So many lines there were.
    pub(crate) fn count(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line with this number; none while there is none, the first that is left where it was dropped.
    pub(crate) fn get(&self, seq: u64) -> Option<&Line> {
        let first = self.lines.front()?.seq;
        self.lines.get(usize::try_from(seq.saturating_sub(first)).ok()?)
    }

    /// Something that the app said. False: it says too much, and this was dropped.
    pub(crate) fn app(&mut self, bytes: &[u8], now: Instant, at: u64) -> bool {
        if !self.allowance.take(bytes.len(), now) {
            self.drop_one(now, at);
            return false;
        }
        if self.tell_at().is_some() {
            self.tell_dropped(at);
        }
        for text in texts(bytes) {
            let length = text.len() as u64 + 1;
            self.push(LogSource::App, text, at);
            self.offset += length;
        }
        true
    }

    /// Something that the platform says of it.
    pub(crate) fn say(&mut self, text: impl Into<String>, at: u64) {
        self.push(LogSource::Heroku, text.into(), at);
    }

    /// When [`Ring::tell_dropped`] is due.
    pub(crate) fn tell_at(&self) -> Option<Instant> {
        self.dropped.as_ref()?.tell
    }

    /// Says how many lines were dropped, unless that would cost another one.
    pub(crate) fn tell_dropped(&mut self, at: u64) {
        let Some(dropped) = &mut self.dropped else { return };
        let (lines, since) = (dropped.lines, crate::clock::rfc3339(dropped.since));
        let text = format!("Error L12 (Local buffer overflow): {lines} messages dropped since {since}.");
        if self.bytes + text.len() + COST > RING {
            dropped.tell = None;
            return;
        }
        self.dropped = None;
        self.say(text, at);
    }

    fn drop_one(&mut self, now: Instant, at: u64) {
        let dropped = self.dropped.get_or_insert(Dropped { lines: 0, since: at, tell: Some(now) });
        dropped.lines += 1;
        dropped.tell = dropped.tell.map(|_| now + TELL_AFTER);
    }

    fn push(&mut self, source: LogSource, text: String, at: u64) {
        self.bytes += text.len() + COST;
        self.lines.push_back(Line { seq: self.next, at, source, text, offset: self.offset });
        self.next += 1;
        while self.bytes > RING {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len() + COST;
            let dropped = self.dropped.get_or_insert(Dropped { lines: 0, since: oldest.at, tell: None });
            dropped.lines += 1;
            (dropped.since, dropped.tell) = (dropped.since.min(oldest.at), None);
        }
    }

    /// Forgets the lines up to this one. In their place it can be said how many were dropped.
    pub(crate) fn acknowledge(&mut self, seq: u64, at: u64) {
        while self.lines.front().is_some_and(|line| line.seq <= seq) {
            let Some(line) = self.lines.pop_front() else { break };
            self.bytes -= line.text.len() + COST;
        }
        if self.lines.is_empty() && self.lines.capacity() > 64 {
            self.lines = VecDeque::new();
        }
        if self.dropped.as_ref().is_some_and(|dropped| dropped.tell.is_none()) {
            self.tell_dropped(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line.to_vec()));
        }
        lines.extend(splitter.end());
        lines
    }

    #[test]
    fn lines_are_cut_at_their_ends_and_the_last_needs_none() {
        let lines = split(&[b"one\ntw", b"o\r\n\nthr", b"ee"]);
        assert_eq!(lines, [&b"one"[..], b"two", b"", b"three"]);
        assert!(split(&[b""]).is_empty());
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let long = "é".repeat(MAX_TEXT);
        let lines = split(&[b"x", long.as_bytes(), b"\nend"]);
        assert!(lines.iter().all(|line| line.len() <= MAX_TEXT && std::str::from_utf8(line).is_ok()));
        assert_eq!(lines.concat(), ["x".as_bytes(), long.as_bytes(), b"end"].concat());
        let texts = texts(&[0xff; MAX_TEXT]);
        assert!(texts.iter().all(|text| text.len() <= MAX_TEXT));
        assert_eq!(texts.concat(), "\u{fffd}".repeat(MAX_TEXT));
    }

    #[test]
    fn who_floods_is_told_how_much_was_dropped() {
        let now = Instant::now();
        let mut ring = Ring::new(now);
        let kept = (0..10_000).filter(|_| ring.app(b"flood", now, 1_000_000)).count();
        assert_eq!(kept, 4000);
        assert_eq!(ring.count(), 4000);
        let later = now + Duration::from_secs(1);
        assert!(ring.app(b"calm", later, 2_000_000));
        let told = ring.get(4001).unwrap();
        assert_eq!((told.source, ring.get(4002).unwrap().text.as_str()), (LogSource::Heroku, "calm"));
        assert_eq!(
            told.text,
            "Error L12 (Local buffer overflow): 6000 messages dropped since 1970-01-01T00:00:01.000000+00:00."
        );
    }

    #[test]
    fn an_agent_that_is_away_costs_the_oldest_lines_and_no_memory() {
        let start = Instant::now();
        let mut ring = Ring::new(start);
        let line = [b'x'; 1000];
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            for _ in 0..1000 {
                ring.app(&line, now, second * 1_000_000);
            }
        }
        assert!(ring.bytes <= RING && ring.lines.capacity() < 4096);
        let first = ring.lines.front().unwrap().seq;
        assert!(ring.get(1).unwrap().seq == first && ring.get(first + 1).unwrap().seq == first + 1);
        // The news of it would cost one more: it waits for the agent, and takes nobody's place.
        assert_eq!(ring.tell_at(), None);
        assert!(ring.lines.iter().all(|line| line.source == LogSource::App));
        let lost = first - 1;
        ring.acknowledge(first, 60_000_000);
        let told = ring.lines.back().unwrap();
        assert_eq!(
            told.text,
            format!(
                "Error L12 (Local buffer overflow): {lost} messages dropped since \
                 1970-01-01T00:00:00.000000+00:00."
            )
        );
        ring.acknowledge(ring.count(), 60_000_000);
        assert!(ring.is_empty() && ring.bytes == 0 && ring.dropped.is_none());
    }

    #[test]
    fn a_flood_that_nobody_takes_is_told_of_once() {
        let now = Instant::now();
        let mut ring = Ring::new(now);
        let line = [b'x'; 5000];
        let said = 1000;
        for (second, at) in [(0, 0), (2, 2_000_000)] {
            let now = now + Duration::from_secs(second);
            for _ in 0..said {
                ring.app(&line, now, at);
            }
        }
        assert!(ring.lines.iter().all(|line| line.source == LogSource::App));
        let kept = ring.lines.len() as u64;
        ring.acknowledge(ring.count() - 1, 3_000_000);
        let told = format!("{} messages dropped since 1970-01-01T00:00:00.000000", 2 * said - kept);
        assert!(ring.lines[1].text.contains(&told), "{told}: {}", ring.lines[1].text);
        assert_eq!(ring.lines.len(), 2);
    }

    #[test]
    fn offsets_count_what_the_app_said() {
        let now = Instant::now();
        let mut ring = Ring::new(now);
        ring.app(b"one", now, 0);
        ring.say("platform", 0);
        ring.app(b"three", now, 0);
        let offsets: Vec<u64> = ring.lines.iter().map(|line| line.offset).collect();
        assert_eq!((offsets, ring.offset), (vec![0, 4, 4], 10));
    }

    proptest! {
        /// However the bytes come, the lines are those of the whole.
        #[test]
        fn chunks_do_not_matter(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(0xff)], 0..300), at in 0_usize..300) {
            let at = at.min(bytes.len());
            let (head, tail) = bytes.split_at(at);
            let mut whole: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
            if whole.last().is_some_and(|last| last.is_empty()) {
                whole.pop();
            }
            prop_assert_eq!(split(&[head, tail]), whole);
        }
    }
}
