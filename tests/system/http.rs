//! The second door: git over HTTPS, with a token.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use openruko_tests::{Developer, Pushed, Repo, World, until};
use serde_json::{Value, json};

use crate::Test;
use crate::builds::repo_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("http::both_doors_lead_to_one_repository", both_doors_lead_to_one_repository),
    ("http::stranger_learns_nothing", stranger_learns_nothing),
    ("http::wrong_token_opens_nothing", wrong_token_opens_nothing),
    ("http::expired_token_opens_nothing", expired_token_opens_nothing),
    ("http::revoked_token_opens_nothing", revoked_token_opens_nothing),
    ("http::collaborator_may_push_until_removed", collaborator_may_push_until_removed),
    ("http::unknown_certificate_is_refused_by_git", unknown_certificate_is_refused_by_git),
    ("http::who_waits_for_another_push_is_told", who_waits_for_another_push_is_told),
    ("http::silent_build_is_kept_alive_and_ends_with_its_client", silent_build_ends_with_its_client),
    ("http::failing_build_is_refused", failing_build_is_refused),
];

/// The remote of an app, with a token in it.
fn remote(world: &World, token: &str, app: &str) -> String {
    world.git_url(app).replacen("https://", &format!("https://x:{token}@"), 1)
}

fn push(repo: &Repo<'_>, remote: &str) -> Pushed {
    repo.push_to(remote, &["main"]).output().unwrap().into()
}

/// What git says to a look at a remote.
fn look(dev: &Developer, remote: &str) -> Pushed {
    dev.git(dev.home()).args(["ls-remote", remote]).output().unwrap().into()
}

fn builds(world: &World, app: &str) -> usize {
    world.admin_json(&["builds", app]).as_array().unwrap().len()
}

fn both_doors_lead_to_one_repository(world: &World) {
    let dev = world.developer("hella");
    world.app("two-doors", &dev);
    let remote = remote(world, &world.token(&dev), "two-doors");
    let repo = dev.fixture("procfile");
    let pushed = push(&repo, &remote);
    assert!(pushed.ok && pushed.seen.contains("remote:        Released v2 "), "{}", pushed.seen);
    repo.commit(&[("more", "1")]);
    repo.deploy("two-doors");
    repo.commit(&[("more", "2")]);
    let pushed = push(&repo, &remote);
    assert!(pushed.ok && pushed.seen.contains("Released v4"), "{}", pushed.seen);
    for version in ["0", "2"] {
        let into = dev.home().join(format!("clone-{version}"));
        let mut clone = dev.git(repo.path());
        clone.args(["-c", &format!("protocol.version={version}"), "clone", "-q", &remote]);
        let cloned = Pushed::from(clone.arg(&into).output().unwrap());
        assert!(cloned.ok, "{}", cloned.seen);
        let head = dev.git(&into).args(["rev-parse", "HEAD"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&head.stdout).trim(), repo.head());
    }
    let nothing_new = push(&repo, &remote);
    assert!(nothing_new.seen.contains("Everything up-to-date"), "{}", nothing_new.seen);
    assert_eq!(world.deploys("two-doors"), 3);
    assert_eq!(builds(world, "two-doors"), 3, "what only asks leaves no record");
    assert!(world.lease("two-doors").is_none());
}

fn stranger_learns_nothing(world: &World) {
    let (owner, stranger) = (world.developer("heino"), world.developer("hubert"));
    world.app("http-private", &owner);
    let token = world.token(&stranger);
    let repo = stranger.fixture("procfile");
    let seen = ["http-private", "http-missing"].map(|app| {
        let remote = remote(world, &token, app);
        let answers = [push(&repo, &remote), look(&stranger, &remote)];
        answers.map(|answer| {
            assert!(!answer.ok && answer.seen.contains("that you may use"), "{}", answer.seen);
            answer.seen.replace(app, "X")
        })
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(builds(world, "http-private"), 0);
}

/// Nobody comes in, and git would ask for a better token.
fn is_not_let_in(dev: &Developer, remote: &str) {
    let refused = look(dev, remote);
    assert!(!refused.ok && refused.seen.contains("Authentication failed"), "{}", refused.seen);
    let pushed = push(&dev.fixture("procfile"), remote);
    assert!(!pushed.ok && pushed.seen.contains("Authentication failed"), "{}", pushed.seen);
}

fn wrong_token_opens_nothing(world: &World) {
    let dev = world.developer("hilde");
    world.app("http-wrong", &dev);
    let token = world.token(&dev);
    let cut = &token[..token.len() - 1];
    for wrong in ["nonsense", "HRKU-00000000-0000-0000-0000-000000000000", cut] {
        is_not_let_in(&dev, &remote(world, wrong, "http-wrong"));
    }
    // Without any, git looks for one.
    let asked = look(&dev, &world.git_url("http-wrong"));
    assert!(!asked.ok && asked.seen.contains("could not read Username"), "{}", asked.seen);
    assert_eq!(builds(world, "http-wrong"), 0);
    let let_in = look(&dev, &remote(world, &token, "http-wrong"));
    assert!(let_in.ok, "the right one still opens: {}", let_in.seen);
}

/// A token made at the Platform API, and its authorization's path.
fn made_token(world: &World, dev: &Developer, wanted: &Value) -> (String, String) {
    let made = world.platform(dev).done("POST", "/oauth/authorizations", wanted);
    let token = made["access_token"]["token"].as_str().unwrap().to_owned();
    (token, format!("/oauth/authorizations/{}", made["id"].as_str().unwrap()))
}

fn expired_token_opens_nothing(world: &World) {
    let dev = world.developer("heiner");
    world.app("http-expired", &dev);
    let (token, _) = made_token(world, &dev, &json!({ "expires_in": 5 }));
    let remote = remote(world, &token, "http-expired");
    assert!(look(&dev, &remote).ok, "it opens before its time is over");
    until("it has expired", Duration::from_secs(20), || !look(&dev, &remote).ok);
    is_not_let_in(&dev, &remote);
}

fn revoked_token_opens_nothing(world: &World) {
    let dev = world.developer("hedwig");
    world.app("http-revoked", &dev);
    let (token, authorization) = made_token(world, &dev, &json!({ "description": "for git" }));
    let remote = remote(world, &token, "http-revoked");
    let pushed = push(&dev.fixture("procfile"), &remote);
    assert!(pushed.ok, "{}", pushed.seen);
    let _ = world.platform(&dev).done("DELETE", &authorization, &Value::Null);
    is_not_let_in(&dev, &remote);
    assert_eq!(world.deploys("http-revoked"), 1);
}

fn collaborator_may_push_until_removed(world: &World) {
    let (owner, friend) = (world.developer("herta"), world.developer("hauke"));
    world.app("http-shared", &owner);
    let remote = remote(world, &world.token(&friend), "http-shared");
    let repo = friend.fixture("procfile");
    assert!(!push(&repo, &remote).ok);
    let _ = world.admin(&["access", "add", "http-shared", "hauke"]);
    let pushed = push(&repo, &remote);
    assert!(pushed.ok, "{}", pushed.seen);
    let _ = world.admin(&["access", "remove", "http-shared", "hauke"]);
    repo.commit(&[("more", "1")]);
    assert!(!push(&repo, &remote).ok && !look(&friend, &remote).ok);
    assert_eq!(world.deploys("http-shared"), 1);
}

fn unknown_certificate_is_refused_by_git(world: &World) {
    let dev = world.developer("hein");
    let mut git = dev.git(dev.home());
    git.env_remove("GIT_SSL_CAINFO").args(["ls-remote", &world.git_url("http-any")]);
    let refused = Pushed::from(git.output().unwrap());
    assert!(!refused.ok && refused.seen.contains("certificate"), "{}", refused.seen);
}

fn who_waits_for_another_push_is_told(world: &World) {
    let dev = world.developer("heidi");
    world.app("http-waits", &dev);
    let first = repo_that_builds_with(&dev, "sleep 6");
    let background = first.push_in_background("http-waits");
    until("it is being built", Duration::from_secs(30), || world.container_of("http-waits").is_some());
    let waited = push(&first, &remote(world, &world.token(&dev), "http-waits"));
    assert!(background.wait_with_output().unwrap().status.success());
    let told = "remote: -----> Waiting for another push: heidi has been pushing to http-waits for ";
    // The refs had moved by the time it was its turn: git itself refuses then, in the one lease order.
    assert!(waited.seen.contains(told), "{}", waited.seen);
    assert_eq!(world.deploys("http-waits"), 1);
}

fn silent_build_ends_with_its_client(world: &World) {
    let dev = world.developer("hanna");
    world.app("http-silent", &dev);
    let repo = repo_that_builds_with(&dev, "sleep 600");
    let trace = dev.home().join("trace");
    let mut push = repo.push_to(&remote(world, &world.token(&dev), "http-silent"), &["main"]);
    push.env("GIT_TRACE_CURL", &trace).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut push = push.spawn().unwrap();
    until("git keeps the connection alive", Duration::from_secs(60), || {
        fs::read_to_string(&trace).unwrap_or_default().contains("0005.")
    });
    let container = world.container_of("http-silent").unwrap();
    killpg(Pid::from_raw(push.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    push.wait().unwrap();
    until("the container is gone", Duration::from_secs(2), || !world.containers().contains(&container));
    until("the lease is given back", Duration::from_secs(10), || world.lease("http-silent").is_none());
    assert_eq!(world.deploys("http-silent"), 0);
}

fn failing_build_is_refused(world: &World) {
    let dev = world.developer("henk");
    world.app("http-fails", &dev);
    let repo = repo_that_builds_with(&dev, "echo NO-WAY; exit 1");
    let pushed = push(&repo, &remote(world, &world.token(&dev), "http-fails"));
    assert!(!pushed.ok && pushed.seen.contains("NO-WAY"), "{}", pushed.seen);
    assert!(
        pushed.seen.contains("[remote rejected] main -> main (pre-receive hook declined)"),
        "{}",
        pushed.seen
    );
    assert_eq!(repo.remote_ref("http-fails", "refs/heads/main"), None);
    assert!(world.lease("http-fails").is_none());
    assert_eq!(world.deploys("http-fails"), 0);
}
