//! What is refused at the edge of the Platform API, whichever call it is.

use openruko_api::platform;
use serde_json::{Value, json};

use super::developer::Developer;
use super::world::World;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Every call whose path has another parameter than the app, with this in its place.
fn paths(parameter: &str) -> Vec<(String, String)> {
    let part = |part: &str| match part {
        "{app}" => "shop".to_owned(),
        part if part.starts_with('{') => parameter.to_owned(),
        part => part.to_owned(),
    };
    let filled = |path: &str| path.split('/').map(part).collect::<Vec<_>>().join("/");
    let names_more = |path: &str| path.replace("{app}", "").contains('{');
    let calls = platform::rights().into_iter().filter(|(_, path, _)| names_more(path));
    calls.map(|(method, path, _)| (method.to_string(), filled(path))).collect()
}

#[test]
fn nul_in_a_path_or_a_query_is_refused_by_every_call() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    for (method, path) in paths("a%00b") {
        let body: &[u8] = if method == "GET" { b"" } else { b"{}" };
        // Who does not read a body may end the connection: each call has its own.
        let answer = matt.again().send(&method, &path, &[JSON], body);
        assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
    }
    for path in ["/pipelines?eq[name]=a%00b", "/buildpacks?in%5Bname%5D=%00", "/pipelines/a%00b"] {
        let (status, id, message) = matt.get(path).refused();
        assert_eq!((status, id.as_str()), (422, "invalid_params"), "{path}");
        assert!(message.contains("NUL"), "{message}");
    }
}

#[test]
fn nul_in_a_body_is_refused_by_every_call_that_takes_text() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let pipeline = matt.post("/pipelines", json!({ "name": "line" })).with(201);
    for (method, path, body) in [
        ("POST", "/apps", json!({ "name": "a\0b" })),
        ("POST", "/apps/shop/collaborators", json!({ "user": "a\0b" })),
        ("PATCH", "/apps/shop/config-vars", json!({ "A": "a\0b" })),
        ("POST", "/apps/shop/domains", json!({ "hostname": "www.example.test", "sni_endpoint": "a\0" })),
        ("POST", "/apps/shop/log-sessions", json!({ "dyno": "web\0" })),
        ("POST", "/apps/shop/log-drains", json!({ "url": "https://logs.test/\0" })),
        ("POST", "/apps/shop/releases", json!({ "slug": "a\0", "description": "a\0" })),
        ("POST", "/pipeline-couplings", json!({ "app": "shop", "pipeline": "a\0", "stage": "staging" })),
        (
            "POST",
            "/pipeline-promotions",
            json!({
                "pipeline": { "id": pipeline["id"] },
                "source": { "app": { "id": "a\0" } },
                "targets": [{ "app": { "id": "a\0" } }],
            }),
        ),
        ("POST", "/account/app-transfers", json!({ "app": "shop", "recipient": "a\0" })),
        ("PATCH", "/account", json!({ "email": "a\0@b.test" })),
        ("POST", "/oauth/authorizations", json!({ "description": "a\0b" })),
        ("POST", "/cli-login/auth", json!({ "description": "a\0b" })),
        ("PUT", "/apps/shop/buildpack-installations", json!({ "updates": [{ "buildpack": "a\0" }] })),
    ] {
        let (status, _, message) = matt.call(method, path, body).refused();
        assert!(status == 422 && message.contains("NUL"), "{method} {path}: {status} {message}");
    }
    // The text that looks like its escape is text.
    matt.patch("/apps/shop/config-vars", json!({ "A": r"\u0000" })).with(200);
    assert_eq!(matt.get("/apps/shop/config-vars").with(200), json!({ "A": r"\u0000" }));
}

#[test]
fn nul_in_a_form_and_in_the_name_of_a_login_are_refused() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    let begun = matt.post("/cli-login/auth", json!({})).with(201);
    let page = format!("/cli-login{}", begun["browser_url"].as_str().unwrap());
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let typed = b"name=a%00b&password=secret&decision=allow";
    assert_eq!(matt.send("POST", &page, &form, typed).refused().0, 422);
    // `a\0b:secret`
    let basic = [("Authorization", "Basic YQBiOnNlY3JldA=="), JSON];
    assert_eq!(matt.send("POST", "/oauth/authorizations", &basic, b"{}").refused().0, 401);
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    for (path, allowed) in [("/apps", "GET,HEAD,POST"), ("/apps/shop", "DELETE,GET,HEAD,PATCH")] {
        let answer = matt.send("PUT", path, &[], b"");
        let mut methods: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        methods.sort_unstable();
        assert_eq!((answer.status, methods.join(",").as_str()), (405, allowed), "{path}");
    }
}

#[test]
fn an_array_is_not_taken_for_an_object() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    for (method, path, body) in [
        ("POST", "/apps", json!([])),
        ("POST", "/apps", json!(["store"])),
        ("PATCH", "/apps/shop", json!([null, true, null])),
        ("PATCH", "/apps/shop/config-vars", json!([["A", "b"]])),
    ] {
        assert_eq!(matt.call(method, path, body).refused().0, 422, "{method} {path}");
    }
    assert_eq!(matt.get("/apps").with(200).as_array().unwrap().len(), 1);
}

#[test]
fn a_log_is_asked_for_by_names_of_a_sensible_length() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    for key in ["dyno", "source"] {
        let (status, _, message) =
            matt.post("/apps/shop/log-sessions", json!({ key: "x".repeat(101) })).refused();
        assert_eq!(status, 422, "{message}");
    }
}

#[test]
fn the_document_says_what_lists_links_and_pages_are() {
    let world = World::new();
    let document = Developer::named(&world, "matt").get("/openapi.json").with(200);
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let names = |operation: &Value| -> Vec<String> {
        let parameters = operation["parameters"].as_array().unwrap();
        parameters.iter().map(|one| format!("{} {}", one["in"], one["name"]).replace('"', "")).collect()
    };

    let list = operation("/pipelines", "get");
    assert_eq!(names(&list), ["query eq[name]", "header Range"]);
    assert!(list["responses"]["206"]["headers"]["Next-Range"].is_object(), "{list}");
    assert_eq!(names(&operation("/sources/{source}", "put")), ["path source", "query put"]);
    assert_eq!(names(&operation("/builds/{build}/output", "get")), ["path build", "query secret"]);
    let page = operation("/cli-login/browser/{secret}", "post");
    assert!(page["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"].is_object());
    for status in ["200", "default"] {
        assert!(page["responses"][status]["content"]["text/html"].is_object(), "{page}");
    }
    let refusing = operation("/addons/{addon}", "get");
    assert_eq!(refusing["responses"].as_object().unwrap().keys().collect::<Vec<_>>(), ["default"]);
}
