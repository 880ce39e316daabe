//! What all requests share, and the choice of a dyno for one of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ruko_api_client::ApiClient;
use ruko_api_types::router::{Activity, WebState};
use ruko_core::exit::chain;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::AppState;
use crate::code::Code;
use crate::dyno::{Connection, Open, Reuse};
use crate::follow::Heard;
use crate::log::Lines;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::table::{App, Choice, Table};

/// How long a request waits for an app that should be running and has no dynos: a switch between two of them may take
/// a moment.
const HOLD: Duration = Duration::from_secs(5);

/// How long a request whose dynos all refused waits for others: dynos that crashed are still in the table for a moment.
const LAST_HOPE: Duration = Duration::from_secs(1);

/// After so long the API is asked once more to wake an app that still sleeps.
const WAKE_AGAIN: Duration = Duration::from_secs(15);

/// The pause after waking an app came to nothing.
const WAKE_PAUSE: Duration = Duration::from_secs(1);

/// How often the API is told which apps were asked for.
const ACTIVITY: Duration = Duration::from_secs(10);

/// What all requests share.
pub(crate) struct Router {
    pub(crate) settings: Settings,
    pub(crate) table: watch::Receiver<Arc<Table>>,
    pub(crate) api: ApiClient,
    pub(crate) lines: Lines,
    pub(crate) metrics: Metrics,
    pub(crate) heard: Heard,
    waiting: AtomicU32,
    /// Whether the program is to end: no new connections, no second request on one.
    pub(crate) stopping: watch::Sender<bool>,
    stops: AtomicBool,
}

/// A place at a dyno, with a connection to it.
pub(crate) struct Seat {
    pub(crate) open: Open,
    pub(crate) connection: Connection,
    /// How long it took to get the connection.
    pub(crate) connect: Duration,
}

/// What was tried for a request so far.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    dynos: Vec<String>,
    why: Option<Code>,
    hoped: bool,
}

impl Router {
    pub(crate) fn new(settings: Settings, api: ApiClient, table: watch::Receiver<Arc<Table>>) -> Self {
        Self {
            settings,
            table,
            api,
            lines: Lines::default(),
            metrics: Metrics::default(),
            heard: Heard::never(),
            waiting: AtomicU32::new(0),
            stopping: watch::Sender::new(false),
            stops: AtomicBool::new(false),
        }
    }

    /// Whether the program is to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    /// The program is to end.
    pub(crate) fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
        self.stopping.send_replace(true);
    }

    /// How many requests wait for a dyno.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A dyno of the app, with a connection: waits for one where the app sleeps, and tries another where one does not
    /// take the connection. Nothing is sent.
    pub(crate) async fn seat(
        self: &Arc<Self>,
        id: &str,
        reuse: Reuse,
        tried: &mut Tried,
    ) -> Result<Seat, Code> {
        loop {
            let open = self.choose(id, tried).await?;
            match open.connection(reuse).await {
                Ok((connection, connect)) => return Ok(Seat { open, connection, connect }),
                Err(code) => {
                    tried.dynos.push(open.id.clone());
                    tried.why = Some(code);
                }
            }
        }
    }

    async fn choose(self: &Arc<Self>, id: &str, tried: &mut Tried) -> Result<Open, Code> {
        // Of most requests this is all.
        match self.judge(id, tried) {
            Verdict::Go(open) => return Ok(open),
            Verdict::No(code) => return Err(code),
            Verdict::Wait(_) => {}
        }
        let app = self.table.borrow().app(id).cloned().ok_or(Code::NoDynos)?;
        let _own = app.state.wait().ok_or(Code::Backlog)?;
        let _place = self.wait().ok_or(Code::Waiting)?;
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        let mut table = self.table.clone();
        loop {
            table.mark_unchanged();
            let time = match self.judge(id, tried) {
                Verdict::Go(open) => return Ok(open),
                Verdict::No(code) => return Err(code),
                Verdict::Wait(why) => {
                    if why == Why::Asleep {
                        self.wake(&app);
                    }
                    self.time(why)
                }
            };
            // An app that was woken is no longer asleep, and not up yet.
            longest = longest.max(time);
            if tokio::time::timeout_at(start + longest, table.changed()).await.is_err() {
                if tried.why.is_some() && !tried.hoped {
                    tried.hoped = true;
                    continue;
                }
                return Err(tried.why.unwrap_or(Code::Boot));
            }
        }
    }

    fn time(&self, why: Why) -> Duration {
        match why {
            Why::Asleep | Why::Boots => self.settings.wake,
            Why::Starting => HOLD,
            Why::Refused => LAST_HOPE,
        }
    }

    /// What is to be done with a request as the table is now.
    fn judge(&self, id: &str, tried: &Tried) -> Verdict {
        let table = self.table.borrow();
        let Some(app) = table.app(id) else { return Verdict::No(Code::NoDynos) };
        if app.dynos.is_empty() {
            return match app.web() {
                WebState::Running if app.state.boots() => Verdict::Wait(Why::Boots),
                WebState::Running => Verdict::Wait(Why::Starting),
                WebState::Asleep => Verdict::Wait(Why::Asleep),
                WebState::Crashed => Verdict::No(Code::Crashed),
                WebState::None => Verdict::No(Code::NoDynos),
            };
        }
        match app.choose(self.settings.dyno_requests, &tried.dynos) {
            Choice::Dyno(open) => Verdict::Go(open),
            Choice::Full => Verdict::No(Code::Backlog),
            Choice::NoneLeft if tried.hoped => Verdict::No(tried.why.unwrap_or(Code::Refused)),
            Choice::NoneLeft => Verdict::Wait(Why::Refused),
        }
    }

    fn wait(&self) -> Option<Place<'_>> {
        let more = |count: u32| (count < self.settings.waiting_requests).then_some(count + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(&self.waiting))
    }

    /// Has the API wake an app, unless somebody does already, for as long as requests wait for it.
    fn wake(self: &Arc<Self>, app: &App) {
        let Some(mut waker) = app.state.wake() else { return };
        let (router, id, state) = (self.clone(), app.routed.app.id.clone(), app.state.clone());
        tokio::spawn(async move {
            loop {
                router.keep_waking(&id, &state).await;
                drop(waker);
                // Somebody may have begun to wait after the last look, and have left it to this task.
                if state.waiting() == 0 || router.sleeps_since(&id).is_none() {
                    return;
                }
                let Some(again) = state.wake() else { return };
                waker = again;
            }
        });
    }

    /// The revision with which an app sleeps, if it does: it tells one sleep from the next.
    fn sleeps_since(&self, id: &str) -> Option<u64> {
        sleeps_since(&self.table.borrow(), id)
    }

    async fn keep_waking(&self, id: &str, state: &AppState) {
        let mut table = self.table.clone();
        while state.waiting() > 0
            && let Some(since) = self.sleeps_since(id)
        {
            let (api, owned) = (self.api.clone(), id.to_owned());
            let asked = tokio::task::spawn_blocking(move || api.wake(&owned)).await;
            let pause = match asked {
                // An app that is there no more will soon be so in the table as well.
                Ok(Ok(_)) => WAKE_AGAIN,
                Ok(Err(error)) => {
                    tracing::warn!(error = %chain(&error), "an app could not be woken");
                    WAKE_PAUSE
                }
                Err(_) => WAKE_PAUSE,
            };
            let awake = table.wait_for(|table| sleeps_since(table, id) != Some(since));
            let _ = tokio::time::timeout(pause, awake).await;
        }
    }

    /// Tells the API which apps were asked for, if any, for as long as the program runs.
    pub(crate) async fn tell_activity(self: Arc<Self>) {
        let mut told = Instant::now();
        loop {
            tokio::time::sleep(ACTIVITY).await;
            let (api, now) = (self.api.clone(), Instant::now());
            let apps = self.activity(now - told);
            match tokio::task::spawn_blocking(move || api.activity(&Activity { apps })).await {
                Ok(Ok(())) => told = now,
                Ok(Err(error)) => {
                    tracing::warn!(error = %chain(&error), "the API does not hear which apps are asked for");
                }
                Err(_) => {}
            }
        }
    }

    /// The apps that were asked for in that time.
    fn activity(&self, since: Duration) -> BTreeMap<String, u64> {
        let table = self.table.borrow().clone();
        let active = table.apps().filter_map(|app| {
            let idle = app.state.idle().filter(|idle| *idle <= since)?;
            Some((app.routed.app.id.clone(), idle.as_secs()))
        });
        active.collect()
    }

    /// Closes connections to dynos that are good no more, for as long as the program runs.
    pub(crate) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let table = self.table.borrow().clone();
            for dyno in table.apps().flat_map(|app| &app.dynos) {
                dyno.sweep();
            }
        }
    }
}

/// Ends when the program is to end.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn sleeps_since(table: &Table, id: &str) -> Option<u64> {
    let app = table.app(id)?;
    (app.dynos.is_empty() && app.web() == WebState::Asleep).then_some(app.routed.revision)
}

enum Verdict {
    Go(Open),
    No(Code),
    Wait(Why),
}

/// Why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Asleep,
    /// It slept, and has no dyno yet.
    Boots,
    Starting,
    Refused,
}

/// A place among those who wait, given back when dropped.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
