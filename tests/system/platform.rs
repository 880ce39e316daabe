//! `openruko up` itself.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use openruko_tests::{Pushed, World, until};

use crate::Test;
use crate::builds::repo_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("platform::api_that_is_killed_is_named_started_again_and_has_lost_nothing", killed_api_comes_back),
    ("platform::second_up_on_the_same_state_is_refused", second_up_is_refused),
    ("platform::ctrl_c_stops_everything_in_mid_build", ctrl_c_stops_everything),
    ("platform::git_user_may_start_containers_and_nothing_else", git_user_is_no_root),
];

/// A world of its own: while the API is away, other tests would fail.
fn killed_api_comes_back(_: &World) {
    let world = &World::start(crate::limits::small);
    let dev = world.developer("anna");
    world.app("durable-app", &dev);
    let repo = dev.fixture("procfile");
    repo.deploy("durable-app");
    let died = world.log().matches("openruko-api died").count();
    let pids = world.processes(&["libexec/openruko/openruko-api"]);
    assert_eq!(pids.len(), 1, "{pids:?}");
    kill(Pid::from_raw(pids[0].try_into().unwrap()), Signal::SIGKILL).unwrap();
    until("the death is named", Duration::from_secs(10), || {
        world.log().matches("openruko-api died").count() > died
    });
    until("it answers again", Duration::from_secs(20), || {
        let health = world.program("bin/openruko").args(["admin", "app", "list"]).output().unwrap();
        health.status.success()
    });
    assert_eq!(world.deploys("durable-app"), 1);
    // In the middle of a push the app is afterwards as after it: the commit is sent until it is answered.
    let repo = repo_that_builds_with(&dev, "sleep 3");
    let push = repo.push_command("durable-app", &["+main"]).stderr(Stdio::piped()).spawn().unwrap();
    until("it is being built", Duration::from_secs(30), || world.container_of("durable-app").is_some());
    let pids = world.processes(&["libexec/openruko/openruko-api"]);
    kill(Pid::from_raw(pids[0].try_into().unwrap()), Signal::SIGKILL).unwrap();
    let pushed = Pushed::from(push.wait_with_output().unwrap());
    assert!(pushed.ok && pushed.seen.contains("Released v3"), "{}", pushed.seen);
    assert_eq!(world.deploys("durable-app"), 2);
}

fn second_up_is_refused(world: &World) {
    let out = std::process::Command::new(world.program("bin/openruko").get_program())
        .args(["up", "--state"])
        .arg(world.state())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(stderr.contains("another `openruko up`") && stderr.lines().count() == 1, "{stderr}");
}

/// A world of its own, since nothing else could be tested meanwhile.
fn ctrl_c_stops_everything(_: &World) {
    let world = &World::start(crate::limits::small);
    let dev = world.developer("cleo");
    world.app("stopped-app", &dev);
    let repo = repo_that_builds_with(&dev, "sleep 600");
    let push = repo.push_in_background("stopped-app");
    until("it is being built", Duration::from_secs(30), || world.container_of("stopped-app").is_some());
    world.down();
    assert_eq!(world.processes(&["prefix/"]), Vec::<u32>::new());
    let pushed = Pushed::from(push.wait_with_output().unwrap());
    assert!(!pushed.ok, "{}", pushed.seen);
    world.up([]);
    assert!(world.containers().is_empty());
    assert!(world.lease("stopped-app").is_none(), "the lease was given back before the API went");
    assert_eq!(world.deploys("stopped-app"), 0);
}

fn git_user_is_no_root(world: &World) {
    let container = world.program("libexec/openruko/ruko-container");
    let program = container.get_program().to_str().unwrap();
    let config = world.state().join("config.toml");
    for words in [
        &["id"][..],
        &[program, "list"],
        &[program, "--config", "/tmp/evil.toml", "run"],
        &[program, "--config", config.to_str().unwrap(), "reap"],
        &[program, "--config", config.to_str().unwrap(), "run", "--help"],
    ] {
        let out = std::process::Command::new("setpriv")
            .args(["--reuid=git", "--regid=git", "--clear-groups", "sudo", "-n"])
            .args(words)
            .output()
            .unwrap();
        assert!(!out.status.success(), "{words:?}");
    }
}
