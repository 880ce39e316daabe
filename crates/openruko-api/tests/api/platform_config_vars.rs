//! Config vars at the Platform API.

use serde_json::json;

use super::developer::Developer;
use super::world::World;

const VARS: &str = "/apps/shop/config-vars";

#[test]
fn config_vars_are_set_removed_and_read() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    assert_eq!(matt.get(VARS).with(200), json!({}));
    let set = json!({ "A": "1", "EMPTY": "", "LINES": "one\ntwo\r\n", "B": "ünï" });
    assert_eq!(matt.patch(VARS, set.clone()).with(200), set);
    assert_eq!(matt.get(VARS).with(200), set);
    let left = matt.patch(VARS, json!({ "A": null, "B": null, "NEVER": null })).with(200);
    assert_eq!(left, json!({ "EMPTY": "", "LINES": "one\ntwo\r\n" }));
}

#[test]
fn each_change_is_a_release_by_the_caller_and_no_change_is_none() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    let ann = Developer::named(&world, "ann");
    matt.post("/apps/shop/collaborators", json!({ "user": "ann" })).with(201);
    world.push();
    ann.patch(VARS, json!({ "A": "1", "B": "2" })).with(200);
    for nothing in [json!({}), json!({ "A": "1" }), json!({ "C": null })] {
        matt.patch(VARS, nothing).with(200);
    }
    matt.patch(VARS, json!({ "A": null })).with(200);
    let releases = matt.range("/apps/shop/releases", "version ..; order=desc,max=10").with(200);
    let told: Vec<_> = releases
        .as_array()
        .unwrap()
        .iter()
        .map(|release| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            (text(&release["description"]), text(&release["user"]["email"]))
        })
        .collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(what, who)| (what.as_str(), who.as_str())).collect();
    assert_eq!(
        told,
        [
            ("Remove A config vars", "matt"),
            ("Set A, B config vars", "ann"),
            ("Deploy cccccccc", "matt"),
            ("Initial release", "matt"),
        ]
    );
    assert_eq!(releases[0]["slug"], releases[2]["slug"], "the code stays");
    assert_eq!(matt.get("/apps/shop/releases/3/config-vars").with(200), json!({ "A": "1", "B": "2" }));
    assert_eq!(matt.get("/apps/shop/releases/v4/config-vars").with(200), json!({ "B": "2" }));
    assert_eq!(matt.get("/apps/shop/releases/9/config-vars").refused().0, 404);
}

#[test]
fn what_cannot_be_a_config_var_is_refused_and_nothing_of_it_is_set() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    for bad in ["", "1A", "A-B", "A B", "A=B"] {
        let (status, id, message) = matt.patch(VARS, json!({ "GOOD": "1", bad: "2" })).refused();
        assert_eq!((status, id.as_str()), (422, "invalid_params"), "{bad}: {message}");
        assert!(message.contains("is not a config var name"), "{message}");
    }
    for body in [json!({ "A": 1 }), json!({ "A": ["x"] }), json!([]), json!("A=1")] {
        assert_eq!(matt.patch(VARS, body.clone()).refused().0, 422, "{body}");
    }
    let long = "x".repeat(100_000);
    assert_eq!(matt.patch(VARS, json!({ "LONG": long })).refused().0, 422);
    assert_eq!(matt.get(VARS).with(200), json!({}));
}

#[test]
fn the_largest_config_that_is_allowed_is_set_in_one_call() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    // Every character of it is six in JSON.
    let value = "\u{1}".repeat(64 << 10);
    let all = (0..15).map(|n| (format!("V{n}"), json!(value))).collect::<serde_json::Map<_, _>>();
    let all = serde_json::Value::Object(all);
    assert!(matt.patch(VARS, all.clone()).with(200) == all);
    assert_eq!(matt.patch(VARS, json!({ "ONE": value, "MORE": value })).refused().0, 422);
}

#[test]
fn whoever_only_looks_on_reads_no_secrets() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    let ann = Developer::named(&world, "ann");
    matt.post("/apps/shop/collaborators", json!({ "user": "ann", "permissions": ["deploy"] })).with(201);
    for path in [VARS, "/apps/shop/releases/1/config-vars"] {
        let (status, _, message) = ann.get(path).refused();
        assert_eq!(status, 403, "{path}");
        assert_eq!(message, "You need the permission `operate` on `shop` for this; its owner is `matt`.");
    }
}
