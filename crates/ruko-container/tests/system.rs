//! Real containers on this machine: needs root, LXC, nftables and control groups.
//!
//! `cargo test -p ruko-container --features system`. Every test has a bridge, a subnet and directories of
//! its own, and removes them also when it fails; other containers may run at the same time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use ruko_core::container::{Limit, LimitMet, Purpose, RunEvent, RunLimits, RunRequest, RunSpec};
use ruko_sys::Lock;

/// Long enough for a slow machine under load; what it bounds takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// The promise of the design: no container outlives its owner by more than this.
const ORPHAN_TIME: Duration = Duration::from_secs(10);

const ENDED: RunEvent = RunEvent::Ended { status: None, killed: false, out_of_memory: false };

const LIMITS: RunLimits =
    RunLimits { seconds: Some(120), memory_bytes: 256 << 20, pids: 64, disk_bytes: 64 << 20 };

/// An installation of its own: directories, configuration, bridge.
struct Site {
    dir: PathBuf,
    bridge: String,
    gateway: Ipv4Addr,
}

impl Site {
    fn new() -> Self {
        Self::with("slots = 64\n", "")
    }

    /// `container` goes into the table `[container]`, `rest` behind it.
    fn with(container: &str, rest: &str) -> Self {
        let site = Self::unprepared(container, rest);
        let setup = site.tool(&["setup"]);
        assert!(setup.status.success(), "{}", stderr(&setup));
        site
    }

    fn unprepared(container: &str, rest: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id().wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let third = (0..250u32).map(|offset| (id + offset) % 250).find(|third| subnet_is_free(*third));
        let third = third.expect("a free network 10.200.N.0/24");
        let site = Self {
            // Not below /tmp: others can write there, so nothing in it is trusted.
            dir: PathBuf::from(format!("/var/lib/openruko-test-{id:x}")),
            bridge: format!("rk-{:04x}", id & 0xffff),
            gateway: format!("10.200.{third}.1").parse().unwrap(),
        };
        site.lay_out(&format!("subnet = \"10.200.{third}.0/24\"\n{container}"), rest);
        site
    }

    fn lay_out(&self, container: &str, rest: &str) {
        for name in ["hooks", "buildpacks", "tools", "templates"] {
            fs::create_dir_all(self.dir.join(name)).unwrap();
        }
        fs::write(self.dir.join("hooks/pre-receive"), "#!/bin/sh\n").unwrap();
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lxc-templates");
        for name in ["openruko-build", "common.sh", "openruko.seccomp"] {
            fs::copy(templates.join(name), self.dir.join("templates").join(name)).unwrap();
        }
        let dir = self.dir.display();
        let config = format!(
            "[container]\nstate_dir = \"{dir}/containers\"\ntemplate_dir = \"{dir}/templates\"\n\
             hooks_dir = \"{dir}/hooks\"\nbuildpacks_dir = \"{dir}/buildpacks\"\n\
             tools_dir = \"{dir}/tools\"\nbridge = \"{}\"\nreserve_bytes = 1048576\n{container}{rest}",
            self.bridge
        );
        fs::write(self.config(), config).unwrap();
        let key = self.key();
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
    }

    fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("id")
    }

    fn containers(&self) -> PathBuf {
        self.dir.join("containers")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ruko-container"));
        command.arg("--config").arg(self.config()).args(args);
        command
    }

    fn tool(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    fn spec(&self, name: &str, limits: RunLimits) -> RunSpec {
        RunSpec {
            name: name.parse().unwrap(),
            template: "openruko-build".parse().unwrap(),
            purpose: Purpose::Login {
                client_key: fs::read_to_string(self.key().with_extension("pub")).unwrap().trim().to_owned(),
            },
            limits,
        }
    }

    /// Starts a container and waits until it answers.
    fn start(&self, name: &str, limits: RunLimits) -> Container<'_> {
        let mut run = self.run(&self.spec(name, limits));
        let event = run.event();
        let RunEvent::Ready { address, port, user, host_key } = event else { panic!("{event:?}") };
        assert_eq!((port, user.as_str()), (22, "build"));
        let known_hosts = self.dir.join(format!("known_hosts-{name}"));
        fs::write(&known_hosts, format!("{address} {host_key}\n")).unwrap();
        let slot = self.listed(name)["slot"].as_u64().unwrap();
        Container { site: self, name: name.to_owned(), run, address, known_hosts, slot }
    }

    fn run(&self, spec: &RunSpec) -> Run {
        self.run_line(&serde_json::to_string(spec).unwrap())
    }

    fn run_line(&self, line: &str) -> Run {
        let mut child = self
            .command(&["run"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that refuses before it reads closes its end.
        let _ = writeln!(stdin, "{line}");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Run { child, stdin: Some(stdin), events }
    }

    fn listed(&self, name: &str) -> serde_json::Value {
        let list = self.tool(&["list", "--json"]);
        let all: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout).unwrap();
        all.into_iter().find(|line| line["name"] == name).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Runs of a test that failed end with their stdin, in the order of declaration: before this.
        self.tool(&["destroy", "try"]);
        self.tool(&["reap"]);
        self.tool(&["teardown"]);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn subnet_is_free(third: u32) -> bool {
    let addresses = Command::new("ip").args(["-4", "-o", "address"]).output().unwrap();
    !String::from_utf8_lossy(&addresses.stdout).contains(&format!(" 10.200.{third}."))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Looks again and again until it is so.
#[track_caller]
fn eventually(within: Duration, what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A `ruko-container run`.
struct Run {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<RunEvent>,
}

impl Run {
    #[track_caller]
    fn event(&mut self) -> RunEvent {
        match self.events.recv_timeout(PATIENCE) {
            Ok(event) => event,
            Err(e) => {
                let _ = self.child.kill();
                let mut said = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("no event: {e}; stderr: {said}")
            }
        }
    }

    /// Closes stdin and waits for the end.
    fn end(&mut self) -> i32 {
        self.stdin = None;
        self.child.wait().unwrap().code().unwrap()
    }

    #[track_caller]
    fn refusal(mut self) -> (String, bool) {
        let event = self.event();
        let RunEvent::Failed { message, try_again } = event else { panic!("{event:?}") };
        assert_eq!(self.end(), if try_again { 75 } else { 1 });
        (message, try_again)
    }

    #[track_caller]
    fn limits(&mut self) -> Vec<LimitMet> {
        let request = serde_json::to_string(&RunRequest::Limits).unwrap();
        writeln!(self.stdin.as_ref().unwrap(), "{request}").unwrap();
        let event = self.event();
        let RunEvent::Limits { met } = event else { panic!("{event:?}") };
        met
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

struct Container<'a> {
    site: &'a Site,
    name: String,
    run: Run,
    address: Ipv4Addr,
    known_hosts: PathBuf,
    slot: u64,
}

impl Container<'_> {
    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        command.args(["-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", &known_hosts]);
        command.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]);
        command.args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-i"]).arg(self.site.key());
        command.arg(format!("build@{}", self.address)).stdin(Stdio::null());
        command
    }

    fn shell(&self, script: &str) -> Output {
        self.ssh().arg(script).output().unwrap()
    }

    /// Output of a script that must succeed.
    #[track_caller]
    fn says(&self, script: &str) -> String {
        let output = self.shell(script);
        assert!(output.status.success(), "{script}: {}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    #[track_caller]
    fn fails(&self, script: &str) {
        let output = self.shell(script);
        assert!(!output.status.success(), "{script}: {}", stdout(&output));
    }

    /// Starts a process that can be recognised from outside, and leaves it running.
    fn marker(&self) -> String {
        let seconds = format!("{}{:03}", 7_000_000 + std::process::id(), self.slot);
        self.says(&format!("sleep {seconds} </dev/null >/dev/null 2>&1 &"));
        assert!(is_running(&seconds), "the process in the container cannot be seen");
        seconds
    }

    /// The process that watches it.
    fn lxc_start(&self) -> String {
        only_child(&self.site.listed(&self.name)["owner"].to_string())
    }

    /// Makes its destruction take seconds: who watches it does not tidy up.
    fn slow_down_its_end(&self) {
        kill("STOP", &self.lxc_start());
    }

    /// The event that tells of its end, which is not yet the end of what is slow.
    #[track_caller]
    fn early_event(&mut self) -> RunEvent {
        let event = self.run.event();
        assert!(self.site.containers().join(&self.name).exists(), "told only after it was destroyed");
        event
    }

    /// What is left of it, in words; empty when nothing is.
    fn remains(&self, marker: &str) -> Vec<String> {
        let mut left = Vec::new();
        if is_running(marker) {
            left.push("a process".to_owned());
        }
        if self.site.containers().join(&self.name).exists() {
            left.push("its directory".to_owned());
        }
        let port = format!("/sys/class/net/{}-{:03}", self.site.bridge, self.slot);
        if Path::new(&port).exists() {
            left.push(port);
        }
        left.extend(loop_devices(&self.site.dir));
        left.extend(self.groups());
        left
    }

    /// Its control groups, unless the slot has a new holder, whose they are then.
    fn groups(&self) -> Vec<String> {
        let lock = PathBuf::from(format!("/run/openruko/slots/{:03}", self.slot));
        let Some(_free) = Lock::try_take(&lock).unwrap() else { return Vec::new() };
        let names = ["payload", "monitor"].map(|kind| format!("openruko.{kind}.{:03}", self.slot));
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let points = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        points
            .flat_map(|point| names.iter().map(move |name| point.join(name)).collect::<Vec<_>>())
            .filter(|group| group.exists())
            .map(|group| group.display().to_string())
            .collect()
    }
}

fn kill(signal: &str, process: &str) {
    assert!(Command::new("kill").args(["-s", signal, process]).status().unwrap().success());
}

fn only_child(parent: &str) -> String {
    let children = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(parent)
    });
    let children: Vec<_> = children.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let [child] = &children[..] else { panic!("{children:?}") };
    child.clone()
}

/// A directory that cannot be removed, until this is dropped.
struct Busy(PathBuf);

impl Busy {
    fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        assert!(Command::new("mount").arg("--bind").args([&dir, &dir]).status().unwrap().success());
        Self(dir)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn is_running(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line == format!("sleep\0{marker}\0").as_bytes())
}

fn loop_devices(dir: &Path) -> Vec<String> {
    let blocks = fs::read_dir("/sys/block").unwrap().flatten();
    blocks
        .filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok())
        .filter(|file| file.starts_with(&*dir.to_string_lossy()))
        .collect()
}

#[test]
fn a_container_answers_with_the_pinned_key_and_leaves_nothing_behind() {
    let site = Site::new();
    let begun = Instant::now();
    let mut container = site.start("first", LIMITS);
    let ready = begun.elapsed();
    assert_eq!(
        container.says("id -u; id -g; pwd").split_whitespace().collect::<Vec<_>>(),
        ["1000", "1000", "/app"]
    );
    let marker = container.marker();
    let listed = site.listed("first");
    assert_eq!(listed["state"], "running");
    assert_eq!(listed["address"], container.address.to_string());

    let begun = Instant::now();
    assert_eq!(container.run.end(), 0);
    let gone = begun.elapsed();
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
    assert_eq!(site.listed("first"), serde_json::Value::Null);
    // Far above what was measured (under 100 ms each), for a machine that does other things too.
    assert!(ready < Duration::from_secs(10), "ready after {ready:?}");
    assert!(gone < Duration::from_secs(2), "gone after {gone:?}");
}

#[test]
fn a_wrong_key_is_refused() {
    let site = Site::new();
    let container = site.start("locked", LIMITS);
    let other = site.dir.join("other");
    Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status().unwrap();
    fs::rename(&other, site.key()).unwrap();
    container.fails("true");
}

#[test]
fn kill_9_of_the_owner_ends_the_container_and_the_next_run_tidies_up() {
    let site = Site::new();
    let mut container = site.start("orphan", LIMITS);
    let marker = container.marker();
    container.run.child.kill().unwrap();
    container.run.child.wait().unwrap();
    eventually(ORPHAN_TIME, "the container ends with its owner", || {
        !is_running(&marker) && loop_devices(&site.dir).is_empty()
    });
    assert_eq!(site.listed("orphan")["state"], "abandoned");

    let mut next = site.start("next", LIMITS);
    next.says("true");
    assert_eq!(site.listed("orphan"), serde_json::Value::Null, "the next run reaps");
    assert_eq!(next.run.end(), 0);
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn kill_9_of_lxc_start_ends_the_container_and_is_told() {
    let site = Site::new();
    let mut container = site.start("cut", LIMITS);
    let marker = container.marker();
    kill("KILL", &container.lxc_start());
    assert_eq!(container.run.event(), ENDED);
    container.run.child.wait().unwrap();
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn the_end_of_a_container_is_told_before_it_is_destroyed() {
    let site = Site::new();
    let mut late = site.start("late", RunLimits { seconds: Some(3), ..LIMITS });
    late.slow_down_its_end();
    let met = LimitMet { limit: Limit::Time, value: 3 };
    assert_eq!(late.early_event(), RunEvent::Stopped { by: met });
    assert_eq!(late.run.child.wait().unwrap().code(), Some(1));

    let mut cut = site.start("cut", LIMITS);
    let init = only_child(&cut.lxc_start());
    cut.slow_down_its_end();
    kill("KILL", &init);
    assert_eq!(cut.early_event(), ENDED);
    assert_eq!(cut.run.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_container_whose_first_process_ran_out_of_memory_was_stopped_by_that_limit() {
    let site = Site::new();
    let mut container = site.start("hog", LIMITS);
    let mut hog = container.ssh();
    hog.arg("python3 -c 'print(flush=True); input(); x = b\"x\" * 1000000000'");
    let mut hog = hog.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(hog.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // It is now the one that the kernel chooses.
    let init = only_child(&container.lxc_start());
    fs::write(format!("/proc/{init}/oom_score_adj"), "1000").unwrap();
    container.slow_down_its_end();
    writeln!(hog.stdin.take().unwrap()).unwrap();
    let met = LimitMet { limit: Limit::Memory, value: LIMITS.memory_bytes };
    assert_eq!(container.early_event(), RunEvent::Stopped { by: met });
    hog.wait().unwrap();
    assert_eq!(container.run.child.wait().unwrap().code(), Some(1));
}

#[test]
fn what_cannot_be_destroyed_is_an_error_that_names_all_of_it() {
    let site = Site::new();
    let busy = ["one", "two"].map(|name| Busy::new(site.containers().join(name).join("busy")));
    let reap = site.tool(&["reap"]);
    assert_eq!(reap.status.code(), Some(1));
    let said = stderr(&reap);
    assert!(
        said.lines().next().is_some_and(|line| line.contains("/one`") && line.contains("/two`")),
        "{said}"
    );
    let destroy = site.tool(&["destroy", "one"]);
    assert_eq!(destroy.status.code(), Some(1));
    assert!(stderr(&destroy).contains("cannot remove") && !stderr(&destroy).contains("two"), "{destroy:?}");
    drop(busy);
    assert!(site.tool(&["destroy", "one"]).status.success());
}

#[test]
fn what_an_earlier_container_left_delays_no_other() {
    let site = Site::new();
    let hierarchy = ruko_lxc::cgroup::Layout::detect().unwrap().hierarchies.remove(0).point;
    // Beyond the slots of any configuration, so that nobody else meets them.
    let stuck = [900, 901, 902].map(|slot| {
        let dir = site.containers().join(format!("left-{slot}"));
        fs::create_dir_all(&dir).unwrap();
        let record = serde_json::json!({
            "slot": slot, "address": "10.200.0.9", "owner": 1, "started": 0, "limits": LIMITS,
        });
        fs::write(dir.join("state.json"), record.to_string()).unwrap();
        Busy::new(hierarchy.join(format!("openruko.payload.{slot}")))
    });
    let begun = Instant::now();
    let container = site.start("next", LIMITS);
    let ready = begun.elapsed();
    container.says("true");
    // With patience it would be five seconds for each.
    assert!(ready < Duration::from_secs(10), "ready after {ready:?}");
    assert_eq!(site.listed("left-900")["state"], "abandoned", "it is left to `reap`");
    drop(stuck);
    assert!(site.tool(&["reap"]).status.success());
    assert_eq!(site.listed("left-900"), serde_json::Value::Null);
}

#[test]
fn a_signal_ends_the_container_as_the_end_of_stdin_does() {
    let site = Site::new();
    let mut container = site.start("told", LIMITS);
    let marker = container.marker();
    let stop = site.tool(&["stop", "told"]);
    assert!(stop.status.success(), "{}", stderr(&stop));
    assert_ne!(site.listed("told")["state"], "running");
    assert_eq!(container.run.event(), ENDED);
    assert_eq!(container.run.child.wait().unwrap().code(), Some(0));
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn destroy_and_reap_leave_nothing_of_a_running_and_of_an_abandoned_container() {
    let site = Site::new();
    let running = site.start("running", LIMITS);
    let mut abandoned = site.start("abandoned", LIMITS);
    let markers = [running.marker(), abandoned.marker()];
    abandoned.run.child.kill().unwrap();
    abandoned.run.child.wait().unwrap();
    let reap = site.tool(&["reap", "--json"]);
    assert_eq!(stdout(&reap).trim(), r#"{"destroyed":["abandoned"]}"#, "{}", stderr(&reap));
    assert_eq!(site.listed("running")["state"], "running");
    let destroy = site.tool(&["destroy", "running"]);
    assert!(destroy.status.success(), "{}", stderr(&destroy));
    eventually(PATIENCE, "nothing is left", || {
        running.remains(&markers[0]).is_empty() && abandoned.remains(&markers[1]).is_empty()
    });
}

#[test]
fn running_out_of_memory_is_counted_and_named() {
    let site = Site::new();
    let mut container = site.start("hog", LIMITS);
    assert_eq!(container.run.limits(), []);
    container.fails("python3 -c 'x = b\"x\" * 1000000000'");
    let met = LimitMet { limit: Limit::Memory, value: LIMITS.memory_bytes };
    assert_eq!(container.run.limits(), [met]);
    container.says("true");
}

#[test]
fn a_build_sees_its_own_limits_and_cannot_change_them() {
    let site = Site::new();
    let container = site.start("sees", LIMITS);
    let files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    let limit = stdout(&container.shell(&format!("cat {files} 2>/dev/null")));
    assert_eq!(limit.trim(), LIMITS.memory_bytes.to_string());
    let tries = "cd /sys/fs/cgroup; for d in . pids memory; do mkdir $d/x && echo made; done; \
        for f in pids.max pids/pids.max; do echo max >$f && echo written; done";
    assert_eq!(stdout(&container.shell(&format!("({tries}) 2>/dev/null; true"))), "");
}

#[test]
fn kill_9_of_the_owner_at_any_moment_leaves_nothing_that_lasts() {
    let site = Site::new();
    for milliseconds in (0..120).step_by(8) {
        let mut run = site.run(&site.spec("anytime", LIMITS));
        // Nothing but an event ends the wait early, and then the container is up.
        let _ = run.events.recv_timeout(Duration::from_millis(milliseconds));
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        eventually(ORPHAN_TIME, "reaped", || {
            site.tool(&["reap"]).status.success()
                && site.listed("anytime") == serde_json::Value::Null
                && loop_devices(&site.dir).is_empty()
                && !processes_below(&site.dir)
        });
    }
    let container = site.start("anytime", LIMITS);
    container.says("true");
}

/// Whether any process has the directory in its command line.
fn processes_below(dir: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let dir = dir.to_string_lossy().into_owned();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(&dir))
}

#[test]
fn a_caller_that_does_not_read_cannot_keep_a_container_beyond_its_time() {
    let site = Site::new();
    let spec = serde_json::to_string(&site.spec("deaf", RunLimits { seconds: Some(3), ..LIMITS })).unwrap();
    let mut child = site
        .command(&["run"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{spec}").unwrap();
    let asking = std::thread::spawn(move || {
        let request = serde_json::to_string(&RunRequest::Limits).unwrap();
        while writeln!(stdin, "{request}").is_ok() {}
    });
    assert_eq!(child.wait().unwrap().code(), Some(1), "stopped by its time limit");
    asking.join().unwrap();
}

#[test]
fn a_fork_bomb_is_stopped_and_named() {
    let site = Site::new();
    let mut container = site.start("bomb", LIMITS);
    let marker = container.marker();
    // A shell would give up at the first refusal.
    let bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass";
    let mut bomb = container.ssh().arg(format!("python3 -c '{bomb}'")).spawn().unwrap();
    let met = LimitMet { limit: Limit::Pids, value: LIMITS.pids };
    assert_eq!(container.run.event(), RunEvent::Stopped { by: met });
    assert_eq!(container.run.child.wait().unwrap().code(), Some(1));
    bomb.wait().unwrap();
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn the_time_limit_stops_the_container_and_is_named() {
    let site = Site::new();
    let mut container = site.start("late", RunLimits { seconds: Some(2), ..LIMITS });
    let marker = container.marker();
    let met = LimitMet { limit: Limit::Time, value: 2 };
    assert_eq!(container.run.event(), RunEvent::Stopped { by: met });
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn everything_a_container_can_write_is_bounded_and_a_full_disk_is_named() {
    let site = Site::new();
    let mut container = site.start("full", LIMITS);
    let output = container.shell("for d in /tmp /var/tmp /app/tmp/cache; do cat /dev/zero >$d/big; done");
    assert!(stderr(&output).contains("No space left on device"), "{}", stderr(&output));
    let met = LimitMet { limit: Limit::Disk, value: LIMITS.disk_bytes };
    assert_eq!(container.run.limits(), [met]);
    let writable = container.says(
        "find / -xdev -type d -writable 2>/dev/null | xargs df --output=source | sort -u | grep -v Filesystem",
    );
    assert_eq!(writable.lines().count(), 1, "one file system is written to: {writable}");
    let elsewhere = container.says(
        "awk '$6 ~ /^rw/ { print $5 }' /proc/self/mountinfo | while read -r p; do test ! -w $p || echo $p; done",
    );
    let shared_memory = elsewhere.lines().filter(|point| *point != "/dev/shm");
    for point in shared_memory {
        assert_eq!(container.says(&format!("stat -c %F {point}")), "character special file\n", "{point}");
    }
}

#[test]
fn nothing_of_the_host_is_seen_beyond_its_programs() {
    let site = Site::new();
    let secret = site.dir.join("secret");
    fs::write(&secret, "x").unwrap();
    let container = site.start("seen", LIMITS);
    for path in
        ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/openruko", "/etc/ssl/private", "/boot", "/mnt"]
    {
        container.fails(&format!("test -e {path}"));
    }
    container.fails(&format!("test -e {}", site.dir.display()));
    assert_eq!(
        container.says("ls /var/lib /home /run; ls /etc/ssh"),
        "/home:\n\n/run:\nlock\nsshd\n\n/var/lib:\n\
        authorized_keys\nhost_key\nsshd_config\n"
    );
    container.fails("cat /etc/ssh/host_key");
    container.fails("ls /root");
    for path in [
        "/usr",
        "/usr/local",
        "/etc/ssl/certs",
        "/app/tmp/repo.git/hooks",
        "/app/buildpacks",
        "/opt/openruko",
    ] {
        container.fails(&format!("touch {path}/probe"));
    }
    container.fails("rm -rf /app/tmp/repo.git/hooks/pre-receive");
    container.says("touch /app/a /tmp/a /app/tmp/cache/a /app/tmp/repo.git/a /app/tmp/ssh/a");
    let processes = container.says("cat /proc/[0-9]*/comm | sort -u");
    assert!(processes.contains("sshd\n"), "{processes}");
    let expected = |name: &str| ["cat", "sh", "sort"].contains(&name) || name.starts_with("sshd");
    assert!(processes.lines().all(expected), "{processes}");
}

#[test]
fn a_build_has_no_privileges_and_can_get_none() {
    let site = Site::new();
    let container = site.start("weak", LIMITS);
    let status = container.says("grep -E '^(Cap(Eff|Prm|Amb)|NoNewPrivs|Seccomp):' /proc/self/status");
    for expected in
        ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
    {
        assert!(status.contains(expected), "{status}");
    }
    container.fails("unshare --user true");
    container.fails("unshare --user --map-root-user --mount true");
    container.fails("mount -t tmpfs none /tmp");
    container.fails("mknod /tmp/device b 8 0");
    container.fails("python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'");
    let families = "import errno, socket\n\
        def refused(family):\n try: socket.socket(family, socket.SOCK_STREAM).close()\n \
        except OSError as e: return e.errno == errno.EAFNOSUPPORT\n\
        print(*[family for family in range(64) if not refused(family)])";
    assert_eq!(container.says(&format!("python3 -c '{families}'")), "1 2 10 16\n");
    let map = container.says("cat /proc/self/uid_map");
    let fields: Vec<u64> = map.split_whitespace().map(|field| field.parse().unwrap()).collect();
    assert!(fields[0] == 0 && fields[1] >= 65536 && fields[2] == 65536, "{map}");
    assert_eq!(container.says("ulimit -c").trim(), "0");
}

/// The gate of 32-bit programs has one more system call for sockets, with its arguments behind a pointer.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_second_way_to_sockets_of_32_bit_programs_is_closed() {
    const SCRIPT: &str = r#"
import ctypes, struct
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
page = libc.mmap(None, 4096, 7, 0x62, -1, 0)  # executable, private, anonymous, below 2 GB
def call(number, *args):
    registers = zip((b"\xb8", b"\xbb", b"\xb9", b"\xba"), (number, *args))
    code = b"\x53" + b"".join(op + struct.pack("<I", arg) for op, arg in registers) + b"\xcd\x80\x5b\xc3"
    ctypes.memmove(page, code, len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()
AF_VSOCK, SOCK_STREAM = 40, 1
ctypes.memmove(page + 2048, struct.pack("<III", AF_VSOCK, SOCK_STREAM, 0), 12)
print(call(20) > 0, call(102, 1, page + 2048, 0) < 0)
"#;
    let site = Site::new();
    let container = site.start("narrow", LIMITS);
    let output = container.shell(&format!("python3 - <<'END'\n{SCRIPT}\nEND"));
    // A kernel without 32-bit programs ends the script by a signal.
    let closed = !output.status.success() || stdout(&output) == "True True\n";
    assert!(closed, "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn containers_reach_neither_the_host_nor_each_other_nor_metadata() {
    let site = Site::new();
    let on_bridge = TcpListener::bind((site.gateway, 0)).unwrap();
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let one = site.start("one", LIMITS);
    let two = site.start("two", LIMITS);
    let connect = |to: &str, port: u16| {
        one.shell(&format!(
            "python3 -c 'import socket; socket.create_connection((\"{to}\", {port}), 2)' 2>&1"
        ))
    };
    assert!(connect("127.0.0.1", 22).status.success(), "the probe itself works");
    let gateway = site.gateway.to_string();
    let targets = [
        (gateway.clone(), on_bridge.local_addr().unwrap().port()),
        (gateway, everywhere.local_addr().unwrap().port()),
        (two.address.to_string(), 22),
        ("169.254.169.254".to_owned(), 80),
        ("192.168.1.1".to_owned(), 80),
    ];
    for (to, port) in targets {
        let output = connect(&to, port);
        assert!(!output.status.success(), "{to}:{port} was reached");
        let why = stdout(&output);
        assert!(
            why.contains("timed out") || why.contains("unreachable") || why.contains("No route"),
            "{to}: {why}"
        );
    }
    // From the host both are reached, so it is not that nothing works.
    for container in [&one, &two] {
        TcpStream::connect_timeout(&(container.address, 22).into(), PATIENCE).unwrap();
    }
}

#[test]
fn a_second_connection_brings_a_unix_socket_of_the_host_into_the_container() {
    let site = Site::new();
    let container = site.start("forward", LIMITS);
    let path = site.dir.join("host.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"from the host").unwrap();
    });
    let script = "import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"/app/tmp/host.sock\"); \
        print(s.recv(99).decode(), end=\"\")";
    let forward = format!("/app/tmp/host.sock:{}", path.display());
    let mut ssh = container.ssh();
    ssh.args(["-o", "ExitOnForwardFailure=yes"]);
    // Options behind the destination are options too, as long as no command came.
    let output = ssh.args(["-R", &forward]).arg(format!("python3 -c '{script}'")).output().unwrap();
    assert_eq!(stdout(&output), "from the host", "{}", stderr(&output));
    answer.join().unwrap();
    let mut tcp = container.ssh();
    tcp.args(["-W", "127.0.0.1:22"]);
    assert!(!tcp.output().unwrap().status.success(), "nothing is forwarded out of the container");
}

#[test]
fn files_of_the_configuration_are_seen_read_only() {
    let site = Site::with(
        "slots = 64\n",
        "[build.files]\n\"/app/.npmrc\" = \"/usr/share/common-licenses/BSD\"\n\
         \"/etc/pip.conf\" = \"/usr/share/common-licenses/Artistic\"\n",
    );
    let container = site.start("files", LIMITS);
    container.says("cmp /app/.npmrc /usr/share/common-licenses/BSD");
    container.says("cmp /etc/pip.conf /usr/share/common-licenses/Artistic");
    container.fails("echo x >>/app/.npmrc");
}

#[test]
fn hostile_specifications_are_refused_before_anything_is_made() {
    let site = Site::new();
    let good = site.spec("refused", LIMITS);
    let refused = |spec: &RunSpec| {
        let (message, try_again) = site.run(spec).refusal();
        assert!(!try_again, "{message}");
        message
    };
    let Purpose::Login { client_key } = &good.purpose else { panic!("{good:?}") };
    let purpose = Purpose::Login { client_key: format!("command=\"id\" {client_key}") };
    assert!(refused(&RunSpec { purpose, ..good.clone() }).contains("client key"));
    let limits = RunLimits { memory_bytes: 1 << 50, ..LIMITS };
    assert!(refused(&RunSpec { limits, ..good.clone() }).contains("memory"));
    let template = "no-such-template".parse().unwrap();
    assert!(refused(&RunSpec { template, ..good.clone() }).contains("no-such-template"));
    let untrusted = site.dir.join("templates/untrusted");
    fs::write(&untrusted, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&untrusted, fs::Permissions::from_mode(0o777)).unwrap();
    let template = "untrusted".parse().unwrap();
    assert!(refused(&RunSpec { template, ..good.clone() }).contains("only root"));
    let line = serde_json::to_string(&good).unwrap();
    for bad in [
        line.replace("\"refused\"", "\"../refused\""),
        line.replace("\"refused\"", "\"a\\nlxc.hook.start-host = /bin/sh\""),
        line.replace("{\"name\"", "{\"mounts\":[\"/\"],\"name\""),
        "x".repeat(20_000),
        String::new(),
    ] {
        assert!(!site.run_line(&bad).refusal().1, "{bad:.60}");
    }
    let made =
        fs::read_dir(site.containers()).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(made, 0);
}

#[test]
fn a_request_that_makes_no_sense_ends_the_container_with_an_event_and_a_reason() {
    let site = Site::new();
    let mut container = site.start("confused", LIMITS);
    writeln!(container.run.stdin.as_ref().unwrap(), "nonsense").unwrap();
    assert_eq!(container.run.event(), ENDED);
    assert_eq!(container.run.child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    container.run.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the request is not valid"), "{said}");
}

#[test]
fn a_signal_before_there_is_a_container_is_told_too() {
    let site = Site::new();
    let mut run = site.run(&site.spec("early", LIMITS));
    let process = run.child.id().to_string();
    eventually(PATIENCE, "it listens to signals", || catches_sigterm(&process));
    kill("TERM", &process);
    let event = run.event();
    let status = run.child.wait().unwrap();
    match event {
        RunEvent::Failed { try_again: true, .. } => assert_eq!(status.code(), Some(75)),
        // It was quicker than the signal, which then is the end of a container that is ready.
        RunEvent::Ready { .. } => assert_eq!(run.event(), ENDED),
        other => panic!("{other:?}"),
    }
}

/// From the mask of caught signals (proc(5)): SIGTERM is number 15, the lowest bit number 1.
fn catches_sigterm(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 14) != 0
}

#[test]
fn reapers_at_any_moment_disturb_neither_beginning_nor_end() {
    let site = Site::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reaper = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let reap = site.tool(&["reap", "--json"]);
                assert_eq!(stdout(&reap).trim(), r#"{"destroyed":[]}"#, "{}", stderr(&reap));
            }
        });
        let codes = [0; 8].map(|_| {
            let mut run = site.run(&site.spec("reaped", LIMITS));
            matches!(run.event(), RunEvent::Ready { .. }).then(|| run.end())
        });
        done.store(true, Ordering::Relaxed);
        reaper.join().unwrap();
        assert_eq!(codes, [Some(0); 8]);
    });
}

#[test]
fn a_name_is_given_once() {
    let site = Site::new();
    let _first = site.start("twice", LIMITS);
    let (message, _) = site.run(&site.spec("twice", LIMITS)).refusal();
    assert!(message.contains("`twice`"), "{message}");
}

#[test]
fn when_all_slots_are_in_use_it_says_so_and_to_try_again() {
    let site = Site::with("slots = 1\n", "");
    let _held = Lock::take(Path::new("/run/openruko/slots/000")).unwrap();
    let (message, try_again) = site.run(&site.spec("waiting", LIMITS)).refusal();
    assert!(try_again && message.contains("all 1 container slots are in use"), "{message}");
}

#[test]
fn a_disk_that_is_nearly_full_is_foreseen_with_both_values() {
    let site = Site::with("slots = 64\n", "");
    let config = fs::read_to_string(site.config()).unwrap();
    let wanting = config.replace("reserve_bytes = 1048576", "reserve_bytes = 4611686018427387904");
    fs::write(site.config(), wanting).unwrap();
    let (message, try_again) = site.run(&site.spec("nowhere", LIMITS)).refusal();
    assert!(try_again && message.contains("free") && message.contains("4194304.0 TB"), "{message}");
}

#[test]
fn a_missing_bridge_is_named_with_its_mend() {
    let site = Site::unprepared("slots = 64\n", "");
    let (message, _) = site.run(&site.spec("lost", LIMITS)).refusal();
    assert!(message.contains(&site.bridge) && message.contains("ruko-container setup"), "{message}");
    assert!(!site.containers().join("lost").exists(), "a failed start leaves nothing");
}

#[test]
fn a_configuration_that_others_can_write_is_not_used() {
    let site = Site::unprepared("slots = 64\n", "");
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o666)).unwrap();
    let (message, _) = site.run(&site.spec("untrusted", LIMITS)).refusal();
    assert!(message.contains("only root may be able to write it"), "{message}");
    let check = site.tool(&["--check"]);
    assert_eq!(check.status.code(), Some(1));
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(site.tool(&["--check"]).status.success());
}

#[test]
fn exec_runs_a_command_as_the_build_user_and_passes_its_status_on() {
    let site = Site::new();
    let _container = site.start("attach", LIMITS);
    let output = site.tool(&["exec", "attach", "--", "sh", "-c", "id -u; echo $HOME; exit 7"]);
    assert_eq!(stdout(&output), "1000\n/app\n", "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(site.tool(&["exec", "nobody", "--", "true"]).status.code(), Some(1));
}

#[test]
fn a_container_started_in_the_background_lives_until_it_is_stopped() {
    let site = Site::new();
    let key = site.key().with_extension("pub");
    let start = site.tool(&["start", "try", "--client-key", &key.to_string_lossy(), "--json"]);
    assert!(start.status.success(), "{}", stderr(&start));
    assert!(
        matches!(serde_json::from_slice(&start.stdout), Ok(RunEvent::Ready { .. })),
        "{}",
        stdout(&start)
    );
    assert_eq!(site.listed("try")["state"], "running");
    assert_eq!(stdout(&site.tool(&["exec", "try", "--", "id", "-un"])), "build\n");
    let destroy = site.tool(&["destroy", "try"]);
    assert!(destroy.status.success(), "{}", stderr(&destroy));
    assert_eq!(site.listed("try"), serde_json::Value::Null);
    let refused = site.tool(&["start", "try", "--client-key", "/etc/hostname"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("client key"), "{}", stderr(&refused));
}

#[test]
fn a_file_that_cannot_be_shown_is_named() {
    let files = "[build.files]\n\"/usr/no/such/file\" = \"/etc/hosts\"\n";
    let site = Site::with("slots = 64\n", files);
    let (message, _) = site.run(&site.spec("files", LIMITS)).refusal();
    assert!(message.contains("/usr/no/such/file"), "{message}");
}

#[test]
fn setup_can_be_done_again_and_teardown_too() {
    let site = Site::new();
    let container = site.start("kept", LIMITS);
    assert!(site.tool(&["setup"]).status.success());
    container.says("true");
    let refused = site.tool(&["teardown"]);
    assert!(stderr(&refused).contains("1 containers are running"), "{}", stderr(&refused));
    drop(container);
    for _ in 0..2 {
        let teardown = site.tool(&["teardown"]);
        assert!(teardown.status.success(), "{}", stderr(&teardown));
    }
    assert!(!Path::new("/sys/class/net").join(&site.bridge).exists());
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!stdout(&tables).contains(&site.bridge));
}

#[test]
fn a_subnet_can_be_changed_and_one_that_is_taken_is_refused_with_what_to_do() {
    let site = Site::new();
    let rewrite = |from: &str, to: &str| {
        let config = fs::read_to_string(site.config()).unwrap();
        assert!(config.contains(from), "{config}");
        fs::write(site.config(), config.replace(from, to)).unwrap();
    };
    let subnet = format!("{}/24", site.gateway).replace(".1/24", ".0/24");
    rewrite(&subnet, &subnet.replace(".0/24", ".128/25"));
    assert!(site.tool(&["setup"]).status.success());
    let shown =
        Command::new("ip").args(["-4", "-o", "address", "show", "dev", &site.bridge]).output().unwrap();
    assert_eq!(stdout(&shown).matches(" inet ").count(), 1, "{}", stdout(&shown));
    site.start("moved", LIMITS).says("true");

    let renamed = format!("{}z", site.bridge);
    let (ours, theirs) = (format!("bridge = \"{}\"", site.bridge), format!("bridge = \"{renamed}\""));
    rewrite(&ours, &theirs);
    let refused = site.tool(&["setup"]);
    assert_eq!(refused.status.code(), Some(1));
    let mend = format!("`ip link delete {}`", site.bridge);
    assert!(stderr(&refused).contains(&mend) && stderr(&refused).lines().count() == 1, "{refused:?}");
    let delete = Command::new("ip").args(["link", "delete", &site.bridge]).status().unwrap();
    assert!(delete.success());
    assert!(site.tool(&["setup"]).status.success());
    assert!(site.tool(&["teardown"]).status.success());
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!stdout(&tables).contains(&site.bridge), "neither the old name's nor the new one's are left");
}

#[test]
fn the_template_is_one_that_lxc_create_accepts() {
    let site = Site::unprepared("", "");
    let lxc = site.dir.join("lxc");
    fs::create_dir(&lxc).unwrap();
    File::create(site.dir.join("empty.conf")).unwrap();
    let output = Command::new("lxc-create")
        .args(["--name", "by-hand", "--lxcpath"])
        .arg(&lxc)
        .arg("--config")
        .arg(site.dir.join("empty.conf"))
        .arg("--template")
        .arg(site.dir.join("templates/openruko-build"))
        .arg("--")
        .arg(format!("--authorized-key={}", site.key().with_extension("pub").display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let read = |path: &str| fs::read_to_string(lxc.join("by-hand").join(path)).unwrap();
    assert!(read("rootfs/etc/passwd").contains("build:*:1000:1000::/app:/bin/sh"));
    assert!(read("rootfs/etc/ssh/host_key").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert!(read("config").contains("lxc.mount.entry = /usr usr none bind,ro,nosuid,nodev 0 0"));
    let destroyed = Command::new("lxc-destroy").args(["--name", "by-hand", "--lxcpath"]).arg(&lxc).status();
    assert!(destroyed.unwrap().success());
}
