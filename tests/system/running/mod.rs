//! What runs: deploys, dynos, logs and one-off dynos, on a world that has a host and a router.

mod contract;
mod crashes;
mod deploys;
mod dynos;
mod languages;
mod logs;
mod node;
mod one_offs;
mod sleep;
mod stacks;

use std::thread;
use std::time::{Duration, Instant};

use openruko_tests::{Developer, Platform, Repo, World, eventually, until};
use ruko_core::config::{Config, StackConfig};
use serde_json::{Value, json};

use crate::Test;

/// Every test of what runs.
pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    [
        contract::TESTS,
        crashes::TESTS,
        deploys::TESTS,
        dynos::TESTS,
        languages::TESTS,
        logs::TESTS,
        node::TESTS,
        one_offs::TESTS,
        sleep::TESTS,
        stacks::TESTS,
    ]
    .concat()
}

/// Bounds that can be met within seconds.
pub(crate) fn quick(config: &mut Config) {
    let host = config.host.as_mut().unwrap();
    host.boot_seconds = 8;
    host.stop_seconds = 2;
    host.drain_seconds = 1;
    host.disk_bytes = 64 << 20;
    let stack: ruko_core::StackName = stacks::OTHER.parse().unwrap();
    let other = StackConfig { image: Some(stack.clone()), ..StackConfig::default() };
    config.api.as_mut().unwrap().stacks.insert(stack, other);
    let router = config.router.as_mut().unwrap();
    router.first_byte_seconds = 3;
}

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An app with its developer, deployed.
pub(crate) struct Running<'w> {
    pub(crate) world: &'w World,
    pub(crate) name: String,
    pub(crate) platform: Platform,
}

/// The app of the fixture `probe`, by a developer of its own, not yet pushed.
pub(crate) fn probe<'w>(world: &'w World, dev: &Developer, name: &str) -> Running<'w> {
    world.app(name, dev);
    Running { world, name: name.to_owned(), platform: world.platform(dev) }
}

/// A new version of the fixture.
pub(crate) fn next_version(repo: &Repo<'_>, version: &str) {
    repo.commit(&[("version.txt", version)]);
}

impl Running<'_> {
    /// `GET path` through the router, which must succeed.
    pub(crate) fn body(&self, path: &str) -> String {
        self.world.web(&self.name).body(path)
    }

    /// A call of the Platform API below the app, which must succeed.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.platform.done(method, &format!("/apps/{}{path}", self.name), body)
    }

    pub(crate) fn scale(&self, process_type: &str, quantity: u32) {
        let _ = self.call("PATCH", &format!("/formation/{process_type}"), &json!({ "quantity": quantity }));
    }

    pub(crate) fn set_config(&self, name: &str, value: &str) {
        let _ = self.call("PATCH", "/config-vars", &json!({ name: value }));
    }

    /// Name and state of each dyno.
    pub(crate) fn dynos(&self) -> Vec<(String, String)> {
        let dynos = self.call("GET", "/dynos", &Value::Null);
        let text = |dyno: &Value, key: &str| dyno[key].as_str().unwrap().to_owned();
        dynos.as_array().unwrap().iter().map(|dyno| (text(dyno, "name"), text(dyno, "state"))).collect()
    }

    /// Waits until these dynos, and no others, are up.
    pub(crate) fn wait_for(&self, names: &[&str]) {
        until(&format!("{names:?} of {} are up", self.name), PATIENCE, || {
            let mut dynos = self.dynos();
            dynos.sort();
            dynos
                .iter()
                .map(|(name, state)| (name.as_str(), state.as_str()))
                .eq(names.iter().map(|n| (*n, "up")))
        });
    }

    /// Waits until the body of a path is this.
    pub(crate) fn wait_for_body(&self, path: &str, body: &str) {
        let web = self.world.web(&self.name);
        eventually(&format!("{body:?} at {path} of {}", self.name), PATIENCE, || {
            web.try_get(path).ok().filter(|answered| answered.body == body).map(drop)
        });
    }

    /// The container of the web dyno that answers: it is also its host name.
    pub(crate) fn container(&self) -> String {
        let env: Value = serde_json::from_str(&self.body("/env")).unwrap();
        env["HOSTNAME_SEEN"].as_str().unwrap().to_owned()
    }

    /// Version and status of every release, newest first.
    pub(crate) fn releases(&self) -> Vec<(u64, String)> {
        let releases = self.call("GET", "/releases", &Value::Null);
        let mut releases: Vec<(u64, String)> = releases
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["version"].as_u64().unwrap(), one["status"].as_str().unwrap().to_owned()))
            .collect();
        releases.sort_unstable_by(|a, b| b.cmp(a));
        releases
    }

    /// Waits until the newest release is no longer pending; its version and status.
    pub(crate) fn settled(&self) -> (u64, String) {
        eventually("the newest release is settled", PATIENCE, || {
            self.releases().into_iter().next().filter(|(_, status)| status != "pending")
        })
    }

    /// The last lines of the app's log.
    pub(crate) fn log(&self) -> String {
        self.log_of(&json!({ "lines": 1500, "tail": false }))
    }

    /// Those that a log session asks for.
    pub(crate) fn log_of(&self, wanted: &Value) -> String {
        let session = self.call("POST", "/log-sessions", wanted);
        self.platform.read(session["logplex_url"].as_str().unwrap())
    }

    /// Waits until the log has this.
    pub(crate) fn wait_for_log(&self, needle: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut log = self.log();
        while !log.contains(needle) {
            assert!(Instant::now() < deadline, "{needle:?} is not in the log:\n{log}");
            thread::sleep(Duration::from_millis(50));
            log = self.log();
        }
    }
}
