//! The only printer. What is printed goes to the client, and beside it into the build's record on the host.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ruko_channel::Client;
use ruko_core::message;

/// The longest line that is printed whole, in bytes; longer ones are cut into several.
pub const MAX_LINE: usize = 8 << 10;

/// The largest piece of the record that is sent at once, in bytes.
const MAX_RECORD: usize = 256 << 10;

/// How long the end of a build waits for its record to be kept.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);

/// Prints lines to the client and hands them to the build's record.
pub struct Output {
    to: Box<dyn Write + Send>,
    record: Option<Recorder>,
    limit: u64,
    left: u64,
    cut: bool,
    gone: bool,
}

impl Output {
    /// Prints to `to`. A build's own lines are bounded by [`Output::limit`].
    pub fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to, record: None, limit: u64::MAX, left: u64::MAX, cut: false, gone: false }
    }

    /// Prints to stdout.
    pub fn stdout() -> Self {
        Self::new(Box::new(std::io::stdout()))
    }

    /// Keeps a record of what is printed from now on at the host behind this socket.
    pub fn record(&mut self, socket: &Path) {
        self.record = Some(Recorder::start(socket.to_owned()));
    }

    /// Bounds what a build may print, in bytes.
    pub fn limit(&mut self, bytes: u64) {
        (self.limit, self.left) = (bytes, bytes);
    }

    /// A step.
    pub fn step(&mut self, text: impl std::fmt::Display) {
        self.line(&message::step(text));
    }

    /// A detail under a step.
    pub fn detail(&mut self, text: impl std::fmt::Display) {
        self.line(&message::detail(text));
    }

    /// Trouble, one marked line for each line.
    pub fn trouble(&mut self, text: impl std::fmt::Display) {
        for line in message::trouble(text).lines() {
            self.line(line);
        }
    }

    /// A line of a buildpack's, within the bound. The first line beyond it is replaced by a word about the
    /// bound.
    pub fn build_line(&mut self, line: &str) {
        let cost = line.len() as u64 + 1;
        if self.cut {
            return;
        }
        if cost <= self.left {
            self.left -= cost;
            self.line(line);
        } else {
            self.cut = true;
            let limit = message::bytes(self.limit);
            self.trouble(format!("The limit of {limit} of output is reached: what follows is not shown."));
        }
    }

    /// What stands in the build's record alone: nobody who waits for the push needs it.
    pub fn note(&mut self, text: impl std::fmt::Display) {
        if let Some(record) = &self.record {
            record.push(&format!("{}\n", message::detail(text)));
        }
    }

    fn line(&mut self, line: &str) {
        // One write a line: the far end shows what it gets as it gets it, and must not get half a line.
        let line = format!("{line}\n");
        let written = self.to.write_all(line.as_bytes()).and_then(|()| self.to.flush());
        self.gone |= written.is_err();
        if let Some(record) = &self.record {
            record.push(&line);
        }
    }

    /// Whether something could not be printed: then the client is gone.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Waits until the record is kept.
    pub fn finish(mut self) {
        if let Some(record) = self.record.take() {
            record.finish();
        }
    }
}

/// Sends lines to the host over a connection of its own, in pieces as large as they have become while the
/// piece before was on its way. What waits is bounded by the output limit, so nothing has to wait for it.
struct Recorder {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    no_more: bool,
    done: bool,
}

impl Recorder {
    fn start(socket: PathBuf) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                send_all(&shared, &socket);
                shared.with(|state| state.done = true);
            }
        });
        Self { shared, thread }
    }

    fn push(&self, line: &str) {
        self.shared.with(|state| {
            if !state.done {
                state.text.push_str(line);
            }
        });
    }

    fn finish(self) {
        self.shared.with(|state| state.no_more = true);
        let deadline = Instant::now() + RECORD_PATIENCE;
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = deadline.saturating_duration_since(Instant::now());
        let waited = self.shared.changed.wait_timeout_while(state, wait, |state| !state.done);
        let done = waited.map_or(true, |(state, _)| state.done);
        if done {
            let _ = self.thread.join();
        }
    }
}

impl Shared {
    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits for text; none when no more will come.
    fn take(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.changed.wait_while(state, |state| state.text.is_empty() && !state.no_more);
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        if state.text.is_empty() {
            return None;
        }
        let end = boundary(&state.text, MAX_RECORD);
        let rest = state.text.split_off(end);
        Some(std::mem::replace(&mut state.text, rest))
    }
}

/// A record that cannot be kept is no reason to fail a build.
fn send_all(shared: &Shared, socket: &Path) {
    let Ok(mut client) = Client::connect(socket) else { return };
    while let Some(text) = shared.take() {
        if client.output(text).is_err() {
            return;
        }
    }
}

/// The largest index up to `max` where the text can be cut, at a line's end if there is one.
fn boundary(text: &str, max: usize) -> usize {
    if text.len() <= max {
        return text.len();
    }
    let at = text.floor_char_boundary(max);
    text[..at].rfind('\n').map_or(at, |newline| newline + 1)
}

/// Cuts a stream of bytes into lines as they come: `\n` and `\r\n` end a line, bytes that are not UTF-8
/// are replaced, and a line longer than [`MAX_LINE`] is cut between two characters.
#[derive(Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes bytes, and emits the lines that they end.
    pub fn push(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(&str)) {
        while !bytes.is_empty() {
            let room = (MAX_LINE + 1).saturating_sub(self.rest.len()).max(1);
            let (piece, later) = bytes.split_at(bytes.len().min(room));
            match piece.iter().position(|&b| b == b'\n') {
                Some(newline) => {
                    self.rest.extend_from_slice(&piece[..newline]);
                    self.emit_line(emit);
                    bytes = &bytes[newline + 1..];
                }
                None => {
                    self.rest.extend_from_slice(piece);
                    self.emit_cut(emit);
                    bytes = later;
                }
            }
        }
    }

    /// Emits what came after the last line's end.
    pub fn finish(mut self, emit: &mut dyn FnMut(&str)) {
        if !self.rest.is_empty() {
            self.emit_line(emit);
        }
    }

    fn emit_line(&mut self, emit: &mut dyn FnMut(&str)) {
        let line = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
        emit(&String::from_utf8_lossy(line));
        self.rest.clear();
    }

    fn emit_cut(&mut self, emit: &mut dyn FnMut(&str)) {
        if self.rest.len() <= MAX_LINE {
            return;
        }
        // A character has at most four bytes, its first one is not of the form 10xxxxxx.
        let start = (MAX_LINE - 3..=MAX_LINE).rev().find(|&at| self.rest[at] & 0xc0 != 0x80);
        let later = self.rest.split_off(start.unwrap_or(MAX_LINE));
        emit(&String::from_utf8_lossy(&self.rest));
        self.rest = later;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = vec![];
        let mut splitter = Lines::default();
        for chunk in chunks {
            splitter.push(chunk, &mut |line| lines.push(line.to_owned()));
        }
        splitter.finish(&mut |line| lines.push(line.to_owned()));
        lines
    }

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_whole_and_the_last_one_needs_no_end() {
        assert_eq!(lines_of(&[b"a\r\n", b"  b", b" c\n\nd"]), ["a", "  b c", "", "d"]);
        assert_eq!(lines_of(&["é".as_bytes()]), ["é"]);
        assert_eq!(lines_of(&[b"\xc3", b"\xa9 \xff\n"]), ["é \u{fffd}"]);
    }

    #[test]
    fn output_beyond_the_bound_is_cut_with_a_word_about_it() {
        let screen = Screen::default();
        let mut output = Output::new(Box::new(screen.clone()));
        output.limit(10);
        for line in ["1234", "1234", "5", ""] {
            output.build_line(line);
        }
        output.step("still said");
        let text = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[1], "1234");
        assert!(lines[2].starts_with(" !     The limit of 10 B of output is reached"), "{text}");
        assert_eq!(lines[3], "-----> still said");
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_changes_nothing(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = vec![];
            let mut from = 0;
            for cut in cuts {
                chunks.push(&text[from..cut]);
                from = cut;
            }
            chunks.push(&text[from..]);
            prop_assert_eq!(lines_of(&chunks), lines_of(&[&text]));
        }

        #[test]
        fn long_lines_are_cut_and_lose_nothing(text in "[aé日🦀]{1,60}", times in 1usize..600) {
            let text = text.repeat(times);
            let lines = lines_of(&[text.as_bytes()]);
            prop_assert!(lines.iter().all(|line| line.len() <= MAX_LINE));
            prop_assert_eq!(lines.concat(), text);
        }
    }
}
