//! Every call of the API against every kind of caller.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use super::world::{ADMIN, HOST, ROUTER, RUNNING, SERVE, World, app, by, user};
use ruko_api_client::{ApiClient, ApiClientError, Opened};
use ruko_api_types::Access;

/// What each call is for. Kept here a second time on purpose: a right that is given by mistake must show.
const CALLS: &[(&str, &str, &str)] = &[
    ("serve", "GET", "/internal/keys"),
    ("serve", "GET", "/internal/keys/all"),
    ("serve", "GET", "/internal/users/{user}/greeting"),
    ("serve", "POST", "/internal/authenticate"),
    ("serve", "GET", "/internal/authorize"),
    ("serve", "POST", "/internal/apps/{app}/pushes"),
    ("serve", "POST", "/internal/apps/{app}/fetches"),
    ("serve", "PUT", "/internal/pushes/{id}/lease"),
    ("serve", "POST", "/internal/pushes/{id}/commit"),
    ("serve", "POST", "/internal/pushes/{id}/abort"),
    ("serve", "PUT", "/internal/pushes/{id}/steps"),
    ("admin", "GET", "/internal/pushes"),
    ("serve", "POST", "/internal/pushes/{id}/output"),
    ("admin", "GET", "/internal/pushes/{id}/output"),
    ("host", "POST", "/internal/logs"),
    ("router", "POST", "/internal/logs"),
    ("serve", "POST", "/internal/builds/take"),
    ("serve", "GET", "/internal/builds/{id}/source"),
    ("serve", "GET", "/internal/apps/{app}/releases/{version}/progress"),
    ("serve", "POST", "/internal/storage/work"),
    ("host", "PUT", "/internal/host"),
    ("host", "GET", "/internal/host/apps"),
    ("host", "GET", "/internal/host/apps/{id}/releases/{version}/slug"),
    ("host", "POST", "/internal/host/dynos"),
    ("host", "POST", "/internal/host/apps/{id}/switch"),
    ("host", "POST", "/internal/host/apps/{id}/releases/{version}/fail"),
    ("host", "POST", "/internal/host/apps/{id}/releases/{version}/output"),
    ("router", "GET", "/internal/router/apps"),
    ("router", "POST", "/internal/router/wake"),
    ("router", "POST", "/internal/router/activity"),
    ("admin", "POST", "/internal/users"),
    ("admin", "GET", "/internal/users"),
    ("admin", "PATCH", "/internal/users/{user}"),
    ("admin", "DELETE", "/internal/users/{user}"),
    ("admin", "PUT", "/internal/users/{user}/password"),
    ("admin", "DELETE", "/internal/users/{user}/two-factor"),
    ("admin", "POST", "/internal/users/{user}/keys"),
    ("admin", "POST", "/internal/users/{user}/tokens"),
    ("admin", "GET", "/internal/users/{user}/keys"),
    ("admin", "DELETE", "/internal/users/{user}/keys/{fingerprint}"),
    ("admin", "POST", "/internal/apps"),
    ("admin", "GET", "/internal/apps"),
    ("admin", "GET", "/internal/apps/{app}"),
    ("admin", "DELETE", "/internal/apps/{app}"),
    ("admin", "PUT", "/internal/apps/{app}/collaborators/{user}"),
    ("admin", "DELETE", "/internal/apps/{app}/collaborators/{user}"),
    ("admin", "GET", "/internal/apps/{app}/config-vars"),
    ("admin", "PATCH", "/internal/apps/{app}/config-vars"),
    ("admin", "PUT", "/internal/apps/{app}/buildpacks"),
    ("admin", "GET", "/internal/apps/{app}/releases"),
    ("admin", "GET", "/internal/apps/{app}/builds"),
    ("admin", "GET", "/internal/apps/{app}/log"),
    ("admin", "GET", "/internal/storage"),
    ("admin", "POST", "/internal/storage/gc"),
    ("admin", "GET", "/internal/audit"),
];

/// A request written by hand, so that nothing stands between it and the server. Gives status and body.
fn request(world: &World, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let address = world.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn filled(path: &str) -> String {
    path.replace("{app}", "shop")
        .replace("{version}", "1")
        .replace("{id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        .replace("{user}", "matt")
        .replace("{fingerprint}", "SHA256%3Aabc")
}

#[test]
fn the_table_of_rights_is_the_one_that_was_meant() {
    let meant: BTreeSet<String> = CALLS.iter().map(|(who, m, path)| format!("{m} {path} {who}")).collect();
    let is: BTreeSet<String> = openruko_api::router::rights()
        .into_iter()
        .flat_map(|(m, path, rights)| rights.iter().map(move |who| format!("{m} {path} {who}")))
        .collect();
    assert_eq!(is, meant);
}

#[test]
fn every_call_answers_its_own_component_and_nobody_else() {
    let world = World::with(RUNNING);
    let tokens = [("serve", SERVE), ("admin", ADMIN), ("host", HOST), ("router", ROUTER)];
    for (who, method, path) in CALLS {
        let may = |name: &str| CALLS.contains(&(name, method, path));
        let own = tokens.iter().find(|(name, _)| name == who).unwrap().1;
        let others = tokens.iter().filter(|(name, _)| !may(name)).map(|(_, token)| *token);
        let path = filled(path);
        let status = |token: Option<&str>| request(&world, method, &path, token, "").0;
        assert_eq!(status(None), 401, "{method} {path} without a token");
        assert_eq!(status(Some("unknown")), 401, "{method} {path} with an unknown token");
        assert_eq!(status(Some("")), 401, "{method} {path} with an empty token");
        for other in others {
            assert_eq!(status(Some(other)), 403, "{method} {path} with {other}");
        }
        let (answered, body) = request(&world, method, &path, Some(own), "");
        assert!(![401, 403, 405, 500].contains(&answered), "{method} {path}: {answered} {body}");
        assert!(!body.contains("no_such_call"), "{method} {path}: {body}");
    }
}

#[test]
fn refusals_have_an_id_and_a_sentence_whoever_makes_them() {
    let world = World::with_shop("");
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    for (method, path, body, status, id) in [
        ("GET", "/nowhere", "", 404, "no_such_call"),
        ("PUT", "/health", "", 405, "wrong_method"),
        ("DELETE", "/internal/users", "", 405, "wrong_method"),
        ("GET", "/internal/apps/NoName", "", 422, "invalid_params"),
        ("GET", "/internal/apps/nothere", "", 404, "not_found"),
        ("GET", "/internal/pushes/nonsense/output", "", 422, "invalid_params"),
        ("POST", "/internal/users", "{", 422, "invalid_params"),
        ("POST", "/internal/users", "{\"name\":\"../etc\"}", 422, "invalid_params"),
        ("POST", "/internal/users", &long, 413, "too_large"),
    ] {
        let (got, answer) = request(&world, method, path, Some(ADMIN), body);
        assert_eq!(got, status, "{method} {path}: {answer}");
        let error: ruko_api_types::ApiError = serde_json::from_str(&answer).unwrap();
        assert_eq!(error.id, id, "{method} {path}: {answer}");
        assert!(!error.message.is_empty());
    }
}

#[test]
fn anybody_may_ask_after_the_apis_health() {
    let world = World::new();
    assert_eq!(request(&world, "GET", "/health", None, ""), (200, "{\"status\":\"ok\"}".to_owned()));
}

#[test]
fn a_token_without_the_right_never_reads_as_a_users_refusal() {
    let world = World::with_shop("");
    let wrong = ApiClient::new(&world.url, ADMIN.into()).unwrap();
    for error in [
        wrong.authorize(&user("matt"), &app("shop"), Access::Read).unwrap_err(),
        wrong.open_push(&app("shop"), &by("matt", 0)).unwrap_err(),
        wrong.open_fetch(&app("shop"), &user("matt")).unwrap_err(),
        wrong.key("SHA256:x").unwrap_err(),
    ] {
        assert!(
            matches!(&error, ApiClientError::Refused { status: 403, id, .. } if id == "forbidden"),
            "{error:?}"
        );
    }
}

#[test]
fn owner_and_collaborators_have_access_and_strangers_have_none() {
    let world = World::with_shop("");
    for name in ["ann", "eve"] {
        world.admin.add_user(&user(name)).unwrap();
    }
    world.admin.add_collaborator(&app("shop"), &user("ann")).unwrap();
    for access in [Access::Read, Access::Write] {
        let may = |name: &str, of: &str| world.serve.authorize(&user(name), &app(of), access).unwrap();
        assert!(may("matt", "shop") && may("ann", "shop"));
        assert!(!may("eve", "shop") && !may("nobody", "shop") && !may("matt", "nothere"));
        // Exact match: no prefix, no pattern.
        assert!(!may("mat", "shop") && !may("matt", "sho") && !may("matt", "shop-2"));
    }
    let denied = world.serve.open_push(&app("shop"), &by("eve", 0)).unwrap();
    assert!(matches!(denied, Opened::Denied), "{denied:?}");
    let missing = world.serve.open_push(&app("nothere"), &by("matt", 0)).unwrap();
    assert!(matches!(missing, Opened::Denied), "{missing:?}");
    assert!(world.serve.open_fetch(&app("shop"), &user("eve")).unwrap().is_none());
    assert!(world.serve.open_fetch(&app("nothere"), &user("matt")).unwrap().is_none());

    world.admin.remove_collaborator(&app("shop"), &user("ann")).unwrap();
    assert!(!world.serve.authorize(&user("ann"), &app("shop"), Access::Read).unwrap());
}

#[test]
fn the_api_tells_unknown_users_and_unknown_apps_apart_to_its_components() {
    let world = World::with_shop("");
    let ask = |user: &str, app: &str| {
        request(
            &world,
            "GET",
            &format!("/internal/authorize?user={user}&app={app}&access=read"),
            Some(SERVE),
            "",
        )
        .0
    };
    assert_eq!(ask("matt", "shop"), 204);
    assert_eq!(ask("matt", "nothere"), 404);
    assert_eq!(ask("nobody", "shop"), 403);
    assert_eq!(ask("nobody", "nothere"), 403);
    assert_eq!(ask("matt", "sh%25"), 422);
}
