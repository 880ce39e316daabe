//! A client that goes away, and processes that are killed: every app is afterwards as before the push or
//! as after it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use openruko_tests::{Developer, Repo, World, until};

use crate::Test;
use crate::builds::repo_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("crashes::client_gone_in_a_silent_build", client_gone_in_a_silent_build),
    ("crashes::client_gone_in_a_chattering_build", client_gone_in_a_chattering_build),
    ("crashes::serve_killed_in_mid_build", serve_killed_in_mid_build),
    ("crashes::container_keeper_killed_in_mid_build", container_keeper_killed_in_mid_build),
    ("crashes::inner_ssh_killed_in_mid_build", inner_ssh_killed_in_mid_build),
    ("crashes::lxc_start_killed_in_mid_build", lxc_start_killed_in_mid_build),
    ("crashes::whole_platform_killed_in_mid_build", whole_platform_killed_in_mid_build),
];

/// DESIGN's bound for what a client that went away leaves.
const CLIENT_GONE: Duration = Duration::from_secs(2);
/// DESIGN's bound for a container whose owner was killed.
const OWNER_GONE: Duration = Duration::from_secs(10);

/// A build that says nothing and does not end.
const SILENT: &str = "sleep 600";

/// An app that was released once, and whose next push is in the middle of its build.
struct InBuild<'a> {
    world: &'a World,
    repo: Repo<'a>,
    app: &'static str,
    push: Child,
    container: String,
    before: String,
}

impl<'a> InBuild<'a> {
    fn begin(world: &'a World, dev: &'a Developer, app: &'static str, script: &str) -> Self {
        world.app(app, dev);
        let repo = repo_that_builds_with(dev, "echo quick");
        repo.deploy(app);
        let before = repo.head();
        repo.commit(&[("build.sh", &format!("echo BUILD-BEGUN\n{script}"))]);
        let mut push = repo
            .push_command(app, &["main"])
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = String::new();
        let mut lines = BufReader::new(push.stderr.take().unwrap()).lines();
        for line in lines.by_ref() {
            seen.push_str(&line.unwrap());
            seen.push('\n');
            if seen.contains("BUILD-BEGUN") {
                break;
            }
        }
        assert!(seen.contains("BUILD-BEGUN"), "{seen}");
        // A client reads what it is sent for as long as it lives.
        thread::spawn(move || lines.for_each(drop));
        let container = world.container_of(app).expect("the push has a container");
        Self { world, repo, app, push, container, before }
    }

    fn container_is_gone(&self) -> bool {
        !self.world.containers().contains(&self.container)
    }

    /// Nothing changed, nothing is left, and the next push works.
    fn expect_as_before(mut self) {
        let _ = killpg(Pid::from_raw(self.push.id().try_into().unwrap()), Signal::SIGKILL);
        self.push.wait().unwrap();
        assert_eq!(self.world.deploys(self.app), 1);
        assert_eq!(self.repo.remote_ref(self.app, "refs/heads/main"), Some(self.before));
        self.repo.commit(&[("build.sh", "echo quick again")]);
        self.repo.deploy(self.app);
        assert_eq!(self.world.deploys(self.app), 2);
    }
}

fn client_gone(world: &World, name: &str, app: &'static str, script: &str) {
    let dev = world.developer(name);
    let build = InBuild::begin(world, &dev, app, script);
    killpg(Pid::from_raw(build.push.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    until("container gone, lease free", CLIENT_GONE, || {
        build.container_is_gone() && world.lease(app).is_none()
    });
    build.expect_as_before();
}

fn client_gone_in_a_silent_build(world: &World) {
    client_gone(world, "silke", "silent-app", SILENT);
}

fn client_gone_in_a_chattering_build(world: &World) {
    client_gone(world, "chad", "chatter-app", "while :; do echo and another thing; done");
}

/// Kills the one process of this push whose command line holds these words.
fn kill_process_of(world: &World, words: &[&str], names: impl Fn(u32) -> bool) {
    let found: Vec<u32> = world.processes(words).into_iter().filter(|&pid| names(pid)).collect();
    assert_eq!(found.len(), 1, "{words:?}: {found:?}");
    kill(Pid::from_raw(found[0].try_into().unwrap()), Signal::SIGKILL).unwrap();
}

fn serve_killed_in_mid_build(world: &World) {
    let dev = world.developer("kira");
    let build = InBuild::begin(world, &dev, "killed-app", SILENT);
    kill_process_of(world, &["openruko-serve", "kira"], |pid| is_program(pid, "openruko-serve"));
    until("container gone", OWNER_GONE, || build.container_is_gone());
    let term = Duration::from_secs(world.config().api().unwrap().lease_seconds);
    until("lease free", term + Duration::from_secs(2), || world.lease("killed-app").is_none());
    build.expect_as_before();
}

fn container_keeper_killed_in_mid_build(world: &World) {
    let dev = world.developer("kurt");
    let build = InBuild::begin(world, &dev, "orphan-app", SILENT);
    // Which keeper it is, its lock file tells.
    let lock = world.state().join("containers").join(&build.container).join("lock");
    kill_process_of(world, &["ruko-container", " run"], |pid| holds_open(pid, &lock));
    until("container gone", OWNER_GONE, || build.container_is_gone());
    until("lease free", OWNER_GONE, || world.lease("orphan-app").is_none());
    build.expect_as_before();
}

fn inner_ssh_killed_in_mid_build(world: &World) {
    let dev = world.developer("isa");
    let build = InBuild::begin(world, &dev, "tunnel-app", SILENT);
    let alias = format!("HostKeyAlias={}", build.container);
    kill_process_of(world, &[&alias], |_| true);
    until("container gone, lease free", OWNER_GONE, || {
        build.container_is_gone() && world.lease("tunnel-app").is_none()
    });
    build.expect_as_before();
}

fn lxc_start_killed_in_mid_build(world: &World) {
    let dev = world.developer("lex");
    let build = InBuild::begin(world, &dev, "monitor-app", SILENT);
    let lock = world.state().join("containers").join(&build.container).join("lock");
    let keepers: Vec<u32> = world
        .processes(&["ruko-container", " run"])
        .into_iter()
        .filter(|&pid| holds_open(pid, &lock))
        .collect();
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", keepers[0])).unwrap();
    let monitors: Vec<u32> = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter(|&pid| is_program(pid, "lxc-start"))
        .collect();
    assert_eq!(monitors.len(), 1, "{children}");
    kill(Pid::from_raw(monitors[0].try_into().unwrap()), Signal::SIGKILL).unwrap();
    until("container gone, lease free", OWNER_GONE, || {
        build.container_is_gone() && world.lease("monitor-app").is_none()
    });
    build.expect_as_before();
}

/// A world of its own, since nothing else could be tested meanwhile.
fn whole_platform_killed_in_mid_build(_: &World) {
    let world = &World::start(crate::limits::small);
    let dev = world.developer("wanda");
    let build = InBuild::begin(world, &dev, "outage-app", SILENT);
    let term = Duration::from_secs(world.config().api().unwrap().lease_seconds);
    world.kill();
    // The push's own connection stands: it ends with its lease, which nobody is left to renew.
    until("no process is left", term + Duration::from_secs(2), || world.processes(&["prefix/"]).is_empty());
    world.up([]);
    until("container gone", OWNER_GONE, || build.container_is_gone());
    until("lease free", term + Duration::from_secs(2), || world.lease("outage-app").is_none());
    build.expect_as_before();
}

fn is_program(pid: u32, name: &str) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(name))
}

fn holds_open(pid: u32, file: &std::path::Path) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == file))
}
