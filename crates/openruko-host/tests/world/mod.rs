//! A node for tests: the agent with a configuration of its own, and an API that is played.
#![allow(dead_code, reason = "every test program uses a part of it")]

pub(crate) mod api;
pub(crate) mod client;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use ruko_api_types::Stored;
use ruko_api_types::host::{
    AppToRun, DynoToRun, OneOff, ProcessToRun, ReleaseToRun, SizeToRun, SlugToRun, WebSettings,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub(crate) use api::FakeApi;

/// How long anything may take.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What a node is made of.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) api: FakeApi,
    pub(crate) container_command: Vec<String>,
    /// More lines of `[host]`, then other tables.
    more: String,
    /// Who runs the agent; none: who runs the tests.
    user: Option<(u32, u32)>,
    pub(crate) template: &'static str,
    agent: Option<Child>,
    slugs_dir: PathBuf,
}

impl Node {
    /// One whose containers are none.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rh-").tempdir_in("/tmp").unwrap();
        let keeper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world/keeper.py");
        let command = ["python3", keeper.to_str().unwrap(), dir.path().to_str().unwrap()].map(str::to_owned);
        let slugs_dir = dir.path().join("slugs");
        Self::with(dir, command.to_vec(), "openruko-dyno", slugs_dir, None)
    }

    pub(crate) fn with(
        dir: TempDir,
        container_command: Vec<String>,
        template: &'static str,
        slugs_dir: PathBuf,
        user: Option<(u32, u32)>,
    ) -> Self {
        let more = "stop_seconds = 2\ndrain_seconds = 0\nboot_seconds = 20\n".to_owned();
        Self { dir, api: FakeApi::start(), container_command, more, user, template, agent: None, slugs_dir }
    }

    /// Replaces what is configured beyond the necessary.
    pub(crate) fn configure(&mut self, more: &str) {
        self.more = more.to_owned();
    }

    pub(crate) fn config(&self) -> PathBuf {
        let path = self.dir.path().join("host.toml");
        let token = self.dir.path().join("token");
        fs::write(&token, "secret\n").unwrap();
        let text = format!(
            "[host]\napi_url = '{}'\ntoken_file = '{}'\ncontainer_command = {:?}\nstate_dir = '{}'\nslugs_dir = '{}'\n\
             template = '{}'\nport = {}\n{}",
            self.api.url(),
            token.display(),
            self.container_command,
            self.state_dir().display(),
            self.slugs_dir.display(),
            self.template,
            self.port(),
            self.more,
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// The port of web dynos; several nodes may run at a time, at addresses of their own.
    pub(crate) fn port(&self) -> u16 {
        5000
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    pub(crate) fn dynos(&self) -> usize {
        fs::read_dir(self.state_dir().join("dynos")).map_or(0, Iterator::count)
    }

    /// Starts the agent and waits until it says that it runs.
    pub(crate) fn start(&mut self) {
        let config = self.config();
        let mut command = Command::new(env!("CARGO_BIN_EXE_openruko-host"));
        command.arg("--config").arg(config).stderr(Stdio::piped()).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        let mut agent = command.spawn().unwrap();
        let mut lines = BufReader::new(agent.stderr.take().unwrap());
        let mut line = String::new();
        let mut said = String::new();
        while !line.contains("running dynos") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the agent ended: {said}");
            said.push_str(&line);
        }
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                eprintln!("agent: {line}");
            }
        });
        self.agent = Some(agent);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Asks all supervisors to end their dynos.
    pub(crate) fn stop_all(&self) {
        let status = Command::new(env!("CARGO_BIN_EXE_openruko-host"))
            .arg("--config")
            .arg(self.config())
            .arg("stop")
            .status()
            .unwrap();
        assert!(status.success() || std::thread::panicking());
    }

    /// A slug with these files, in storage.
    pub(crate) fn slug(&self, files: &[(&str, &str)]) -> SlugToRun {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, format!("./app/{name}"), text.as_bytes()).unwrap();
        }
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        self.store(&bytes)
    }

    pub(crate) fn store(&self, bytes: &[u8]) -> SlugToRun {
        let sha256 = ruko_core::hex(&Sha256::digest(bytes));
        let path = self.dir.path().join(format!("{sha256}.tar.gz"));
        fs::write(&path, bytes).unwrap();
        let stored = Stored { bytes: bytes.len() as u64, sha256 };
        SlugToRun { url: format!("file://{}", path.display()), stored, commit: None }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        self.stop_all();
        if std::thread::panicking() {
            self.api.print();
        }
    }
}

pub(crate) fn size() -> SizeToRun {
    SizeToRun { name: "Basic".into(), memory_bytes: 256 << 20, shares: 10, pids: 256 }
}

pub(crate) fn process(kind: &str, count: u32, command: &str) -> ProcessToRun {
    ProcessToRun {
        process_type: kind.parse().unwrap(),
        command: command.into(),
        size: size(),
        dynos: (1..=count)
            .map(|number| DynoToRun { name: format!("{kind}.{number}").parse().unwrap(), generation: 1 })
            .collect(),
    }
}

pub(crate) fn release(version: u64, slug: &SlugToRun, processes: Vec<ProcessToRun>) -> ReleaseToRun {
    ReleaseToRun {
        id: format!("release-{version}"),
        version,
        created_at: "2026-11-30T12:00:00Z".into(),
        slug: Some(slug.clone()),
        stack: None,
        config_vars: [("SECRET".parse().unwrap(), "tiger".to_owned())].into(),
        release_phase: None,
        processes,
    }
}

pub(crate) fn app(id: &str, current: Option<ReleaseToRun>, candidate: Option<ReleaseToRun>) -> AppToRun {
    AppToRun {
        app: ruko_api_types::AppRef { id: id.into(), name: "shop".parse().unwrap() },
        revision: 0,
        current,
        candidate,
        web: WebSettings::default(),
        asleep: false,
        one_offs: Vec::new(),
    }
}

pub(crate) fn one_off(id: &str, release: ReleaseToRun, command: &str) -> OneOff {
    OneOff {
        id: id.into(),
        name: "run.1234".parse().unwrap(),
        command: command.into(),
        env: [("TERM".to_owned(), "dumb".to_owned())].into(),
        size: size(),
        release,
        attach: None,
        stopped: false,
    }
}

/// Ends in time, or fails the test with what was waited for.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Reads until the other side ends.
pub(crate) fn rest(mut from: impl Read) -> String {
    let mut text = Vec::new();
    let _ = from.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
