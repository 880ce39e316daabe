//! Dynos: what they get, and Heroku's states and codes.

use openruko_tests::{World, until};
use serde_json::{Value, json};

use super::{PATIENCE, probe};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::dynos::environment_is_the_apps_and_no_more", environment_is_the_apps_and_no_more),
    ("running::dynos::what_is_written_is_private_and_gone_after_a_restart", what_is_written_is_private),
    ("running::dynos::scaled_up_and_down", scaled_up_and_down),
    ("running::dynos::one_dyno_is_restarted", one_dyno_is_restarted),
    ("running::dynos::one_dyno_is_stopped", one_dyno_is_stopped),
    ("running::dynos::crashed_dyno_is_started_again_ever_more_slowly", crashed_dyno_is_started_again),
    ("running::dynos::dyno_that_ignores_sigterm_is_killed", dyno_that_ignores_sigterm_is_killed),
    ("running::dynos::dyno_is_asked_to_end", dyno_is_asked_to_end),
    ("running::dynos::dyno_short_of_memory_is_told_so", dyno_short_of_memory_is_told_so),
    ("running::dynos::memory_hog_is_named", memory_hog_is_named),
    ("running::dynos::open_requests_end_before_their_dyno", open_requests_end_before_their_dyno),
    ("running::dynos::slow_answer_is_h12", slow_answer_is_h12),
    ("running::dynos::maintenance_is_told", maintenance_is_told),
    ("running::dynos::domains_lead_to_the_app", domains_lead_to_the_app),
    ("running::dynos::unknown_app_is_404", unknown_app_is_404),
];

fn environment_is_the_apps_and_no_more(world: &World) {
    let dev = world.developer("enno");
    let app = probe(world, &dev, "environs");
    app.set_config("GREETING", "hello\nworld");
    app.set_config("PORT", "1");
    dev.fixture("probe").deploy("environs");
    let env: Value = serde_json::from_str(&app.body("/env")).unwrap();
    assert_eq!(env["GREETING"], "hello\nworld");
    assert_eq!(env["DYNO"], "web.1");
    assert_eq!(env["HOME"], "/app");
    assert_eq!(env["PORT"], world.config().host().unwrap().port.to_string());
    for (name, value) in env.as_object().unwrap() {
        assert!(!name.starts_with("OPENRUKO") && !name.starts_with("SUDO"), "{name}={value}");
    }
}

fn what_is_written_is_private(world: &World) {
    let dev = world.developer("piet");
    let app = probe(world, &dev, "scratchy");
    dev.fixture("probe").deploy("scratchy");
    assert_eq!(app.body("/read"), "nothing\n");
    let _ = app.body("/write?text=mine");
    assert_eq!(app.body("/read"), "mine");
    let before = app.container();
    let _ = app.call("DELETE", "/dynos", &Value::Null);
    until("another dyno answers", PATIENCE, || app.container() != before);
    assert_eq!(app.body("/read"), "nothing\n");
}

fn scaled_up_and_down(world: &World) {
    let dev = world.developer("skye");
    let app = probe(world, &dev, "scaled");
    dev.fixture("probe").deploy("scaled");
    app.scale("web", 2);
    app.scale("worker", 1);
    app.wait_for(&["web.1", "web.2", "worker.1"]);
    let mut seen = std::collections::BTreeSet::new();
    until("both answer", PATIENCE, || {
        seen.insert(app.container());
        seen.len() == 2
    });
    app.scale("web", 0);
    app.wait_for(&["worker.1"]);
    let web = world.web("scaled");
    until("nothing answers", PATIENCE, || web.get("/").status == 503);
    app.wait_for_log("code=H14");
    app.wait_for_log("app[api]: Scaled to web@0:Basic by user skye");
    app.scale("web", 1);
    app.wait_for(&["web.1", "worker.1"]);
    app.wait_for_body("/", "version 1\n");
}

fn one_dyno_is_restarted(world: &World) {
    let dev = world.developer("rosa");
    let app = probe(world, &dev, "restarted");
    dev.fixture("probe").deploy("restarted");
    app.scale("worker", 1);
    app.wait_for_log("app[worker.1]: worker begins");
    let web = app.container();
    let _ = app.call("DELETE", "/dynos/worker.1", &Value::Null);
    app.wait_for_log("app[worker.1]: worker ends");
    app.wait_for(&["web.1", "worker.1"]);
    assert_eq!(app.container(), web, "the other one stays");
}

fn one_dyno_is_stopped(world: &World) {
    let dev = world.developer("stan");
    let app = probe(world, &dev, "stopped");
    dev.fixture("probe").deploy("stopped");
    app.scale("worker", 1);
    app.wait_for(&["web.1", "worker.1"]);
    let _ = app.call("POST", "/dynos/worker.1/actions/stop", &Value::Null);
    until("it is down", PATIENCE, || app.dynos().contains(&("worker.1".into(), "down".into())));
    let _ = app.call("DELETE", "/dynos/worker.1", &Value::Null);
    app.wait_for(&["web.1", "worker.1"]);
}

fn crashed_dyno_is_started_again(world: &World) {
    let dev = world.developer("cleo");
    let app = probe(world, &dev, "crashing");
    dev.fixture("probe").deploy("crashing");
    // The first time at once.
    assert_eq!(world.web("crashing").get("/exit?status=9").status, 503);
    app.wait_for_log("heroku[web.1]: Process exited with status 9");
    app.wait_for_log("code=H13");
    app.wait_for_body("/", "version 1\n");
    // The second time it has to wait.
    let _ = world.web("crashing").get("/exit?status=8");
    app.wait_for_log("heroku[web.1]: State changed from up to crashed");
    until("it is down", PATIENCE, || app.dynos() == [("web.1".into(), "crashed".into())]);
    assert_eq!(world.web("crashing").get("/").status, 503);
    app.wait_for_log("code=H10");
    // Somebody who cannot wait restarts it.
    let _ = app.call("DELETE", "/dynos", &Value::Null);
    app.wait_for_body("/", "version 1\n");
}

fn dyno_that_ignores_sigterm_is_killed(world: &World) {
    let dev = world.developer("igor");
    let app = probe(world, &dev, "deaf");
    app.set_config("IGNORE_TERM", "1");
    dev.fixture("probe").deploy("deaf");
    let container = app.container();
    app.scale("web", 0);
    app.wait_for_log("app[web.1]: not listening to SIGTERM");
    app.wait_for_log("Error R12 (Exit timeout)");
    until("it is gone", PATIENCE, || !world.containers().contains(&container));
}

fn dyno_is_asked_to_end(world: &World) {
    let dev = world.developer("asta");
    let app = probe(world, &dev, "polite");
    dev.fixture("probe").deploy("polite");
    app.scale("web", 0);
    app.wait_for_log("heroku[web.1]: Stopping all processes with SIGTERM");
    app.wait_for_log("app[web.1]: ending as asked");
    app.wait_for_log("heroku[web.1]: Process exited with status 0");
}

fn dyno_short_of_memory_is_told_so(world: &World) {
    let dev = world.developer("rosa");
    let app = probe(world, &dev, "swollen");
    dev.fixture("probe").deploy("swollen");
    // Of the quota's 512 MiB, beside some 20 that it has anyway: more than 95 of a hundred, and not all.
    assert_eq!(app.body("/eat?mib=475"), "eaten\n");
    app.wait_for_log("Error R14 (Memory quota exceeded)");
    app.wait_for_log("Process running mem=");
    assert_eq!(app.body("/"), "version 1\n", "it runs on");
}

fn memory_hog_is_named(world: &World) {
    let dev = world.developer("hogan");
    let app = probe(world, &dev, "hungry");
    dev.fixture("probe").deploy("hungry");
    let _ = world.web("hungry").get("/eat?mib=1000");
    app.wait_for_log("Error R15 (Memory quota vastly exceeded)");
    app.wait_for_body("/", "version 1\n");
}

fn open_requests_end_before_their_dyno(world: &World) {
    let dev = world.developer("oona");
    let app = probe(world, &dev, "drained");
    dev.fixture("probe").deploy("drained");
    let web = world.web("drained");
    let before = app.container();
    let slow = std::thread::spawn(move || web.get("/sleep?seconds=2"));
    until("the slow request has begun", PATIENCE, || app.body("/") == "version 1\n");
    let _ = app.call("DELETE", "/dynos", &Value::Null);
    until("another dyno answers", PATIENCE, || app.container() != before);
    let slow = slow.join().unwrap();
    assert_eq!((slow.status, slow.body.as_str()), (200, "slept\n"));
}

fn slow_answer_is_h12(world: &World) {
    let dev = world.developer("suse");
    let app = probe(world, &dev, "slow");
    dev.fixture("probe").deploy("slow");
    assert_eq!(world.web("slow").get("/sleep?seconds=10").status, 503);
    app.wait_for_log("code=H12 desc=\"Request timeout\" method=GET path=\"/sleep?seconds=10\"");
}

fn maintenance_is_told(world: &World) {
    let dev = world.developer("maud");
    let app = probe(world, &dev, "closed");
    dev.fixture("probe").deploy("closed");
    let _ = app.call("PATCH", "", &json!({ "maintenance": true }));
    let web = world.web("closed");
    until("visitors are told", PATIENCE, || web.get("/").status == 503);
    app.wait_for_log("code=H80");
    let _ = app.call("PATCH", "", &json!({ "maintenance": false }));
    app.wait_for_body("/", "version 1\n");
}

fn domains_lead_to_the_app(world: &World) {
    let dev = world.developer("dodo");
    let app = probe(world, &dev, "named");
    dev.fixture("probe").deploy("named");
    for name in ["www.named.example", "*.wild.example"] {
        let _ = app.call("POST", "/domains", &json!({ "hostname": name, "sni_endpoint": null }));
    }
    for host in ["www.named.example", "any.wild.example"] {
        let web = world.web_as(host);
        until(&format!("{host} answers"), PATIENCE, || web.get("/").status == 200);
    }
    assert_eq!(world.web_as("too.deep.wild.example").get("/").status, 404);
    let _ = app.call("DELETE", "/domains/www.named.example", &Value::Null);
    let web = world.web_as("www.named.example");
    until("it is forgotten", PATIENCE, || web.get("/").status == 404);
}

fn unknown_app_is_404(world: &World) {
    assert_eq!(world.web("nobody-made-this").get("/").status, 404);
}
