//! Apps that sleep until they are asked for.

use openruko_tests::{World, until};
use serde_json::json;

use super::{PATIENCE, probe};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[("running::sleep::app_sleeps_and_wakes", app_sleeps_and_wakes)];

fn app_sleeps_and_wakes(world: &World) {
    let dev = world.developer("sleepy");
    let app = probe(world, &dev, "dozing");
    dev.fixture("probe").deploy("dozing");
    let container = app.container();
    // The shortest that may be set; the world's clock is not ours to move.
    let _ = app.call("PATCH", "/web-settings", &json!({ "idle_after_seconds": 20 }));
    until("it sleeps", PATIENCE * 3, || app.dynos() == [("web.1".into(), "idle".into())]);
    until("its dyno is gone", PATIENCE, || !world.containers().contains(&container));
    // Everybody who asks is answered, by one dyno.
    let web = world.web("dozing");
    let asked: Vec<_> = (0..5)
        .map(|_| {
            let web = web.clone();
            std::thread::spawn(move || web.get("/"))
        })
        .collect();
    for answered in asked {
        assert_eq!(answered.join().unwrap().body, "version 1\n");
    }
    app.wait_for(&["web.1"]);
}
