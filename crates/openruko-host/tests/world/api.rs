//! An internal API that is played: it answers the calls of the component `host` as `openruko-api` does, on a thread for
//! each connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ruko_api_types::Output;
use ruko_api_types::host::{AppToRun, AppsToRun, DynoReport, DynoReports, FailRelease, HostHello, Switch};
use ruko_api_types::log::{LogLines, LogSource};
use ruko_api_types::platform::DynoState;

use super::LONG;

/// What the API knows.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) apps: BTreeMap<String, AppToRun>,
    gone: BTreeMap<String, u64>,
    revision: u64,
    pub(crate) hello: Option<HostHello>,
    pub(crate) dynos: BTreeMap<String, DynoReport>,
    /// Of each app, with the release.
    pub(crate) routed: BTreeMap<String, Switch>,
    /// Every switch that was made.
    pub(crate) switches: Vec<(String, Switch)>,
    pub(crate) failed: Vec<(String, u64, String)>,
    pub(crate) output: BTreeMap<u64, String>,
    pub(crate) lines: Vec<String>,
    batches: BTreeSet<(String, u64)>,
    /// It answers nobody.
    pub(crate) down: bool,
    /// Reports of dynos of this name are wrong.
    pub(crate) refuses: Option<&'static str>,
    /// Its database was put back: who asks what has changed is to start over.
    pub(crate) put_back: bool,
    /// Calls of each kind.
    pub(crate) calls: BTreeMap<String, usize>,
}

#[derive(Clone)]
pub(crate) struct FakeApi {
    address: SocketAddr,
    shared: Arc<(Mutex<Known>, Condvar)>,
}

impl FakeApi {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let api = Self { address, shared: Arc::default() };
        let served = api.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let api = served.clone();
                std::thread::spawn(move || api.converse(stream));
            }
        });
        api
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes or reads something.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        let result = act(&mut self.lock());
        self.shared.1.notify_all();
        result
    }

    /// What should run of an app.
    pub(crate) fn want(&self, mut app: AppToRun) {
        self.with(|known| {
            known.revision += 1;
            app.revision = known.revision;
            known.apps.insert(app.app.id.clone(), app);
        });
    }

    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut AppToRun)) {
        self.with(|known| {
            known.revision += 1;
            let app = known.apps.get_mut(id).unwrap();
            app.revision = known.revision;
            change(app);
        });
    }

    pub(crate) fn remove(&self, id: &str) {
        self.with(|known| {
            known.revision += 1;
            known.apps.remove(id);
            known.gone.insert(id.to_owned(), known.revision);
        });
    }

    /// Waits until something is so.
    pub(crate) fn wait<T>(&self, what: &str, mut found: impl FnMut(&mut Known) -> Option<T>) -> T {
        let until = Instant::now() + LONG;
        let mut known = self.lock();
        loop {
            if let Some(found) = found(&mut known) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(known);
                panic!("waited for {what}");
            }
            known = self.shared.1.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a dyno of this name and release is in this state, and gives its report.
    pub(crate) fn wait_dyno(&self, name: &str, release: u64, state: DynoState) -> DynoReport {
        let as_wanted = |dyno: &&DynoReport| {
            dyno.name.to_string() == name && dyno.release == release && dyno.state == state
        };
        let what = format!("{name} of v{release} to be {}", state.as_str());
        self.wait(&what, |known| known.dynos.values().find(as_wanted).cloned())
    }

    /// Waits until a release serves with so many dynos.
    pub(crate) fn wait_routed(&self, app: &str, release: u64, dynos: usize) {
        self.wait(&format!("v{release} to serve"), |known| {
            let routed = known.routed.get(app)?;
            (routed.release == release && routed.dynos.len() == dynos).then_some(())
        });
    }

    /// Waits for a line of a log that contains this.
    pub(crate) fn wait_line(&self, what: &str) -> String {
        self.wait(&format!("a line with {what:?}"), |known| {
            known.lines.iter().find(|line| line.contains(what)).cloned()
        })
    }

    pub(crate) fn wait_gone(&self, id: &str) {
        self.wait(&format!("{id} to be gone"), |known| (!known.dynos.contains_key(id)).then_some(()));
    }

    pub(crate) fn print(&self) {
        self.with(|known| {
            for line in known.lines.iter().filter(|line| line.starts_with("heroku")).take(100) {
                eprintln!("line: {}", line.chars().take(200).collect::<String>());
            }
            for dyno in known.dynos.values() {
                eprintln!("dyno: {} v{} {} {}", dyno.name, dyno.release, dyno.state.as_str(), dyno.id);
            }
            eprintln!("failed: {:?}", known.failed);
        });
    }

    fn converse(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        while let Ok(Some((method, path, body))) = request(&mut reader) {
            let Some((status, answer)) = self.answer(&method, &path, &body) else { return };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            if status == 204 {
                if writer.write_all(b"HTTP/1.1 204 X\r\n\r\n").is_err() {
                    return;
                }
            } else if writer
                .write_all(head.as_bytes())
                .and_then(|()| writer.write_all(answer.as_bytes()))
                .is_err()
            {
                return;
            }
        }
    }

    /// None: as if there were no API.
    fn answer(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let mut known = self.lock();
        if known.down {
            return None;
        }
        *known.calls.entry(format!("{method} {}", parts[1..].join("/"))).or_default() += 1;
        let answer = match (method, &parts[1..]) {
            ("PUT", ["host"]) => {
                known.hello = Some(read(body));
                (204, String::new())
            }
            ("GET", ["host", "apps"]) => {
                drop(known);
                return self.apps(query);
            }
            ("POST", ["host", "dynos"]) => known.report(read(body)),
            ("POST", ["host", "apps", id, "switch"]) => known.switch(id, read(body)),
            ("POST", ["host", "apps", id, "releases", version, "fail"]) => {
                let FailRelease { reason } = read(body);
                known.fail(id, version.parse().unwrap(), reason)
            }
            ("POST", ["host", "apps", _, "releases", version, "output"]) => {
                let Output { offset, text } = read(body);
                let output = known.output.entry(version.parse().unwrap()).or_default();
                let offset = usize::try_from(offset).unwrap();
                if offset + text.len() > output.len() {
                    output.truncate(offset);
                    output.push_str(&text);
                }
                (204, String::new())
            }
            ("POST", ["logs"]) => known.logs(read(body)),
            _ => (404, r#"{"id":"not_found","message":"no"}"#.to_owned()),
        };
        drop(known);
        self.shared.1.notify_all();
        Some(answer)
    }

    fn apps(&self, query: &str) -> Option<(u16, String)> {
        let number = |name: &str| {
            let of = |pair: &str| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok();
            query.split('&').find_map(of).unwrap()
        };
        let (after, until) = (number("after"), Instant::now() + Duration::from_secs(number("wait_seconds")));
        let mut known = self.lock();
        while known.revision <= after && !known.down && !known.put_back {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            known = self.shared.1.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if known.down {
            return None;
        }
        if std::mem::take(&mut known.put_back) && after > 0 {
            return Some((410, r#"{"id":"start_over","message":"no such revision"}"#.to_owned()));
        }
        let apps = known.apps.values().filter(|app| app.revision > after).cloned().collect();
        let gone = known.gone.iter().filter(|(_, at)| **at > after).map(|(id, _)| id.clone()).collect();
        let answer = AppsToRun { revision: known.revision, more: false, apps, gone };
        Some((200, serde_json::to_string(&answer).unwrap()))
    }
}

impl Known {
    fn report(&mut self, reports: DynoReports) -> (u16, String) {
        if self.refuses.is_some_and(|name| reports.dynos.iter().any(|dyno| dyno.name.to_string() == name)) {
            return (422, r#"{"id":"invalid_params","message":"no"}"#.to_owned());
        }
        if reports.all {
            self.dynos.retain(|id, _| reports.there.contains(id));
        }
        for dyno in reports.dynos {
            self.dynos.insert(dyno.id.clone(), dyno);
        }
        for id in reports.gone {
            self.dynos.remove(&id);
            self.apps.values_mut().for_each(|app| app.one_offs.retain(|one| one.id != id));
        }
        (204, String::new())
    }

    fn switch(&mut self, id: &str, switch: Switch) -> (u16, String) {
        let up = |id: &String| {
            let dyno = self.dynos.get(id);
            dyno.is_some_and(|d| {
                d.state == DynoState::Up && d.address.is_some() && d.release == switch.release
            })
        };
        if !switch.dynos.iter().all(up) {
            return (422, r#"{"id":"invalid","message":"a dyno is not up"}"#.to_owned());
        }
        let Some(app) = self.apps.get_mut(id) else {
            return (404, r#"{"id":"not_found","message":"no"}"#.to_owned());
        };
        let is = |release: &Option<_>| {
            release.as_ref().map(|r: &ruko_api_types::host::ReleaseToRun| r.version) == Some(switch.release)
        };
        if is(&app.candidate) {
            app.current = app.candidate.take();
            self.revision += 1;
            app.revision = self.revision;
        } else if !is(&app.current) {
            return (409, r#"{"id":"conflict","message":"too late"}"#.to_owned());
        }
        self.switches.push((id.to_owned(), switch.clone()));
        self.routed.insert(id.to_owned(), switch);
        (204, String::new())
    }

    fn fail(&mut self, id: &str, version: u64, reason: String) -> (u16, String) {
        let Some(app) =
            self.apps.get_mut(id).filter(|a| a.candidate.as_ref().is_some_and(|c| c.version == version))
        else {
            return (409, r#"{"id":"conflict","message":"too late"}"#.to_owned());
        };
        app.candidate = None;
        self.revision += 1;
        app.revision = self.revision;
        self.failed.push((id.to_owned(), version, reason));
        (204, String::new())
    }

    fn logs(&mut self, LogLines { sender, batch, lines }: LogLines) -> (u16, String) {
        if self.batches.insert((sender, batch)) {
            for line in lines {
                let source = if line.source == LogSource::App { "app" } else { "heroku" };
                self.lines.push(format!("{source}[{}]: {}", line.process, line.text));
            }
        }
        (204, String::new())
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> T {
    serde_json::from_slice(body).unwrap()
}

/// Method, path and body of the next request; none when the client is gone.
fn request(from: &mut impl BufRead) -> io::Result<Option<(String, String, Vec<u8>)>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        if from.read_line(&mut header)? <= 2 {
            break;
        }
        let header = header.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        chunked |= header.starts_with("transfer-encoding:");
    }
    assert!(!chunked, "the client sends bodies whole");
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((method, path, body)))
}
