//! Every call of the Platform API against every kind of caller.

use openruko_api::platform::{self, Who};
use openruko_api::rights::{Need, Permission};
use ruko_api_types::NewToken;

use super::developer::{Answer, Developer};
use super::world::{SERVE, World, app, user};

/// What each call needs. Kept here a second time on purpose: a right that is given by mistake must show.
const CALLS: &str = include_str!("platform_rights.txt");

fn word(who: Who) -> &'static str {
    match who {
        Who::Anyone => "anyone",
        Who::User => "user",
        Who::SiteAdmin => "site-admin",
        Who::App(Need::Ownership) => "owner",
        Who::App(Need::Permission(permission)) => permission.as_str(),
    }
}

#[test]
fn the_table_of_rights_is_the_one_that_was_agreed_on() {
    let mut lines: Vec<String> = platform::rights()
        .into_iter()
        .map(|(method, path, who)| format!("{:<10} {method:<6} {path}\n", word(who)))
        .collect();
    lines.sort_by_key(|line| line[10..].split_whitespace().rev().map(str::to_owned).collect::<Vec<_>>());
    let table = lines.concat();
    assert!(table == CALLS, "tests/api/platform_rights.txt should be:\n{table}");
}

/// The path of a call about `shop`; whatever else it names is not there.
fn filled(path: &str, app: &str) -> String {
    let part = |part: &str| match part {
        "{app}" => app.to_owned(),
        part if part.starts_with('{') => "11111111-1111-1111-1111-111111111111".to_owned(),
        part => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Sends the call with a body that says nothing.
fn send(developer: &Developer, method: &str, path: &str, app: &str) -> Answer {
    let json = [("Content-Type", "application/json")];
    let body: &[u8] = if matches!(method, "GET" | "DELETE") { b"" } else { b"{}" };
    developer.send(method, &filled(path, app), &json, body)
}

#[derive(Debug, PartialEq)]
enum Verdict {
    NotLoggedIn,
    NoSuchApp,
    Forbidden,
    /// Whatever the handler then says.
    LetIn,
}

fn verdict(answer: Answer) -> Verdict {
    let (status, body) = (answer.status, answer.text);
    match status {
        401 => Verdict::NotLoggedIn,
        403 if body.contains("\"forbidden\"") => Verdict::Forbidden,
        404 if body.contains("Couldn't find that app.") => Verdict::NoSuchApp,
        _ => Verdict::LetIn,
    }
}

#[test]
fn nobody_gets_in_without_a_valid_token_of_their_own() {
    let world = World::with_shop("");
    let new = NewToken { description: "old".into(), expires_in: Some(0) };
    let expired = world.admin.add_token(&user("matt"), &new).unwrap().token;
    for token in ["", "undefined", "HRKU-0000", SERVE, expired.as_str()] {
        let developer = Developer::with_token(&world, token);
        for (method, path, who) in platform::rights() {
            if who != Who::Anyone {
                let answer = send(&developer, method.as_str(), path, "shop");
                assert_eq!(verdict(answer), Verdict::NotLoggedIn, "{method} {path}: {token}");
            }
        }
    }
}

#[test]
fn strangers_and_collaborators_get_as_far_as_the_table_says() {
    let world = World::with_shop("");
    let stranger = Developer::named(&world, "stranger");
    let given = [Permission::View, Permission::Deploy, Permission::Operate, Permission::Manage];
    let matt = Developer::named(&world, "matt");
    let collaborators: Vec<(Permission, Developer)> = given
        .into_iter()
        .map(|permission| {
            let developer = Developer::named(&world, permission.as_str());
            let access = serde_json::json!({ "user": permission.as_str(), "permissions": [permission] });
            matt.post("/apps/shop/collaborators", access).with(201);
            (permission, developer)
        })
        .collect();
    for (method, path, who) in platform::rights() {
        let Who::App(need) = who else { continue };
        let ask = |developer: &Developer| verdict(send(developer, method.as_str(), path, "shop"));
        assert_eq!(ask(&stranger), Verdict::NoSuchApp, "{method} {path}: a stranger");
        for (permission, developer) in &collaborators {
            let may = matches!(need, Need::Permission(needed) if needed == *permission || needed == Permission::View);
            if !may {
                assert_eq!(ask(developer), Verdict::Forbidden, "{method} {path}: one who may {permission}");
            }
        }
    }
}

#[test]
fn owners_and_those_who_were_given_the_right_are_let_in() {
    let world = World::with_shop("");
    let matt = Developer::named(&world, "matt");
    let ann = Developer::named(&world, "ann");
    for (number, (method, path, who)) in platform::rights().into_iter().enumerate() {
        let Who::App(need) = who else { continue };
        // The call may rename it, destroy it, or remove the collaborator.
        let name = format!("app-{number}");
        world.admin.create_app(&app(&name), &user("matt")).unwrap();
        if let Need::Permission(permission) = need {
            let access = serde_json::json!({ "user": "ann", "permissions": [permission] });
            matt.post(&format!("/apps/{name}/collaborators"), access).with(201);
            let let_in = verdict(send(&ann, method.as_str(), path, &name));
            assert_eq!(let_in, Verdict::LetIn, "{method} {path}: one who may {permission}");
        }
        let fresh = format!("fresh-{number}");
        world.admin.create_app(&app(&fresh), &user("matt")).unwrap();
        let let_in = verdict(send(&matt, method.as_str(), path, &fresh));
        assert_eq!(let_in, Verdict::LetIn, "{method} {path}: the owner");
    }
}
