//! What the router remembers of an app over all its tables: when it was asked for, who waits for it, how it answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ruko_api_types::router::WebState;

use crate::clock;

/// The most requests that wait for one app.
const WAITING: usize = 1000;

/// Milliseconds by the coarse clock.
fn now() -> u64 {
    let now = clock::now();
    now.as_secs() * 1000 + u64::from(now.subsec_millis())
}

/// What outlives a table.
#[derive(Debug)]
pub(crate) struct AppState {
    /// Requests that are open, waiting ones included.
    open: AtomicUsize,
    /// When the last one began or ended: milliseconds by the coarse clock, plus one; 0: none did.
    last: AtomicU64,
    /// Requests that wait for a dyno.
    waiting: AtomicUsize,
    /// Somebody is waking it.
    waking: AtomicBool,
    /// It slept, and had no dyno since.
    boots: AtomicBool,
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
}

/// A request that is open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<AppState>);

/// A request that waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<AppState>);

/// Whoever wakes the app, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waker(Arc<AppState>);

impl AppState {
    /// An app that nobody asked for yet.
    pub(crate) fn new() -> Self {
        Self {
            open: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            waking: AtomicBool::new(false),
            boots: AtomicBool::new(false),
            answers: Default::default(),
        }
    }

    fn touch(&self) {
        self.last.store(now() + 1, Ordering::Relaxed);
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.touch();
        Busy(self.clone())
    }

    /// How long ago the last request began or ended: nothing while one is open, none if there was none.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        if self.open.load(Ordering::Relaxed) > 0 {
            return Some(Duration::ZERO);
        }
        Some(Duration::from_millis(now().saturating_sub(last)))
    }

    /// A request begins to wait; none, if as many wait as may.
    pub(crate) fn wait(self: &Arc<Self>) -> Option<Waiting> {
        let more = |count: usize| (count < WAITING).then_some(count + 1);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Waiting(self.clone()))
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Takes it upon oneself to wake the app; none, if somebody does.
    pub(crate) fn wake(self: &Arc<Self>) -> Option<Waker> {
        (!self.waking.swap(true, Ordering::SeqCst)).then(|| Waker(self.clone()))
    }

    /// Learns what the next table says of it.
    pub(crate) fn follow(&self, web: WebState, has_dynos: bool) {
        match web {
            _ if has_dynos => self.boots.store(false, Ordering::Relaxed),
            WebState::Asleep => self.boots.store(true, Ordering::Relaxed),
            WebState::Running => {}
            WebState::Crashed | WebState::None => self.boots.store(false, Ordering::Relaxed),
        }
    }

    /// Whether it was woken, and had no dyno since.
    pub(crate) fn boots(&self) -> bool {
        self.boots.load(Ordering::Relaxed)
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many answers there were with a status that begins with each digit.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (usize, u64)> {
        self.answers.iter().map(|count| count.load(Ordering::Relaxed)).enumerate().skip(1)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.0.waking.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_busy_while_a_request_is_open() {
        let app = Arc::new(AppState::new());
        assert_eq!(app.idle(), None);
        let (first, second) = (app.begin(), app.begin());
        drop(first);
        assert_eq!(app.idle(), Some(Duration::ZERO));
        drop(second);
        assert!(app.idle().is_some_and(|idle| idle < Duration::from_secs(60)));
    }

    #[test]
    fn an_app_boots_from_its_sleep_until_it_has_a_dyno() {
        let app = AppState::new();
        app.follow(WebState::Running, false);
        assert!(!app.boots(), "it never slept");
        app.follow(WebState::Asleep, false);
        app.follow(WebState::Running, false);
        assert!(app.boots());
        app.follow(WebState::Running, true);
        app.follow(WebState::Running, false);
        assert!(!app.boots(), "a switch of dynos");
        app.follow(WebState::Asleep, false);
        app.follow(WebState::Crashed, false);
        app.follow(WebState::Running, false);
        assert!(!app.boots());
    }

    #[test]
    fn only_so_many_wait_and_one_wakes() {
        let app = Arc::new(AppState::new());
        let held: Vec<_> = (0..WAITING).map(|_| app.wait().unwrap()).collect();
        assert!(app.wait().is_none());
        drop(held);
        assert_eq!(app.waiting(), 0);
        let waker = app.wake().unwrap();
        assert!(app.wake().is_none());
        drop(waker);
        assert!(app.wake().is_some());
    }
}
