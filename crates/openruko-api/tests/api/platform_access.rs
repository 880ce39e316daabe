//! Collaborators and transfers at the Platform API, and every call that is about an app against everybody
//! who may not use it.

use openruko_api::platform::{Who, rights};
use openruko_api::rights::{Need, Permission};
use serde_json::{Value, json};

use super::developer::Developer;
use super::world::World;

const ACCESS: &str = "/apps/shop/collaborators";

/// Matt's `shop`, and the developers of these names.
fn with<const N: usize>(names: [&str; N]) -> (World, Developer, [Developer; N]) {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    let others = names.map(|name| Developer::named(&world, name));
    (world, matt, others)
}

fn give(giver: &Developer, user: &str, permissions: &[&str]) -> Value {
    giver.post(ACCESS, json!({ "user": user, "permissions": permissions })).with(201)
}

fn permissions(collaborator: &Value) -> Vec<&str> {
    let all = collaborator["permissions"].as_array().unwrap();
    all.iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn every_call_about_an_app_refuses_strangers_and_those_who_lack_the_permission() {
    let (_world, matt, [eve, ann]) = with(["eve", "ann"]);
    give(&matt, "ann", &["view"]);
    let calls = rights();
    assert!(calls.len() > 40, "{}", calls.len());
    for (method, path, who) in calls {
        let Who::App(need) = who else { continue };
        let filled: Vec<&str> = path
            .split('/')
            .map(|part| match part {
                "{app}" => "shop",
                part if part.starts_with('{') => "x",
                part => part,
            })
            .collect();
        let filled = filled.join("/");
        let (status, _, message) = eve.send(method.as_str(), &filled, &[], b"").refused();
        assert_eq!((status, message.as_str()), (404, "Couldn't find that app."), "{method} {path}");
        if need != Need::Permission(Permission::View) {
            let (status, id, message) = ann.send(method.as_str(), &filled, &[], b"").refused();
            assert_eq!((status, id.as_str()), (403, "forbidden"), "{method} {path}: {message}");
        }
    }
}

#[test]
fn the_owner_gives_changes_and_takes_access() {
    let (_world, matt, [ann]) = with(["ann"]);
    let made = matt.post(ACCESS, json!({ "user": "ann" })).with(201);
    assert_eq!((&made["user"]["email"], &made["role"]), (&json!("ann"), &json!("collaborator")));
    assert_eq!(permissions(&made), ["deploy", "operate", "view"]);
    let all = matt.get(ACCESS).with(200);
    assert_eq!((&all[0]["role"], &all[0]["user"]["email"]), (&json!("owner"), &json!("matt")));
    assert_eq!(permissions(&all[0]), ["deploy", "manage", "operate", "view"]);
    assert_eq!(all[1], made);

    let id = |value: &Value| value.as_str().unwrap().to_owned();
    for called in ["ann".to_owned(), "%61nn".to_owned(), id(&made["id"]), id(&made["user"]["id"])] {
        assert_eq!(matt.get(&format!("{ACCESS}/{called}")).with(200), made, "{called}");
    }
    assert_eq!(matt.get(&format!("{ACCESS}/{}", id(&all[0]["id"]))).with(200), all[0]);

    let changed = matt.patch(&format!("{ACCESS}/ann"), json!({ "permissions": ["operate"] })).with(200);
    assert_eq!(permissions(&changed), ["operate", "view"]);
    assert_eq!(ann.get("/apps/shop").with(200)["name"], "shop");
    matt.delete(&format!("{ACCESS}/ann")).with(200);
    assert_eq!(ann.get("/apps/shop").refused().0, 404);
    assert_eq!(matt.delete(&format!("{ACCESS}/ann")).refused().0, 404);
}

#[test]
fn access_that_makes_no_sense_is_refused_in_words() {
    let (_world, matt, [_ann]) = with(["ann"]);
    give(&matt, "ann", &["deploy"]);
    for (body, message) in [
        (
            json!({ "user": "no\nbody" }),
            "There is no account `no\\nbody` on this server: its admin makes accounts.",
        ),
        (json!({ "user": "ann" }), "`ann` has access to `shop` already."),
        (json!({ "user": "matt" }), "`matt` has access to `shop` already."),
    ] {
        assert_eq!(matt.post(ACCESS, body).refused(), (422, "invalid_params".into(), message.into()));
    }
    assert_eq!(matt.post(ACCESS, json!({ "user": "ann", "permissions": ["fly"] })).refused().0, 422);
    let owner = format!("{ACCESS}/matt");
    let (status, _, message) = matt.delete(&owner).refused();
    assert_eq!((status, message.as_str()), (422, "`matt` owns `shop`: transfer it to somebody else first."));
    assert_eq!(matt.patch(&owner, json!({ "permissions": [] })).refused().0, 422);
}

#[test]
fn a_collaborator_may_leave_but_not_remove_others() {
    let (_world, matt, [ann, bob]) = with(["ann", "bob"]);
    give(&matt, "ann", &["view"]);
    give(&matt, "bob", &["deploy", "operate"]);
    assert_eq!(bob.delete(&format!("{ACCESS}/ann")).refused().0, 403);
    assert_eq!(bob.post(ACCESS, json!({ "user": "ann" })).refused().0, 403);
    ann.delete(&format!("{ACCESS}/ann")).with(200);
    assert_eq!(matt.get(ACCESS).with(200).as_array().unwrap().len(), 2);
}

#[test]
fn nobody_gives_more_than_they_have() {
    let (_world, matt, [ann, _bob]) = with(["ann", "bob"]);
    give(&matt, "ann", &["manage", "operate"]);
    let more = json!({ "user": "bob", "permissions": ["deploy", "operate"] });
    let (status, _, message) = ann.post(ACCESS, more).refused();
    assert_eq!(
        (status, message.as_str()),
        (403, "You cannot give the permission `deploy` on `shop`: you do not have it.")
    );
    // What is usual, as far as she has it.
    let made = ann.post(ACCESS, json!({ "user": "bob" })).with(201);
    assert_eq!(permissions(&made), ["operate", "view"]);
    for user in ["ann", "bob"] {
        let path = format!("{ACCESS}/{user}");
        assert_eq!(ann.patch(&path, json!({ "permissions": ["deploy"] })).refused().0, 403, "{user}");
    }
    // She may leave with somebody what she does not have herself.
    matt.patch(&format!("{ACCESS}/bob"), json!({ "permissions": ["deploy", "operate"] })).with(200);
    let kept = ann.patch(&format!("{ACCESS}/bob"), json!({ "permissions": ["deploy"] })).with(200);
    assert_eq!(permissions(&kept), ["deploy", "view"]);
}

#[test]
fn an_app_changes_hands_at_once_and_its_old_owner_keeps_access() {
    let (_world, matt, [ann, eve]) = with(["ann", "eve"]);
    give(&matt, "ann", &["manage"]);
    let to = |recipient: &str| json!({ "app": "shop", "recipient": recipient });
    assert_eq!(ann.post("/account/app-transfers", to("ann")).refused().0, 403);
    assert_eq!(eve.post("/account/app-transfers", to("eve")).refused().0, 404);
    assert_eq!(matt.post("/account/app-transfers", to("matt")).refused().0, 422);
    assert_eq!(matt.post("/account/app-transfers", to("nobody")).refused().0, 422);

    let done = matt.post("/account/app-transfers", to("ann")).with(201);
    assert_eq!((&done["state"], &done["app"]["name"]), (&json!("accepted"), &json!("shop")));
    assert_eq!((&done["owner"]["email"], &done["recipient"]["email"]), (&json!("matt"), &json!("ann")));
    let access = ann.get(ACCESS).with(200);
    assert_eq!((&access[0]["user"]["email"], &access[0]["role"]), (&json!("ann"), &json!("owner")));
    assert_eq!(access.as_array().unwrap().len(), 2);
    assert_eq!(permissions(&access[1]), ["deploy", "manage", "operate", "view"]);
    assert_eq!(matt.delete("/apps/shop").refused().0, 403);

    // As the CLI sends it for an owner without an `@`.
    let back = ann.patch("/teams/apps/shop", json!({ "owner": "matt" })).with(200);
    assert_eq!(back["owner"]["email"], "matt");
}

#[test]
fn what_the_cli_calls_for_teams_answers_for_apps() {
    let (_world, matt, [ann]) = with(["ann"]);
    let body = json!({ "user": "ann", "permissions": ["deploy"] });
    matt.post("/teams/apps/shop/collaborators", body).with(201);
    assert_eq!(matt.get("/teams/apps/shop").with(200), matt.get("/apps/shop").with(200));
    let (status, _, message) = matt.patch("/teams/apps/shop", json!({ "locked": true })).refused();
    assert_eq!((status, message.contains("no teams")), (422, true), "{message}");
    matt.patch("/teams/apps/shop", json!({ "locked": false })).with(200);
    ann.delete("/teams/apps/shop/collaborators/ann").with(200);
}
