//! Releases, rollbacks and slugs at the Platform API.

use ruko_api_types::host::ReleaseToRun;
use serde_json::{Value, json};

use super::developer::Developer;
use super::host::Host;
use super::world::{World, commit, commit_id};

const RELEASES: &str = "/apps/shop/releases";

fn shop() -> (World, Developer) {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    (world, matt)
}

/// Pushes a commit of these digits, which runs `web` with this command.
fn push(world: &World, digit: char, command: &str) {
    let opened = world.open();
    let mut pushed = commit(opened.repo.version);
    let release = pushed.release.as_mut().unwrap();
    release.manifest.head.as_mut().unwrap().commit = commit_id(digit);
    release.manifest.process_types = [("web".parse().unwrap(), command.to_owned())].into();
    release.manifest.default_types = Vec::new();
    pushed.refs[0].new = commit_id(digit);
    world.serve.commit(&opened.push, &pushed).unwrap();
}

fn versions(releases: &Value) -> Vec<u64> {
    releases.as_array().unwrap().iter().map(|release| release["version"].as_u64().unwrap()).collect()
}

#[test]
fn a_new_app_has_one_release_that_nobody_can_go_back_to() {
    let (_world, matt) = shop();
    let all = matt.get(RELEASES).with(200);
    assert_eq!(versions(&all), [1]);
    assert_eq!((&all[0]["current"], &all[0]["status"]), (&json!(true), &json!("succeeded")));
    assert_eq!((&all[0]["slug"], &all[0]["eligible_for_rollback"]), (&json!(null), &json!(false)));
    let (status, _, message) = matt.post(RELEASES, json!({ "release": "v1" })).refused();
    assert_eq!((status, message.as_str()), (422, "`shop` cannot go back to v1: nothing was deployed then."));
}

#[test]
fn releases_are_found_by_version_and_by_id() {
    let (world, matt) = shop();
    world.push();
    let all = matt.get(RELEASES).with(200);
    assert_eq!(versions(&all), [1, 2]);
    assert_eq!((&all[0]["current"], &all[1]["current"]), (&json!(false), &json!(true)));
    assert_eq!(all[1]["eligible_for_rollback"], true);
    for called in ["2", "v2", all[1]["id"].as_str().unwrap()] {
        assert_eq!(matt.get(&format!("{RELEASES}/{called}")).with(200), all[1], "{called}");
    }
    for called in ["0", "3", "v99999999999999999999", "latest", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        let (status, _, message) = matt.get(&format!("{RELEASES}/{called}")).refused();
        assert_eq!((status, message.as_str()), (404, "Couldn't find that release."), "{called}");
    }
}

#[test]
fn releases_come_in_pages_either_way() {
    let (_world, matt) = shop();
    for n in 0..6 {
        matt.patch("/apps/shop/config-vars", json!({ "N": n.to_string() })).with(200);
    }
    let newest = matt.range(RELEASES, "version ..; max=1, order=desc");
    assert_eq!((newest.status, versions(&newest.json())), (206, vec![7]));
    let both: [(&str, &[&[u64]]); 2] = [
        ("version ..; order=desc,max=3", &[&[7, 6, 5], &[4, 3, 2], &[1]]),
        ("version ..; max=4;", &[&[1, 2, 3, 4], &[5, 6, 7]]),
    ];
    for (range, expected) in both {
        let mut next = range.to_owned();
        for page in expected {
            let answer = matt.range(RELEASES, &next);
            assert_eq!(versions(&answer.json()), *page, "{range}");
            next = answer.header("next-range").to_owned();
        }
        assert_eq!(next, "", "{range}: the last page names no next one");
    }
}

#[test]
fn a_rollback_brings_code_process_types_and_config_vars_back() {
    let (world, matt) = shop();
    let vars = "/apps/shop/config-vars";
    matt.patch(vars, json!({ "A": "old", "GONE": "x" })).with(200);
    push(&world, 'a', "run old");
    matt.patch(vars, json!({ "A": "new", "GONE": null, "B": "later" })).with(200);
    push(&world, 'b', "run new");
    let releases = matt.get(RELEASES).with(200);
    assert_eq!(versions(&releases), [1, 2, 3, 4, 5]);

    let made = matt.post(RELEASES, json!({ "release": releases[2]["id"] })).with(201);
    assert_eq!(
        (&made["version"], &made["description"], &made["current"]),
        (&json!(6), &json!("Rollback to v3"), &json!(true))
    );
    assert_eq!((&made["slug"], &made["user"]["email"]), (&releases[2]["slug"], &json!("matt")));
    assert_eq!(matt.get(vars).with(200), json!({ "A": "old", "GONE": "x" }));
    assert_eq!(matt.get("/apps/shop/releases/6/config-vars").with(200), matt.get(vars).with(200));
    assert_eq!(matt.get("/apps/shop/formation").with(200)[0]["command"], "run old");
    assert_eq!(matt.post(RELEASES, json!({ "release": "v5" })).with(201)["version"], 7);
    assert_eq!(matt.get(vars).with(200), json!({ "A": "new", "B": "later" }));
}

/// So many releases more that change a config var alone.
fn change_config_vars(matt: &Developer, count: u64) {
    for n in 0..count {
        matt.patch("/apps/shop/config-vars", json!({ "N": n.to_string() })).with(200);
    }
}

#[test]
fn config_vars_of_old_releases_are_not_kept_and_whoever_goes_back_is_told() {
    let (world, matt) = shop();
    push(&world, 'a', "run old");
    push(&world, 'b', "run new");
    change_config_vars(&matt, 105);
    let newest = matt.range(RELEASES, "version ..; order=desc, max=200").json();
    let eligible = newest.as_array().unwrap().iter().filter(|one| one["eligible_for_rollback"] == true);
    assert_eq!(eligible.map(|one| one["version"].as_u64().unwrap()).min(), Some(9));
    for call in [
        matt.post(RELEASES, json!({ "release": "v8" })).with(422),
        matt.get("/apps/shop/releases/8/config-vars").with(404),
    ] {
        assert!(
            call["message"].as_str().unwrap().contains("those of the last 100 releases that served are kept"),
            "{call}"
        );
    }
    assert_eq!(matt.get("/apps/shop/config-vars").with(200), json!({ "N": "104" }), "nothing was changed");
    matt.post(RELEASES, json!({ "release": "v9" })).with(201);
    assert_eq!(matt.get("/apps/shop/config-vars").with(200), json!({ "N": "5" }));
    // What a slug runs is known as long as that is kept.
    let old = matt.get(&format!("{RELEASES}/2")).with(200)["slug"]["id"].clone();
    matt.post(RELEASES, json!({ "slug": old })).with(201);
    assert_eq!(matt.get("/apps/shop/formation").with(200)[0]["command"], "run old");
}

#[test]
fn what_runs_keeps_its_config_vars_however_old_it_is() {
    let world = World::running();
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    matt.patch("/apps/shop/config-vars", json!({ "N": "served" })).with(200);
    world.push();
    let _ = host.serves(3);
    change_config_vars(&matt, 105);
    let shop = host.shop();
    let of = |release: &ReleaseToRun| release.config_vars.values().cloned().collect::<Vec<_>>();
    let (current, candidate) = (shop.current.unwrap(), shop.candidate.unwrap());
    assert_eq!((current.version, of(&current)), (3, vec!["served".to_owned()]));
    assert_eq!((candidate.version, of(&candidate)), (108, vec!["104".to_owned()]));
    assert_eq!(current.processes.len(), candidate.processes.len());
    // It is what one would go back to.
    let _ = host.serves(108);
    change_config_vars(&matt, 1);
    matt.post(RELEASES, json!({ "release": "v3" })).with(201);
    assert_eq!(of(&host.shop().candidate.unwrap()), ["served"]);
    matt.get("/apps/shop/releases/4/config-vars").with(404);
}

#[test]
fn a_slug_is_shown_and_released_again() {
    let (world, matt) = shop();
    push(&world, 'a', "run old");
    push(&world, 'b', "run new");
    let old = matt.get(&format!("{RELEASES}/2")).with(200)["slug"]["id"].clone();
    let slug = matt.get(&format!("/apps/shop/slugs/{}", old.as_str().unwrap())).with(200);
    assert_eq!((&slug["id"], &slug["commit"]), (&old, &json!("a".repeat(40))));
    assert_eq!(slug["checksum"], format!("SHA256:{}", "ab".repeat(32)));
    assert_eq!((&slug["size"], &slug["process_types"]), (&json!(500), &json!({ "web": "run old" })));
    assert_eq!((&slug["stack"]["name"], &slug["blob"]), (&json!("openruko-12"), &json!(null)));

    matt.patch("/apps/shop/config-vars", json!({ "A": "kept" })).with(200);
    let again = matt.post(RELEASES, json!({ "slug": old, "description": "Once more" })).with(201);
    assert_eq!(
        (&again["version"], &again["description"], &again["slug"]["id"]),
        (&json!(5), &json!("Once more"), &old)
    );
    assert_eq!(matt.get("/apps/shop/formation").with(200)[0]["command"], "run old");
    assert_eq!(matt.get("/apps/shop/config-vars").with(200), json!({ "A": "kept" }));
    assert_eq!(matt.post(RELEASES, json!({ "slug": old })).with(201)["description"], "Deploy aaaaaaaa");
}

#[test]
fn a_release_of_nothing_is_refused_in_words() {
    let (world, matt) = shop();
    world.push();
    let slug = matt.get(&format!("{RELEASES}/2")).with(200)["slug"]["id"].clone();
    for (body, status) in [
        (json!({}), 422),
        (json!({ "release": "2", "slug": slug }), 422),
        (json!({ "release": "9" }), 404),
        (json!({ "release": 2 }), 422),
        (json!({ "slug": "01ARZ3NDEKTSV4RRFFQ69G5FAV" }), 404),
        (json!({ "slug": "nothing" }), 404),
        (json!({ "slug": slug, "description": "two\nlines" }), 422),
    ] {
        assert_eq!(matt.post(RELEASES, body.clone()).refused().0, status, "{body}");
    }
    // Another app's slug is none of this one.
    matt.app("store");
    assert_eq!(matt.post("/apps/store/releases", json!({ "slug": slug })).refused().0, 404);
    assert_eq!(matt.get(&format!("/apps/store/slugs/{}", slug.as_str().unwrap())).refused().0, 404);
    assert_eq!(versions(&matt.get(RELEASES).with(200)), [1, 2]);
}
