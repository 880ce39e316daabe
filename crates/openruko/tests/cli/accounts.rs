//! Logging in and out, servers, credentials.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::developer::Developer;
use crate::mock::{Mock, Reply, Seen, TOKEN, ok, refused};

fn authorization() -> Value {
    json!({"id": "auth-1", "description": null, "scope": ["global"], "client": null, "session": null,
        "access_token": {"id": "t1", "token": TOKEN, "expires_in": 60}, "user": {"id": "u1", "email": "dev@example.test"}})
}

/// `dev@example.test` with password `secret`, and code 123456 where a second factor is asked for.
fn login(seen: &Seen, two_factor: bool) -> Option<Reply> {
    // base64 of `dev@example.test:secret`
    let right = seen.header("authorization") == "Basic ZGV2QGV4YW1wbGUudGVzdDpzZWNyZXQ=";
    match seen.call().as_str() {
        "POST /oauth/authorizations" if !right => {
            Some(refused(401, "unauthorized", "There was a problem with your login."))
        }
        "POST /oauth/authorizations" if two_factor && seen.header("heroku-two-factor-code") != "123456" => {
            Some(refused(403, "two_factor", "A second authentication factor is required."))
        }
        "POST /oauth/authorizations" => Some(ok(authorization())),
        "DELETE /oauth/authorizations/auth-1" => Some(ok(authorization())),
        _ => None,
    }
}

#[test]
fn a_password_gets_a_token_and_a_logout_gives_it_back() {
    let developer = Developer::new(|seen| login(seen, false));
    let said = developer
        .typing(&["login", &developer.mock.url, "--name", "paas"], "dev@example.test\nsecret\n")
        .ok();
    assert!(said.out.contains("Logged in to paas") && said.out.contains("dev@example.test"), "{said:?}");
    let asked = developer.mock.only("POST /oauth/authorizations");
    assert_eq!(asked.json()["expires_in"], 2_592_000);
    assert_eq!(asked.json()["scope"], json!(["global"]));
    assert_eq!(asked.header("accept"), "application/vnd.heroku+json; version=3");
    for name in ["servers.toml", "credentials.toml"] {
        assert_eq!(fs::metadata(developer.file(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(developer.run(&["whoami"]).ok().out, "dev@example.test\n");
    assert_eq!(developer.run(&["auth:whoami", "--json"]).json()["id"], "u1");
    assert_eq!(developer.run(&["auth:token"]).ok().out, format!("{TOKEN}\n"));
    developer.run(&["logout"]).ok();
    developer.mock.only("DELETE /oauth/authorizations/auth-1");
    developer.run(&["whoami"]).says(1, "not logged in to");
    assert_eq!(developer.run(&["logout"]).ok().out, "Not logged in to paas\n");
}

#[test]
fn a_second_factor_is_asked_for() {
    let developer = Developer::new(|seen| login(seen, true));
    let words = ["login", &developer.mock.url, "--user", "dev@example.test"];
    developer.typing(&words, "secret\n").says(2, "nobody is there to give it");
    developer.typing(&words, "secret\n000000\n123456\n").ok();
    assert_eq!(developer.run(&["whoami"]).ok().out, "dev@example.test\n");
}

#[test]
fn nothing_is_remembered_of_a_login_that_failed() {
    let developer = Developer::new(|seen| login(seen, false));
    developer
        .typing(&["login", &developer.mock.url], "dev@example.test\nwrong\n")
        .says(1, "there was a problem with your login");
    developer
        .run(&["login", "http://127.0.0.1:1"])
        .says(75, "cannot reach http://127.0.0.1:1: Connection refused");
    developer.run(&["login", "http://192.0.2.1"]).says(1, "the token would travel in the clear");
    developer.run(&["login", "https://a/b"]).says(1, "it must end after the host");
    let stranger = Mock::start(|_| Some(ok(json!({"hello": 1}))));
    developer.run(&["login", &stranger.url]).says(1, "it is no openruko");
    assert!(!developer.file("servers.toml").exists() && !developer.file("credentials.toml").exists());
    developer.run(&["whoami"]).says(1, "not logged in to any server");
}

#[test]
fn a_browser_can_log_in() {
    let questions = AtomicUsize::new(0);
    let developer = Developer::new(move |seen| match seen.call().as_str() {
        "POST /cli-login/auth" => {
            Some(ok(json!({"browser_url": "/b/1", "cli_url": "/c/1", "token": "asks"})))
        }
        "GET /cli-login/c/1" if seen.header("authorization") != "Bearer asks" => None,
        "GET /cli-login/c/1" if questions.fetch_add(1, Ordering::SeqCst) == 0 => {
            Some(refused(503, "wait", "Not yet."))
        }
        "GET /cli-login/c/1" => Some(ok(json!({"access_token": TOKEN}))),
        "GET /oauth/authorizations" => {
            let mut shown = authorization();
            shown["access_token"]["token"] = json!("HRKU-01**********89");
            Some(ok(json!([shown])))
        }
        _ => login(seen, false),
    });
    // An empty PATH: no browser is opened by a test.
    let said =
        developer.with(&["login", &developer.mock.url, "--browser"], "", &[("PATH", "/nonexistent")]).ok();
    assert!(said.err.contains(&format!("Open {}/cli-login/b/1", developer.mock.url)), "{said:?}");
    developer.run(&["logout"]).ok();
    developer.mock.only("DELETE /oauth/authorizations/auth-1");
}

#[test]
fn there_may_be_several_servers() {
    let developer = Developer::logged_in(|_| None);
    let other = Mock::start(|seen| match seen.path.as_str() {
        "/account" => Some(ok(json!({"id": "u2", "email": "other@example.test", "name": null}))),
        _ => None,
    });
    developer.typing(&["login", &other.url, "--name", "paas", "--token-stdin"], TOKEN).says(2, "--name");
    developer.typing(&["login", &other.url, "--token-stdin"], "HRKU-other").ok();
    let name = other.url.trim_start_matches("http://").replace(':', "-");
    assert_eq!(developer.run(&["whoami"]).ok().out, "dev@example.test\n", "the first one is the default");
    for server in [&name, &other.url] {
        assert_eq!(developer.run(&["whoami", "--server", server]).ok().out, "other@example.test\n");
    }
    let by_variable = developer.with(&["whoami"], "", &[("OPENRUKO_SERVER", &name)]).ok();
    assert_eq!(by_variable.out, "other@example.test\n");
    assert!(other.seen().iter().all(|seen| seen.header("authorization") == "Bearer HRKU-other"));
    developer.run(&["--server", "third", "whoami"]).says(2, "there is no server `third`");

    let all = developer.run(&["servers", "--json"]).json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert!(developer.run(&["servers"]).ok().out.contains("*  paas"), "the default has a mark");
    developer.run(&["servers:default", &name]).ok();
    assert_eq!(developer.run(&["whoami"]).ok().out, "other@example.test\n");
    developer.run(&["servers", "remove", &name]).ok();
    assert_eq!(developer.run(&["whoami"]).ok().out, "dev@example.test\n", "the only one left");
    assert!(!fs::read_to_string(developer.file("credentials.toml")).unwrap().contains("HRKU-other"));
}

#[test]
fn a_token_of_the_environment_counts_more_and_credentials_of_others_eyes_are_not_used() {
    let developer = Developer::logged_in(|_| None);
    let wrong = developer.with(&["whoami"], "", &[("OPENRUKO_TOKEN", "HRKU-wrong")]);
    wrong.says(1, "invalid credentials provided");
    fs::set_permissions(developer.file("credentials.toml"), PermissionsExt::from_mode(0o644)).unwrap();
    developer.run(&["whoami"]).says(1, "chmod 600");
    assert_eq!(developer.with(&["whoami"], "", &[("OPENRUKO_TOKEN", TOKEN)]).ok().out, "dev@example.test\n");
}

#[test]
fn git_gets_a_token_of_the_environment_for_the_server_that_is_meant_alone() {
    let developer = Developer::logged_in(|_| None);
    let other = Mock::start(|seen| match seen.path.as_str() {
        "/openruko" => Some(ok(json!({
            "name": "openruko", "version": "0.1.0", "git_url": "https://git.other.test/{app}.git",
            "ssh_url": "ssh://git@other.test/{app}.git", "web_url": "https://{app}.other.test",
        }))),
        _ => None,
    });
    developer.typing(&["login", &other.url, "--name", "other", "--token-stdin"], TOKEN).ok();
    let asked = |host: &str| {
        let question = format!("protocol=https\nhost={host}\n\n");
        developer.with(&["git:credentials", "get"], &question, &[("OPENRUKO_TOKEN", "HRKU-ci")]).ok().out
    };
    assert_eq!(asked("git.example.test"), "username=openruko\npassword=HRKU-ci\n");
    assert_eq!(asked("git.other.test"), "");
}

#[test]
fn git_gets_the_token_for_the_git_host_alone() {
    let developer = Developer::logged_in(|_| None);
    let asked = |host: &str, protocol: &str| {
        developer
            .typing(&["git:credentials", "get"], &format!("protocol={protocol}\nhost={host}\n\n"))
            .ok()
            .out
    };
    assert_eq!(asked("git.example.test", "https"), format!("username=openruko\npassword={TOKEN}\n"));
    assert_eq!(asked("git.example.test", "http"), "");
    assert_eq!(asked("example.test", "https"), "");
    assert_eq!(asked("git.example.test:8443", "https"), "");
    assert_eq!(developer.typing(&["git:credentials", "erase"], "protocol=https\n").ok().out, "");
}

#[test]
fn warnings_of_the_server_are_told_once_and_cannot_drive_a_terminal() {
    let developer = Developer::logged_in(|seen| match seen.path.as_str() {
        "/users/~/apps" => Some(ok(json!([])).header("x-heroku-warning", "Maintenance tonight.")),
        "/account" => {
            let account = json!({"id": "u1", "email": "a\u{1b}[2Jb", "name": null});
            Some(ok(account).header("x-heroku-warning", "Maintenance tonight."))
        }
        _ => None,
    });
    let said = developer.run(&["apps"]).ok();
    assert_eq!(said.err.matches("Maintenance tonight.").count(), 1, "{said:?}");
    assert_eq!(developer.run(&["whoami"]).ok().out, "a\\u{1b}[2Jb\n");
}

#[test]
fn what_only_the_heroku_cli_has_is_said_to_be_so() {
    let developer = Developer::logged_in(|_| None);
    for command in ["pg:psql", "addons", "config:diff"] {
        let said = developer.with(&[command], "", &[("OPENRUKO_NATIVE", "0"), ("PATH", "/nonexistent")]);
        said.says(2, "npm install -g heroku");
    }
    developer.run(&["config", "--nonsense"]).says(2, "--nonsense");
    assert_eq!(developer.run(&["version"]).ok().out, format!("openruko {}\n", env!("CARGO_PKG_VERSION")));
    assert!(developer.run(&["help", "config:set"]).ok().out.contains("KEY=VALUE"));
}

#[test]
fn shells_complete_the_commands() {
    let developer = Developer::new(|_| None);
    for shell in ["bash", "zsh", "fish"] {
        let script = developer.run(&["completions", shell]).ok().out;
        for word in ["login", "config", "unset", "scale", "rollback", "maintenance", "teardown", "detached"] {
            assert!(script.contains(word), "{word} in {shell}");
        }
    }
}
