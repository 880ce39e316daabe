//! The agent and its supervisors, with containers that are none and an API that is played.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::UNIX_EPOCH;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use openruko_host::dyno::file::{DynoDir, DynoFile, Role};
use ruko_api_types::platform::DynoState;
use ruko_core::container::{Purpose, RunLimits, RunSpec};
use world::{Node, app, eventually, one_off, process, release};

/// A web server of a few lines; it says which release it is.
const WEB: &str = "exec python3 -u -c \"
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print('asked', self.path)
        self.send_response(500 if self.path == '/broken' else 200)
        self.end_headers()
        self.wfile.write(os.environ['HEROKU_RELEASE_VERSION'].encode())
    def log_message(self, *a): pass
print('listening with', os.environ['SECRET'][0])
http.server.HTTPServer((os.environ['ADDRESS'], int(os.environ['PORT'])), H).serve_forever()
\"";

fn ask(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

fn supervisor_of(dyno: &str) -> Pid {
    let of_dyno = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("--handed-over") && line.contains(dyno)
    };
    let mut pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    Pid::from_raw(pids.find(of_dyno).unwrap())
}

#[test]
fn a_release_is_deployed_over_another_and_the_first_goes() {
    let mut node = Node::new();
    let slug = node.slug(&[("app.py", "")]);
    node.start();
    node.api.want(app(
        "a",
        None,
        Some(release(1, &slug, vec![process("web", 1, WEB), process("worker", 1, "exec sleep 1000")])),
    ));
    let first = node.api.wait_dyno("web.1", 1, DynoState::Up);
    assert_eq!(ask(first.address.unwrap()), "v1");
    node.api.wait_dyno("worker.1", 1, DynoState::Up);
    for line in [
        "heroku[web.1]: Starting process with command `exec python3",
        "app[web.1]: listening with t",
        "heroku[web.1]: State changed from starting to up",
        "heroku[worker.1]: State changed from starting to up",
        "app[web.1]: asked /",
    ] {
        node.api.wait_line(line);
    }
    let next = release(2, &slug, vec![process("web", 2, WEB), process("worker", 1, "exec sleep 1000")]);
    node.api.change("a", |app| app.candidate = Some(next));
    let second = node.api.wait_dyno("web.2", 2, DynoState::Up);
    assert_eq!(ask(second.address.unwrap()), "v2");
    node.api.wait_gone(&first.id);
    node.api.wait_dyno("worker.1", 2, DynoState::Up);
    node.api.wait_line("heroku[web.1]: Stopping all processes with SIGTERM");
    node.api.wait_line("heroku[web.1]: Process exited with status 0");
    node.api.wait_routed("a", 2, 2);
    eventually("the first dynos' directories to go", || (node.dynos() == 3).then_some(()));
    let images = fs::read_dir(node.dir.path().join("slugs")).unwrap().count();
    assert_eq!(images, 1, "one image for all");
    node.api.remove("a");
    eventually("everything to go", || (node.dynos() == 0).then_some(()));
}

#[test]
fn the_agent_is_killed_and_the_next_one_adopts_what_runs_and_loses_no_line() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    let gate = node.dir.path().join("gate");
    let worker = format!(
        "echo before; while ! test -e {}; do sleep 0.01; done; echo meanwhile; exec sleep 1000",
        gate.display()
    );
    node.start();
    let processes = vec![process("web", 1, WEB), process("worker", 1, &worker)];
    node.api.want(app("a", None, Some(release(1, &slug, processes))));
    let web = node.api.wait_dyno("web.1", 1, DynoState::Up);
    let worker = node.api.wait_dyno("worker.1", 1, DynoState::Up);
    node.api.wait_line("app[worker.1]: before");
    node.kill();
    fs::write(&gate, "").unwrap();
    assert_eq!(ask(web.address.unwrap()), "v1");
    node.start();
    node.api.wait_line("app[worker.1]: meanwhile");
    let again = node.api.wait_dyno("web.1", 1, DynoState::Up);
    assert_eq!((again.id, again.address), (web.id, web.address));
    assert_eq!(node.api.wait_dyno("worker.1", 1, DynoState::Up).id, worker.id);
}

/// A process that is stopped, and goes on at the latest when the test is over.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: Pid) -> Self {
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn a_supervisor_that_is_slow_to_answer_costs_no_dyno() {
    let mut node = Node::new();
    node.configure("stop_seconds = 2\ndrain_seconds = 0\nboot_seconds = 4\n");
    let slug = node.slug(&[]);
    node.start();
    node.api.want(app("a", None, Some(release(1, &slug, vec![process("web", 1, WEB)]))));
    let web = node.api.wait_dyno("web.1", 1, DynoState::Up);
    node.api.wait_routed("a", 1, 1);
    node.kill();
    let stopped = Stopped::new(supervisor_of(&web.id));
    let asked = |known: &mut world::api::Known| known.calls["GET host/apps"];
    let before = node.api.with(asked);
    // The agent waits for it for a while, then goes on without.
    node.start();
    // It asks once more when it knows.
    eventually("the agent to know what should run", || (node.api.with(asked) >= before + 2).then_some(()));
    node.api.wait_dyno("web.1", 1, DynoState::Starting);
    drop(stopped);
    let again = node.api.wait_dyno("web.1", 1, DynoState::Up);
    assert_eq!((again.id, again.address), (web.id, web.address));
    assert_eq!(ask(web.address.unwrap()), "v1");
}

/// A supervisor that an agent had started, and had not told what to run when it was killed.
fn left_alone(node: &Node, role: Role, id: &str, name: &str) -> Child {
    let image = "0".repeat(64).parse().unwrap();
    let size = world::size();
    let file = DynoFile {
        id: id.into(),
        app: "a".into(),
        name: name.parse().unwrap(),
        role,
        release: 1,
        generation: 1,
        command: "true".into(),
        size: size.name,
        since: u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap(),
        attach: false,
        stop_seconds: 2,
        spec: RunSpec {
            name: format!("dyno-{}", id.to_ascii_lowercase()).parse().unwrap(),
            template: node.template.parse().unwrap(),
            stack: None,
            purpose: Purpose::Dyno { image, shares: size.shares },
            limits: RunLimits {
                seconds: None,
                memory_bytes: size.memory_bytes,
                pids: size.pids,
                disk_bytes: 1 << 20,
            },
        },
        container_command: node.container_command.clone(),
    };
    let dir = DynoDir::new(node.state_dir().join("dynos").join(id));
    fs::create_dir(dir.path()).unwrap();
    dir.write(&file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_openruko-host"));
    let child = command.arg("dyno").arg(dir.path()).spawn().unwrap();
    eventually("the supervisor to listen", || dir.socket().exists().then_some(()));
    child
}

#[test]
fn what_nobody_was_told_to_run_is_begun_anew() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    node.kill();
    let mut left = [
        left_alone(&node, Role::Release, "01M8QG00000000000000000001", "release.1"),
        left_alone(&node, Role::Formation, "01M8QG00000000000000000002", "worker.1"),
        left_alone(&node, Role::OneOff, "01M8QG00000000000000000003", "run.1234"),
    ];
    let mut candidate = release(1, &slug, vec![process("worker", 1, "echo works; exec sleep 1000")]);
    candidate.release_phase = Some("echo migrated".into());
    let mut wanted = app("a", None, Some(candidate.clone()));
    wanted.one_offs.push(one_off("01M8QG00000000000000000003", candidate, "true"));
    node.api.want(wanted);
    node.start();
    node.api.wait_dyno("worker.1", 1, DynoState::Up);
    node.api.wait_line("app[worker.1]: works");
    assert_eq!(node.api.with(|known| known.output[&1].clone()), "migrated\n");
    // For somebody it was asked for, and who is told.
    let why = "Process could not be started: the agent ended before it had said what runs";
    node.api.wait_line(&format!("heroku[run.1234]: {why}"));
    node.api.wait("it to be gone", |known| known.apps["a"].one_offs.is_empty().then_some(()));
    left.iter_mut().for_each(|supervisor| assert!(supervisor.wait().unwrap().success()));
}

#[test]
fn a_supervisor_that_is_killed_is_a_crash() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    node.api.want(app("a", None, Some(release(1, &slug, vec![process("web", 1, WEB)]))));
    let first = node.api.wait_dyno("web.1", 1, DynoState::Up);
    kill(supervisor_of(&first.id), Signal::SIGKILL).unwrap();
    node.api.wait_gone(&first.id);
    let second = node.api.wait_dyno("web.1", 1, DynoState::Up);
    assert_ne!(first.id, second.id);
    assert_eq!(ask(second.address.unwrap()), "v1");
    node.api.wait_line("its supervisor was lost");
}

#[test]
fn while_the_api_is_away_dynos_stay_and_nothing_is_lost() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    let gate = node.dir.path().join("gate");
    let worker = format!(
        "while ! test -e {}; do sleep 0.01; done; for i in $(seq 500); do echo line $i; done; exit 3",
        gate.display()
    );
    node.start();
    node.api.want(app(
        "a",
        None,
        Some(release(1, &slug, vec![process("web", 1, WEB), process("worker", 1, &worker)])),
    ));
    let web = node.api.wait_dyno("web.1", 1, DynoState::Up);
    node.api.wait_dyno("worker.1", 1, DynoState::Up);
    node.api.with(|known| known.down = true);
    fs::write(&gate, "").unwrap();
    assert_eq!(ask(web.address.unwrap()), "v1");
    // It crashes again and again meanwhile: its second dyno is already another one.
    eventually("the worker to start again", || (node.dynos() >= 3).then_some(()));
    node.api.with(|known| known.down = false);
    node.api.wait_line("line 500");
    node.api.wait_line("heroku[worker.1]: Process exited with status 3");
    node.api.wait_line("heroku[worker.1]: State changed from up to crashed");
    let lines = node.api.with(|known| known.lines.clone());
    let first: Vec<_> =
        lines.iter().filter(|line| line.starts_with("app[worker.1]: line ")).take(500).collect();
    assert_eq!(first[499], "app[worker.1]: line 500");
    assert_eq!(node.api.wait_dyno("web.1", 1, DynoState::Up).id, web.id);
}

#[test]
fn a_report_that_the_api_refuses_for_good_keeps_no_other_from_it() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.api.with(|known| known.refuses = Some("bad.1"));
    node.start();
    let bad = process("bad", 1, "exec sleep 1000");
    node.api.want(app("a", None, Some(release(1, &slug, vec![bad]))));
    node.api.want(app("b", None, Some(release(1, &slug, vec![process("web", 1, WEB)]))));
    node.api.wait_dyno("web.1", 1, DynoState::Up);
    node.api.wait_routed("b", 1, 1);
    // Nor does the whole, which the next agent begins with.
    node.kill();
    node.api.with(|known| known.dynos.clear());
    node.start();
    node.api.wait_dyno("web.1", 1, DynoState::Up);
}

#[test]
fn an_api_whose_database_was_put_back_is_told_everything_anew() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    node.api.want(app("a", None, Some(release(1, &slug, vec![process("web", 1, WEB)]))));
    node.api.wait_routed("a", 1, 1);
    node.api.change("a", |app| app.candidate = Some(release(2, &slug, vec![process("web", 1, "exit 4")])));
    let failures = |known: &mut world::api::Known| known.failed.len();
    node.api.wait("a failure", |known| (failures(known) == 1).then_some(()));
    let web = node.api.wait_dyno("web.1", 1, DynoState::Up);
    // As it was before anything had started.
    node.api.with(|known| {
        known.dynos.clear();
        known.routed.clear();
        let next = release(2, &slug, vec![process("web", 1, "exit 4")]);
        known.apps.get_mut("a").unwrap().candidate = Some(next);
        known.put_back = true;
    });
    node.api.wait_routed("a", 1, 1);
    assert_eq!(node.api.wait_dyno("web.1", 1, DynoState::Up).id, web.id);
    node.api.wait("the failure once more", |known| (failures(known) == 2).then_some(()));
}

#[test]
fn a_candidate_that_crashes_or_never_listens_fails_and_the_current_release_goes_on() {
    let mut node = Node::new();
    node.configure("stop_seconds = 1\ndrain_seconds = 0\nboot_seconds = 2\n");
    let slug = node.slug(&[]);
    node.start();
    node.api.want(app("a", None, Some(release(1, &slug, vec![process("web", 1, WEB)]))));
    let first = node.api.wait_dyno("web.1", 1, DynoState::Up);
    node.api.wait_routed("a", 1, 1);
    let failed = |version: u64| {
        node.api.wait("a failure", |known| known.failed.iter().find(|f| f.1 == version).map(|f| f.2.clone()))
    };
    let candidate = |version, command| {
        let next = release(version, &slug, vec![process("web", 1, command)]);
        node.api.change("a", |app| app.candidate = Some(next));
    };
    candidate(2, "exit 4");
    assert_eq!(failed(2), "web.1: H10 (App crashed): exited with status 4");
    candidate(3, "exec sleep 100");
    let reason = "web.1: R10 (Boot timeout): Web process failed to bind to $PORT within 2 seconds of launch";
    assert_eq!(failed(3), reason);
    node.api
        .wait_line("heroku[web.1]: Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 2");
    node.api.wait_line("heroku[web.1]: Stopping process with SIGKILL");
    node.api.change("a", |app| app.web.check_path = Some("/broken".into()));
    candidate(4, WEB);
    assert!(failed(4).contains("`/broken`") && failed(4).contains("status 500"), "{}", failed(4));
    assert_eq!(ask(first.address.unwrap()), "v1");
    assert_eq!(node.api.with(|known| known.routed["a"].dynos.clone()), [first.id]);
    eventually("their dynos to go", || (node.dynos() == 1).then_some(()));
}

#[test]
fn a_release_phase_tells_its_output_and_its_status() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    let mut candidate = release(1, &slug, vec![process("web", 1, WEB)]);
    candidate.release_phase =
        Some("for i in $(seq 300); do echo step $i; done; printf 'no end of line'; exit 5".into());
    node.api.want(app("a", None, Some(candidate.clone())));
    let failed = node.api.wait("a failure", |known| known.failed.first().cloned());
    assert_eq!(failed.2, "release command exited with status 5");
    let expected: String =
        (1..=300).map(|i| format!("step {i}\n")).chain(["no end of line\n".to_owned()]).collect();
    // It was all there before the verdict.
    assert_eq!(node.api.with(|known| known.output[&1].clone()), expected);
    node.api.wait_line("app[release.1]: no end of line");
    candidate.version = 2;
    candidate.release_phase = Some("echo migrated".into());
    node.api.change("a", |app| app.candidate = Some(candidate));
    node.api.wait_dyno("web.1", 2, DynoState::Up);
    assert_eq!(node.api.with(|known| known.output[&2].clone()), "migrated\n");
}

#[test]
fn a_one_off_dyno_runs_once_and_its_environment_is_its_own() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    let current = release(1, &slug, vec![]);
    let mut wanted = app("a", Some(current.clone()), None);
    wanted.one_offs.push(one_off("01RUN", current, "echo $TERM $DYNO $SECRET $HOME port=$PORT"));
    node.api.want(wanted);
    node.api.wait_line("app[run.1234]: dumb run.1234 tiger /app port=");
    node.api.wait_line("heroku[run.1234]: Process exited with status 0");
    node.api.wait("it to be gone", |known| known.apps["a"].one_offs.is_empty().then_some(()));
    eventually("its directory to go", || (node.dynos() == 0).then_some(()));
    let lines = node.api.with(|known| known.lines.clone());
    assert_eq!(lines.iter().filter(|line| line.contains("Starting process")).count(), 1);
}

#[test]
fn a_dyno_that_does_not_end_is_killed() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    let stubborn = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    node.api.want(app("a", Some(release(1, &slug, vec![process("worker", 1, stubborn)])), None));
    node.api.wait_line("app[worker.1]: ready");
    node.api.change("a", |app| app.current.as_mut().unwrap().processes.clear());
    node.api.wait_line("heroku[worker.1]: Stopping all processes with SIGTERM");
    node.api.wait_line(
        "Error R12 (Exit timeout) -> At least one process failed to exit within 2 seconds of SIGTERM",
    );
    node.api.wait_line("heroku[worker.1]: Stopping process with SIGKILL");
    node.api.wait_line("heroku[worker.1]: Process exited with status 137");
    eventually("it to go", || (node.dynos() == 0).then_some(()));
}

#[test]
fn an_app_sleeps_and_wakes() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    node.api.want(app("a", None, Some(release(1, &slug, vec![process("web", 1, WEB)]))));
    let first = node.api.wait_dyno("web.1", 1, DynoState::Up);
    node.api.wait_routed("a", 1, 1);
    node.api.change("a", |app| app.asleep = true);
    node.api.wait_dyno("web.1", 1, DynoState::Idle);
    node.api.wait_line("heroku[web.1]: Idling");
    assert!(node.api.with(|known| known.routed["a"].dynos.is_empty()));
    eventually("it to go", || (node.dynos() == 0).then_some(()));
    node.api.change("a", |app| app.asleep = false);
    let second = node.api.wait_dyno("web.1", 1, DynoState::Up);
    assert_ne!(first.id, second.id);
    node.api.wait_line("heroku[web.1]: Unidling");
    node.api
        .wait("it to get requests", |known| (known.routed["a"].dynos == [second.id.clone()]).then_some(()));
}

#[test]
fn who_floods_is_bounded_and_told() {
    let mut node = Node::new();
    let slug = node.slug(&[]);
    node.start();
    let flood = "seq 200000; echo the last; exec sleep 1000";
    node.api.want(app("a", Some(release(1, &slug, vec![process("worker", 1, flood)])), None));
    node.api.wait_line("heroku[worker.1]: Error L12 (Local buffer overflow): ");
    let lines = node.api.with(|known| known.lines.len());
    assert!(lines < 20_000, "{lines}");
    assert!(node.api.with(|known| known.calls["GET host/apps"]) < 20, "no polling");
}

#[test]
fn a_slug_that_is_damaged_or_hostile_fails_its_release() {
    let mut node = Node::new();
    node.start();
    let mut damaged = node.slug(&[("a", "b")]);
    damaged.stored.sha256 = "0".repeat(64);
    let hostile = node.store(b"no archive at all");
    for (version, slug, why) in [(1, damaged, "is damaged"), (2, hostile, "the slug cannot be used")] {
        let next = release(version, &slug, vec![process("web", 1, WEB)]);
        node.api.want(app("a", None, Some(next)));
        let failed =
            node.api.wait("a failure", |known| known.failed.iter().find(|f| f.1 == version).cloned());
        assert!(
            failed.2.starts_with("web.1: could not be started: ") && failed.2.contains(why),
            "{}",
            failed.2
        );
    }
    assert_eq!(fs::read_dir(node.dir.path().join("slugs")).unwrap().count(), 0, "nothing is left of them");
}
