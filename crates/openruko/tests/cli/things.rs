//! What belongs to an app or an account.

use std::fs;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::developer::Developer;
use crate::mock::{Reply, Seen, dyno, named, ok, refused, release, user};

fn config(seen: &Seen, vars: &Mutex<Value>) -> Option<Reply> {
    let mut vars = vars.lock().unwrap();
    match seen.call().as_str() {
        "GET /apps/shop/config-vars" => {}
        "PATCH /apps/shop/config-vars" => {
            for (name, value) in seen.json().as_object().unwrap() {
                match value.is_null() {
                    true => drop(vars.as_object_mut().unwrap().remove(name)),
                    false => vars[name] = value.clone(),
                }
            }
        }
        "GET /apps/shop/releases" => return Some(ok(json!([release(4)]))),
        _ => return None,
    }
    Some(ok(vars.clone()))
}

#[test]
fn config_vars() {
    let vars = Mutex::new(json!({"LONG_NAME": "two\nlines", "A": "1"}));
    let developer = Developer::logged_in(move |seen| config(seen, &vars));
    let run = |words: &[&str]| developer.with(words, "", &[("OPENRUKO_APP", "shop")]);
    assert_eq!(run(&["config"]).ok().out, "=== shop Config Vars\n\nA:         1\nLONG_NAME: two\nlines\n");
    assert_eq!(run(&["config", "--shell"]).ok().out, "A=1\nLONG_NAME='two\nlines'\n");
    assert_eq!(run(&["config", "--json"]).json(), json!({"A": "1", "LONG_NAME": "two\nlines"}));
    assert_eq!(run(&["config:get", "A", "NONE"]).ok().out, "1\n\n");

    let said = run(&["config:set", "FOO=x=y", "EMPTY="]).ok();
    assert_eq!(said.out, "EMPTY: \nFOO:   x=y\n");
    assert_eq!(said.err, "Setting EMPTY, FOO and restarting ⬢ shop... done, v4\n");
    assert_eq!(
        developer.mock.only("PATCH /apps/shop/config-vars").json(),
        json!({"FOO": "x=y", "EMPTY": ""})
    );
    assert_eq!(
        developer.mock.only("GET /apps/shop/releases").header("range"),
        "version ..; order=desc, max=1"
    );
    developer.mock.forget();
    assert_eq!(
        run(&["config", "unset", "FOO"]).ok().err,
        "Unsetting FOO and restarting ⬢ shop... done, v4\n"
    );
    assert_eq!(developer.mock.only("PATCH /apps/shop/config-vars").json(), json!({"FOO": null}));
    run(&["config:set", "1=x"]).says(2, "1=x");
    run(&["config:set", "A=1", "A=2"]).says(2, "A is given twice");
}

#[test]
fn web_settings() {
    let settings = json!({"check_path": null, "idle_after_seconds": 1800, "force_https": false});
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "GET /apps/shop/web-settings" | "PATCH /apps/shop/web-settings" => Some(ok(settings.clone())),
        _ => None,
    });
    let run = |words: &[&str]| developer.with(words, "", &[("OPENRUKO_APP", "shop")]);
    let told = "Check:        none: listening is enough\nIdle after:   30m\nForce HTTPS:  off\n";
    assert_eq!(run(&["web"]).ok().out, format!("=== shop Web Settings\n\n{told}"));
    assert_eq!(run(&["web", "--json"]).json()["idle_after_seconds"], 1800);
    let said = run(&["web:set", "--check", "none", "--idle-after", "30m"]).ok();
    assert_eq!((said.out.as_str(), said.err.contains("⬢ shop... done")), (told, true), "{said:?}");
    let sent = developer.mock.only("PATCH /apps/shop/web-settings").json();
    assert_eq!(sent, json!({"check_path": null, "idle_after_seconds": 1800}), "what is not said stays");
    developer.mock.forget();
    run(&["web:set", "--check", "/up", "--idle-after", "never", "--force-https", "on"]).ok();
    let sent = developer.mock.only("PATCH /apps/shop/web-settings").json();
    assert_eq!(sent, json!({"check_path": "/up", "idle_after_seconds": null, "force_https": true}));
    run(&["web:set", "--idle-after", "soon"]).says(2, "30m");
}

#[test]
fn deploy_key() {
    let key = |hosts: &[&str]| {
        json!({"public_key": "ssh-ed25519 AAAA shop", "fingerprint": "SHA256:abc", "known_hosts": hosts,
               "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"})
    };
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "GET /apps/shop/deploy-key" => Some(ok(key(&["a.test ssh-ed25519 AAAA"]))),
        "PUT /apps/shop/deploy-key" => Some(ok(key(&[]))),
        "PATCH /apps/shop/deploy-key" => Some(ok(key(&["a.test ssh-ed25519 AAAA", "b.test ssh-rsa BBBB"]))),
        "DELETE /apps/shop/deploy-key" => Some(ok(key(&[]))),
        _ => None,
    });
    let home = developer.home().to_owned();
    let run = |words: &[&str]| {
        developer.with(words, "", &[("OPENRUKO_APP", "shop"), ("HOME", home.to_str().unwrap())])
    };
    let said = run(&["deploy-key"]).ok();
    assert!(said.out.starts_with("ssh-ed25519 AAAA shop\n"), "the line alone: {said:?}");
    assert!(said.out.contains("Shown to:     a.test"), "{said:?}");
    run(&["deploy-key:create", "--host", "git.test"]).says(1, "does not know git.test");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    let known = "git.test,192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINoUZZDVDhdjlszLF+GGvZxdjmq747VLcdtqUFZvwq9h\n";
    fs::write(home.join(".ssh/known_hosts"), known).unwrap();
    let line = format!("git.test {}", known.trim_end().split_once(' ').unwrap().1);
    run(&["deploy-key:create", "--host", "git.test"]).ok();
    assert_eq!(developer.mock.only("PUT /apps/shop/deploy-key").json(), json!({"known_hosts": [line]}));
    let said = run(&["deploy-key:trust", "git.test"]).ok();
    let sent = developer.mock.only("PATCH /apps/shop/deploy-key").json();
    assert_eq!(sent, json!({"known_hosts": ["a.test ssh-ed25519 AAAA", line]}), "{said:?}");
    assert!(said.out.contains("a.test, b.test"), "{said:?}");
    assert!(run(&["deploy-key:remove"]).ok().err.contains("⬢ shop... done"));
    run(&["deploy-key:trust", "-x"]).says(2, "-x");
    run(&["deploy-key:create", "--host", "a b"]).says(2, "no host");
}

#[test]
fn config_vars_are_edited_in_the_users_editor() {
    let vars = Mutex::new(json!({"A": "1", "B": "two\nlines", "C": "3"}));
    let developer = Developer::logged_in(move |seen| config(seen, &vars));
    let editor = developer.home().join("editor");
    fs::write(&editor, "#!/bin/sh\nsed -i -e 's/^A=1/A=new/' -e '/^C=/d' \"$2\"\n").unwrap();
    let edited = |stdin, words: &[&str]| {
        let editor = format!("sh {} -x", editor.display());
        developer.with(words, stdin, &[("OPENRUKO_APP", "shop"), ("EDITOR", &editor)])
    };
    edited("n\n", &["config:edit"]).says(1, "nothing was changed");
    let said = edited("y\n", &["config:edit"]).ok();
    assert_eq!(said.out, "- A=1\n+ A=new\n- C=3\n");
    assert_eq!(developer.mock.only("PATCH /apps/shop/config-vars").json(), json!({"A": "new", "C": null}));
    assert!(edited("", &["config:edit"]).ok().err.contains("Nothing was changed"));
}

#[test]
fn dynos() {
    let formation = |kind: &str, quantity: u64| json!({"id": "f1", "type": kind, "quantity": quantity, "size": "Standard-1X", "command": "x", "app": named("shop")});
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "GET /apps/shop/dynos" => Some(ok(json!([dyno("web.10", None), dyno("web.2", None)]))),
        "GET /apps/shop/formation" => Some(ok(json!([formation("web", 2), formation("worker", 0)]))),
        "PATCH /apps/shop/formation" => Some(ok(json!([formation("web", 3), formation("worker", 0)]))),
        "DELETE /apps/shop/dynos"
        | "DELETE /apps/shop/dynos/web.1"
        | "DELETE /apps/shop/formations/web"
        | "POST /apps/shop/dynos/web.1/actions/stop" => Some(ok(json!({}))),
        _ => None,
    });
    let run = |words: &[&str]| developer.with(words, "", &[("OPENRUKO_APP", "shop")]);
    let said = run(&["ps"]).ok().out;
    assert!(
        said.starts_with("=== web (Standard-1X): bin/web (2)\n\nweb.2:   up  2026/11/22 11:06:39 +0000 (~ "),
        "{said}"
    );
    assert_eq!(run(&["ps", "--json"]).json()[0]["name"], "web.10");
    assert_eq!(run(&["ps:scale"]).ok().out, "web=2:Standard-1X worker=0:Standard-1X\n");
    let said = run(&["scale", "web+1:standard-1x"]).ok();
    assert_eq!(said.err, "Scaling dynos... done, now running web at 3:Standard-1X\n");
    let asked = developer.mock.only("PATCH /apps/shop/formation").json();
    assert_eq!(asked, json!({"updates": [{"type": "web", "quantity": "+1", "size": "standard-1x"}]}));
    run(&["scale", "web"]).says(2, "web=2");
    assert_eq!(run(&["ps:restart"]).ok().err, "Restarting all dynos on ⬢ shop... done\n");
    run(&["restart", "web.1"]).ok();
    run(&["restart", "-p", "web"]).ok();
    run(&["ps:stop", "web.1"]).ok();
    for call in
        ["DELETE /apps/shop/dynos", "DELETE /apps/shop/dynos/web.1", "DELETE /apps/shop/formations/web"]
    {
        developer.mock.only(call);
    }
}

#[test]
fn releases() {
    let developer = Developer::logged_in(|seen| match seen.call().as_str() {
        "GET /apps/shop/releases" => {
            let mut current = release(7);
            current["current"] = json!(true);
            Some(ok(json!([current, release(6)])).header("next-range", "version ]6..; max=2"))
        }
        "GET /apps/shop/releases/6" => Some(ok(release(6))),
        "GET /apps/shop/releases/6/config-vars" => Some(ok(json!({"A": "1"}))),
        "POST /apps/shop/releases" => Some(ok(release(8))),
        _ => None,
    });
    let run = |words: &[&str]| developer.with(words, "", &[("OPENRUKO_APP", "shop")]);
    let said = run(&["releases", "-n", "2"]).ok().out;
    assert!(
        said.starts_with("=== shop Releases - Current: v7\n\nv7  Deploy 7  dev@example.test  2026/11/22"),
        "{said}"
    );
    assert_eq!(
        developer.mock.only("GET /apps/shop/releases").header("range"),
        "version ..; max=2, order=desc"
    );
    assert_eq!(run(&["releases", "--json"]).json()[1]["version"], 6);
    assert!(run(&["releases:info", "v6"]).ok().out.contains("Change:  Deploy 6"));
    assert!(run(&["releases:output", "6"]).ok().err.contains("has no release output"));
    let said = run(&["rollback"]).ok();
    assert!(said.err.starts_with("Rolling back ⬢ shop to v6... done, v8\n"), "{said:?}");
    assert_eq!(developer.mock.only("POST /apps/shop/releases").json(), json!({"release": "r6"}));
    run(&["releases:rollback", "v6", "--json"]).ok();
    run(&["rollback", "x"]).says(2, "it is not like v7");
}

#[test]
fn builds_and_what_they_printed() {
    let developer = Developer::logged_in(|seen| match seen.call().as_str() {
        "GET /apps/shop/builds" | "GET /apps/shop/builds/b1" => {
            let build = json!({"id": "b1", "status": "failed", "output_stream_url": seen.at("/out/secret"),
                "source_blob": {"url": null, "version": "1a2b3c4d"}, "buildpacks": null, "release": null, "slug": null,
                "stack": "openruko-12", "user": user(), "app": named("shop"), "created_at": "2026-11-22T11:06:39Z"});
            Some(ok(if seen.path.ends_with("b1") { build } else { json!([build]) }))
        }
        "GET /out/secret" if seen.header("authorization").is_empty() => {
            Some(crate::mock::text("text/plain", "-----> Building\n"))
        }
        _ => None,
    });
    let run = |words: &[&str]| developer.with(words, "", &[("OPENRUKO_APP", "shop")]);
    assert!(run(&["builds"]).ok().out.contains("b1  failed  1a2b3c4d  dev@example.test"));
    assert_eq!(run(&["builds", "--json"]).json()[0]["id"], "b1");
    assert!(run(&["builds:info", "b1"]).ok().out.contains("Buildpacks:  detected"));
    assert_eq!(run(&["builds:output"]).ok().out, "-----> Building\n");
}

#[test]
fn collaborators() {
    let developer = Developer::logged_in(|seen| match seen.call().as_str() {
        "GET /apps/shop/collaborators" => Some(ok(json!([{"id": "c1", "app": named("shop"), "user": user(),
            "role": "collaborator", "permissions": [{"name": "view"}, {"name": "deploy"}]}]))),
        "POST /apps/shop/collaborators" | "DELETE /apps/shop/collaborators/bob+x@example.test" => {
            Some(ok(json!({})))
        }
        _ => None,
    });
    let run = |words: &[&str]| developer.with(words, "", &[("OPENRUKO_APP", "shop")]);
    assert_eq!(run(&["access"]).ok().out, "dev@example.test  collaborator  view, deploy\n");
    assert_eq!(run(&["access", "--json"]).json()[0]["id"], "c1");
    let said = run(&["access:add", "bob@example.test", "-p", "deploy,operate"]).ok();
    assert_eq!(said.err, "Adding bob@example.test access to the app ⬢ shop... done\n");
    let asked = developer.mock.only("POST /apps/shop/collaborators").json();
    assert_eq!(asked, json!({"user": "bob@example.test", "permissions": ["deploy", "operate"]}));
    run(&["access:add", "bob", "-p", "all"]).says(2, "view, deploy, operate and manage");
    run(&["access:remove", "bob+x@example.test"]).ok();
}

#[test]
fn domains() {
    let domain = |hostname: &str, kind: &str| {
        json!({"id": "d1", "hostname": hostname, "kind": kind, "cname": "shop.dns.example.test", "status": "none",
            "acm_status": null, "acm_status_reason": null, "sni_endpoint": null, "app": named("shop")})
    };
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "GET /apps/shop/domains" => {
            Some(ok(json!([domain("shop.example.test", "heroku"), domain("www.a.test", "custom")])))
        }
        "POST /apps/shop/domains" => Some(ok(domain("www.b.test", "custom"))),
        "DELETE /apps/shop/domains/www.a.test" => Some(ok(json!({}))),
        _ => None,
    });
    let run = |words: &[&str]| developer.with(words, "", &[("OPENRUKO_APP", "shop")]);
    let said = run(&["domains"]).ok().out;
    assert!(
        said.starts_with("=== shop Domain\n\nshop.example.test\n\n=== shop Custom Domains\n\n"),
        "{said}"
    );
    assert_eq!(run(&["domains", "--json"]).json()[1]["hostname"], "www.a.test");
    assert!(run(&["domains:add", "www.b.test"]).ok().err.contains("DNS Target shop.dns.example.test"));
    let asked = developer.mock.only("POST /apps/shop/domains").json();
    assert_eq!(asked, json!({"hostname": "www.b.test", "sni_endpoint": null}));
    run(&["domains:clear"]).says(1, "--confirm shop");
    run(&["domains:clear", "--confirm", "shop"]).ok();
    developer.mock.only("DELETE /apps/shop/domains/www.a.test");
    run(&["domains:remove", "www.c.test"]).says(1, "couldn't find that");
}

#[test]
fn keys() {
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIabcdefghij me@laptop";
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "GET /account/keys" => {
            Some(ok(json!([{"id": "k1", "email": "dev@example.test", "comment": "me@laptop",
            "fingerprint": "SHA256:x", "public_key": line}])))
        }
        "POST /account/keys" if seen.body.contains("bad") => {
            Some(refused(422, "invalid_params", "Key is invalid."))
        }
        "POST /account/keys" | "DELETE /account/keys/k1" => Some(ok(json!({}))),
        _ => None,
    });
    let said = developer.run(&["keys"]).ok().out;
    assert_eq!(
        said,
        "=== dev@example.test keys\n\nssh-ed25519 AAAAC3NzaC...abcdefghij  me@laptop  SHA256:x\n"
    );
    assert_eq!(developer.run(&["keys", "--json"]).json()[0]["public_key"], line);
    developer.run(&["keys:add"]).says(2, "ssh-keygen");
    fs::create_dir(developer.home().join(".ssh")).unwrap();
    let (file, private) = (developer.home().join(".ssh/id.pub"), developer.home().join(".ssh/id"));
    fs::write(&file, format!("{line}\n")).unwrap();
    fs::write(&private, "-----BEGIN OPENSSH PRIVATE KEY-----").unwrap();
    developer.run(&["keys:add"]).ok();
    assert_eq!(developer.mock.only("POST /account/keys").json(), json!({"public_key": format!("{line}\n")}));
    developer.run(&["keys:add", private.to_str().unwrap()]).says(1, "is a private key");
    fs::write(&file, "bad").unwrap();
    developer.run(&["keys:add", file.to_str().unwrap()]).says(1, "key is invalid");
    developer.run(&["keys:remove", "other"]).says(1, "no SSH key with comment");
    developer.run(&["keys:remove", "me@laptop"]).ok();
    developer.mock.only("DELETE /account/keys/k1");
    developer.run(&["keys:clear"]).says(1, "--confirm dev@example.test");
}
