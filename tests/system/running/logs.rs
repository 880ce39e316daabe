//! Logs: every line, from everywhere, once.

use openruko_tests::World;
use serde_json::json;

use super::probe;
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::logs::lines_of_app_router_and_platform_are_told", lines_are_told),
    ("running::logs::lines_are_chosen_by_dyno_and_source", lines_are_chosen),
    ("running::logs::flood_is_bounded_and_named", flood_is_bounded_and_named),
];

fn lines_are_told(world: &World) {
    let dev = world.developer("lars");
    let app = probe(world, &dev, "told");
    dev.fixture("probe").deploy("told");
    let _ = app.body("/say?text=something%20to%20say");
    for line in [
        "heroku[web.1]: Starting process with command `python3 -u web.py`",
        "app[web.1]: version 1 listens on ",
        "heroku[web.1]: State changed from starting to up",
        "app[web.1]: something to say",
        "heroku[router]: at=info method=GET path=\"/say?text=something%20to%20say\" host=told.localhost",
        "app[api]: Release v2 created by user lars",
        "app[api]: Release v2 serves",
    ] {
        app.wait_for_log(line);
    }
    let log = app.log();
    assert_eq!(log.matches("app[web.1]: something to say").count(), 1, "{log}");
    let router = log.lines().find(|line| line.contains("path=\"/say")).unwrap();
    for part in
        [" dyno=web.1 ", " status=200 ", " bytes=5 ", " protocol=http", " request_id=", " fwd=\"127.0.0.1\" "]
    {
        assert!(router.contains(part), "{part}: {router}");
    }
}

fn lines_are_chosen(world: &World) {
    let dev = world.developer("lena");
    let app = probe(world, &dev, "chosen");
    dev.fixture("probe").deploy("chosen");
    app.scale("worker", 1);
    app.wait_for_log("worker begins worker.1");
    let of_worker = app.log_of(&json!({ "lines": 100, "tail": false, "dyno": "worker" }));
    assert!(of_worker.contains("worker begins") && !of_worker.contains("web.1"), "{of_worker}");
    let of_app = app.log_of(&json!({ "lines": 100, "tail": false, "source": "app" }));
    assert!(of_app.contains("app[web.1]") && !of_app.contains("heroku["), "{of_app}");
}

fn flood_is_bounded_and_named(world: &World) {
    let dev = world.developer("flo");
    let app = probe(world, &dev, "flooding");
    dev.fixture("probe").deploy("flooding");
    let _ = app.body("/flood?lines=50000");
    app.wait_for_log("Error L");
    let _ = app.body("/say?text=after%20the%20flood");
    app.wait_for_log("app[web.1]: after the flood");
    assert!(app.log().lines().filter(|line| line.contains("app[web.1]")).count() <= 1500);
}
