//! Bounds that are met stop the build, and are named with their value.

use openruko_tests::{World, without_dynos};
use ruko_core::config::Config;

use crate::Test;
use crate::builds::repo_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("limits::memory_hog_is_stopped_and_named", memory_hog_is_stopped_and_named),
    ("limits::fork_bomb_is_stopped_and_named", fork_bomb_is_stopped_and_named),
    ("limits::time_is_up_and_named", time_is_up_and_named),
    ("limits::full_disk_is_named", full_disk_is_named),
    ("limits::large_slug_is_refused_with_both_sizes", large_slug_is_refused_with_both_sizes),
];

/// Bounds that can be met within seconds, and that pip and npm still fit in.
pub(crate) fn small(config: &mut Config) {
    // Most apps of these tests are none that could be run.
    without_dynos(config);
    let limits = &mut config.api.as_mut().unwrap().limits;
    limits.memory_bytes = 768 << 20;
    limits.pids = 200;
    limits.disk_bytes = 1 << 30;
    limits.slug_bytes = 32 << 20;
    config.api.as_mut().unwrap().lease_seconds = 10;
}

/// Pushes an app whose build must fail; what the developer saw.
fn refused(world: &World, user: &str, app: &str, script: &str) -> String {
    let dev = world.developer(user);
    world.app(app, &dev);
    let repo = repo_that_builds_with(&dev, script);
    let pushed = repo.push(app, &["main"]);
    assert!(!pushed.ok, "{}", pushed.seen);
    assert!(!pushed.seen.contains("protocol error"), "{}", pushed.seen);
    assert!(!pushed.seen.contains("Connection to"), "{}", pushed.seen);
    assert_eq!(repo.remote_ref(app, "refs/heads/main"), None);
    assert_eq!(world.deploys(app), 0);
    assert!(world.lease(app).is_none());
    pushed.seen
}

fn memory_hog_is_stopped_and_named(world: &World) {
    let hog = "python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 24))'";
    let seen = refused(world, "hugo", "hog-app", hog);
    assert!(seen.contains("memory limit of 768.0 MB"), "{seen}");
}

fn fork_bomb_is_stopped_and_named(world: &World) {
    let bomb = "python3 -c '\nimport os\nwhile True:\n    try: os.fork()\n    except OSError: pass'";
    let seen = refused(world, "bo", "bomb-app", bomb);
    assert!(seen.contains("limit of 200 processes"), "{seen}");
}

/// A world of its own, since other builds take longer.
fn time_is_up_and_named(_: &World) {
    let world = World::start(|config| {
        small(config);
        config.api.as_mut().unwrap().limits.build_seconds = 4;
    });
    let seen = refused(&world, "tim", "slow-app", "sleep 600");
    assert!(seen.contains("time limit of 4 seconds"), "{seen}");
}

fn full_disk_is_named(world: &World) {
    let seen = refused(world, "dirk", "disk-app", "dd if=/dev/zero of=/tmp/big bs=1M");
    assert!(seen.contains("disk limit of 1.0 GB"), "{seen}");
}

fn large_slug_is_refused_with_both_sizes(world: &World) {
    let seen = refused(world, "lars", "large-app", "head -c 50M /dev/urandom >random.bin");
    assert!(seen.contains("32.0 MB") && seen.contains("50."), "{seen}");
}
