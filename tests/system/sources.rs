//! Builds of tarballs, without a git push.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use openruko_tests::{Developer, Platform, World, until};
use serde_json::{Value, json};

use crate::Test;
use crate::builds::app_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("sources::tarball_is_built_and_released", tarball_is_built_and_released),
    ("sources::tarball_and_push_live_side_by_side", tarball_and_push_live_side_by_side),
    ("sources::hostile_tarballs_are_refused_in_words", hostile_tarballs_are_refused_in_words),
    ("sources::failing_compile_is_told", failing_compile_is_told),
    ("sources::cancelled_build_ends_promptly", cancelled_build_ends_promptly),
    ("sources::killed_runner_and_build_leave_nothing", killed_runner_and_build_leave_nothing),
];

/// A tar.gz of what a shell command leaves in an empty directory.
pub(crate) fn packed(world: &World, script: &str) -> Vec<u8> {
    let dir = world.scratch();
    let out = Command::new("sh").args(["-ec", script]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn tarball(world: &World, dir: &Path) -> Vec<u8> {
    packed(world, &format!("tar -czf - --exclude=.git -C {} .", dir.display()))
}

/// An app whose build is this shell script.
fn that_builds_with(world: &World, dev: &Developer, script: &str) -> Vec<u8> {
    let files = app_that_builds_with(script);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    tarball(world, dev.repo(&files).path())
}

/// Uploads it and asks for its build.
fn begin(user: &Platform, app: &str, bytes: &[u8], version: &str) -> Value {
    let source = user.done("POST", "/sources", &json!({}));
    let url = |key: &str| source["source_blob"][key].as_str().unwrap();
    user.put(url("put_url"), bytes);
    let blob = json!({ "source_blob": { "url": url("get_url"), "version": version } });
    user.done("POST", &format!("/apps/{app}/builds"), &blob)
}

/// What a build printed, when it has ended, and how it ended.
fn end(user: &Platform, app: &str, build: &Value) -> (String, Value) {
    let output = user.read(build["output_stream_url"].as_str().unwrap());
    (output, user.done("GET", &path(app, build), &Value::Null))
}

fn path(app: &str, build: &Value) -> String {
    format!("/apps/{app}/builds/{}", build["id"].as_str().unwrap())
}

pub(crate) fn failed(user: &Platform, app: &str, bytes: &[u8]) -> String {
    let (output, build) = end(user, app, &begin(user, app, bytes, ""));
    assert_eq!(build["status"], "failed", "{output}");
    output
}

fn tarball_is_built_and_released(world: &World) {
    let dev = world.developer("tara");
    world.app("tar-app", &dev);
    let user = world.platform(&dev);
    let before = world.current_release("tar-app")["version"].as_u64().unwrap();
    let bytes = tarball(world, dev.fixture("static").path());
    let (output, build) = end(&user, "tar-app", &begin(&user, "tar-app", &bytes, "v1.2"));
    assert_eq!(build["status"], "succeeded", "{output}");
    assert!(output.contains("-----> Compressing...") && output.contains("Released v"), "{output}");
    let release = world.current_release("tar-app");
    assert_eq!(release["version"], before + 1);
    assert_eq!(release["description"], "Deploy v1.2");
    let slug = world.stored(release["slug_url"].as_str().unwrap());
    assert_eq!(slug.metadata().unwrap().len(), release["slug"]["bytes"].as_u64().unwrap());
    let root = world.scratch();
    world.unpack_slug("tar-app", root.path());
    assert!(root.path().join("app").is_dir());
    assert!(world.lease("tar-app").is_none());
    until("its container is gone", Duration::from_secs(20), || {
        let id = world.admin_json(&["builds", "tar-app"])[0]["push"].as_str().unwrap().to_ascii_lowercase();
        !world.containers().iter().any(|name| name.ends_with(&id))
    });
}

fn tarball_and_push_live_side_by_side(world: &World) {
    let dev = world.developer("tim-tar");
    world.app("both-app", &dev);
    let user = world.platform(&dev);
    let repo = dev.fixture("procfile");
    repo.deploy("both-app");
    let pushed = repo.head();
    let (output, build) = end(&user, "both-app", &begin(&user, "both-app", &tarball(world, repo.path()), ""));
    assert_eq!(build["status"], "succeeded", "{output}");
    assert_eq!(repo.remote_ref("both-app", "refs/heads/main"), Some(pushed.clone()), "no ref moves");
    repo.commit(&[("more.txt", "x")]);
    repo.deploy("both-app");
    let list = user.done("GET", "/apps/both-app/builds", &Value::Null);
    let versions: Vec<&Value> =
        list.as_array().unwrap().iter().map(|b| &b["source_blob"]["version"]).collect();
    assert_eq!(versions, [&json!(pushed), &Value::Null, &json!(repo.head())]);
    let output = user.read(list[0]["output_stream_url"].as_str().unwrap());
    assert!(output.contains("Released v"), "{output}");
}

fn hostile_tarballs_are_refused_in_words(world: &World) {
    let dev = world.developer("hans");
    world.app("hostile-app", &dev);
    let user = world.platform(&dev);
    for (script, word) in [
        ("mkdir a; touch x; cd a; tar -czPf - ../x", "../x"),
        ("ln -s ../../etc out; tar -czf - out", "may lead outside"),
        ("mknod null c 1 3; tar -czf - null", "null"),
        ("echo no archive", "cannot be unpacked"),
    ] {
        let output = failed(&user, "hostile-app", &packed(world, script));
        assert!(output.contains(" !     Push rejected: the source cannot be unpacked"), "{script}: {output}");
        assert!(output.contains(word), "{script}: {output}");
    }
    assert_eq!(world.deploys("hostile-app"), 0);
}

fn failing_compile_is_told(world: &World) {
    let dev = world.developer("fiona");
    world.app("fails-app", &dev);
    let user = world.platform(&dev);
    let bytes = that_builds_with(world, &dev, "echo this cannot work >&2; exit 3");
    let output = failed(&user, "fails-app", &bytes);
    assert!(output.contains("this cannot work"), "{output}");
    assert!(output.contains(" !     Push rejected, failed to compile Node.js app."), "{output}");
    assert_eq!(world.deploys("fails-app"), 0);
    assert!(world.lease("fails-app").is_none());
}

fn is_being_built(world: &World, app: &str) {
    until("it is being built", Duration::from_secs(60), || world.container_of(app).is_some());
}

fn cancelled_build_ends_promptly(world: &World) {
    let dev = world.developer("carl");
    world.app("cancel-app", &dev);
    let user = world.platform(&dev);
    let bytes = that_builds_with(world, &dev, "echo begun; sleep 600");
    let build = begin(&user, "cancel-app", &bytes, "");
    is_being_built(world, "cancel-app");
    let container = world.container_of("cancel-app").unwrap();
    let cancelled = Instant::now();
    assert_eq!(user.done("DELETE", &path("cancel-app", &build), &Value::Null)["status"], "failed");
    let (output, _) = end(&user, "cancel-app", &build);
    assert!(output.ends_with(" !     Build cancelled by user carl.\n"), "{output}");
    until("its container is gone", Duration::from_secs(15), || !world.containers().contains(&container));
    assert!(cancelled.elapsed() < Duration::from_secs(15));
    assert!(world.lease("cancel-app").is_none());
}

/// A world of its own: its runner dies.
fn killed_runner_and_build_leave_nothing(_: &World) {
    let world = &World::start(crate::limits::small);
    let dev = world.developer("kim");
    world.app("killed-app", &dev);
    let user = world.platform(&dev);
    let sleeps = that_builds_with(world, &dev, "sleep 600");
    let first = begin(&user, "killed-app", &sleeps, "");
    is_being_built(world, "killed-app");
    let second = begin(&user, "killed-app", &tarball(world, dev.fixture("procfile").path()), "");
    let kill_all = |words: &[&str]| {
        let pids = world.processes(words);
        assert!(!pids.is_empty(), "{words:?}");
        pids.iter().for_each(|pid| kill(Pid::from_raw((*pid).try_into().unwrap()), Signal::SIGKILL).unwrap());
    };
    kill_all(&["openruko-serve", "config.toml builds"]);
    kill_all(&["openruko-serve", "config.toml build "]);
    let (output, build) = end(&user, "killed-app", &second);
    assert_eq!(build["status"], "succeeded", "the next runner takes it up: {output}");
    assert_eq!(user.done("GET", &path("killed-app", &first), &Value::Null)["status"], "failed");
    until("no container is left", Duration::from_secs(30), || world.containers().is_empty());
}
