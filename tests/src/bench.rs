//! `make bench`: how long the main job takes, as ratios against a baseline of the same run, since machines
//! differ. Adds to `target/bench/results.json`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a program for developers")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openruko_tests::results::{self, Figures, figure};
use openruko_tests::{Developer, PlainSshd, Repo, World, without_dynos};
use ruko_core::ContainerName;
use serde_json::json;

/// Pushes of each kind, in turns.
const PUSHES: usize = 15;
/// Containers started one after the other.
const CONTAINERS: usize = 15;
/// Packings of each kind, in turns.
const PACKINGS: usize = 3;

fn main() {
    // What a release takes to come up is the app's, and measured with dynos.
    let world = World::start(without_dynos);
    results::add([pushes(&world), containers(&world), packing(&world)].concat());
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

/// A one-line change of an app with only a Procfile, against the same push to a bare repository behind an
/// sshd of the same configuration, without openruko.
fn pushes(world: &World) -> Figures {
    let dev = world.developer("bench");
    world.app("bench-app", &dev);
    let repo = dev.fixture("procfile");
    let plain = PlainServer::start(world, &dev);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for turn in 0..=PUSHES {
        repo.commit(&[("change.txt", &turn.to_string())]);
        let (our_time, _) = timed(|| repo.deploy("bench-app"));
        let (their_time, ()) = timed(|| plain.push(&dev, &repo));
        // The first of each pushes everything and is not counted.
        if turn > 0 {
            ours.push(our_time);
            theirs.push(their_time);
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    vec![
        figure("push_vs_plain_time", ours / theirs),
        figure("push_ms", ours * 1000.0),
        figure("plain_push_ms", theirs * 1000.0),
    ]
}

/// git over an sshd like openruko's own, whose forced command is git itself.
struct PlainServer {
    sshd: PlainSshd,
    bare: PathBuf,
    _dir: tempfile::TempDir,
}

impl PlainServer {
    fn start(world: &World, dev: &Developer) -> Self {
        let dir = world.scratch();
        let bare = dir.path().join("bare.git");
        let init = Command::new("git").args(["init", "-q", "--bare"]).arg(&bare).status().unwrap();
        assert!(init.success());
        let own = Command::new("chown").args(["-R", "git:git"]).arg(&bare).status().unwrap();
        assert!(own.success());
        let keys = dir.path().join("authorized_keys");
        fs::write(&keys, format!("restrict {}", fs::read_to_string(dev.public_key()).unwrap())).unwrap();
        Self { sshd: PlainSshd::start(world, dev, &keys), bare, _dir: dir }
    }

    fn push(&self, dev: &Developer, repo: &Repo<'_>) {
        let url = format!("ssh://git@{}{}", self.sshd.address(), self.bare.display());
        let out = dev.git(repo.path()).args(["push", "-q", &url, "main"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

/// From the spec until the container's sshd answers, and from the end of the life-line until it is gone.
fn containers(world: &World) -> Figures {
    let limits = world.config().api().unwrap().limits;
    let dev = world.developer("bench-containers");
    let key = fs::read_to_string(dev.public_key()).unwrap();
    let mut ready = Vec::new();
    let mut gone = Vec::new();
    for _ in 0..CONTAINERS {
        let mut keeper = world
            .program("libexec/openruko/ruko-container")
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let spec = json!({
            "name": ContainerName::generate("bench"),
            "template": "openruko-build",
            "purpose": { "login": { "client_key": key.trim() } },
            "limits": {
                "seconds": limits.build_seconds, "memory_bytes": limits.memory_bytes,
                "pids": limits.pids, "disk_bytes": limits.disk_bytes,
            },
        });
        let mut lifeline = keeper.stdin.take().unwrap();
        let mut events = BufReader::new(keeper.stdout.take().unwrap()).lines();
        let (time, line) = timed(|| {
            writeln!(lifeline, "{spec}").unwrap();
            events.next().expect("the keeper answers").unwrap()
        });
        assert!(line.contains("\"ready\""), "{line}");
        ready.push(time);
        let (time, _) = timed(|| {
            drop(lifeline);
            keeper.wait().unwrap()
        });
        gone.push(time);
    }
    vec![
        figure("container_ready_ms", median(ready) * 1000.0),
        figure("container_gone_ms", median(gone) * 1000.0),
    ]
}

/// `ruko-slug pack` against `tar czf`, on npm's own node_modules, eight times.
fn packing(world: &World) -> Figures {
    let dir = world.scratch();
    let tree = dir.path().join("tree");
    let root = Command::new("npm").args(["root", "-g"]).output().unwrap();
    let modules = String::from_utf8(root.stdout).unwrap();
    fs::create_dir(&tree).unwrap();
    for copy in 0..8 {
        let to = tree.join(format!("copy{copy}"));
        let copied = Command::new("cp").arg("-rL").arg(modules.trim()).arg(to).status().unwrap();
        assert!(copied.success());
    }
    let slug = dir.path().join("slug.tar.gz");
    let tarball = dir.path().join("tree.tar.gz");
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for turn in 0..=PACKINGS {
        let (our_time, status) = timed(|| {
            let out = fs::File::create(&slug).unwrap();
            Command::new(world.installed("bin/ruko-slug"))
                .arg("pack")
                .arg(&tree)
                .stdout(out)
                .status()
                .unwrap()
        });
        assert!(status.success());
        let (their_time, status) = timed(|| {
            Command::new("tar").arg("czf").arg(&tarball).arg("-C").arg(&tree).arg(".").status().unwrap()
        });
        assert!(status.success());
        if turn > 0 {
            ours.push(our_time);
            theirs.push(their_time);
        }
    }
    let size = |path: &Path| f64::from(u32::try_from(fs::metadata(path).unwrap().len()).unwrap());
    vec![
        figure("pack_vs_tar_time", median(ours) / median(theirs)),
        figure("pack_vs_tar_size", size(&slug) / size(&tarball)),
    ]
}
