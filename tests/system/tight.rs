//! A world whose bounds are met at once: packs, checkouts, tarballs, output, and the disk that objects are stored on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use openruko_tests::{Repo, World, until, without_dynos};
use ruko_core::config::Config;

use crate::Test;
use crate::builds::repo_that_builds_with;
use crate::queue::Watched;
use crate::sources::{failed, packed};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("tight::large_pack_is_refused_with_the_limit", large_pack_is_refused_with_the_limit),
    ("tight::large_checkout_is_refused_with_both_sizes", large_checkout_is_refused_with_both_sizes),
    ("tight::many_files_are_refused_with_the_limit", many_files_are_refused_with_the_limit),
    ("tight::tarball_that_expands_is_refused_with_the_limit", tarball_that_expands_is_refused_with_the_limit),
    ("tight::long_output_is_cut_with_the_limit", long_output_is_cut_with_the_limit),
    ("tight::full_disk_is_foreseen", full_disk_is_foreseen),
    ("tight::disk_that_fills_in_mid_push_leaves_nothing", disk_that_fills_in_mid_push_leaves_nothing),
];

/// What the tests of the disk and of the queue change is for all who push: they are alone meanwhile.
static ALONE: RwLock<()> = RwLock::new(());

pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    ALONE.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    ALONE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Bounds that small pushes meet, and objects on a small file system of their own.
pub(crate) fn bounds(config: &mut Config) {
    without_dynos(config);
    let api = config.api.as_mut().unwrap();
    api.limits.disk_bytes = 512 << 20;
    api.limits.pack_bytes = 4 << 20;
    api.limits.checkout_bytes = 8 << 20;
    api.limits.checkout_entries = 500;
    api.limits.slug_bytes = 8 << 20;
    api.limits.output_bytes = 64 << 10;
    api.lease_seconds = 10;
    let serve = config.serve.as_mut().unwrap();
    (serve.build_slots, serve.user_slots) = (Some(2), Some(1));
    serve.reserve_bytes = 1 << 20;
    small_disk(&storage(config));
}

fn storage(config: &Config) -> PathBuf {
    config.api().unwrap().storage.strip_prefix("file://").unwrap().into()
}

/// Taken away with the world.
fn small_disk(dir: &Path) {
    let owner = fs::metadata(dir).unwrap();
    let options =
        format!("size=48m,mode={:o},uid={},gid={}", owner.mode() & 0o7777, owner.uid(), owner.gid());
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).status();
    assert!(mounted.unwrap().success());
}

/// Pushes what must be refused before anything is built; what the developer saw.
fn refused(world: &World, repo: &Repo<'_>, app: &str) -> String {
    let pushed = repo.push(app, &["main"]);
    assert!(!pushed.ok && !pushed.seen.contains("app detected"), "{}", pushed.seen);
    assert_eq!(repo.remote_ref(app, "refs/heads/main"), None);
    assert_eq!(world.deploys(app), 0);
    assert!(world.lease(app).is_none());
    pushed.seen
}

/// Random, so that git cannot pack it smaller; or zeros, so that it packs to nothing.
fn write(repo: &Repo<'_>, name: &str, from: &str, megabytes: u64) {
    let path = repo.path().join(name);
    let script = format!("head -c {megabytes}M {from} > {}", path.display());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    repo.commit(&[]);
}

fn large_pack_is_refused_with_the_limit(world: &World) {
    let _beside = beside_others();
    let dev = world.developer("paul");
    world.app("pack-app", &dev);
    let repo = repo_that_builds_with(&dev, "echo built");
    write(&repo, "random.bin", "/dev/urandom", 6);
    let seen = refused(world, &repo, "pack-app");
    assert!(seen.contains("maximum allowed size (4.00 MiB)"), "{seen}");
}

fn large_checkout_is_refused_with_both_sizes(world: &World) {
    let _beside = beside_others();
    let dev = world.developer("chloe");
    world.app("checkout-app", &dev);
    let repo = repo_that_builds_with(&dev, "echo built");
    write(&repo, "zeros.bin", "/dev/zero", 20);
    let seen = refused(world, &repo, "checkout-app");
    assert!(seen.contains("files are 20.0 MB checked out, and the limit is 8.0 MB"), "{seen}");
    let log = world.admin_json(&["pushes", "--app", "checkout-app", "--failed"]);
    assert!(log[0]["reason"].as_str().unwrap().contains("20.0 MB checked out"), "{log}");
    assert_eq!(log[0]["steps"].as_array().unwrap().last().unwrap()["step"], "checkout", "it failed there");
}

fn many_files_are_refused_with_the_limit(world: &World) {
    let _beside = beside_others();
    let dev = world.developer("fiona");
    world.app("files-app", &dev);
    let names: Vec<String> = (0..600).map(|number| format!("many/{number}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let repo = repo_that_builds_with(&dev, "echo built");
    repo.commit(&files);
    let seen = refused(world, &repo, "files-app");
    assert!(seen.contains("more than 500 files and directories, which is the limit"), "{seen}");
}

fn tarball_that_expands_is_refused_with_the_limit(world: &World) {
    let _beside = beside_others();
    let dev = world.developer("berta");
    world.app("bomb-tar-app", &dev);
    let user = world.platform(&dev);
    let bomb = packed(world, "head -c 100M /dev/zero > zeros; tar -czf - zeros");
    let seen = failed(&user, "bomb-tar-app", &bomb);
    assert!(seen.contains("larger than 8388608 bytes"), "{seen}");
    let crowd = packed(world, "seq 600 | xargs touch; tar -czf - .");
    let seen = failed(&user, "bomb-tar-app", &crowd);
    assert!(seen.contains("more than 500 entries"), "{seen}");
    assert_eq!(world.deploys("bomb-tar-app"), 0);
}

fn long_output_is_cut_with_the_limit(world: &World) {
    let _beside = beside_others();
    let dev = world.developer("otto");
    world.app("wordy-app", &dev);
    let seen = repo_that_builds_with(&dev, "yes 'one more line' | head -c 1M").deploy("wordy-app");
    assert!(seen.contains("The limit of 64.0 KB of output is reached"), "{seen}");
    let record = world.admin_json(&["builds", "wordy-app"]);
    let push = record[0]["push"].as_str().unwrap();
    assert!(world.admin(&["output", push]).len() < 80 << 10);
}

fn full_disk_is_foreseen(world: &World) {
    let _beside = beside_others();
    let dev = world.developer("fritz");
    world.app("full-app", &dev);
    let before = world.containers();
    let reserve = (1_u64 << 50).to_string();
    let out = world
        .serve("fritz", "git-receive-pack 'full-app.git'", &[("OPENRUKO_SERVE_RESERVE_BYTES", &reserve)])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(75), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains(" !     The server's disk is nearly full: for "), "{said}");
    assert!(said.contains(" is free, and 1024.0 TB may be needed; nothing was changed."), "{said}");
    assert!(world.lease("full-app").is_none());
    assert!(world.containers().iter().all(|name| before.contains(name) || !name.contains("full-app")));
    // The admin is told where.
    let record = world.admin_json(&["builds", "full-app"]);
    let reason = record[0]["reason"].as_str().unwrap();
    assert!(reason.contains(world.state().to_str().unwrap()), "{reason}");
}

fn disk_that_fills_in_mid_push_leaves_nothing(world: &World) {
    let _alone = alone();
    let dev = world.developer("mia");
    world.app("filling-app", &dev);
    let storage = storage(&world.config());
    let repo = repo_that_builds_with(&dev, "echo BUILD-BEGUN; sleep 2; head -c 5M /dev/urandom > random.bin");
    let before = objects(&storage);
    let push = Watched::begin(repo.push_command("filling-app", &["main"]));
    push.expect("BUILD-BEGUN");
    let filler = storage.join("filler");
    let _ =
        Command::new("dd").args(["if=/dev/zero", "bs=1M"]).arg(format!("of={}", filler.display())).output();
    let (ok, seen) = push.end();
    assert!(!ok && seen.contains("The slug could not be stored: the server's disk is full"), "{seen}");
    until("the lease is free", Duration::from_secs(2), || world.lease("filling-app").is_none());
    fs::remove_file(filler).unwrap();
    assert_eq!(objects(&storage), before);
    assert_eq!(world.deploys("filling-app"), 0);
    assert_eq!(repo.remote_ref("filling-app", "refs/heads/main"), None);
    repo.commit(&[("build.sh", "echo small")]);
    repo.deploy("filling-app");
}

/// Every file below a directory.
fn objects(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(objects(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}
