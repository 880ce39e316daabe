//! Apps, and how git says which one is meant.

use serde_json::{Value, json};

use crate::developer::Developer;
use crate::mock::{Reply, Seen, app, dyno, ok, user};

fn server(seen: &Seen) -> Option<Reply> {
    match seen.call().as_str() {
        "POST /apps" => Some(ok(app(seen.json()["name"].as_str().unwrap_or("quiet-harbor-1234")))),
        "PATCH /apps/shop" if seen.json().get("name").is_some() => Some(ok(app("boutique"))),
        "PATCH /apps/shop" => Some(ok(app("shop"))),
        "GET /apps/shop/config-vars" | "GET /apps/stage/config-vars" => Some(ok(json!({"A": "1"}))),
        "GET /apps/shop/dynos" => Some(ok(json!([dyno("web.1", None)]))),
        "GET /apps/shop/collaborators" => Some(ok(json!([]))),
        _ => None,
    }
}

fn in_repository() -> Developer {
    let developer = Developer::logged_in(server);
    developer.git(&["init", "--quiet"]);
    developer
}

#[test]
fn a_new_app_gets_a_remote_by_which_it_is_meant_afterwards() {
    let developer = in_repository();
    developer.run(&["config"]).says(2, "which app?");
    let said = developer.run(&["create", "shop"]).ok();
    assert_eq!(said.out, "http://shop.example.test/ | ssh://git@example.test/shop.git\n");
    assert!(said.err.contains("Creating ⬢ shop... done"), "{said:?}");
    assert_eq!(developer.mock.only("POST /apps").json(), json!({"name": "shop"}));
    assert_eq!(developer.git(&["remote", "get-url", "openruko"]), "ssh://git@example.test/shop.git");
    assert_eq!(developer.run(&["config:get", "A"]).ok().out, "1\n");

    assert!(developer.run(&["apps:create", "other"]).ok().err.contains("is there already"));
    developer.git(&["remote", "add", "stage", "git@example.test:stage.git"]);
    developer.run(&["config"]).says(2, "shop (remote openruko), stage (remote stage)");
    developer.run(&["config", "-r", "stage"]).ok();
    developer.mock.only("GET /apps/stage/config-vars");
    developer.run(&["config", "-r", "upstream"]).says(2, "no git remote `upstream`");
    for variable in ["OPENRUKO_APP", "HEROKU_APP"] {
        developer.with(&["config"], "", &[(variable, "shop")]).ok();
    }
}

#[test]
fn over_https_git_asks_this_program_for_the_token() {
    let developer = in_repository();
    let made: Value = developer.run(&["create", "--http-git", "--json"]).json();
    assert_eq!((&made["name"], &made["extra"]), (&json!("quiet-harbor-1234"), &json!("kept")));
    assert_eq!(developer.mock.only("POST /apps").json(), json!({}));
    assert_eq!(
        developer.git(&["remote", "get-url", "openruko"]),
        "https://git.example.test/quiet-harbor-1234.git"
    );
    let helper = developer.git(&["config", "--local", "credential.https://git.example.test.helper"]);
    assert_eq!(helper, "!openruko git:credentials");
    assert_eq!(
        developer.run(&["git:remote", "-a", "shop", "-r", "openruko"]).ok().out,
        "set git remote openruko to ssh://git@example.test/shop.git\n"
    );
}

#[test]
fn a_server_cannot_lead_git_elsewhere_by_the_name_of_an_app() {
    for name in ["../elsewhere", "/tmp/elsewhere", "-x", "a/b"] {
        let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
            "GET /apps/shop" | "POST /apps" | "PATCH /apps/shop" => Some(ok(app(name))),
            _ => None,
        });
        developer.git(&["init", "--quiet"]);
        for args in [&["git:clone", "-a", "shop"][..], &["git:remote", "-a", "shop"], &["create", "shop"]] {
            developer.run(args).says(1, "which is no name");
        }
        assert_eq!(developer.git(&["remote"]), "");
        developer.git(&["remote", "add", "openruko", "ssh://git@example.test/shop.git"]);
        developer.run(&["apps:rename", "other", "-a", "shop"]).says(1, "which is no name");
        assert_eq!(developer.git(&["remote", "get-url", "openruko"]), "ssh://git@example.test/shop.git");
    }
}

#[test]
fn remotes_follow_a_new_name_and_go_with_the_app() {
    let developer = in_repository();
    developer.run(&["create", "shop"]).ok();
    developer.git(&["remote", "add", "web", "https://git.example.test/shop.git"]);
    developer.run(&["apps:rename", "boutique"]).ok();
    assert_eq!(developer.mock.only("PATCH /apps/shop").json(), json!({"name": "boutique"}));
    assert_eq!(developer.git(&["remote", "get-url", "web"]), "https://git.example.test/boutique.git");
    assert_eq!(developer.git(&["remote", "get-url", "openruko"]), "ssh://git@example.test/boutique.git");

    developer.git(&["remote", "set-url", "web", "git@example.test:shop.git"]);
    developer.run(&["destroy", "-a", "shop"]).says(1, "--confirm shop");
    developer.run(&["destroy", "-a", "shop", "--confirm", "chop"]).says(1, "nothing was changed");
    assert!(!developer.mock.calls().contains(&"DELETE /apps/shop".to_owned()));
    developer.run(&["apps:destroy", "-a", "shop", "--confirm", "shop"]).ok();
    developer.mock.only("DELETE /apps/shop");
    assert_eq!(developer.git(&["remote"]), "openruko");
}

#[test]
fn apps_are_listed_page_by_page() {
    let developer = Developer::logged_in(|seen| match (seen.path.as_str(), seen.header("range")) {
        ("/users/~/apps", "") => Some(ok(json!([app("one")])).header("next-range", "id ]a..; max=1")),
        ("/users/~/apps", "id ]a..; max=1") => {
            let mut other = app("two");
            other["owner"]["email"] = json!("bob@example.test");
            Some(ok(json!([other])))
        }
        _ => None,
    });
    let said = developer.run(&["apps"]).ok().out;
    assert_eq!(said, "=== dev@example.test Apps\n\none\n\n=== Collaborated Apps\n\ntwo  bob@example.test\n");
    assert_eq!(developer.run(&["apps", "--json"]).json()[1]["name"], "two");
}

#[test]
fn an_app_is_shown_opened_and_maintained() {
    let developer = Developer::logged_in(server);
    let said = developer.run(&["info", "-a", "shop"]).ok().out;
    for line in [
        "=== shop",
        "Web URL:          http://shop.example.test/",
        "Owner:            dev@example.test",
        "Dynos:            1",
        "Slug size:        2",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert!(
        developer
            .run(&["apps:info", "-a", "shop", "-s"])
            .ok()
            .out
            .contains("web_url=http://shop.example.test/\n")
    );
    assert_eq!(developer.run(&["apps:info", "-a", "shop", "--json"]).json()["owner"], user());
    assert_eq!(
        developer.run(&["open", "-a", "shop", "--url", "/x"]).ok().out,
        "http://shop.example.test/x\n"
    );
    assert_eq!(developer.run(&["maintenance", "-a", "shop"]).ok().out, "off\n");
    let said = developer.run(&["maintenance:on", "-a", "shop"]).ok();
    assert!(said.err.contains("Enabling maintenance mode for ⬢ shop... done"), "{said:?}");
    assert_eq!(developer.mock.only("PATCH /apps/shop").json(), json!({"maintenance": true}));
    developer.run(&["info", "-a", "nothing-here"]).says(1, "couldn't find that");
}
