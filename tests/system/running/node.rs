//! A node with many dynos.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use openruko_tests::{World, until};

use super::{PATIENCE, probe, quick};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::node::hundred_dynos_leave_nothing_behind", hundred_dynos_leave_nothing_behind),
    ("running::node::slug_is_unpacked_once", slug_is_unpacked_once),
];

/// What the kernel keeps for the containers of a world, by kind.
fn traces(world: &World) -> Vec<(&'static str, usize)> {
    let bridge = world.config().container().unwrap().bridge.clone();
    let state = world.state().to_str().unwrap().to_owned();
    let count = |program: &str, args: &[&str], needle: &str| {
        let out = Command::new(program).args(args).output().unwrap();
        String::from_utf8_lossy(&out.stdout).lines().filter(|line| line.contains(needle)).count()
    };
    vec![
        ("containers", world.containers().len()),
        ("ports", count("ip", &["-o", "link"], &format!("{bridge}-"))),
        ("loop devices", count("losetup", &["--list", "--noheadings", "--output", "BACK-FILE"], &state)),
        ("mounts", fs::read_to_string("/proc/mounts").unwrap().matches(&state).count()),
        ("processes", world.processes(&["prefix/", " dyno "]).len()),
    ]
}

/// A world of its own: the traces of other tests' dynos could not be told from these.
fn hundred_dynos_leave_nothing_behind(_: &World) {
    let world = &World::start(quick);
    let dev = world.developer("hundred");
    let app = probe(world, &dev, "crowd");
    dev.fixture("probe").deploy("crowd");
    until("the build's container is gone", PATIENCE, || world.containers().len() == 1);
    let one = traces(world);
    app.scale("worker", 99);
    until("a hundred dynos are up", PATIENCE * 4, || {
        let dynos = app.dynos();
        dynos.len() == 100 && dynos.iter().all(|(_, state)| state == "up")
    });
    assert_eq!(app.body("/"), "version 1\n");
    assert_eq!(world.containers().len(), 100);
    app.scale("worker", 0);
    until("one dyno is left", PATIENCE * 2, || world.containers().len() == 1);
    let mut left = traces(world);
    let deadline = Instant::now() + PATIENCE;
    while left != one && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
        left = traces(world);
    }
    assert_eq!(left, one);
    assert_eq!(app.body("/"), "version 1\n");
}

fn slug_is_unpacked_once(world: &World) {
    let dev = world.developer("once");
    let app = probe(world, &dev, "shared-slug");
    dev.fixture("probe").deploy("shared-slug");
    let image = || {
        let sha256 = world.current_release("shared-slug")["slug"]["sha256"].as_str().unwrap().to_owned();
        let slugs = world.config().host().unwrap().slugs_dir.clone();
        let images: Vec<_> = fs::read_dir(slugs)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_str().unwrap().contains(&sha256))
            .collect();
        assert_eq!(images.len(), 1, "{images:?}");
        // Its times tell of its last use.
        images[0].metadata().unwrap().ino()
    };
    let made = image();
    app.set_config("ANOTHER", "release of the same slug");
    assert_eq!(app.settled().1, "succeeded");
    app.scale("web", 2);
    app.wait_for(&["web.1", "web.2"]);
    assert_eq!(image(), made);
}
