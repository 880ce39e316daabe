//! The second door: git over HTTP, through the whole real path.
//!
//! Whose token it is, is answered by a stand-in: every name is its own user's token. Everything behind the
//! door asks the real API.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use openruko_tests::{Developer, Pushed, Repo, World, eventually, until};
use tempfile::TempDir;

use crate::Test;
use crate::builds::repo_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("http::both_doors_lead_to_one_repository", both_doors_lead_to_one_repository),
    ("http::stranger_learns_nothing", stranger_learns_nothing),
    ("http::who_waits_for_another_push_is_told", who_waits_for_another_push_is_told),
    ("http::silent_build_is_kept_alive_and_ends_with_its_client", silent_build_ends_with_its_client),
    ("http::failing_build_is_refused", failing_build_is_refused),
];

/// openruko-git with a stand-in behind it.
struct Door {
    dir: TempDir,
    process: Child,
    address: String,
}

impl Door {
    fn open(world: &World) -> Self {
        let dir = world.scratch();
        let here = dir.path();
        fs::set_permissions(here, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(here.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(here.join("token"), "stand-in").unwrap();
        let serve = world.installed("libexec/openruko/openruko-serve");
        let config = world.state().join("config.toml");
        let script =
            format!("#!/bin/sh\nshift 2\nexec {} --config {} \"$@\"\n", serve.display(), config.display());
        fs::write(here.join("serve"), script).unwrap();
        fs::set_permissions(here.join("serve"), fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "[serve]\napi_url = 'http://{}'\ntoken_file = '{here}/token'\nruntime_dir = '/'\n\
             container_command = ['false']\n[git]\nlisten = '127.0.0.1:0'\nserve_program = '{here}/serve'\n",
            stand_in(),
            here = here.display(),
        );
        fs::write(here.join("config.toml"), config).unwrap();
        let (process, address) = start(world, here);
        Self { dir, process, address }
    }

    fn remote(&self, dev: &Developer, app: &str) -> String {
        format!("http://x:{}@{}/{app}.git", dev.name(), self.address)
    }

    fn push(&self, dev: &Developer, repo: &Repo<'_>, app: &str) -> Pushed {
        let mut git = dev.git(repo.path());
        git.args(["push", &self.remote(dev, app), "main"]).output().unwrap().into()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// As the user that the real one runs as.
fn start(world: &World, here: &Path) -> (Child, String) {
    let log = here.join("log");
    let mut process = Command::new("setpriv")
        .args(["--reuid=git", "--regid=git", "--clear-groups"])
        .arg(world.installed("libexec/openruko/openruko-git"))
        .arg("--config")
        .arg(here.join("config.toml"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let address = eventually("the door is open", Duration::from_secs(20), || {
        let said = fs::read_to_string(&log).unwrap();
        assert!(process.try_wait().unwrap().is_none(), "{said}");
        Some(said.lines().find_map(|line| line.split_once("listening on http://"))?.1.to_owned())
    });
    (process, address)
}

fn stand_in() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).is_ok_and(|count| count > 2) {
        let line = head.lines().last().unwrap_or_default().to_lowercase();
        length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, json) = if head.starts_with("POST /internal/authenticate ") {
        let asked: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (200, format!("{{\"user\":{}}}", asked["token"]))
    } else {
        (204, String::new())
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", json.len());
    let _ = stream.write_all(format!("{head}{json}").as_bytes());
}

fn builds(world: &World, app: &str) -> usize {
    world.admin_json(&["builds", app]).as_array().unwrap().len()
}

fn both_doors_lead_to_one_repository(world: &World) {
    let door = Door::open(world);
    let dev = world.developer("hella");
    world.app("two-doors", &dev);
    let repo = dev.fixture("procfile");
    let pushed = door.push(&dev, &repo, "two-doors");
    assert!(pushed.ok && pushed.seen.contains("remote:        Released v1 "), "{}", pushed.seen);
    repo.commit(&[("more", "1")]);
    repo.deploy("two-doors");
    repo.commit(&[("more", "2")]);
    let pushed = door.push(&dev, &repo, "two-doors");
    assert!(pushed.ok && pushed.seen.contains("Released v3"), "{}", pushed.seen);
    for version in ["0", "2"] {
        let into = door.dir.path().join(format!("clone-{version}"));
        let mut clone = dev.git(repo.path());
        clone.args(["-c", &format!("protocol.version={version}"), "clone", "-q"]);
        let cloned = clone.arg(door.remote(&dev, "two-doors")).arg(&into).output().unwrap();
        assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
        let head = dev.git(&into).args(["rev-parse", "HEAD"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&head.stdout).trim(), repo.head());
    }
    let nothing_new = door.push(&dev, &repo, "two-doors");
    assert!(nothing_new.seen.contains("Everything up-to-date"), "{}", nothing_new.seen);
    assert_eq!(world.releases("two-doors"), [1, 2, 3]);
    assert_eq!(builds(world, "two-doors"), 3, "what only asks leaves no record");
    assert!(world.lease("two-doors").is_none());
}

fn stranger_learns_nothing(world: &World) {
    let door = Door::open(world);
    let (owner, stranger) = (world.developer("heino"), world.developer("hugo"));
    world.app("http-private", &owner);
    let repo = stranger.fixture("procfile");
    let seen = ["http-private", "http-missing"].map(|app| {
        let pushed = door.push(&stranger, &repo, app);
        assert!(!pushed.ok && pushed.seen.contains("that you may use"), "{}", pushed.seen);
        pushed.seen.replace(app, "X")
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(builds(world, "http-private"), 0);
}

fn who_waits_for_another_push_is_told(world: &World) {
    let door = Door::open(world);
    let dev = world.developer("heidi");
    world.app("http-waits", &dev);
    let first = repo_that_builds_with(&dev, "sleep 6");
    let push = first.push_in_background("http-waits");
    until("it is being built", Duration::from_secs(30), || world.container_of("http-waits").is_some());
    let waited = door.push(&dev, &first, "http-waits");
    assert!(push.wait_with_output().unwrap().status.success());
    let told = "remote: -----> heidi has been pushing to http-waits for ";
    // The refs had moved by the time it was its turn: git itself refuses then, in the one lease order.
    assert!(waited.seen.contains(told), "{}", waited.seen);
    assert_eq!(world.releases("http-waits"), [1]);
}

fn silent_build_ends_with_its_client(world: &World) {
    let door = Door::open(world);
    let dev = world.developer("hanna");
    world.app("http-silent", &dev);
    let repo = repo_that_builds_with(&dev, "sleep 600");
    let trace = door.dir.path().join("trace");
    let mut push = dev.git(repo.path());
    push.args(["push", &door.remote(&dev, "http-silent"), "main"]).env("GIT_TRACE_CURL", &trace);
    let mut push = push.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("git keeps the connection alive", Duration::from_secs(60), || {
        fs::read_to_string(&trace).unwrap_or_default().contains("0005.")
    });
    let container = world.container_of("http-silent").unwrap();
    killpg(Pid::from_raw(push.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    push.wait().unwrap();
    until("the container is gone", Duration::from_secs(2), || !world.containers().contains(&container));
    until("the lease is given back", Duration::from_secs(10), || world.lease("http-silent").is_none());
    assert!(world.releases("http-silent").is_empty());
}

fn failing_build_is_refused(world: &World) {
    let door = Door::open(world);
    let dev = world.developer("henk");
    world.app("http-fails", &dev);
    let repo = repo_that_builds_with(&dev, "echo NO-WAY; exit 1");
    let pushed = door.push(&dev, &repo, "http-fails");
    assert!(!pushed.ok && pushed.seen.contains("NO-WAY"), "{}", pushed.seen);
    assert!(
        pushed.seen.contains("[remote rejected] main -> main (pre-receive hook declined)"),
        "{}",
        pushed.seen
    );
    assert_eq!(repo.remote_ref("http-fails", "refs/heads/main"), None);
    assert!(world.lease("http-fails").is_none());
}
