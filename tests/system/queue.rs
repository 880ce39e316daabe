//! Build slots: who waits for one, what they are told, and how one becomes free.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use openruko_tests::{Developer, Repo, World, until};

use crate::Test;
use crate::builds::repo_that_builds_with;
use crate::tight::alone;

pub(crate) const TESTS: &[(&str, Test)] = &[(
    "queue::who_waits_is_told_where_they_stand_and_slots_go_round",
    who_waits_is_told_where_they_stand_and_slots_go_round,
)];

/// What the next push is told of a slot that became free.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that is watched while it runs: git, at a developer's.
pub(crate) struct Watched {
    child: Child,
    seen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts it in a process group of its own.
    pub(crate) fn begin(mut command: Command) -> Self {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                    seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
            }
        });
        Self { child, seen, reader: Some(reader) }
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    pub(crate) fn expect(&self, words: &str) {
        self.expect_within(words, PATIENCE);
    }

    fn expect_within(&self, words: &str, time: Duration) {
        until(&format!("`{words}` is said"), time, || self.seen().contains(words));
    }

    /// The developer goes away.
    fn leave(mut self) {
        killpg(self.pid(), Signal::SIGKILL).unwrap();
        self.child.wait().unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Waits for its end: whether it was a good one, and all that it said.
    pub(crate) fn end(mut self) -> (bool, String) {
        let ok = self.child.wait().unwrap().success();
        let _ = self.reader.take().map(JoinHandle::join);
        (ok, self.seen())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The world has two slots, and one for each user.
fn who_waits_is_told_where_they_stand_and_slots_go_round(world: &World) {
    let _alone = alone();
    let developers = ["queue-ann", "queue-ben", "queue-cat", "queue-dan"].map(|name| world.developer(name));
    let [ann, ben, cat, dan] = &developers;
    let silent = "echo BUILD-BEGUN; sleep 600";
    let repo = |dev, script| repo_that_builds_with(dev, script);
    let [ann_repo, ben_repo] = [repo(ann, silent), repo(ben, silent)];
    let [cat_repo, dan_repo, other_repo] = [cat, dan, ann].map(|dev| repo(dev, "echo built"));
    let push = |dev: &Developer, repo: &Repo<'_>, app: &str| {
        world.app(app, dev);
        Watched::begin(repo.push_command(app, &["main"]))
    };
    let (first, second) = (push(ann, &ann_repo, "queue-a"), push(ben, &ben_repo, "queue-b"));
    first.expect("BUILD-BEGUN");
    second.expect("BUILD-BEGUN");
    let third = push(cat, &cat_repo, "queue-c");
    third.expect("-----> Waiting for a build slot: yours is the next");
    let fourth = push(dan, &dan_repo, "queue-d");
    fourth.expect("-----> Waiting for a build slot: 1 push is ahead of yours");
    let another = push(ann, &other_repo, "queue-e");
    another.expect("you use 1 already, and 1 is what one user may have at a time");
    // A clone takes a slot, too, and whoever waits too long is told for how long it was.
    let fetch = |seconds| {
        let env = [("OPENRUKO_SERVE_SLOT_SECONDS", seconds)];
        world.serve("queue-dan", "git-upload-pack 'queue-d.git'", &env).output().unwrap()
    };
    let refused = fetch("1");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(75), "{said}");
    assert!(said.contains("Waiting for a build slot: 2 pushes are ahead of this fetch"), "{said}");
    assert!(said.contains("All 2 build slots of this server were taken for 1 second,"), "{said}");
    // Who leaves the queue makes room at once, and who is killed frees a slot at once.
    third.leave();
    fourth.expect_within("-----> Waiting for a build slot: yours is the next", AT_ONCE);
    until("the lease is free", AT_ONCE, || world.lease("queue-c").is_none());
    let serves = world.processes(&["openruko-serve", "queue-ann"]);
    let holder = serves.into_iter().filter(|&pid| is_serve(pid)).min().expect("there is the first push");
    kill(Pid::from_raw(holder.try_into().unwrap()), Signal::SIGKILL).unwrap();
    let (ok, seen) = fourth.end();
    assert!(ok && seen.matches("Waiting for a build slot").count() == 2, "{seen}");
    let (ok, seen) = another.end();
    assert!(ok, "{seen}");
    // The log of pushes knows for how long it waited, and what its steps took.
    let log = world.admin_json(&["pushes", "--app", "queue-d"]);
    let steps = log[0]["steps"].as_array().unwrap().iter().map(|time| time["step"].as_str().unwrap());
    assert!(log[0]["waited_ms"].as_u64().unwrap() > 500, "{log}");
    let expected =
        "authorize lease slot container fetch receive checkout compile pack repository commit release";
    assert_eq!(steps.collect::<Vec<_>>().join(" "), expected);
    assert_eq!(log[0]["refs"][0]["name"], "refs/heads/main");
    second.leave();
    first.leave();
    until("no container is left", PATIENCE, || world.containers().is_empty());
}

fn is_serve(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("openruko-serve"))
}
