//! Accounts: logging in, tokens, the second factor, keys, and the login by browser.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ruko_api_client::Authentication;
use ruko_api_types::{Access, Authenticate, NewToken, NewUser, UserChanges};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use super::developer::{Answer, Developer};
use super::world::{FINGERPRINT, KEY, World, app, user};

const PASSWORD: &str = "correct horse battery";

const LOGIN: &str = "/oauth/authorizations";

/// A user with a password and an e-mail address.
fn account(world: &World, name: &str) -> Developer {
    let email = Some(format!("{name}@example.test").parse().unwrap());
    world.admin.make_user(&NewUser { name: user(name), email, site_admin: false }).unwrap();
    world.admin.set_password(&user(name), Some(PASSWORD.into())).unwrap();
    Developer::named(world, name)
}

fn log_in_with(
    developer: &Developer,
    name: &str,
    password: &str,
    code: Option<&str>,
    body: &Value,
) -> Answer {
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
    let mut headers = vec![("Authorization", basic.as_str()), ("Content-Type", "application/json")];
    headers.extend(code.map(|code| ("Heroku-Two-Factor-Code", code)));
    developer.send("POST", LOGIN, &headers, body.to_string().as_bytes())
}

fn log_in(developer: &Developer, name: &str, password: &str) -> Answer {
    log_in_with(developer, name, password, None, &json!({ "description": "laptop", "expires_in": 3600 }))
}

fn token_of(authorization: &Value) -> String {
    authorization["access_token"]["token"].as_str().unwrap().to_owned()
}

/// With another token of the same world.
fn with(world: &World, token: &str) -> Developer {
    Developer::with_token(world, token)
}

/// The code of so many steps from now.
fn code(secret: &str, steps: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let app = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    app.generate(now.checked_add_signed(steps * 30).unwrap()).to_string()
}

/// Turns the second factor on with the code before the current one, so that two more can be used at once.
/// Gives the secret, that code and the recovery codes.
fn turn_on(developer: &Developer) -> (String, String, Vec<String>) {
    // The code may go out of date in between.
    for _ in 0..3 {
        let begun = developer.post("/account/two-factor", json!({})).with(201);
        let url = begun["url"].as_str().unwrap();
        assert!(url.starts_with("otpauth://totp/paas.test:ada%40example.test?secret="), "{url}");
        let secret = begun["secret"].as_str().unwrap();
        let first = code(secret, -1);
        let on = developer.call("PUT", "/account/two-factor", json!({ "code": first }));
        if on.status == 200 {
            let codes = on.json()["recovery_codes"].as_array().unwrap().clone();
            let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
            return (secret.to_owned(), first, codes);
        }
    }
    panic!("no code was taken");
}

#[test]
fn name_or_address_and_password_give_a_token_that_is_told_once() {
    let world = World::new();
    let ada = account(&world, "ada");
    for name in ["ada", "ada@example.test", "Ada@Example.Test"] {
        let made = log_in(&ada, name, PASSWORD).with(201);
        assert_eq!(made["user"]["email"], "ada@example.test");
        assert_eq!((&made["scope"], &made["description"]), (&json!(["global"]), &json!("laptop")));
        let token = token_of(&made);
        let list = ada.get(LOGIN).with(200);
        let shown = list.as_array().unwrap().iter().find(|one| one["id"] == made["id"]).unwrap();
        let hint = token_of(shown);
        assert!(hint.contains("**********") && token.starts_with(&hint[..9]), "{hint}");
        let own = with(&world, &token);
        let list = own.get(LOGIN).with(200);
        assert!(list.as_array().unwrap().iter().any(|one| token_of(one) == token));
        assert_eq!(own.get("/account").with(200)["email"], "ada@example.test");
    }
}

#[test]
fn whoever_is_not_there_has_no_password_or_the_wrong_one_is_told_the_same() {
    let world = World::new();
    let ada = account(&world, "ada");
    Developer::named(&world, "bob");
    let refused = log_in(&ada, "ada", "wrong").refused();
    assert_eq!((refused.0, refused.1.as_str()), (401, "unauthorized"));
    assert_eq!(log_in(&ada, "bob", "").refused(), refused);
    assert_eq!(log_in(&ada, "nobody", PASSWORD).refused(), refused);
    assert_eq!(ada.send("POST", LOGIN, &[("Authorization", "Bearer x")], b"{}").status, 415);
    let json = [("Authorization", "Bearer x"), ("Content-Type", "application/json")];
    assert_eq!(ada.send("POST", LOGIN, &json, b"{}").refused().0, 401);

    let mut audit = world.admin.audit(None, 100).unwrap();
    audit.retain(|entry| entry.user != "openruko admin");
    let users: Vec<_> = audit.iter().map(|e| (e.user.as_str(), e.action.as_str())).collect();
    assert_eq!(users, [("", "login failed"), ("bob", "login failed"), ("ada", "login failed")]);
    assert!(audit.iter().all(|entry| entry.address == "127.0.0.1"), "{audit:?}");
}

#[test]
fn guessing_is_throttled_and_even_the_right_password_waits() {
    let world = World::new();
    let ada = account(&world, "ada");
    for _ in 0..9 {
        assert_eq!(log_in(&ada, "ada", "wrong").status, 401);
    }
    log_in(&ada, "ada", PASSWORD).with(201);
    for _ in 0..10 {
        assert_eq!(log_in(&ada, "ada", "wrong").status, 401);
    }
    for password in ["wrong", PASSWORD] {
        let (status, id, message) = log_in(&ada, "ada", password).refused();
        assert_eq!((status, id.as_str()), (429, "rate_limit"));
        assert!(message.ends_with("minutes."), "{message}");
    }
    assert_eq!(ada.get("/account").status, 200);
}

#[test]
fn wrong_tokens_are_throttled_by_address_and_right_ones_pass() {
    let world = World::new();
    let ada = account(&world, "ada");
    let ask = |token: &str, last: u8| {
        let address = [192, 0, 2, last].into();
        let asked = Authenticate { token: token.into(), access: Access::Write, address };
        world.serve.authenticate(&asked).unwrap()
    };
    for _ in 0..100 {
        assert!(matches!(ask("HRKU-x", 1), Authentication::Refused));
    }
    assert!(matches!(ask("HRKU-x", 1), Authentication::Throttled(when) if when.contains("minutes")));
    assert!(matches!(ask("HRKU-x", 2), Authentication::Refused));
    assert!(matches!(ask(&ada.token, 1), Authentication::User(name) if name == user("ada")));
}

#[test]
fn tokens_are_made_described_replaced_and_ended() {
    let world = World::new();
    let ada = account(&world, "ada");
    let bob = account(&world, "bob");
    let made = ada.post(LOGIN, json!({ "description": "ci", "expires_in": "3600" })).with(201);
    let left = made["access_token"]["expires_in"].as_u64().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    let path = format!("{LOGIN}/{}", made["id"].as_str().unwrap());
    assert_eq!(ada.patch(&path, json!({ "description": "cd" })).with(200)["description"], "cd");
    assert_eq!(ada.get(&path).with(200)["description"], "cd");
    assert_eq!(bob.get(&path).refused().0, 404);
    assert_eq!(bob.delete(&path).refused().0, 404);

    let replaced = ada.post(&format!("{path}/actions/regenerate-tokens"), json!({})).with(200);
    assert_eq!(with(&world, &token_of(&made)).get("/account").refused().0, 401);
    let new = with(&world, &token_of(&replaced));
    assert_eq!(new.get("/account").status, 200);
    assert_eq!(new.delete(&path).with(200)["description"], "cd");
    assert_eq!(new.get("/account").refused().0, 401);

    let none = ada.get("/oauth/authorizations/~");
    assert_eq!(none.json()["resource"], "authorization");
    assert_eq!(none.refused().0, 404);
    assert_eq!(ada.delete("/oauth/sessions/~").json()["resource"], "session");
    assert_eq!(ada.get("/oauth/sessions").with(200), json!([]));
    for bad in [json!({ "expires_in": 0 }), json!({ "expires_in": "soon" }), json!({ "scope": ["fly"] })] {
        assert_eq!(ada.post(LOGIN, bad.clone()).refused().0, 422, "{bad}");
    }
}

#[test]
fn a_narrow_token_makes_no_wider_one() {
    let world = World::new();
    let ada = account(&world, "ada");
    let narrow = ["identity", "read", "write", "read-protected", "write-protected"];
    for scope in narrow {
        let made = ada.post(LOGIN, json!({ "scope": [scope] })).with(201);
        let narrow = with(&world, &token_of(&made));
        for asked in ["global", scope] {
            assert_eq!(narrow.post(LOGIN, json!({ "scope": [asked] })).refused().0, 403, "{scope}");
        }
        let path = format!("{LOGIN}/{}", made["id"].as_str().unwrap());
        let regenerate = format!("{path}/actions/regenerate-tokens");
        assert_eq!(narrow.get(LOGIN).refused().0, 403, "{scope}");
        for (method, path) in [
            ("POST", regenerate.as_str()),
            ("PATCH", "/account"),
            ("DELETE", "/account"),
            ("POST", "/account/two-factor"),
            ("POST", "/account/keys"),
        ] {
            assert_eq!(narrow.send(method, path, &[], b"").refused().0, 403, "{scope}: {method} {path}");
        }
        assert_eq!(narrow.get("/account").status, 200);
    }
}

#[test]
fn a_token_is_good_for_git_as_far_as_its_scope_reaches() {
    let world = World::new();
    let ada = account(&world, "ada");
    let ask = |token: &str, access| {
        let asked = Authenticate { token: token.into(), access, address: [192, 0, 2, 1].into() };
        world.serve.authenticate(&asked).unwrap()
    };
    let good = Authentication::User(user("ada"));
    for (scope, may_read, may_write) in [
        ("global", true, true),
        ("identity", false, false),
        ("read", true, false),
        ("read-protected", true, false),
        ("write", true, true),
        ("write-protected", true, true),
    ] {
        let token = token_of(&ada.post(LOGIN, json!({ "scope": [scope] })).with(201));
        for (access, may) in [(Access::Read, may_read), (Access::Write, may_write)] {
            match ask(&token, access) {
                Authentication::TooNarrow(why) => assert!(!may && why.contains(scope), "{scope}: {why}"),
                other => assert!(may && other == good, "{scope}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_expired_token_is_told_so() {
    let world = World::new();
    account(&world, "ada");
    let new = NewToken { description: "short".into(), expires_in: Some(0) };
    let token = world.admin.add_token(&user("ada"), &new).unwrap().token;
    let expired = with(&world, &token);
    let (status, _, message) = expired.get("/account").refused();
    assert_eq!((status, message.contains("expired")), (401, true), "{message}");
    assert_eq!(expired.post(LOGIN, json!({})).refused().0, 401);
}

#[test]
fn the_second_factor_is_asked_for_and_each_code_works_once() {
    let world = World::new();
    let ada = account(&world, "ada");
    ada.post("/account/two-factor", json!({})).with(201);
    log_in(&ada, "ada", PASSWORD).with(201);
    assert_eq!(ada.call("PUT", "/account/two-factor", json!({ "code": "000000x" })).refused().0, 422);
    let (secret, first, recovery) = turn_on(&ada);
    assert_eq!(recovery.len(), 10);
    assert_eq!(ada.get("/account").with(200)["two_factor_authentication"], true);

    let refused = log_in(&ada, "ada", PASSWORD).refused();
    assert_eq!((refused.0, refused.1.as_str()), (403, "two_factor"));
    let with_code = |code: &str| log_in_with(&ada, "ada", PASSWORD, Some(code), &json!({}));
    assert_eq!(with_code(&first).refused().0, 401, "it was used to turn the factor on");
    let now = code(&secret, 0);
    with_code(&now).with(201);
    assert_eq!(with_code(&now).refused().0, 401, "it was used");
    let one = recovery[0].as_str();
    with_code(one).with(201);
    assert_eq!(with_code(one).refused().0, 401, "it was used");

    let next = code(&secret, 1);
    let renewed = ada.post("/account/recovery-codes", json!({ "code": next })).with(201);
    assert_eq!(with_code(&recovery[1]).refused().0, 401, "there are new ones");
    let new = renewed["recovery_codes"][0].as_str().unwrap();
    let end = |password: &str, code: &str| {
        ada.call("DELETE", "/account/two-factor", json!({ "password": password, "code": code }))
    };
    assert_eq!(end("wrong", new).refused().0, 422);
    assert_eq!(end(PASSWORD, one).refused().0, 422);
    assert_eq!(end(PASSWORD, new).with(200)["two_factor_authentication"], false);
    log_in(&ada, "ada", PASSWORD).with(201);
}

#[test]
fn codes_are_throttled_by_account_and_an_admin_can_turn_them_off() {
    let world = World::new();
    let ada = account(&world, "ada");
    turn_on(&ada);
    let wrong = || log_in_with(&ada, "ada", PASSWORD, Some("wrong-code"), &json!({}));
    for _ in 0..10 {
        assert_eq!(wrong().refused().0, 401);
    }
    assert_eq!(wrong().refused().1, "rate_limit");
    world.admin.reset_two_factor(&user("ada")).unwrap();
    log_in(&ada, "ada", PASSWORD).with(201);
    assert_eq!(ada.get("/account").with(200)["two_factor_authentication"], false);
}

#[test]
fn a_password_is_changed_by_who_knows_it_and_ends_other_tokens() {
    let world = World::new();
    let ada = account(&world, "ada");
    let other = with(&world, &token_of(&log_in(&ada, "ada", PASSWORD).with(201)));
    let change =
        |old: Option<&str>, new: &str| ada.patch("/account", json!({ "password": old, "new_password": new }));
    for (old, new) in [
        (None, "another good one"),
        (Some("wrong"), "another good one"),
        (Some(PASSWORD), "short"),
        (Some(PASSWORD), "password123"),
        (Some(PASSWORD), "ada@example.test"),
    ] {
        assert_eq!(change(old, new).refused().0, 422, "{new}");
    }
    change(Some(PASSWORD), "another good one").with(200);
    assert_eq!(other.get("/account").refused().0, 401);
    assert_eq!(log_in(&ada, "ada", PASSWORD).status, 401);
    log_in(&ada, "ada", "another good one").with(201);
}

#[test]
fn nobody_takes_an_address_to_which_others_give_access() {
    let world = World::new();
    let (ann, eve) = (Developer::named(&world, "ann"), Developer::named(&world, "eve"));
    ann.app("shop");
    let (status, id, message) = eve.patch("/account", json!({ "email": "bob@corp.test" })).refused();
    assert_eq!((status, id.as_str()), (422, "invalid_params"));
    assert!(
        message.contains("admin") && message.contains("openruko admin user set eve --email"),
        "{message}"
    );
    assert_eq!(ann.post("/apps/shop/collaborators", json!({ "user": "bob@corp.test" })).refused().0, 422);
    // Who has none is shown by their name, and may say so.
    assert_eq!(eve.patch("/account", json!({ "email": "eve" })).with(200)["email"], "eve");
}

#[test]
fn an_address_belongs_to_one_account() {
    let world = World::new();
    let ada = account(&world, "ada");
    account(&world, "bob");
    let set = |email: &str| {
        let email = Some(email.parse().unwrap());
        world.admin.change_user(&user("ada"), &UserChanges { email, site_admin: None })
    };
    set("Ada@New.test").unwrap();
    assert_eq!(ada.patch("/account", json!({ "email": "Ada@new.test", "name": "ada" })).status, 200);
    assert_eq!(set("BOB@example.test").unwrap_err().status(), Some(409));
    for bad in [json!({ "email": "BOB@example.test" }), json!({ "email": "x" }), json!({ "name": "eve" })] {
        assert_eq!(ada.patch("/account", bad.clone()).refused().0, 422, "{bad}");
    }
    let email = Some("ada@new.test".parse().unwrap());
    let error = world.admin.make_user(&NewUser { name: user("eve"), email, site_admin: true }).unwrap_err();
    assert_eq!((error.status(), error.to_string().contains("`ada`")), (Some(409), true), "{error}");
    assert_eq!(world.admin.users().unwrap().len(), 2, "nothing of the refused one is left");
}

#[test]
fn an_account_is_deleted_by_who_knows_its_password_when_it_owns_nothing() {
    let world = World::new();
    let ada = account(&world, "ada");
    ada.app("shop");
    let delete = |password: &str| ada.call("DELETE", "/account", json!({ "password": password }));
    assert_eq!(delete("wrong").refused().0, 422);
    let (status, _, message) = delete(PASSWORD).refused();
    assert_eq!((status, message.contains("`shop`")), (409, true), "{message}");
    ada.delete("/apps/shop").with(200);
    delete(PASSWORD).with(200);
    assert_eq!(ada.get("/account").refused().0, 401);
}

#[test]
fn keys_are_added_found_and_removed() {
    let world = World::new();
    let (ada, bob) = (account(&world, "ada"), account(&world, "bob"));
    let add = |who: &Developer, line: &str| who.post("/account/keys", json!({ "public_key": line }));
    let made = add(&ada, &format!(" {KEY} ada@laptop\n")).with(201);
    assert_eq!((&made["comment"], &made["fingerprint"]), (&json!("ada@laptop"), &json!(FINGERPRINT)));
    assert_eq!(made["public_key"], format!("{KEY} ada@laptop"));
    assert_eq!(ada.get("/account/keys").with(200), json!([made]));
    assert_eq!(world.serve.key(FINGERPRINT).unwrap().unwrap().user, user("ada"));

    assert!(add(&ada, KEY).refused().2.contains("yours"));
    let (status, _, message) = add(&bob, KEY).refused();
    assert_eq!((status, message.contains("ada")), (422, false), "{message}");
    for bad in ["-----BEGIN OPENSSH PRIVATE KEY-----", "junk", "", &format!("no-pty {KEY}")] {
        assert_eq!(add(&bob, bad).refused().0, 422, "{bad}");
    }
    let by_id = format!("/account/keys/{}", made["id"].as_str().unwrap());
    let by_fingerprint = format!("/account/keys/{}", FINGERPRINT.replace('/', "%2F").replace('+', "%2B"));
    assert_eq!(bob.delete(&by_id).refused().0, 404);
    assert_eq!(ada.get(&by_fingerprint).with(200), made);
    ada.delete(&by_id).with(200);
    assert_eq!(ada.delete(&by_fingerprint).json()["resource"], "key");
    assert_eq!(world.serve.key(FINGERPRINT).unwrap(), None);
}

#[test]
fn what_the_cli_asks_and_there_is_none_of_is_an_array_or_a_404() {
    let world = World::new();
    let ada = account(&world, "ada");
    for path in ["/account/features", "/account/app-transfers", "/teams", "/oauth/clients"] {
        assert_eq!(ada.get(path).with(200), json!([]), "{path}");
    }
    for path in ["/account/features/x", "/accounts/x/actions/get-quota"] {
        assert_eq!(ada.get(path).refused().0, 404, "{path}");
    }
}

/// What a browser that was given the page's address sends.
fn submit(ada: &Developer, path: &str, form: &str) -> Answer {
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", "")];
    ada.send("POST", path, &headers, form.as_bytes())
}

fn begin(ada: &Developer) -> (String, String) {
    let headers = [("Content-Type", "application/json"), ("Authorization", "")];
    let begun = ada.send("POST", "/cli-login/auth", &headers, br#"{"description":"<b>laptop"}"#).with(201);
    let page = format!("/cli-login{}", begun["browser_url"].as_str().unwrap());
    (page, begun["token"].as_str().unwrap().to_owned())
}

#[test]
fn a_login_is_allowed_in_a_browser_and_its_token_fetched_once() {
    let world = World::new();
    let ada = account(&world, "ada");
    let (page, secret) = begin(&ada);
    let shown = ada.send("GET", &page, &[("Authorization", "")], b"");
    assert_eq!((shown.status, shown.header("cache-control")), (200, "no-store"));
    assert!(shown.header("content-security-policy").contains("form-action 'self'"));
    assert!(shown.text.contains("&lt;b&gt;laptop") && shown.text.contains("127.0.0.1"), "{}", shown.text);

    let wrong = submit(&ada, &page, "name=ada&password=wrong&code=&decision=allow");
    assert!(wrong.status == 401 && wrong.text.contains("role=\"alert\""), "{}", wrong.text);
    let waiting = with(&world, &secret);
    let fetched = std::thread::spawn(move || waiting.get("/cli-login/token"));
    let form =
        format!("name=ada%40example.test&password={}&code=&decision=allow", PASSWORD.replace(' ', "+"));
    assert!(submit(&ada, &page, &form).text.contains("You are logged in"));
    let token = fetched.join().unwrap().with(200)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(with(&world, &token).get("/account").with(200)["email"], "ada@example.test");

    assert_eq!(submit(&ada, &page, &form).status, 404);
    assert_eq!(ada.get(&page).status, 404);
    assert!(with(&world, &secret).get("/cli-login/token").with(200)["error"].is_string());
}

#[test]
fn a_login_is_denied_in_a_browser_and_asks_for_the_second_factor() {
    let world = World::new();
    let ada = account(&world, "ada");
    let (secret, _, _) = turn_on(&ada);
    let (page, program) = begin(&ada);
    let form = format!("name=ada&password={}&decision=allow&code=", PASSWORD.replace(' ', "+"));
    let asked = submit(&ada, &page, &form);
    assert!(asked.status == 403 && asked.text.contains("authenticator"), "{}", asked.text);
    assert!(submit(&ada, &page, "decision=deny").text.contains("Denied"));
    assert_eq!(submit(&ada, &page, &format!("{form}{}", code(&secret, 0))).status, 404);
    let error = with(&world, &program).get("/cli-login/token").with(200)["error"].clone();
    assert_eq!(error, "The login was denied in the browser.");
    assert_eq!(ada.send("GET", "/cli-login/token", &[("Authorization", "")], b"").refused().0, 401);
}

#[test]
fn the_audit_tells_of_an_app_who_did_what() {
    let world = World::new();
    let ada = account(&world, "ada");
    ada.app("shop");
    ada.patch("/apps/shop", json!({ "name": "store" })).with(200);
    let names = |name: &str| -> Vec<_> {
        let mut entries = world.admin.audit(Some(&app(name)), 10).unwrap();
        entries.retain(|entry| entry.user != "openruko admin");
        entries.into_iter().map(|entry| (entry.user, entry.action, entry.app.unwrap())).collect()
    };
    let renamed = ("ada".to_owned(), "PATCH /apps/{app}".to_owned(), "shop".to_owned());
    assert_eq!(names("store"), names("shop"));
    assert_eq!(names("shop"), [renamed]);
    assert_eq!(world.admin.audit(None, 1).unwrap().len(), 1);
}
