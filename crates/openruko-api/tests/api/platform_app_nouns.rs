//! Features, add-ons, stacks and teams of apps at the Platform API.

use serde_json::{Value, json};

use super::developer::Developer;
use super::host::Host;
use super::world::{KEY, World, commit};

#[test]
fn features_are_turned_on_and_off() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    let all = matt.get("/apps/shop/features").with(200);
    assert!(all.as_array().unwrap().iter().all(|f| f["enabled"] == false && f["state"] == "general"));
    let preboot = "/apps/shop/features/preboot";
    let on = matt.patch(preboot, json!({ "enabled": true })).with(200);
    assert_eq!((&on["name"], &on["enabled"]), (&json!("preboot"), &json!(true)));
    assert_eq!(matt.get(preboot).with(200), on);
    assert_eq!(matt.get(&format!("/apps/shop/features/{}", on["id"].as_str().unwrap())).with(200), on);
    assert_eq!(matt.patch(preboot, json!({ "enabled": false })).with(200)["enabled"], false);
    assert_eq!(matt.patch(preboot, json!({})).refused().0, 422);
    let (status, _, message) = matt.get("/apps/shop/features/flying").refused();
    assert_eq!((status, message.as_str()), (404, "Couldn't find that app feature."));
    // One app's switch is not another's.
    matt.patch(preboot, json!({ "enabled": true })).with(200);
    matt.app("store");
    assert_eq!(matt.get("/apps/store/features/preboot").with(200)["enabled"], false);
}

#[test]
fn a_deploy_key_is_made_told_to_the_host_side_of_pushes_alone_and_removed() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    let at = "/apps/shop/deploy-key";
    let (status, _, message) = matt.get(at).refused();
    assert_eq!((status, message.as_str()), (404, "This app has no deploy key."));
    assert_eq!(matt.patch(at, json!({})).refused().0, 404);
    let host = format!("git.example.test {KEY}");
    let made = matt.call("PUT", at, json!({ "known_hosts": [host] })).with(200);
    assert!(made["public_key"].as_str().unwrap().ends_with(" shop"), "{made}");
    assert_eq!(made["known_hosts"], json!([host]));
    assert_eq!(matt.get(at).with(200), made);
    let other = matt.patch(at, json!({ "known_hosts": [format!("other.example.test {KEY}")] })).with(200);
    assert_eq!(
        (&other["public_key"], other["known_hosts"].as_array().unwrap().len()),
        (&made["public_key"], 1)
    );
    assert_eq!(matt.patch(at, json!({ "known_hosts": ["* ssh-ed25519 AAAA"] })).refused().0, 422);

    let push = world.open();
    let told = push.deploy_key.clone().unwrap();
    assert!(told.private_key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    assert_eq!(told.known_hosts, format!("other.example.test {KEY}\n"));
    assert!(!format!("{push:?}").contains("PRIVATE"), "it is not printed by accident");
    assert!(push.git_urls.contains(&"ssh://git@git.test:2222/{app}.git".to_owned()));
    world.serve.abort(&push.push, &ruko_api_types::Abort { reason: None }).unwrap();

    // Another one in its place, for the same hosts.
    let next = matt.call("PUT", at, json!({})).with(200);
    assert_ne!(next["public_key"], made["public_key"]);
    assert_eq!(next["known_hosts"], other["known_hosts"]);
    assert!(!matt.get("/apps/shop").with(200).to_string().contains("PRIVATE"));
    assert_eq!(matt.delete(at).with(200), next);
    assert_eq!(matt.get(at).refused().0, 404);
    assert!(world.open().deploy_key.is_none());
}

#[test]
fn there_are_no_add_ons_and_who_wants_one_is_told_how_to_go_without() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    for path in [
        "/addons",
        "/addon-attachments",
        "/addon-services",
        "/apps/shop/addons",
        "/apps/shop/addon-attachments",
    ] {
        assert_eq!(matt.get(path).with(200), json!([]), "{path}");
    }
    let wanted = json!({ "plan": { "name": "heroku-postgresql" }, "attachment": {}, "config": {} });
    let (status, id, message) = matt.post("/apps/shop/addons", wanted).refused();
    assert_eq!((status, id.as_str()), (422, "no_addons"));
    assert!(message.contains("config:set DATABASE_URL="), "{message}");
    for (method, path) in [
        ("POST", "/actions/addons/resolve"),
        ("POST", "/actions/addon-attachments/resolve"),
        ("GET", "/addons/postgresql-1"),
        ("GET", "/addons/postgresql-1/addon-attachments"),
        ("DELETE", "/addon-attachments/x"),
        ("GET", "/addon-services/heroku-postgresql/plans"),
        ("DELETE", "/apps/shop/addons/postgresql-1"),
    ] {
        let (status, id, _) = matt.send(method, path, &[], b"").refused();
        assert_eq!((status, id.as_str()), (404, "not_found"), "{method} {path}");
    }
}

#[test]
fn there_are_no_teams() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    for (method, path) in [("GET", "/teams/acme"), ("GET", "/teams/acme/apps"), ("POST", "/teams/apps")] {
        let (status, _, message) = matt.send(method, path, &[], b"").refused();
        assert_eq!(
            (status, message.as_str()),
            (404, "Couldn't find that team: this server has none."),
            "{method} {path}"
        );
    }
    assert_eq!(matt.get("/teams/permissions").with(200).as_array().unwrap().len(), 4);
}

#[test]
fn an_app_has_the_one_stack_and_is_shown_in_full() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    let shop = matt.app("shop");
    assert_eq!(matt.get("/stacks").with(200)[0]["name"], "openruko-12");
    let set = matt.patch("/apps/shop", json!({ "build_stack": "openruko-12" })).with(200);
    assert_eq!(set["build_stack"], shop["build_stack"]);
    let (status, _, message) = matt.patch("/apps/shop", json!({ "build_stack": "heroku-24" })).refused();
    assert_eq!((status, message.contains("openruko-12")), (422, true), "{message}");
    assert_eq!(matt.get("/apps/shop?extended=true").with(200)["name"], "shop");
}

/// A second stack, with an image, that stands in for a Heroku stack.
const STACKS: &str = "stacks.debian-13 = { image = 'trixie', heroku = 'heroku-24' } # runs dynos";

#[test]
fn an_app_moves_to_another_stack_with_its_next_build() {
    let world = World::with_shop(STACKS);
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    let named = |stack: &Value| (stack["name"].as_str().unwrap().to_owned(), stack["default"].clone());
    let stacks = matt.get("/stacks").with(200);
    let all: Vec<_> = stacks.as_array().unwrap().iter().map(named).collect();
    assert_eq!(all, [("debian-13".to_owned(), json!(false)), ("openruko-12".to_owned(), json!(true))]);
    assert_eq!(matt.get("/stacks/debian-13").with(200), stacks[0]);
    let id = stacks[0]["id"].as_str().unwrap();
    assert_eq!(matt.get(&format!("/stacks/{id}")).with(200), stacks[0]);
    let of_shop = || {
        let shop = matt.get("/apps/shop").with(200);
        let name = |key: &str| shop[key]["name"].as_str().unwrap().to_owned();
        (name("stack"), name("build_stack"))
    };
    let pair = |stack: &str, next: &str| (stack.to_owned(), next.to_owned());

    assert_eq!(world.push().release, Some(2));
    let current = host.shop().candidate.unwrap();
    assert_eq!(current.stack, None, "the host's own");
    host.serves(2);
    let (status, _, message) = matt.patch("/apps/shop", json!({ "build_stack": "cedar-14" })).refused();
    assert_eq!(status, 422);
    assert!(message.contains("`debian-13`, `openruko-12` (of new apps)"), "{message}");
    matt.patch("/apps/shop", json!({ "build_stack": id })).with(200);
    assert_eq!(of_shop(), pair("openruko-12", "debian-13"), "what runs stays");

    let push = world.open();
    assert_eq!((push.stack.as_str(), push.template.as_str()), ("debian-13", "openruko-stack"));
    assert_eq!(push.stack_image.as_ref().unwrap().as_str(), "trixie");
    assert_eq!(push.heroku_stack.as_ref().unwrap().as_str(), "heroku-24");
    // Set to another one meanwhile: the slug is of the stack that it was built on.
    matt.patch("/apps/shop", json!({ "build_stack": "openruko-12" })).with(200);
    let mut commit = commit(1);
    commit.release.as_mut().unwrap().stack = push.stack.clone();
    assert_eq!(world.serve.commit(&push.push, &commit).unwrap().release, Some(3));
    let stack = host.shop().candidate.unwrap().stack.unwrap();
    assert_eq!((stack.template.as_str(), stack.image.as_str()), ("openruko-stack", "trixie"));
    host.serves(3);
    assert_eq!(of_shop(), pair("debian-13", "openruko-12"));
    matt.post("/apps/shop/releases", json!({ "release": "2" })).with(201);
    assert_eq!(host.shop().candidate.unwrap().stack, None, "what went back runs on what it was built on");
    host.serves(4);
    assert_eq!(of_shop(), pair("openruko-12", "openruko-12"));

    let made = matt.post("/apps", json!({ "name": "other", "stack": "debian-13" })).with(201);
    assert_eq!((named(&made["stack"]).0, named(&made["build_stack"]).0), pair("debian-13", "debian-13"));
}
