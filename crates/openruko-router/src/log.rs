//! Lines on their way to the logs of apps. Requests never wait for them: where the API does not take them in time, the
//! oldest are dropped, and the log says how many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ruko_api_client::ApiClient;
use ruko_api_types::log::{LogLine, LogLines, LogSource, MAX_LINES};
use ruko_core::exit::chain;

use crate::table::App;

/// The most lines that wait, and the most bytes of their texts.
const WAITING: (usize, usize) = (50_000, 32 << 20);

/// How long lines wait for others, so that a call has many.
const GATHER: Duration = Duration::from_millis(100);

/// The pause after a call that failed: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What stands as the process of a line.
const PROCESS: &str = "router";

/// The lines that wait.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    waiting: Mutex<Waiting>,
    some: Condvar,
    dropped: AtomicU64,
    sent: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Said>,
    /// The bytes of their texts.
    bytes: usize,
    /// How many lines of each app were dropped and not yet told of.
    dropped: BTreeMap<String, u64>,
    /// Nothing comes any more.
    ended: bool,
}

/// A line before it is written for the API.
#[derive(Debug)]
struct Said {
    app: Arc<App>,
    at: u64,
    text: String,
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line of an app, said now.
    pub(crate) fn push(&self, app: &Arc<App>, text: String) {
        let said = Said { app: app.clone(), at: now(), text };
        let mut waiting = self.waiting();
        waiting.bytes += said.text.len();
        waiting.lines.push_back(said);
        while (waiting.lines.len() > WAITING.0 || waiting.bytes > WAITING.1)
            && let Some(oldest) = waiting.lines.pop_front()
        {
            waiting.bytes -= oldest.text.len();
            *waiting.dropped.entry(oldest.app.routed.app.id.clone()).or_default() += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let first = waiting.lines.len() == 1;
        drop(waiting);
        if first {
            self.some.notify_one();
        }
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What waits is sent, and then [`Lines::send`] ends.
    pub(crate) fn end(&self) {
        self.waiting().ended = true;
        self.some.notify_one();
    }

    /// Whether that has come to its end.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    /// Sends lines for as long as the program runs.
    pub(crate) fn send(&self, api: &ApiClient) {
        self.send_all(api);
        self.sent.store(true, Ordering::Release);
    }

    fn send_all(&self, api: &ApiClient) {
        let sender = ulid::Ulid::generate().to_string();
        for batch in 1.. {
            let Some(lines) = self.gather() else { return };
            let lines = LogLines { sender: sender.clone(), batch, lines };
            let mut pause = PAUSE.0;
            while let Err(error) = api.log_lines(&lines) {
                tracing::warn!(error = %chain(&error), "the API does not take the lines of logs");
                if self.waiting().ended {
                    return;
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    /// The next lines to send, once there are some.
    fn gather(&self) -> Option<Vec<LogLine>> {
        let nothing = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.ended;
        let waiting = self.some.wait_while(self.waiting(), nothing).unwrap_or_else(PoisonError::into_inner);
        let few = |waiting: &mut Waiting| waiting.lines.len() < MAX_LINES && !waiting.ended;
        let gathered = self.some.wait_timeout_while(waiting, GATHER, few);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let told: Vec<_> = std::mem::take(&mut waiting.dropped).into_iter().collect();
        let mut lines: Vec<_> =
            told.into_iter().take(MAX_LINES).map(|(app, count)| lost(&app, count)).collect();
        let count = (MAX_LINES - lines.len()).min(waiting.lines.len());
        let next: Vec<_> = waiting.lines.drain(..count).collect();
        waiting.bytes -= next.iter().map(|line| line.text.len()).sum::<usize>();
        drop(waiting);
        lines.extend(next.into_iter().map(|said| line(&said.app.routed.app.id, said.at, said.text)));
        (!lines.is_empty()).then_some(lines)
    }
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

fn line(app: &str, at: u64, text: String) -> LogLine {
    LogLine { app: app.to_owned(), at, source: LogSource::Heroku, process: PROCESS.into(), text }
}

/// Heroku's L12: <https://devcenter.heroku.com/articles/error-codes#l12-local-buffer-overflow>.
fn lost(app: &str, count: u64) -> LogLine {
    let text = format!("Error L12 (Local buffer overflow): {count} messages of the router were dropped");
    line(app, now(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str) -> Arc<App> {
        crate::table::tests::app(id)
    }

    #[test]
    fn lines_leave_in_order_and_at_most_so_many_at_a_time() {
        let lines = Lines::default();
        for number in 0..MAX_LINES + 1 {
            lines.push(&app("a"), number.to_string());
        }
        let batch = lines.gather().unwrap();
        assert_eq!((batch.len(), batch[0].text.as_str()), (MAX_LINES, "0"));
        assert_eq!(lines.gather().unwrap()[0].text, MAX_LINES.to_string());
        lines.end();
        assert!(lines.gather().is_none());
    }

    #[test]
    fn the_oldest_are_dropped_and_told_of() {
        let (lines, a, b) = (Lines::default(), app("a"), app("b"));
        for number in 0..WAITING.0 + 3 {
            lines.push(if number < 2 { &a } else { &b }, number.to_string());
        }
        assert_eq!(lines.dropped(), 3);
        let batch = lines.gather().unwrap();
        let texts: Vec<_> =
            batch.iter().take(3).map(|line| (line.app.as_str(), line.text.as_str())).collect();
        assert!(texts[0].0 == "a" && texts[0].1.contains("L12") && texts[0].1.contains(": 2 messages"));
        assert!(texts[1].0 == "b" && texts[1].1.contains(": 1 messages"));
        assert_eq!(texts[2], ("b", "3"));
    }

    #[test]
    fn long_lines_are_dropped_before_many_short_ones() {
        let lines = Lines::default();
        for _ in 0..WAITING.1 / 8000 + 10 {
            lines.push(&app("a"), "x".repeat(8000));
        }
        assert!(lines.dropped() >= 10 && lines.dropped() < 20, "{}", lines.dropped());
        while lines.waiting().bytes > 0 {
            lines.gather().unwrap();
        }
        assert!(lines.waiting().lines.is_empty());
    }
}
