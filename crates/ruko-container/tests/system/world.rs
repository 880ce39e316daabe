//! An installation of its own for each test, with its containers.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use ruko_core::container::{LimitMet, Purpose, RunEvent, RunLimits, RunRequest, RunSpec};
use ruko_sys::Lock;

/// Long enough for a slow machine under load; what it bounds takes a fraction of a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The promise of the design: no container outlives its owner by more than this.
pub(crate) const ORPHAN_TIME: Duration = Duration::from_secs(10);

pub(crate) const ENDED: RunEvent = RunEvent::Ended { status: None, killed: false, out_of_memory: false };

pub(crate) const LIMITS: RunLimits =
    RunLimits { seconds: Some(120), memory_bytes: 256 << 20, pids: 64, disk_bytes: 64 << 20 };

/// An installation of its own: directories, configuration, bridge.
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
    pub(crate) bridge: String,
    pub(crate) gateway: Ipv4Addr,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with("slots = 240\n", "")
    }

    /// `container` goes into the table `[container]`, `rest` behind it.
    pub(crate) fn with(container: &str, rest: &str) -> Self {
        let site = Self::unprepared(container, rest);
        let setup = site.tool(&["setup"]);
        assert!(setup.status.success(), "{}", stderr(&setup));
        site
    }

    pub(crate) fn unprepared(container: &str, rest: &str) -> Self {
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

    pub(crate) fn lay_out(&self, container: &str, rest: &str) {
        for name in ["hooks", "buildpacks", "tools", "templates", "slugs"] {
            fs::create_dir_all(self.dir.join(name)).unwrap();
        }
        fs::write(self.dir.join("hooks/pre-receive"), "#!/bin/sh\n").unwrap();
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lxc-templates");
        copy(&templates.join("."), &self.dir.join("templates"));
        let dir = self.dir.display();
        let config = format!(
            "[container]\nstate_dir = \"{dir}/containers\"\ntemplate_dir = \"{dir}/templates\"\n\
             hooks_dir = \"{dir}/hooks\"\nbuildpacks_dir = \"{dir}/buildpacks\"\n\
             tools_dir = \"{dir}/tools\"\nslugs_dir = \"{dir}/slugs\"\n\
             stacks_dir = \"{dir}/stacks\"\nbridge = \"{}\"\nreserve_bytes = 1048576\n{container}{rest}",
            self.bridge
        );
        fs::write(self.config(), config).unwrap();
        let key = self.key();
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("id")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.dir.join("containers")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ruko-container"));
        command.arg("--config").arg(self.config()).args(args);
        command
    }

    pub(crate) fn tool(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Whether both tables of the bridge's packet filter are there.
    pub(crate) fn has_filter(&self) -> bool {
        let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
        let tables = stdout(&tables);
        ["inet", "bridge"]
            .iter()
            .all(|family| tables.lines().any(|line| line == format!("table {family} {}", self.bridge)))
    }

    /// As `nft flush ruleset` does it to all tables of the machine.
    pub(crate) fn remove_filter(&self) {
        for family in ["inet", "bridge"] {
            let removed = Command::new("nft").args(["delete", "table", family, &self.bridge]).status();
            assert!(removed.unwrap().success());
        }
    }

    pub(crate) fn spec(&self, name: &str, limits: RunLimits) -> RunSpec {
        RunSpec {
            name: name.parse().unwrap(),
            template: "openruko-build".parse().unwrap(),
            stack: None,
            purpose: Purpose::Login {
                client_key: fs::read_to_string(self.key().with_extension("pub")).unwrap().trim().to_owned(),
            },
            limits,
        }
    }

    /// Starts a container and waits until it answers.
    pub(crate) fn start(&self, name: &str, limits: RunLimits) -> Container<'_> {
        self.start_as(&self.spec(name, limits))
    }

    pub(crate) fn start_as(&self, spec: &RunSpec) -> Container<'_> {
        let name = spec.name.as_str();
        let mut run = self.run(spec);
        let event = run.event();
        let RunEvent::Ready { address, port, user, host_key } = event else { panic!("{event:?}") };
        assert_eq!((port, user.as_str()), (22, "build"));
        let known_hosts = self.dir.join(format!("known_hosts-{name}"));
        fs::write(&known_hosts, format!("{address} {host_key}\n")).unwrap();
        let slot = self.listed(name)["slot"].as_u64().unwrap();
        Container { site: self, name: name.to_owned(), run, address, known_hosts, slot }
    }

    pub(crate) fn run(&self, spec: &RunSpec) -> Run {
        self.run_line(&serde_json::to_string(spec).unwrap())
    }

    pub(crate) fn run_line(&self, line: &str) -> Run {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut run = self.run_with(OwnedFd::from(reader), OwnedFd::from(writer));
        // One that refuses before it reads closes its end.
        let _ = writeln!(run.stdin.as_mut().unwrap(), "{line}");
        run
    }

    /// Its stdin, and our end of it.
    pub(crate) fn run_with(&self, stdin: OwnedFd, ours: OwnedFd) -> Run {
        let mut command = self.command(&["run"]);
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It would keep our copy of its stdin.
        drop(command);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Run { child, stdin: Some(File::from(ours)), events }
    }

    pub(crate) fn listed(&self, name: &str) -> serde_json::Value {
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

/// Copies files that are to be run. Not by this process: one that another test forks meanwhile would have them open to
/// be written, and then they cannot be run (ETXTBSY, execve(2)).
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success(), "{} is not there", from.display());
}

pub(crate) fn subnet_is_free(third: u32) -> bool {
    let addresses = Command::new("ip").args(["-4", "-o", "address"]).output().unwrap();
    !String::from_utf8_lossy(&addresses.stdout).contains(&format!(" 10.200.{third}."))
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Looks again and again until it is so.
#[track_caller]
pub(crate) fn eventually(within: Duration, what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A `ruko-container run`.
pub(crate) struct Run {
    pub(crate) child: Child,
    /// Its life-line: a pipe or a socket.
    pub(crate) stdin: Option<File>,
    pub(crate) events: Receiver<RunEvent>,
}

impl Run {
    #[track_caller]
    pub(crate) fn event(&mut self) -> RunEvent {
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
    pub(crate) fn end(&mut self) -> i32 {
        self.stdin = None;
        self.child.wait().unwrap().code().unwrap()
    }

    #[track_caller]
    pub(crate) fn refusal(mut self) -> (String, bool) {
        let event = self.event();
        let RunEvent::Failed { message, try_again } = event else { panic!("{event:?}") };
        assert_eq!(self.end(), if try_again { 75 } else { 1 });
        (message, try_again)
    }

    pub(crate) fn ask(&self, request: RunRequest) {
        writeln!(self.stdin.as_ref().unwrap(), "{}", serde_json::to_string(&request).unwrap()).unwrap();
    }

    #[track_caller]
    pub(crate) fn limits(&mut self) -> Vec<LimitMet> {
        self.ask(RunRequest::Limits);
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

pub(crate) struct Container<'a> {
    pub(crate) site: &'a Site,
    pub(crate) name: String,
    pub(crate) run: Run,
    pub(crate) address: Ipv4Addr,
    pub(crate) known_hosts: PathBuf,
    pub(crate) slot: u64,
}

impl Container<'_> {
    pub(crate) fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        command.args(["-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", &known_hosts]);
        command.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]);
        command.args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-i"]).arg(self.site.key());
        command.arg(format!("build@{}", self.address)).stdin(Stdio::null());
        command
    }

    pub(crate) fn shell(&self, script: &str) -> Output {
        self.ssh().arg(script).output().unwrap()
    }

    /// Output of a script that must succeed.
    #[track_caller]
    pub(crate) fn says(&self, script: &str) -> String {
        let output = self.shell(script);
        assert!(output.status.success(), "{script}: {}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    #[track_caller]
    pub(crate) fn fails(&self, script: &str) {
        let output = self.shell(script);
        assert!(!output.status.success(), "{script}: {}", stdout(&output));
    }

    /// Starts a process that can be recognised from outside, and leaves it running.
    pub(crate) fn marker(&self) -> String {
        let seconds = format!("{}{:03}", 7_000_000 + std::process::id(), self.slot);
        self.says(&format!("sleep {seconds} </dev/null >/dev/null 2>&1 &"));
        assert!(is_running(&seconds), "the process in the container cannot be seen");
        seconds
    }

    /// The process that watches it.
    pub(crate) fn lxc_start(&self) -> String {
        only_child(&self.site.listed(&self.name)["owner"].to_string())
    }

    /// Makes its destruction take seconds: who watches it does not tidy up.
    pub(crate) fn slow_down_its_end(&self) {
        kill("STOP", &self.lxc_start());
    }

    /// The event that tells of its end, which is not yet the end of what is slow.
    #[track_caller]
    pub(crate) fn early_event(&mut self) -> RunEvent {
        let event = self.run.event();
        assert!(self.site.containers().join(&self.name).exists(), "told only after it was destroyed");
        event
    }

    /// What is left of it, in words; empty when nothing is.
    pub(crate) fn remains(&self, marker: &str) -> Vec<String> {
        let mut left = self.site.remains(&self.name, self.slot);
        if is_running(marker) {
            left.push("a process".to_owned());
        }
        left
    }
}

impl Site {
    /// What is left of a container, in words; empty when nothing is.
    pub(crate) fn remains(&self, name: &str, slot: u64) -> Vec<String> {
        let mut left = Vec::new();
        if self.containers().join(name).exists() {
            left.push("its directory".to_owned());
        }
        let port = format!("/sys/class/net/{}-{slot:03}", self.bridge);
        if Path::new(&port).exists() {
            left.push(port);
        }
        left.extend(loop_devices(&self.dir));
        left.extend(Self::groups(slot));
        left
    }

    /// The control groups of a slot, unless it has a new holder, whose they are then.
    fn groups(slot: u64) -> Vec<String> {
        let lock = PathBuf::from(format!("/run/openruko/slots/{slot:03}"));
        let Some(_free) = Lock::try_take(&lock).unwrap() else { return Vec::new() };
        let names = ["payload", "monitor"].map(|kind| format!("openruko.{kind}.{slot:03}"));
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let points = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        points
            .flat_map(|point| names.iter().map(move |name| point.join(name)).collect::<Vec<_>>())
            .filter(|group| group.exists())
            .map(|group| group.display().to_string())
            .collect()
    }
}

pub(crate) fn kill(signal: &str, process: &str) {
    assert!(Command::new("kill").args(["-s", signal, process]).status().unwrap().success());
}

pub(crate) fn only_child(parent: &str) -> String {
    let children = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(parent)
    });
    let children: Vec<_> = children.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let [child] = &children[..] else { panic!("{children:?}") };
    child.clone()
}

/// A directory that cannot be removed, until this is dropped.
pub(crate) struct Busy(PathBuf);

impl Busy {
    pub(crate) fn new(dir: PathBuf) -> Self {
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

pub(crate) fn is_running(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line == format!("sleep\0{marker}\0").as_bytes())
}

pub(crate) fn loop_devices(dir: &Path) -> Vec<String> {
    let blocks = fs::read_dir("/sys/block").unwrap().flatten();
    blocks
        .filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok())
        .filter(|file| file.starts_with(&*dir.to_string_lossy()))
        .collect()
}
