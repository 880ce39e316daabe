//! Apps at the Platform API.

use serde_json::json;

use super::developer::Developer;
use super::world::World;

#[test]
fn an_app_is_made_shown_changed_and_destroyed() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    let app = matt.app("shop");
    assert_eq!((&app["name"], &app["owner"]["email"]), (&json!("shop"), &json!("matt")));
    assert_eq!(app["web_url"], "http://shop.localhost:8080/");
    assert_eq!((&app["slug_size"], &app["repo_size"]), (&json!(null), &json!(null)));
    for called in ["shop", app["id"].as_str().unwrap()] {
        assert_eq!(matt.get(&format!("/apps/{called}")).with(200), app);
    }
    let changed = matt.patch("/apps/shop", json!({ "name": "store", "maintenance": true })).with(200);
    assert_eq!((&changed["name"], &changed["maintenance"]), (&json!("store"), &json!(true)));
    assert_eq!(matt.get("/users/~/apps").with(200)[0]["name"], "store");
    matt.delete("/apps/store").with(200);
    assert_eq!(matt.get("/apps/store").refused().0, 404);
}

#[test]
fn names_are_judged_as_heroku_does_and_made_up_when_there_is_none() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    for bad in ["Shop", "1shop", "a", "-x-", "shop_", "a-name-that-is-longer-than-thirty-characters"] {
        let (status, id, message) = matt.post("/apps", json!({ "name": bad })).refused();
        assert_eq!((status, id.as_str()), (422, "invalid_params"), "{bad}: {message}");
    }
    let (_, _, message) = matt.post("/apps", json!({ "name": "shop" })).refused();
    assert_eq!(message, "Name shop is already taken");
    let made_up = matt.post("/apps", json!({})).with(201);
    assert_eq!(made_up["name"].as_str().unwrap().split('-').count(), 3);
}

#[test]
fn a_stranger_learns_nothing_of_an_app() {
    let world = World::new();
    Developer::named(&world, "matt").app("shop");
    let ann = Developer::named(&world, "ann");
    for path in ["/apps/shop", "/apps/nothere"] {
        let answer = ann.get(path);
        assert_eq!(answer.json()["resource"], "app");
        assert_eq!(answer.refused(), (404, "not_found".into(), "Couldn't find that app.".into()));
    }
    assert_eq!(ann.get("/apps").with(200), json!([]));
}

#[test]
fn lists_come_in_pages() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    for n in 0..5 {
        matt.app(&format!("app-{n}"));
    }
    let first = matt.range("/apps", "id ..; max=3;");
    assert_eq!((first.status, first.json().as_array().unwrap().len()), (206, 3));
    let next = first.header("next-range").to_owned();
    let last = matt.range("/apps", &next);
    assert_eq!((last.status, last.header("next-range")), (200, ""));
    assert_eq!(last.json()[1]["name"], "app-4");
}

#[test]
fn every_answer_has_a_request_id_and_says_how_many_calls_are_left() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    let answer = matt.send("GET", "/account", &[("Request-Id", "0a1b-2c")], b"");
    assert_eq!(answer.header("request-id"), "0a1b-2c");
    let left: u32 = answer.header("ratelimit-remaining").parse().unwrap();
    assert!(left < 4500, "{left}");
}
