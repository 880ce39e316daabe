//! Deploys: a push ends with the app answering, and nothing fails meanwhile.

use openruko_tests::{World, until};
use serde_json::{Value, json};

use super::{PATIENCE, next_version, probe};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::deploys::push_ends_with_the_app_answering", push_ends_with_the_app_answering),
    ("running::deploys::no_request_fails_meanwhile", no_request_fails_meanwhile),
    ("running::deploys::release_that_crashes_never_serves", release_that_crashes_never_serves),
    (
        "running::deploys::release_that_does_not_listen_never_serves",
        release_that_does_not_listen_never_serves,
    ),
    (
        "running::deploys::first_release_that_crashes_serves_nothing",
        first_release_that_crashes_serves_nothing,
    ),
    ("running::deploys::health_check_is_asked", health_check_is_asked),
    (
        "running::deploys::release_phase_runs_before_anything_switches",
        release_phase_runs_before_anything_switches,
    ),
    ("running::deploys::config_that_breaks_the_app_never_serves", config_that_breaks_the_app_never_serves),
    ("running::deploys::app_without_web_is_released", app_without_web_is_released),
    ("running::deploys::destroyed_app_is_gone", destroyed_app_is_gone),
];

fn push_ends_with_the_app_answering(world: &World) {
    let dev = world.developer("dora");
    let app = probe(world, &dev, "answers");
    let repo = dev.fixture("probe");
    let seen = repo.deploy("answers");
    // No waiting: the push has ended, so it answers.
    assert_eq!(app.body("/"), "version 1\n");
    for line in ["Released v2", "web: 1 of 1 up", "http://answers.localhost:"] {
        assert!(seen.contains(line), "{line}: {seen}");
    }
    next_version(&repo, "2");
    repo.deploy("answers");
    assert_eq!(app.body("/"), "version 2\n");
    assert_eq!(app.releases()[0], (3, "succeeded".to_owned()));
}

fn no_request_fails_meanwhile(world: &World) {
    let dev = world.developer("nora");
    let app = probe(world, &dev, "seamless");
    let repo = dev.fixture("probe");
    repo.deploy("seamless");
    let load = world.web("seamless").load("/");

    next_version(&repo, "2");
    repo.deploy("seamless");
    assert_eq!(app.body("/"), "version 2\n");

    app.set_config("COLOUR", "blue");
    assert_eq!(app.settled().1, "succeeded");
    // The router hears of the switch a moment after the API has it.
    until("the config var is there", PATIENCE, || app.body("/env").contains("\"COLOUR\": \"blue\""));

    app.scale("web", 3);
    app.wait_for(&["web.1", "web.2", "web.3"]);
    let _ = app.call("DELETE", "/dynos", &Value::Null);
    app.wait_for(&["web.1", "web.2", "web.3"]);
    app.scale("web", 1);
    app.wait_for(&["web.1"]);

    let _ = app.call("POST", "/releases", &json!({ "release": "v2" }));
    assert_eq!(app.settled().1, "succeeded");
    app.wait_for_body("/", "version 1\n");

    repo.commit(&[("version.txt", "3"), ("boot.txt", "crash")]);
    let refused = repo.push("seamless", &["main"]);
    assert!(!refused.ok, "{}", refused.seen);
    assert_eq!(app.body("/"), "version 1\n");
    load.stop();
}

/// What a developer sees of a release that does not come up, and that they can go on from there.
fn refused_release(world: &World, user: &str, name: &str, boot: &str, says: &str) {
    let dev = world.developer(user);
    let app = probe(world, &dev, name);
    let repo = dev.fixture("probe");
    repo.deploy(name);
    let before = repo.head();

    repo.commit(&[("version.txt", "2"), ("boot.txt", boot)]);
    let pushed = repo.push(name, &["main"]);
    assert!(!pushed.ok && pushed.seen.contains("v3 did not boot"), "{}", pushed.seen);
    assert!(pushed.seen.contains(says) && pushed.seen.contains("v2 keeps serving"), "{}", pushed.seen);
    assert_eq!(app.releases()[0], (3, "failed".to_owned()));
    assert_eq!(app.body("/"), "version 1\n");
    app.wait_for(&["web.1"]);
    // No "Everything up-to-date" over code that never went live.
    assert_eq!(repo.remote_ref(name, "refs/heads/main"), Some(before));
    let again = repo.push(name, &["main"]);
    assert!(!again.ok && again.seen.contains("v4 did not boot"), "{}", again.seen);

    repo.commit(&[("version.txt", "3"), ("boot.txt", "")]);
    repo.deploy(name);
    assert_eq!(app.body("/"), "version 3\n");
}

fn release_that_crashes_never_serves(world: &World) {
    refused_release(world, "cris", "crashes-at-boot", "crash", "H10");
}

fn release_that_does_not_listen_never_serves(world: &World) {
    refused_release(world, "rolf", "never-listens", "silent", "R10");
}

fn first_release_that_crashes_serves_nothing(world: &World) {
    let dev = world.developer("fred");
    let app = probe(world, &dev, "never-up");
    let repo = dev.fixture("probe");
    repo.commit(&[("boot.txt", "crash")]);
    let pushed = repo.push("never-up", &["main"]);
    assert!(!pushed.ok && pushed.seen.contains("nothing serves yet"), "{}", pushed.seen);
    assert_eq!(world.web("never-up").get("/").status, 503);
    assert_eq!(repo.remote_ref("never-up", "refs/heads/main"), None);
    repo.commit(&[("boot.txt", "")]);
    repo.deploy("never-up");
    assert_eq!(app.body("/"), "version 1\n");
}

fn health_check_is_asked(world: &World) {
    let dev = world.developer("hedy");
    let app = probe(world, &dev, "checked");
    let _ = app.call("PATCH", "/web-settings", &json!({ "check_path": "/healthy" }));
    let repo = dev.fixture("probe");
    repo.deploy("checked");
    repo.commit(&[("version.txt", "2"), ("boot.txt", "unhealthy")]);
    let pushed = repo.push("checked", &["main"]);
    assert!(!pushed.ok && pushed.seen.contains("/healthy"), "{}", pushed.seen);
    assert_eq!(app.body("/"), "version 1\n");
}

fn release_phase_runs_before_anything_switches(world: &World) {
    let dev = world.developer("petr");
    let app = probe(world, &dev, "phased");
    let repo = dev.fixture("probe");
    let procfile = |release: &str| format!("web: python3 -u web.py\nrelease: {release}\n");
    repo.commit(&[("Procfile", &procfile("echo migrating $DYNO; test -n \"$PORT\" || echo no port"))]);
    let seen = repo.deploy("phased");
    assert!(seen.contains("migrating release.") && seen.contains("no port"), "{seen}");
    assert!(app.dynos().iter().all(|(name, _)| name.starts_with("web.")), "{:?}", app.dynos());

    repo.commit(&[("version.txt", "2"), ("Procfile", &procfile("echo cannot migrate; exit 4"))]);
    let pushed = repo.push("phased", &["main"]);
    assert!(!pushed.ok, "{}", pushed.seen);
    assert!(pushed.seen.contains("cannot migrate"), "{}", pushed.seen);
    assert!(pushed.seen.contains("release command exited with status 4"), "{}", pushed.seen);
    assert_eq!(app.body("/"), "version 1\n");
    let output = app.call("GET", "/releases/3", &Value::Null);
    let url = output["output_stream_url"].as_str().unwrap();
    assert!(app.platform.read(url).contains("cannot migrate"));
}

fn config_that_breaks_the_app_never_serves(world: &World) {
    let dev = world.developer("kurt");
    let app = probe(world, &dev, "misconfigured");
    dev.fixture("probe").deploy("misconfigured");
    app.set_config("BOOT", "crash");
    assert_eq!(app.settled(), (3, "failed".to_owned()));
    assert_eq!(app.body("/"), "version 1\n");
    app.set_config("BOOT", "");
    assert_eq!(app.settled(), (4, "succeeded".to_owned()));
}

fn app_without_web_is_released(world: &World) {
    let dev = world.developer("wanda");
    let app = probe(world, &dev, "webless");
    let repo = dev.fixture("probe");
    repo.commit(&[("Procfile", "worker: python3 -u worker.py\n")]);
    repo.deploy("webless");
    let web = world.web("webless");
    until("the router knows it", PATIENCE, || web.get("/").status == 503);
    app.scale("worker", 1);
    app.wait_for(&["worker.1"]);
    app.wait_for_log("app[worker.1]: worker begins worker.1");
}

fn destroyed_app_is_gone(world: &World) {
    let dev = world.developer("desi");
    let app = probe(world, &dev, "short-lived");
    dev.fixture("probe").deploy("short-lived");
    let container = app.container();
    assert!(world.containers().contains(&container));
    let _ = app.call("DELETE", "", &Value::Null);
    let web = world.web("short-lived");
    until("the router has forgotten it", PATIENCE, || web.get("/").status == 404);
    until("its dyno is gone", PATIENCE, || !world.containers().contains(&container));
}
