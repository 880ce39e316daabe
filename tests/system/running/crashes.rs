//! Programs that are killed while requests come: those who are asked answer, and everything that is wanted comes
//! back by itself. Each has a world of its own, since others could not be tested meanwhile.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use openruko_tests::{World, until};

use serde_json::json;

use super::{PATIENCE, next_version, probe, quick};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::crashes::killed_host_leaves_dynos_running_and_adopts_them", killed_host_adopts),
    ("running::crashes::killed_api_leaves_requests_answered", killed_api_leaves_requests_answered),
    ("running::crashes::killed_supervisor_is_a_crash", killed_supervisor_is_a_crash),
    ("running::crashes::killed_router_comes_back", killed_router_comes_back),
    ("running::crashes::router_starts_while_the_api_is_down", router_starts_while_the_api_is_down),
    ("running::crashes::node_that_was_switched_off_runs_everything_again", node_that_was_switched_off),
    ("running::crashes::stopped_platform_leaves_nothing_running", stopped_platform_leaves_nothing),
];

/// Kills every process of the world whose command line holds all of these.
fn kill_all(world: &World, words: &[&str]) {
    let pids = world.processes(words);
    assert!(!pids.is_empty(), "{words:?} does not run");
    for pid in pids {
        let _ = kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
    }
}

/// The agent, not the supervisors of dynos.
fn agent(world: &World) -> Vec<u32> {
    let supervisors = world.processes(&["libexec/openruko/openruko-host", " dyno "]);
    let mut all = world.processes(&["libexec/openruko/openruko-host"]);
    all.retain(|pid| !supervisors.contains(pid));
    all
}

fn killed_host_adopts(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("hans");
    let app = probe(world, &dev, "adopted");
    let repo = dev.fixture("probe");
    repo.deploy("adopted");
    app.scale("web", 2);
    app.wait_for(&["web.1", "web.2"]);
    let load = world.web("adopted").load("/");
    let containers = world.containers();
    let before = agent(world);
    assert_eq!(before.len(), 1, "{before:?}");
    kill(Pid::from_raw(before[0].try_into().unwrap()), Signal::SIGKILL).unwrap();
    until("another agent runs", PATIENCE, || agent(world).iter().any(|pid| !before.contains(pid)));
    // What happens while it is away or just back is done all the same.
    let _ = app.body("/say?text=still%20here");
    // Of the app's lines alone: those of the router push all others out of the log.
    let said =
        |app: &super::Running<'_>| app.log_of(&json!({ "lines": 1500, "tail": false, "source": "app" }));
    until("what it says is in the log", PATIENCE, || said(&app).contains("]: still here"));
    app.scale("web", 3);
    app.wait_for(&["web.1", "web.2", "web.3"]);
    assert!(containers.iter().all(|one| world.containers().contains(one)), "the dynos are the same");
    next_version(&repo, "2");
    repo.deploy("adopted");
    load.stop();
}

fn killed_api_leaves_requests_answered(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("apia");
    let app = probe(world, &dev, "headless");
    dev.fixture("probe").deploy("headless");
    let load = world.web("headless").load("/");
    let pids = world.processes(&["libexec/openruko/openruko-api"]);
    kill_all(world, &["libexec/openruko/openruko-api"]);
    until("another API runs", PATIENCE, || {
        let now = world.processes(&["libexec/openruko/openruko-api"]);
        !now.is_empty() && now != pids && app.platform.try_call("GET", "/apps/headless").is_some()
    });
    app.scale("web", 2);
    app.wait_for(&["web.1", "web.2"]);
    load.stop();
}

fn killed_supervisor_is_a_crash(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("sven");
    let app = probe(world, &dev, "unsupervised");
    dev.fixture("probe").deploy("unsupervised");
    let container = app.container();
    kill_all(world, &["libexec/openruko/openruko-host", " dyno "]);
    until("its container is gone", Duration::from_secs(10), || !world.containers().contains(&container));
    app.wait_for_body("/", "version 1\n");
    app.wait_for(&["web.1"]);
}

fn killed_router_comes_back(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("rutger");
    let app = probe(world, &dev, "routed");
    dev.fixture("probe").deploy("routed");
    kill_all(world, &["libexec/openruko/openruko-router"]);
    app.wait_for_body("/", "version 1\n");
}

fn router_starts_while_the_api_is_down(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("rita");
    let app = probe(world, &dev, "remembered");
    dev.fixture("probe").deploy("remembered");
    let table = world.config().router().unwrap().state_file.clone();
    until("the router has written down where the app is", PATIENCE, || {
        let table = std::fs::read_to_string(&table).unwrap_or_default();
        table.contains("\"remembered\"") && table.contains("\"web.1\"")
    });
    let api = world.processes(&["libexec/openruko/openruko-api"]);
    for pid in &api {
        kill(Pid::from_raw((*pid).try_into().unwrap()), Signal::SIGSTOP).unwrap();
    }
    kill_all(world, &["libexec/openruko/openruko-router"]);
    app.wait_for_body("/", "version 1\n");
    for pid in api {
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGCONT).unwrap();
    }
}

/// As after a power cut: no process is left, and the state directory is as it was.
fn node_that_was_switched_off(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("rebo");
    let app = probe(world, &dev, "rebooted");
    dev.fixture("probe").deploy("rebooted");
    app.scale("web", 2);
    app.scale("worker", 1);
    app.wait_for(&["web.1", "web.2", "worker.1"]);
    world.kill();
    until("no process is left", PATIENCE, || {
        for pid in world.processes(&["prefix/"]) {
            let _ = kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
        }
        world.processes(&["prefix/"]).is_empty()
    });
    world.up([]);
    app.wait_for(&["web.1", "web.2", "worker.1"]);
    app.wait_for_body("/", "version 1\n");
}

fn stopped_platform_leaves_nothing(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("stopper");
    let app = probe(world, &dev, "halted");
    dev.fixture("probe").deploy("halted");
    // Who asked for something still gets it.
    let web = world.web("halted");
    let asked = std::thread::spawn(move || web.body("/sleep?seconds=1"));
    app.wait_for_log("sleeping");
    world.down();
    assert_eq!(asked.join().unwrap(), "slept\n");
    assert_eq!(world.processes(&["prefix/"]), Vec::<u32>::new());
    assert!(world.containers().is_empty());
    world.up([]);
    app.wait_for_body("/", "version 1\n");
    // And the same without its own help: what an admin types after `openruko up` was killed.
    world.kill();
    let teardown =
        world.program("bin/openruko").args(["teardown", "--state"]).arg(world.state()).output().unwrap();
    assert!(teardown.status.success(), "{}", String::from_utf8_lossy(&teardown.stderr));
    until("no process is left", PATIENCE, || world.processes(&["prefix/"]).is_empty());
}
