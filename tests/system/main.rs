//! The system tests: real sshd, git and LXC, on two worlds of their own: one that builds, and one that also runs what
//! was built.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod builds;
mod crashes;
mod heroku_cli;
mod http;
mod limits;
mod platform;
mod running;
mod sandbox;
mod sharing;
mod sources;
mod storage;

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
        sandbox::TESTS,
        sharing::TESTS,
        sources::TESTS,
    ]
    .concat()
}

fn main() {
    let args = Arguments::from_args();
    let start = |configure: fn(&mut Config)| (!args.list).then(|| Arc::new(World::start(configure)));
    let (builds, node) = (start(limits::small), start(running::quick));
    let on = |world: &Option<Arc<World>>, tests: Vec<(&'static str, Test)>| {
        let trials = tests.into_iter().map(|(name, test)| {
            let world = world.clone();
            Trial::test(name, move || {
                test(world.as_ref().expect("the tests are not only listed"));
                Ok(())
            })
        });
        trials.collect::<Vec<_>>()
    };
    let mut trials = on(&builds, tests());
    trials.extend(on(&node, [running::tests(), heroku_cli::TESTS.to_vec()].concat()));
    trials.push(Trial::test("storage::everything_is_in_an_object_store", || {
        storage::everything_is_in_an_object_store();
        Ok(())
    }));
    let conclusion = libtest_mimic::run(&args, trials);
    drop((builds, node));
    conclusion.exit();
}
