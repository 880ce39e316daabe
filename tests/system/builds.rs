//! The main job: a push becomes a slug and a release.

use std::fs;
use std::path::Path;
use std::process::Command;

use openruko_tests::World;

use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("builds::procfile_app_is_released", procfile_app_is_released),
    ("builds::static_app_is_released", static_app_is_released),
    (
        "builds::python_app_runs_from_app_and_its_cache_is_used",
        python_app_runs_from_app_and_its_cache_is_used,
    ),
    (
        "builds::nodejs_app_runs_from_app_and_its_cache_is_used",
        nodejs_app_runs_from_app_and_its_cache_is_used,
    ),
    ("builds::failing_compile_is_refused", failing_compile_is_refused),
    ("builds::app_that_no_buildpack_knows_is_refused", app_that_no_buildpack_knows_is_refused),
    ("builds::clone_gives_back_what_was_pushed", clone_gives_back_what_was_pushed),
    ("builds::protocol_version_2_is_spoken", protocol_version_2_is_spoken),
    ("builds::archive_is_served", archive_is_served),
    ("builds::other_branch_is_kept_and_not_released", other_branch_is_kept_and_not_released),
    ("builds::deploy_branch_cannot_be_deleted", deploy_branch_cannot_be_deleted),
    ("builds::force_push_is_released", force_push_is_released),
    ("builds::output_is_kept", output_is_kept),
    ("builds::stored_slug_is_the_one_recorded", stored_slug_is_the_one_recorded),
];

/// Runs a shell command as a dyno would: the slug at /app, the profile scripts sourced, this machine's
/// /usr around it. Gives its stdout.
fn in_slug(world: &World, app: &str, command: &str) -> String {
    let root = world.scratch();
    let path = root.path().to_str().unwrap();
    world.unpack_slug(app, root.path());
    let script = format!(
        "set -e; cd {path}; mkdir -p usr etc proc dev tmp; \
         for d in bin sbin lib lib64; do ln -s usr/$d $d; done; \
         for d in usr etc proc dev; do mount --rbind /$d $d; done; \
         exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/app PORT=5000 chroot . /bin/bash -c \
         'cd /app; for f in .profile.d/*.sh; do [ -e \"$f\" ] && . \"$f\"; done; {command}'"
    );
    let out = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn process_type(world: &World, app: &str, name: &str) -> String {
    let release = world.current_release(app);
    release["process_types"][name].as_str().unwrap_or_else(|| panic!("no {name} in {release}")).to_owned()
}

fn procfile_app_is_released(world: &World) {
    let dev = world.developer("pia");
    world.app("procfile-app", &dev);
    let repo = dev.fixture("procfile");
    let seen = repo.deploy("procfile-app");
    assert!(seen.contains("remote: -----> "), "{seen}");
    assert!(seen.contains("Released v2"), "{seen}");
    assert!(seen.contains("Procfile declares types"), "{seen}");
    assert_eq!(process_type(world, "procfile-app", "worker"), "sleep 1000");
    assert_eq!(in_slug(world, "procfile-app", "cat hello.txt"), "A file that is served.");
    assert_eq!(repo.remote_ref("procfile-app", "refs/heads/main"), Some(repo.head()));
    assert!(world.lease("procfile-app").is_none());
    // Nothing moves without a change, and no release comes of it.
    let again = repo.push("procfile-app", &["main"]);
    assert!(again.ok && again.seen.contains("Everything up-to-date"), "{}", again.seen);
    assert_eq!(world.deploys("procfile-app"), 1);
    let builds = world.admin_json(&["builds", "procfile-app"]);
    assert_eq!(builds.as_array().unwrap().len(), 1, "an empty push is no build: {builds}");
}

fn static_app_is_released(world: &World) {
    let dev = world.developer("sten");
    world.app("static-app", &dev);
    dev.fixture("static").deploy("static-app");
    assert!(!process_type(world, "static-app", "web").is_empty());
    assert!(in_slug(world, "static-app", "cat index.html").contains("Hello from a static site"));
}

fn python_app_runs_from_app_and_its_cache_is_used(world: &World) {
    let dev = world.developer("petra");
    world.app("python-app", &dev);
    let repo = dev.fixture("python");
    repo.deploy("python-app");
    let six = "python -c \"import six; print(six.__version__)\"";
    assert_eq!(in_slug(world, "python-app", six), "1.16.0");
    repo.commit(&[("changed.txt", "now")]);
    let second = repo.deploy("python-app");
    assert!(
        second.to_lowercase().contains("cache"),
        "the second build says that it used the cache: {second}"
    );
    assert_eq!(in_slug(world, "python-app", six), "1.16.0");
    assert_eq!(world.deploys("python-app"), 2);
}

fn nodejs_app_runs_from_app_and_its_cache_is_used(world: &World) {
    let dev = world.developer("nora");
    world.app("nodejs-app", &dev);
    let repo = dev.fixture("nodejs");
    repo.deploy("nodejs-app");
    let is_number = "node -p \"require(\\\"is-number\\\")(5)\"";
    assert_eq!(in_slug(world, "nodejs-app", is_number), "true");
    repo.commit(&[("changed.txt", "now")]);
    let second = repo.deploy("nodejs-app");
    assert!(
        second.to_lowercase().contains("cache"),
        "the second build says that it used the cache: {second}"
    );
    assert_eq!(in_slug(world, "nodejs-app", is_number), "true");
    assert!(process_type(world, "nodejs-app", "web").contains("start"));
}

/// A Node.js app without dependencies whose build is this shell script: the way to run any code in a
/// build without a network.
pub(crate) fn app_that_builds_with(script: &str) -> [(&'static str, String); 3] {
    let package =
        r#"{"name":"x","version":"1.0.0","private":true,"scripts":{"build":"bash build.sh","start":"true"}}"#;
    [
        ("package.json", package.to_owned()),
        ("build.sh", script.to_owned()),
        ("Procfile", "web: true\n".to_owned()),
    ]
}

/// Commits such an app into a new repository.
pub(crate) fn repo_that_builds_with<'a>(
    dev: &'a openruko_tests::Developer,
    script: &str,
) -> openruko_tests::Repo<'a> {
    let files = app_that_builds_with(script);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    dev.repo(&files)
}

fn failing_compile_is_refused(world: &World) {
    let dev = world.developer("fay");
    world.app("failing-app", &dev);
    let repo = repo_that_builds_with(&dev, "echo all is well");
    repo.deploy("failing-app");
    let good = repo.head();
    repo.commit(&[("build.sh", "echo this cannot work >&2; exit 3")]);
    let refused = repo.push("failing-app", &["main"]);
    assert!(!refused.ok, "{}", refused.seen);
    assert!(refused.seen.contains("this cannot work"), "{}", refused.seen);
    assert!(
        refused.seen.contains(" !     Push rejected, failed to compile Node.js app."),
        "{}",
        refused.seen
    );
    assert_eq!(repo.remote_ref("failing-app", "refs/heads/main"), Some(good));
    assert_eq!(world.deploys("failing-app"), 1);
    assert!(world.lease("failing-app").is_none());
    // Pushing the same commit again builds again: no "Everything up-to-date" over code that is not live.
    let again = repo.push("failing-app", &["main"]);
    assert!(!again.ok && again.seen.contains("Push rejected"), "{}", again.seen);
    repo.commit(&[("build.sh", "echo mended")]);
    repo.deploy("failing-app");
    assert_eq!(world.deploys("failing-app"), 2);
}

fn app_that_no_buildpack_knows_is_refused(world: &World) {
    let dev = world.developer("una");
    world.app("unknown-app", &dev);
    let repo = dev.repo(&[("notes.txt", "no app")]);
    let refused = repo.push("unknown-app", &["main"]);
    assert!(!refused.ok && refused.seen.contains(" !     "), "{}", refused.seen);
    assert_eq!(repo.remote_ref("unknown-app", "refs/heads/main"), None);
    assert_eq!(world.deploys("unknown-app"), 0);
}

fn clone_gives_back_what_was_pushed(world: &World) {
    let dev = world.developer("clara");
    world.app("cloned-app", &dev);
    let repo = dev.fixture("procfile");
    repo.commit(&[("dir/with space/é.txt", "text"), ("run.sh", "#!/bin/sh\n")]);
    repo.git(&["update-index", "--chmod=+x", "run.sh"]);
    repo.commit(&[]);
    repo.git(&["tag", "-a", "-m", "first", "v1.0"]);
    let pushed = repo.push("cloned-app", &["main", "v1.0"]);
    assert!(pushed.ok, "{}", pushed.seen);
    let scratch = world.scratch();
    let out =
        dev.git(scratch.path()).args(["clone", "-q", &dev.remote("cloned-app"), "copy"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let copy = scratch.path().join("copy");
    let show = |dir: &Path, args: &[&str]| dev.git(dir).args(args).output().unwrap().stdout;
    for args in [
        &["rev-parse", "HEAD"][..],
        &["rev-parse", "v1.0"],
        &["ls-tree", "-r", "HEAD"],
        &["log", "--format=%H"],
    ] {
        assert_eq!(show(&copy, args), show(repo.path(), args), "{args:?}");
    }
    assert_eq!(fs::read(copy.join("dir/with space/é.txt")).unwrap(), b"text");
}

fn protocol_version_2_is_spoken(world: &World) {
    let dev = world.developer("paul");
    world.app("protocol-app", &dev);
    let repo = dev.fixture("procfile");
    repo.deploy("protocol-app");
    for (version, shows) in [("0", false), ("2", true)] {
        let out = dev
            .git(repo.path())
            .env("GIT_TRACE_PACKET", "1")
            .args(["-c", &format!("protocol.version={version}"), "ls-remote", &dev.remote("protocol-app")])
            .output()
            .unwrap();
        let trace = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{trace}");
        assert_eq!(trace.contains("< version 2"), shows, "{trace}");
    }
}

fn archive_is_served(world: &World) {
    let dev = world.developer("arno");
    world.app("archive-app", &dev);
    let repo = dev.fixture("procfile");
    repo.deploy("archive-app");
    let remote = format!("--remote={}", dev.remote("archive-app"));
    let out = dev.git(repo.path()).args(["archive", &remote, "main", "hello.txt"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stdout).contains("A file that is served."));
}

fn other_branch_is_kept_and_not_released(world: &World) {
    let dev = world.developer("otto");
    world.app("branch-app", &dev);
    let repo = dev.fixture("procfile");
    let pushed = repo.push("branch-app", &["main:topic"]);
    assert!(pushed.ok, "{}", pushed.seen);
    assert!(
        pushed.seen.contains(" !     ") && pushed.seen.contains("main"),
        "says how to deploy: {}",
        pushed.seen
    );
    assert_eq!(world.deploys("branch-app"), 0);
    assert_eq!(repo.remote_ref("branch-app", "refs/heads/topic"), Some(repo.head()));
    repo.deploy("branch-app");
    assert_eq!(world.deploys("branch-app"), 1);
    let deleted = repo.push("branch-app", &[":topic"]);
    assert!(deleted.ok, "{}", deleted.seen);
    assert_eq!(repo.remote_ref("branch-app", "refs/heads/topic"), None);
}

fn deploy_branch_cannot_be_deleted(world: &World) {
    let dev = world.developer("dora");
    world.app("kept-app", &dev);
    let repo = dev.fixture("procfile");
    repo.deploy("kept-app");
    let refused = repo.push("kept-app", &[":main"]);
    assert!(!refused.ok && refused.seen.contains(" !     "), "{}", refused.seen);
    assert_eq!(repo.remote_ref("kept-app", "refs/heads/main"), Some(repo.head()));
}

fn force_push_is_released(world: &World) {
    let dev = world.developer("finn");
    world.app("forced-app", &dev);
    let repo = dev.fixture("procfile");
    repo.commit(&[("a", "1")]);
    repo.deploy("forced-app");
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
    repo.commit(&[("b", "2")]);
    let plain = repo.push("forced-app", &["main"]);
    assert!(!plain.ok, "{}", plain.seen);
    let forced = repo.push("forced-app", &["+main"]);
    assert!(forced.ok && forced.seen.contains("Released v3"), "{}", forced.seen);
    assert_eq!(repo.remote_ref("forced-app", "refs/heads/main"), Some(repo.head()));
}

fn output_is_kept(world: &World) {
    let dev = world.developer("olga");
    world.app("logged-app", &dev);
    repo_that_builds_with(&dev, "echo a line to remember").deploy("logged-app");
    let builds = world.admin_json(&["builds", "logged-app"]);
    let build = &builds.as_array().unwrap()[0];
    assert_eq!(build["status"], "succeeded");
    let output = world.admin(&["output", build["push"].as_str().unwrap()]);
    assert!(output.contains("a line to remember") && output.contains("Released v2"), "{output}");
}

fn stored_slug_is_the_one_recorded(world: &World) {
    let dev = world.developer("sasha");
    world.app("digest-app", &dev);
    dev.fixture("procfile").deploy("digest-app");
    let release = world.current_release("digest-app");
    let file = world.stored(release["slug_url"].as_str().unwrap());
    assert_eq!(fs::metadata(&file).unwrap().len(), release["slug"]["bytes"].as_u64().unwrap());
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
    assert_eq!(sum.split_whitespace().next(), release["slug"]["sha256"].as_str());
    let tar = Command::new("tar").arg("tzf").arg(&file).output().unwrap();
    let names = String::from_utf8_lossy(&tar.stdout).into_owned();
    assert!(names.lines().all(|name| name.starts_with("./app")), "{names}");
}
