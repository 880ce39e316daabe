//! A stand-in for the API: it serves a table that tests change, and keeps what it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use ruko_api_types::AppRef;
use ruko_api_types::log::{LogLine, LogLines};
use ruko_api_types::router::{Activity, RoutedApp, RoutedApps, RoutedDyno, Wake, WebState};

use crate::world::DEADLINE;

/// The token that the router shows.
pub(crate) const TOKEN: &str = "router-token";

#[derive(Default)]
struct State {
    revision: u64,
    /// By id, with the revision of the last change.
    apps: BTreeMap<String, (u64, RoutedApp)>,
    gone: Vec<(u64, String)>,
    down: bool,
    wakes: Vec<String>,
    activity: Vec<Activity>,
    batches: Vec<LogLines>,
    asked: Vec<u64>,
    refuse_logs: bool,
}

/// The stand-in.
#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<(Mutex<State>, Condvar)>,
    pub(crate) address: SocketAddr,
}

/// An app as tests make one.
pub(crate) fn app(name: &str, hosts: &[&str]) -> RoutedApp {
    RoutedApp {
        app: AppRef { id: format!("id-{name}"), name: name.parse().unwrap() },
        revision: 0,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        maintenance: false,
        force_https: false,
        web: WebState::Running,
        dynos: Vec::new(),
        certificates: Vec::new(),
    }
}

/// A dyno as tests make one: `web.NUMBER`.
pub(crate) fn routed(number: u32, address: SocketAddr) -> RoutedDyno {
    RoutedDyno { id: format!("{address}"), name: format!("web.{number}").parse().unwrap(), address }
}

impl Api {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let api = Self { state: Arc::default(), address };
        let serving = api.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let api = serving.clone();
                thread::spawn(move || api.converse(stream));
            }
        });
        api
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.state.1.notify_all();
    }

    /// Puts an app into the table, or changes it.
    pub(crate) fn put(&self, mut app: RoutedApp) -> u64 {
        let mut revision = 0;
        self.change(|state| {
            state.revision += 1;
            revision = state.revision;
            app.revision = revision;
            state.apps.insert(app.app.id.clone(), (revision, app));
            state.asked.clear();
        });
        revision
    }

    /// Waits until the router asks for what comes after a revision: then it has it.
    pub(crate) fn known(&self, revision: u64) {
        self.wait("the next question", |state| state.asked.contains(&revision).then_some(()));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.change(|state| {
            state.revision += 1;
            let id = format!("id-{name}");
            state.apps.remove(&id);
            state.gone.push((state.revision, id));
        });
    }

    /// As a database that was put back to an earlier state: other apps, lower revisions.
    pub(crate) fn restore(&self, revision: u64, apps: Vec<RoutedApp>) {
        self.change(|state| {
            state.revision = revision;
            state.gone.clear();
            state.apps = apps.into_iter().map(|app| (app.app.id.clone(), (revision, app))).collect();
        });
    }

    /// Answers every call with 503 from now on, or no longer.
    pub(crate) fn down(&self, down: bool) {
        self.change(|state| state.down = down);
    }

    pub(crate) fn refuse_logs(&self, refuse: bool) {
        self.change(|state| state.refuse_logs = refuse);
    }

    /// Waits until what it was told is as it should be.
    fn wait<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut state = self.state();
        loop {
            if let Some(found) = found(&state) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come");
            state = self.state.1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// The ids of apps that were to be woken, once there are so many.
    pub(crate) fn wakes(&self, count: usize) -> Vec<String> {
        self.wait("a wake-up", |state| (state.wakes.len() >= count).then(|| state.wakes.clone()))
    }

    /// Activity of an app.
    pub(crate) fn activity(&self, name: &str) -> u64 {
        let id = format!("id-{name}");
        self.wait("activity", |state| state.activity.last()?.apps.get(&id).copied())
    }

    pub(crate) fn activities(&self) -> usize {
        self.state().activity.len()
    }

    pub(crate) fn was_active(&self, name: &str) -> bool {
        self.state().activity.iter().any(|activity| activity.apps.contains_key(&format!("id-{name}")))
    }

    /// The revisions that were asked after since the last change, once there are more than so many.
    pub(crate) fn asked(&self, more_than: usize) -> Vec<u64> {
        self.wait("a question", |state| (state.asked.len() > more_than).then(|| state.asked.clone()))
    }

    /// The first line of a log with all these words.
    pub(crate) fn line(&self, words: &[&str]) -> LogLine {
        self.wait(&format!("a line with {words:?}"), |state| {
            let mut lines = state.batches.iter().flat_map(|batch| &batch.lines);
            lines.find(|line| words.iter().all(|word| line.text.contains(word))).cloned()
        })
    }

    /// How many lines have a word, by now.
    pub(crate) fn lines_with(&self, word: &str) -> usize {
        let state = self.state();
        let lines = state.batches.iter().flat_map(|batch| &batch.lines);
        lines.filter(|line| line.text.contains(word)).count()
    }

    pub(crate) fn batches(&self) -> Vec<LogLines> {
        self.state().batches.clone()
    }

    fn converse(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let (mut first, mut length, mut token) = (String::new(), 0, false);
            if reader.read_line(&mut first).unwrap_or(0) == 0 {
                return;
            }
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                let line = line.trim_end();
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "authorization" => token = value.trim() == format!("Bearer {TOKEN}"),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let mut words = first.split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            let (status, answer) = if token { self.answer(method, target, &body) } else { (401, Vec::new()) };
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", answer.len());
            if stream.write_all(&[head.as_bytes(), &answer].concat()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        if self.state().down {
            return (503, b"{}".to_vec());
        }
        let path = target.split('?').next().unwrap();
        match (method, path) {
            ("GET", "/internal/router/apps") => self.apps(target),
            ("POST", "/internal/router/wake") => {
                let wake: Wake = serde_json::from_slice(body).unwrap();
                self.change(|state| state.wakes.push(wake.app));
                (204, Vec::new())
            }
            ("POST", "/internal/router/activity") => {
                let activity = serde_json::from_slice(body).unwrap();
                self.change(|state| state.activity.push(activity));
                (204, Vec::new())
            }
            ("POST", "/internal/logs") if self.state().refuse_logs => (503, b"{}".to_vec()),
            ("POST", "/internal/logs") => {
                let batch = serde_json::from_slice(body).unwrap();
                self.change(|state| state.batches.push(batch));
                (204, Vec::new())
            }
            _ => (404, b"{}".to_vec()),
        }
    }

    fn apps(&self, target: &str) -> (u16, Vec<u8>) {
        let value = |name: &str| -> u64 {
            let query = target.split_once('?').unwrap().1;
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name));
            found.unwrap().parse().unwrap()
        };
        let (after, wait) = (value("after="), value("wait_seconds="));
        self.change(|state| state.asked.push(after));
        let until = Instant::now() + Duration::from_secs(wait);
        let mut state = self.state();
        loop {
            if after > state.revision {
                return (410, b"{\"id\":\"start_over\",\"message\":\"Start over.\"}".to_vec());
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.revision > after || left.is_zero() || state.down {
                break;
            }
            state = self.state.1.wait_timeout(state, left).unwrap().0;
        }
        // Two at a time: there are pages.
        let mut changed: Vec<_> = state.apps.values().filter(|(at, _)| *at > after).cloned().collect();
        changed.sort_by_key(|(at, _)| *at);
        let more = changed.len() > 2;
        changed.truncate(2);
        let revision = if more { changed[1].0 } else { state.revision };
        let gone = state.gone.iter().filter(|(at, _)| after > 0 && *at > after && *at <= revision);
        let answer = RoutedApps {
            revision,
            more,
            gone: gone.map(|(_, id)| id.clone()).collect(),
            apps: changed.into_iter().map(|(_, app)| app).collect(),
        };
        (200, serde_json::to_vec(&answer).unwrap())
    }
}
