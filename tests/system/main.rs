//! The system tests: real sshd, git and LXC, on worlds of their own: one that builds, one that also runs what was
//! built, and one whose bounds are met at once.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod builds;
mod crashes;
mod doctor;
mod heroku_cli;
mod http;
mod limits;
mod platform;
mod queue;
mod repositories;
mod running;
mod sandbox;
mod sharing;
mod sources;
mod storage;
mod tight;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use openruko_tests::World;
use ruko_core::config::Config;

/// A test on the shared world.
type Test = fn(&World);

/// Every test of what comes before a release runs, by the module that holds it. A test asks for developers and apps of its own names.
fn tests() -> Vec<(&'static str, Test)> {
    [
        access::TESTS,
        builds::TESTS,
        crashes::TESTS,
        http::TESTS,
        limits::TESTS,
        platform::TESTS,
        repositories::TESTS,
        sandbox::TESTS,
        sharing::TESTS,
        sources::TESTS,
    ]
    .concat()
}

fn main() {
    let args = Arguments::from_args();
    let on_node = [running::tests(), heroku_cli::TESTS.to_vec(), doctor::TESTS.to_vec()].concat();
    let on_tight = [tight::TESTS, queue::TESTS].concat();
    // A world is worth its seconds only where there is something to do in it.
    let start = |configure: fn(&mut Config), tests: &[(&'static str, Test)]| {
        let wanted = |name: &str| args.filter.as_deref().is_none_or(|filter| name.contains(filter));
        let is_needed = !args.list && tests.iter().any(|(name, _)| wanted(name));
        is_needed.then(|| Arc::new(World::start(configure)))
    };
    let builds = start(limits::small, &tests());
    let node = start(running::quick, &on_node);
    let tight = start(tight::bounds, &on_tight);
    let on = |world: &Option<Arc<World>>, tests: Vec<(&'static str, Test)>| {
        let trials = tests.into_iter().map(|(name, test)| {
            let world = world.clone();
            Trial::test(name, move || {
                test(world.as_ref().expect("the test is wanted"));
                Ok(())
            })
        });
        trials.collect::<Vec<_>>()
    };
    let mut trials = on(&builds, tests());
    trials.extend(on(&node, on_node));
    trials.extend(on(&tight, on_tight));
    trials.push(Trial::test("storage::everything_is_in_an_object_store", || {
        storage::everything_is_in_an_object_store();
        Ok(())
    }));
    let conclusion = libtest_mimic::run(&args, trials);
    drop((builds, node, tight));
    conclusion.exit();
}
