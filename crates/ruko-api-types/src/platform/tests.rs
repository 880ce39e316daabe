//! The JSON of Heroku's reference, read and written again.

use serde_json::{Value, json};

use super::*;

fn same<T: Serialize + for<'de> Deserialize<'de>>(sample: Value) {
    let read: T = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), sample);
}

const MOMENT: &str = "2026-11-22T11:06:39Z";

#[test]
fn what_has_no_value_is_there_as_null() {
    let named = |name: &str| json!({"id": "a7", "name": name});
    same::<App>(json!({
        "id": "a1", "name": "shop", "web_url": "http://shop.localhost/", "git_url": "https://git.example.com/shop.git",
        "owner": {"id": "u1", "email": "dev@example.test"}, "region": named("us"), "stack": named("openruko-12"),
        "build_stack": named("openruko-12"), "generation": named("cedar"), "maintenance": false, "acm": false,
        "repo_size": 0, "slug_size": null, "team": null, "organization": null, "space": null,
        "internal_routing": null, "buildpack_provided_description": null, "archived_at": null,
        "create_status": "complete", "created_at": MOMENT, "released_at": null, "updated_at": MOMENT,
    }));
    same::<Release>(json!({
        "id": "r1", "version": 7, "current": true, "status": "succeeded", "description": "Deploy 1a2b3c4d",
        "user": {"id": "u1", "email": "dev@example.test"}, "app": named("shop"), "slug": {"id": "s1"},
        "oci_image": null, "eligible_for_rollback": true, "output_stream_url": null, "addon_plan_names": [],
        "artifacts": [], "created_at": MOMENT, "updated_at": MOMENT,
    }));
    same::<Dyno>(json!({
        "id": "d1", "name": "web.1", "type": "web", "command": "bin/web", "size": "Standard-1X", "state": "up",
        "attach_url": null, "release": {"id": "r1", "version": 7}, "app": named("shop"),
        "created_at": MOMENT, "updated_at": MOMENT,
    }));
}

#[test]
fn what_the_user_did_not_say_is_left_out() {
    assert_eq!(serde_json::to_value(NewApp::default()).unwrap(), json!({}));
    let dyno = NewDyno { command: "rake".into(), attach: true, ..NewDyno::default() };
    assert_eq!(serde_json::to_value(dyno).unwrap(), json!({"command": "rake", "attach": true}));
    let domain = NewDomain { hostname: "www.example.test".into(), sni_endpoint: None };
    let sent = json!({"hostname": "www.example.test", "sni_endpoint": null});
    assert_eq!(serde_json::to_value(domain).unwrap(), sent);
}

#[test]
fn fields_and_words_of_later_versions_do_no_harm() {
    let account = json!({"id": "u1", "email": "dev@example.test", "beta": true, "name": null});
    assert_eq!(serde_json::from_value::<Account>(account).unwrap().email, "dev@example.test");
    assert_eq!(serde_json::from_value::<DynoState>(json!("resting")).unwrap(), DynoState::Unknown);
}

#[test]
fn quantities_are_numbers_and_signed_strings() {
    let read = |value: Value| serde_json::from_value::<Quantity>(value).ok();
    assert_eq!(read(json!("2")), Some(Quantity::Exactly(2)));
    assert_eq!(read(json!(2)), Some(Quantity::Exactly(2)));
    assert_eq!(read(json!("+1")), Some(Quantity::More(1)));
    assert_eq!(read(json!("-1")), Some(Quantity::Fewer(1)));
    for bad in
        [json!(""), json!("+"), json!("++1"), json!("1.5"), json!(-1), json!("99999999999"), json!(null)]
    {
        assert_eq!(read(bad.clone()), None, "{bad}");
    }
    assert_eq!(serde_json::to_value(Quantity::More(1)).unwrap(), json!("+1"));
    assert_eq!((Quantity::Fewer(3).after(1), Quantity::More(1).after(1)), (0, 2));
}

#[test]
fn the_cli_sends_the_life_of_a_token_as_text_and_the_terminals_size_as_numbers() {
    let asked: NewAuthorization = serde_json::from_value(json!({"expires_in": "3600"})).unwrap();
    assert_eq!(asked.expires_in, Some(3600));
    let dyno: NewDyno =
        serde_json::from_value(json!({"command": "sh", "env": {"TERM": "xterm", "COLUMNS": 120}})).unwrap();
    assert_eq!(dyno.env["COLUMNS"].to_string(), "120");
}

#[test]
fn a_token_is_not_printed_by_accident() {
    let token = AccessToken { id: "t1".into(), token: "HRKU-secret".into(), expires_in: None };
    assert!(!format!("{token:?}").contains("secret"));
}
