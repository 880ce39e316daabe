//! Several pushes at a time.

use std::process::Stdio;
use std::thread;

use openruko_tests::{Pushed, World};

use crate::Test;
use crate::builds::repo_that_builds_with;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("sharing::two_pushes_to_one_app_do_not_interleave", two_pushes_to_one_app_do_not_interleave),
    ("sharing::two_pushes_to_two_apps_do_not_wait", two_pushes_to_two_apps_do_not_wait),
];

fn two_pushes_to_one_app_do_not_interleave(world: &World) {
    let dev = world.developer("ines");
    world.app("busy-app", &dev);
    let repo = repo_that_builds_with(&dev, "echo one");
    repo.deploy("busy-app");
    repo.git(&["checkout", "-q", "-b", "other"]);
    repo.commit(&[("build.sh", "echo other")]);
    repo.git(&["checkout", "-q", "main"]);
    repo.commit(&[("build.sh", "echo two; sleep 2")]);
    // Both begin from the same state of the app; the second is not a descendant of the first.
    let both: Vec<Pushed> = thread::scope(|scope| {
        let pushes = ["main:main", "+other:main"].map(|refspec| {
            let mut push = repo.push_command("busy-app", &[refspec]);
            scope.spawn(move || push.stdin(Stdio::null()).output().unwrap().into())
        });
        pushes.map(|push| push.join().unwrap()).into()
    });
    let waited = both.iter().filter(|pushed| pushed.seen.contains("has been pushing to busy-app")).count();
    assert_eq!(waited, 1, "{both:?}");
    let released = both.iter().filter(|pushed| pushed.ok && pushed.seen.contains("Released v")).count();
    assert!(released >= 1, "{both:?}");
    // Whatever the order: every release has its number, and the ref is that of the last one.
    assert_eq!(world.deploys("busy-app"), 1 + released);
    let live = world.current_release("busy-app")["commit"].as_str().map(str::to_owned);
    assert_eq!(repo.remote_ref("busy-app", "refs/heads/main"), live);
    assert!(world.lease("busy-app").is_none());
}

fn two_pushes_to_two_apps_do_not_wait(world: &World) {
    let dev = world.developer("theo");
    world.app("left-app", &dev);
    world.app("right-app", &dev);
    let repo = repo_that_builds_with(&dev, "echo BUILD-BEGUN; sleep 3; echo built");
    thread::scope(|scope| {
        let pushes = ["left-app", "right-app"].map(|app| {
            let mut push = repo.push_command(app, &["main"]);
            scope.spawn(move || Pushed::from(push.output().unwrap()))
        });
        openruko_tests::until("both are being built", std::time::Duration::from_secs(60), || {
            world.container_of("left-app").is_some() && world.container_of("right-app").is_some()
        });
        for push in pushes {
            let pushed = push.join().unwrap();
            assert!(pushed.ok && !pushed.seen.contains("Waiting"), "{}", pushed.seen);
        }
    });
    assert_eq!((world.deploys("left-app"), world.deploys("right-app")), (1, 1));
}
