//! The system tests: real sshd, git and LXC, on one world of their own.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod builds;
mod crashes;
mod heroku_cli;
mod http;
mod limits;
mod platform;
mod sandbox;
mod sharing;
mod sources;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use openruko_tests::World;

/// A test on the shared world.
type Test = fn(&World);

/// Every test, by the module that holds it. A test asks for developers and apps of its own names.
fn tests() -> Vec<(&'static str, Test)> {
    [
        access::TESTS,
        builds::TESTS,
        crashes::TESTS,
        heroku_cli::TESTS,
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
    let world = (!args.list).then(|| Arc::new(World::start(limits::small)));
    let trials = tests()
        .into_iter()
        .map(|(name, test)| {
            let world = world.clone();
            Trial::test(name, move || {
                test(world.as_ref().expect("the tests are not only listed"));
                Ok(())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    drop(world);
    conclusion.exit();
}
