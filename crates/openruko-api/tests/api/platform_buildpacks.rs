//! Buildpacks at the Platform API.

use ruko_api_client::Opened;
use serde_json::{Value, json};

use super::developer::{Answer, Developer};
use super::world::{World, app, by};

const INSTALLATIONS: &str = "/apps/shop/buildpack-installations";

/// As the CLI sends it: with an empty range.
fn put(developer: &Developer, buildpacks: &[&str]) -> Answer {
    let updates: Vec<Value> = buildpacks.iter().map(|name| json!({ "buildpack": name })).collect();
    let headers = [("Content-Type", "application/json"), ("Range", "")];
    let body = json!({ "updates": updates }).to_string();
    developer.send("PUT", INSTALLATIONS, &headers, body.as_bytes())
}

fn urls(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["buildpack"]["url"].as_str().unwrap()).collect()
}

#[test]
fn buildpacks_are_set_by_name_and_by_url_and_reach_the_build() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    assert_eq!(matt.get(INSTALLATIONS).with(200), json!([]));
    let git = "https://example.test/own.git#v1";
    let set = put(&matt, &["heroku/python", "urn:buildpack:heroku/nodejs", "heroku/scala", git]).with(200);
    let scala = "https://github.com/heroku/heroku-buildpack-scala";
    let expected = ["urn:buildpack:heroku/python", "urn:buildpack:heroku/nodejs", scala, git];
    assert_eq!(urls(&set), expected);
    assert_eq!((&set[1]["ordinal"], &set[1]["buildpack"]["name"]), (&json!(1), &json!("heroku/nodejs")));
    assert_eq!(matt.get(INSTALLATIONS).with(200), set);
    // The CLI sends the whole list back, without `urn:buildpack:`.
    let back: Vec<&str> = urls(&set).iter().map(|url| url.trim_start_matches("urn:buildpack:")).collect();
    assert_eq!(put(&matt, &back).with(200), set);

    let Opened::Push(push) = world.serve.open_push(&app("shop"), &by("matt", 0)).unwrap() else { panic!() };
    assert_eq!(push.buildpacks, ["python", "nodejs", scala, git]);
    assert_eq!(put(&matt, &[]).with(200), json!([]));
}

#[test]
fn what_cannot_be_built_with_is_refused_in_words() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    for (bad, word) in [
        ("heroku/cobol", "heroku/python"),
        ("", "heroku/python"),
        ("file:///etc", "https://"),
        ("ext::sh -c id", "heroku/python"),
        ("https://example.test/a b", "neither"),
    ] {
        let (status, id, message) = put(&matt, &[bad]).refused();
        assert_eq!((status, id.as_str()), (422, "invalid_params"), "{bad}: {message}");
        assert!(message.contains(word), "{bad}: {message}");
    }
    let (_, _, message) = put(&matt, &["heroku/python", "python"]).refused();
    assert!(message.contains("twice"), "{message}");
    let (status, _, message) = matt.call("PUT", INSTALLATIONS, json!({ "updates": [{}] })).refused();
    assert_eq!(status, 422);
    assert!(message.contains("not known here") && message.contains("git URL"), "{message}");
}

#[test]
fn the_registry_is_asked_without_a_token_and_with_an_encoded_slash() {
    let world = World::new();
    let anyone = Developer::with_token(&world, "");
    let asked = |path: &str| anyone.send("GET", path, &[("Authorization", "")], b"");
    let found = asked("/buildpacks/heroku%2Fpython").with(200);
    assert_eq!(found["blob_url"], "urn:buildpack:heroku/python");
    let found = asked("/buildpacks/heroku%2Fgradle").with(200);
    assert_eq!(found["blob_url"], "https://github.com/heroku/heroku-buildpack-gradle");
    let (status, id, message) = asked("/buildpacks/someone%2Fcobol").refused();
    assert_eq!((status, id.as_str()), (404, "not_found"));
    assert!(message.contains("heroku/python"), "{message}");
    assert!(asked("/buildpacks").with(200).as_array().unwrap().len() > 5);
    let found = asked("/buildpacks?in[namespace]=openruko").with(200);
    assert_eq!((&found[0]["name"], found.as_array().unwrap().len()), (&json!("openruko/rust"), 3));
}

#[test]
fn whoever_may_only_look_changes_nothing() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let ann = Developer::named(&world, "ann");
    assert_eq!(put(&ann, &["heroku/python"]).refused().0, 404);
    assert_eq!(ann.get(INSTALLATIONS).refused().0, 404);
    world.gives("ann", "view");
    assert_eq!(put(&ann, &["heroku/python"]).refused().0, 403);
    assert_eq!(ann.get(INSTALLATIONS).with(200), json!([]));
}
