//! The program with what is around it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruko_api_types::router::{RoutedApp, RoutedDyno};
use tempfile::TempDir;

use crate::api::{Api, TOKEN, app};
use crate::client::{Answer, Client};

/// Everything that has to happen happens within this time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something that has to come.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A router that runs.
pub(crate) struct Router {
    child: Child,
    /// What it says on stderr.
    said: Receiver<String>,
    pub(crate) http: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) metrics: Option<SocketAddr>,
}

impl Router {
    /// Starts the program and waits until it listens.
    pub(crate) fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_openruko-router"))
            .args(["--config".as_ref(), dir.join("config.toml").as_os_str()])
            .args(arguments)
            .env_clear()
            .env("RUST_LOG", "debug")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Shown where the test fails.
                eprintln!("{line}");
                let _ = sender.send(line);
            }
        });
        let mut router = Self { child, said, http: "0.0.0.0:0".parse().unwrap(), https: None, metrics: None };
        router.wait_until_it_listens(&fs::read_to_string(dir.join("config.toml")).unwrap());
        router
    }

    fn wait_until_it_listens(&mut self, config: &str) {
        let has = |key: &str| config.lines().any(|line| line.starts_with(key));
        let (tls, metrics) = (has("tls_listen"), has("metrics_listen"));
        while self.http.port() == 0 || (tls && self.https.is_none()) || (metrics && self.metrics.is_none()) {
            let line = self.said.recv_timeout(DEADLINE).expect("it listens");
            let after = |what: &str| line.strip_prefix(what).map(|address| address.parse().unwrap());
            self.http = after("openruko-router: listening on http://").unwrap_or(self.http);
            self.https = self.https.or(after("openruko-router: listening on https://"));
            self.metrics = self.metrics.or(after("openruko-router: metrics on http://"));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("its end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The most memory that it had so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// A line of the metrics.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let mut client = Client::connect(self.metrics.unwrap());
        let text = client.get("metrics", "/metrics").answer().text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.parse().unwrap())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An API, a router, and what they keep.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) api: Api,
    pub(crate) router: Router,
}

/// Short times, for tests.
const TIMES: &str = "first_byte_seconds = 1\nrolling_seconds = 2\nwake_seconds = 3\nshutdown_seconds = 4\n";

impl World {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With further lines in `[router]`; they may give times other than the short ones.
    pub(crate) fn with(extra: &str) -> Self {
        let (dir, api) = (tempfile::tempdir().unwrap(), Api::start());
        configure(dir.path(), api.address, extra);
        let router = Router::start(dir.path(), &[]);
        Self { dir, api, router }
    }

    /// With an app `shop` at `shop.test` that has these dynos.
    pub(crate) fn shop(dynos: Vec<RoutedDyno>) -> Self {
        let world = Self::new();
        world.put(RoutedApp { dynos, ..app("shop", &["shop.test"]) });
        world
    }

    /// Changes the table, and waits until the router knows.
    pub(crate) fn put(&self, app: RoutedApp) {
        self.api.known(self.api.put(app));
    }

    /// Asks the router.
    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        self.client().get(host, path).answer()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.router.http)
    }
}

/// Writes a configuration.
pub(crate) fn configure(dir: &Path, api: SocketAddr, extra: &str) {
    let times: String = TIMES
        .lines()
        .filter(|line| !extra.contains(line.split(' ').next().unwrap()))
        .map(|line| format!("{line}\n"))
        .collect();
    let listen = if extra.contains("\nlisten") || extra.starts_with("listen") {
        ""
    } else {
        "listen = '127.0.0.1:0'\n"
    };
    let text = format!(
        "[router]\napi_url = 'http://{api}'\ntoken_file = '{0}/token'\nstate_file = '{0}/table.json'\n\
         {listen}{times}{extra}",
        dir.display()
    );
    fs::write(dir.join("token"), format!("{TOKEN}\n")).unwrap();
    fs::write(dir.join("config.toml"), text).unwrap();
}
