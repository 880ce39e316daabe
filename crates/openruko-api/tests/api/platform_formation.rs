//! Formations, dynos and their sizes at the Platform API.

use serde_json::{Value, json};

use super::developer::Developer;
use super::host::Host;
use super::world::{World, commit};

const FORMATION: &str = "/apps/shop/formation";

/// Matt's `shop` with `console`, `web` and `worker`.
fn deployed() -> (World, Developer) {
    let world = World::with_shop("");
    let opened = world.open();
    let mut pushed = commit(opened.repo.version);
    let types = &mut pushed.release.as_mut().unwrap().manifest.process_types;
    types.insert("worker".parse().unwrap(), "python worker.py".into());
    world.serve.commit(&opened.push, &pushed).unwrap();
    let matt = Developer::named(&world, "matt");
    (world, matt)
}

/// `web=1:Basic …`
fn told(formation: &Value) -> String {
    let one = |f: &Value| {
        let text = |key: &str| f[key].as_str().unwrap().to_owned();
        format!("{}={}:{}", text("type"), f["quantity"], text("size"))
    };
    formation.as_array().unwrap().iter().map(one).collect::<Vec<_>>().join(" ")
}

fn scale(developer: &Developer, updates: Value) -> Value {
    developer.patch(FORMATION, json!({ "updates": updates })).with(200)
}

#[test]
fn before_the_first_deploy_there_is_nothing_to_scale() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    assert_eq!(matt.get(FORMATION).with(200), json!([]));
    assert_eq!(matt.get("/apps/shop/dynos").with(200), json!([]));
    let updates = json!({ "updates": [{ "type": "web", "quantity": "1" }] });
    let (status, id, message) = matt.patch(FORMATION, updates).refused();
    assert_eq!((status, id.as_str()), (404, "not_found"));
    assert_eq!(message, "Couldn't find that process type (web).");
    matt.delete("/apps/shop/dynos").with(202);
}

#[test]
fn an_app_is_scaled_as_the_cli_says_it() {
    let (_world, matt) = deployed();
    assert_eq!(told(&matt.get(FORMATION).with(200)), "console=0:Basic web=1:Basic worker=0:Basic");
    let all = scale(&matt, json!([{ "type": "web", "quantity": "2", "size": "standard-2x" }]));
    assert_eq!(told(&all), "console=0:Basic web=2:Standard-2X worker=0:Basic");
    let all = scale(
        &matt,
        json!([
            { "type": "web", "quantity": "+1" },
            { "type": "web", "quantity": "-2" },
            { "type": "worker", "quantity": 3 },
            { "type": "console", "size": "PERFORMANCE-M" },
            { "type": "console", "quantity": "-1" },
        ]),
    );
    assert_eq!(told(&all), "console=0:Performance-M web=1:Standard-2X worker=3:Basic");
    assert_eq!(matt.get(FORMATION).with(200), all);
    let one = matt.patch(&format!("{FORMATION}/web"), json!({ "quantity": "4" })).with(200);
    assert_eq!((&one["quantity"], &one["command"]), (&json!(4), &json!("python app.py")));
    assert_eq!(matt.get(&format!("{FORMATION}/{}", one["id"].as_str().unwrap())).with(200), one);
    assert_eq!(scale(&matt, json!([])), matt.get(FORMATION).with(200));
}

#[test]
fn an_entry_keeps_its_id_when_it_is_scaled_for_the_first_time() {
    let (_world, matt) = deployed();
    let before = matt.get(&format!("{FORMATION}/worker")).with(200);
    let after = matt.patch(&format!("{FORMATION}/worker"), json!({ "quantity": 1 })).with(200);
    assert_eq!(before["id"], after["id"]);
}

#[test]
fn all_of_a_change_is_made_or_nothing() {
    let (_world, matt) = deployed();
    let before = matt.get(FORMATION).with(200);
    let first = json!({ "type": "web", "quantity": "2" });
    for (second, status) in [
        (json!({ "type": "clock", "quantity": "1" }), 404),
        (json!({ "type": "worker", "quantity": "101" }), 422),
        (json!({ "type": "worker", "quantity": "+4000000000" }), 422),
        (json!({ "type": "worker", "quantity": "many" }), 422),
        (json!({ "type": "worker", "size": "huge" }), 422),
        (json!({ "quantity": "1" }), 422),
    ] {
        let (got, _, message) = matt.patch(FORMATION, json!({ "updates": [first, second] })).refused();
        assert_eq!(got, status, "{second}: {message}");
        assert_eq!(matt.get(FORMATION).with(200), before, "{second}");
    }
}

#[test]
fn an_app_has_so_many_dynos_whatever_their_types() {
    let (_world, matt) = deployed();
    let updates = |web, worker| json!({ "updates": [{ "type": "web", "quantity": web }, { "type": "worker", "quantity": worker }] });
    let (status, id, message) = matt.patch(FORMATION, updates(60, 41)).refused();
    assert_eq!((status, id.as_str()), (422, "invalid_params"));
    assert_eq!(message, "Couldn't scale shop to 101 dynos: an app has at most 100 in all.");
    matt.patch(FORMATION, updates(60, 40)).with(200);
    assert_eq!(matt.patch(&format!("{FORMATION}/console"), json!({ "quantity": "+1" })).refused().0, 422);
    // What is taken from one, others may have.
    scale(&matt, json!([{ "type": "console", "quantity": "+1" }, { "type": "web", "quantity": "-1" }]));
}

#[test]
fn process_types_that_come_back_do_not_make_an_app_larger() {
    let world = World::running();
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    let push = |types: &[&str]| {
        let opened = world.open();
        let mut pushed = commit(opened.repo.version);
        let manifest = &mut pushed.release.as_mut().unwrap().manifest;
        manifest.process_types = types.iter().map(|one| (one.parse().unwrap(), "run".to_owned())).collect();
        manifest.default_types.clear();
        world.serve.commit(&opened.push, &pushed).unwrap();
    };
    for one in ["a", "b"] {
        push(&[one]);
        scale(&matt, json!([{ "type": one, "quantity": 60 }]));
    }
    push(&["a", "b"]);
    assert_eq!(told(&matt.get(FORMATION).with(200)), "a=60:Basic b=40:Basic");
    let processes = host.shop().candidate.unwrap().processes;
    assert_eq!(processes.iter().map(|process| process.dynos.len()).sum::<usize>(), 100);
}

#[test]
fn every_dyno_that_is_wanted_is_listed_and_down_as_long_as_nobody_runs_it() {
    let (_world, matt) = deployed();
    scale(&matt, json!([{ "type": "web", "quantity": 2 }, { "type": "worker", "quantity": 1 }]));
    let dynos = matt.get("/apps/shop/dynos").with(200);
    let names: Vec<_> = dynos.as_array().unwrap().iter().map(|dyno| &dyno["name"]).collect();
    assert_eq!(names, ["web.1", "web.2", "worker.1"]);
    let web = &dynos[0];
    assert_eq!((&web["state"], &web["size"]), (&json!("down"), &json!("Basic")));
    assert_eq!((&web["command"], &web["release"]["version"]), (&json!("python app.py"), &json!(2)));
    for called in ["web.1", web["id"].as_str().unwrap()] {
        assert_eq!(matt.get(&format!("/apps/shop/dynos/{called}")).with(200), *web);
    }
    for nothing in ["web.3", "web.0", "web", "console.1", "run.1"] {
        let (status, _, message) = matt.get(&format!("/apps/shop/dynos/{nothing}")).refused();
        assert_eq!((status, message.as_str()), (404, "Couldn't find that dyno."), "{nothing}");
    }
}

#[test]
fn dynos_are_restarted_and_stopped_by_name_by_type_and_all() {
    let (_world, matt) = deployed();
    for path in ["/apps/shop/dynos", "/apps/shop/dynos/web.1", "/apps/shop/formations/worker"] {
        assert_eq!(matt.delete(path).with(202), json!({}), "{path}");
    }
    for path in ["/apps/shop/dynos/web.1/actions/stop", "/apps/shop/formations/web/actions/stop"] {
        assert_eq!(matt.send("POST", path, &[], b"").with(202), json!({}), "{path}");
    }
    for (method, path) in [
        ("DELETE", "/apps/shop/dynos/web.2"),
        ("DELETE", "/apps/shop/formations/clock"),
        ("POST", "/apps/shop/dynos/clock.1/actions/stop"),
        ("POST", "/apps/shop/formations/clock/actions/stop"),
    ] {
        assert_eq!(matt.send(method, path, &[], b"").refused().0, 404, "{method} {path}");
    }
    assert_eq!(told(&matt.get(FORMATION).with(200)), "console=0:Basic web=1:Basic worker=0:Basic");
}

#[test]
fn a_command_cannot_be_run_and_the_refusal_says_why() {
    let (_world, matt) = deployed();
    let run = json!({ "command": "bash", "attach": true, "env": { "TERM": "xterm", "COLUMNS": 120 } });
    let (status, id, message) = matt.post("/apps/shop/dynos", run).refused();
    assert_eq!((status, id.as_str()), (422, "no_dyno_host"));
    assert_eq!(message, "Commands cannot be run on this server: it has no host that runs dynos.");
}

#[test]
fn the_sizes_of_dynos_have_herokus_names() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    let all = matt.get("/dyno-sizes").with(200);
    let size = matt.get("/dyno-sizes/standard-2x").with(200);
    assert_eq!((&size["name"], &size["memory"]), (&json!("Standard-2X"), &json!(1.0)));
    assert!(all.as_array().unwrap().contains(&size));
    assert_eq!(matt.get(&format!("/dyno-sizes/{}", size["id"].as_str().unwrap())).with(200), size);
    assert_eq!(matt.get("/dyno-sizes/huge").refused().0, 404);
}
