//! Webhooks at the Platform API, and what they are told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::developer::{Answer, Developer};
use super::host::Host;
use super::world::{RUNNING, World, commit};

const HOOKS: &str = "/apps/shop/webhooks";

/// Loopback is a private network, too.
const PRIVATE: &str = "webhook_private = true";

/// Somebody who is told.
struct Told {
    url: String,
    requests: Receiver<(String, Value)>,
}

impl Told {
    /// Answers with these statuses, one after the other.
    fn answering(statuses: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for status in statuses {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let lower = line.to_lowercase();
                    if let Some(number) = lower.strip_prefix("content-length: ") {
                        length = number.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push_str(&lower);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
                let _ = sender.send((head, serde_json::from_slice(&body).unwrap()));
            }
        });
        Self { url, requests }
    }

    fn next(&self) -> (String, Value) {
        self.requests.recv_timeout(Duration::from_secs(30)).unwrap()
    }
}

fn add(developer: &Developer, url: &str, include: &[&str], level: &str) -> Answer {
    let new = json!({ "url": url, "include": include, "level": level, "secret": "s3cret",
                      "authorization": "Bearer of-hook" });
    developer.post(HOOKS, new)
}

fn matt(world: &World) -> Developer {
    let matt = Developer::named(world, "matt");
    matt.app("shop");
    matt
}

/// The delivery once it is no longer on its way for the first time.
fn delivered(developer: &Developer, status: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let all = developer.get("/apps/shop/webhook-deliveries").with(200);
        if all[0]["status"] == status {
            return all[0].clone();
        }
        assert!(Instant::now() < deadline, "it does not become {status}: {all}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_webhook_is_made_shown_changed_and_removed() {
    let world = World::new();
    let matt = matt(&world);
    let new = json!({ "url": "https://hooks.test/x", "include": ["api:release"], "level": "notify" });
    let answer = matt.post(HOOKS, new);
    assert_eq!(answer.header("heroku-webhook-secret").len(), 64);
    assert!(!answer.text.contains(answer.header("heroku-webhook-secret")));
    let hook = answer.with(201);
    assert_eq!(matt.get(HOOKS).with(200), json!([hook]));
    let at = format!("{HOOKS}/{}", hook["id"].as_str().unwrap());
    assert_eq!(matt.get(&at).with(200), hook);
    let changed = matt.patch(&at, json!({ "level": "sync" })).with(200);
    assert_eq!((&changed["level"], &changed["url"]), (&json!("sync"), &hook["url"]));
    matt.delete(&at).with(200);
    assert_eq!(matt.get(&at).refused().0, 404);
    for (bad, word) in [
        (json!({ "url": "ftp://x", "include": ["api:release"], "level": "sync" }), "https://HOST"),
        (json!({ "url": "https://h", "include": ["api:moon"], "level": "sync" }), "api:release"),
        (json!({ "url": "https://h", "include": [], "level": "sync" }), "api:release"),
        (json!({ "url": "https://h", "include": ["api:app"], "level": "sync", "secret": "a\nb" }), "plain"),
        (json!({ "url": "https://h", "include": ["api:app"], "level": "loud" }), "notify"),
    ] {
        let (status, _, message) = matt.post(HOOKS, bad).refused();
        assert!(status == 422 && message.contains(word), "{message}");
    }
}

#[test]
fn releases_and_builds_and_changes_are_told_and_signed() {
    let world = World::with_public(PRIVATE);
    let matt = matt(&world);
    let told = Told::answering(&["204 No Content", "200 OK", "200 OK"]);
    add(&matt, &told.url, &["api:release", "api:build", "api:domain"], "sync").with(201);
    let push = world.open();
    world.serve.commit(&push.push, &commit(push.repo.version)).unwrap();
    let (first, second) = (told.next(), told.next());
    let (release, build) = if first.1["resource"] == "release" { (first, second) } else { (second, first) };
    assert_eq!((&release.1["action"], &release.1["data"]["version"]), (&json!("create"), &json!(2)));
    assert_eq!(release.1["webhook_metadata"]["event"]["include"], "api:release");
    assert_eq!((&build.1["action"], &build.1["data"]["status"]), (&json!("update"), &json!("succeeded")));
    assert!(release.0.contains("heroku-webhook-hmac-sha256: "), "{}", release.0);
    assert!(release.0.contains("authorization: bearer of-hook"), "{}", release.0);
    matt.post("/apps/shop/domains", json!({ "hostname": "www.a.test", "sni_endpoint": null })).with(201);
    let (_, domain) = told.next();
    assert_eq!((&domain["resource"], &domain["data"]["hostname"]), (&json!("domain"), &json!("www.a.test")));
    let delivery = delivered(&matt, "succeeded");
    assert_eq!(
        (&delivery["num_attempts"], &delivery["last_attempt"]["status"]),
        (&json!(1), &json!("succeeded"))
    );
    let events = matt.get("/apps/shop/webhook-events").with(200);
    assert_eq!(events.as_array().unwrap().len(), 3);
    let at = format!("/apps/shop/webhook-events/{}", events[0]["id"].as_str().unwrap());
    assert_eq!(matt.get(&at).with(200), events[0]);
}

#[test]
fn what_fails_is_tried_again_when_it_should_be() {
    let world = World::with_public(PRIVATE);
    let matt = matt(&world);
    let told = Told::answering(&["302 Found", "200 OK"]);
    add(&matt, &told.url, &["api:release"], "sync").with(201);
    world.push();
    told.next();
    let delivery = delivered(&matt, "retrying");
    assert_eq!(delivery["last_attempt"], json!({ "code": 302, "error_class": null, "status": "failed" }));
    let again = format!("/apps/shop/webhook-deliveries/{}/retry", delivery["id"].as_str().unwrap());
    matt.post(&again, json!({})).with(200);
    told.next();
    assert_eq!(delivered(&matt, "succeeded")["num_attempts"], 2);
}

#[test]
fn webhooks_that_never_answer_hold_up_nobody_elses() {
    let world = World::with_public(PRIVATE);
    let (matt, ann) = (matt(&world), Developer::named(&world, "ann"));
    ann.app("blog");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}/hook", silent.local_addr().unwrap());
    for _ in 0..20 {
        add(&matt, &nowhere, &["api:domain"], "sync").with(201);
    }
    let told = Told::answering(&["200 OK"]);
    let new = json!({ "url": told.url, "include": ["api:domain"], "level": "sync" });
    ann.post("/apps/blog/webhooks", new).with(201);
    for (developer, app) in [(&matt, "shop"), (&ann, "blog")] {
        let new = json!({ "hostname": format!("www.{app}.test"), "sni_endpoint": null });
        developer.post(&format!("/apps/{app}/domains"), new).with(201);
    }
    let (_, domain) = told.requests.recv_timeout(Duration::from_secs(8)).unwrap();
    assert_eq!(domain["data"]["hostname"], "www.blog.test");
    // What is open ends with it.
    drop(silent);
}

#[test]
fn an_attempt_that_cannot_be_written_down_loses_no_other() {
    let world = World::with_public(PRIVATE);
    let matt = matt(&world);
    if world.home.database().starts_with("sqlite") {
        world.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON webhook_deliveries WHEN NEW.last_code = 299 \
             BEGIN SELECT RAISE(ABORT, 'no'); END",
            &[],
        );
    } else {
        world.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
            &[],
        );
        world.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON webhook_deliveries FOR EACH ROW \
             WHEN (NEW.last_code = 299) EXECUTE FUNCTION no()",
            &[],
        );
    }
    let bad = Told::answering(&["299 Strange"]);
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    add(&matt, &format!("http://{}/hook", slow.local_addr().unwrap()), &["api:domain"], "sync").with(201);
    add(&matt, &bad.url, &["api:domain"], "sync").with(201);
    matt.post("/apps/shop/domains", json!({ "hostname": "www.a.test", "sni_endpoint": null })).with(201);
    let (mut stream, _) = slow.accept().unwrap();
    bad.next();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_written = |one: &Value| one["status"] == "succeeded" && one["num_attempts"] == 1;
    while !matt.get("/apps/shop/webhook-deliveries").with(200).as_array().unwrap().iter().any(is_written) {
        assert!(Instant::now() < deadline, "the other attempt is not known");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn nothing_on_a_private_network_is_told_unless_an_admin_allows_it() {
    let world = World::new();
    let matt = matt(&world);
    let told = Told::answering(&["200 OK"]);
    add(&matt, &told.url, &["api:release"], "notify").with(201);
    world.push();
    let delivery = delivered(&matt, "failed");
    let why = delivery["last_attempt"]["error_class"].as_str().unwrap();
    assert!(why.contains("private network"), "{why}");
    assert!(told.requests.try_recv().is_err());
}

#[test]
fn webhooks_need_the_permission_to_operate() {
    let world = World::new();
    let matt = matt(&world);
    add(&matt, "https://hooks.test/x", &["api:release"], "sync").with(201);
    let ann = Developer::named(&world, "ann");
    assert_eq!(ann.get(HOOKS).refused().0, 404);
    world.gives("ann", "deploy view");
    assert_eq!(ann.get(HOOKS).refused().0, 403);
    assert_eq!(add(&ann, "https://hooks.test/y", &["api:release"], "sync").refused().0, 403);
    assert_eq!(ann.get("/apps/shop/webhook-deliveries").refused().0, 403);
}

#[test]
fn what_becomes_of_dynos_and_of_releases_that_have_to_prove_themselves_is_told() {
    let world = World::started(RUNNING, PRIVATE);
    let matt = matt(&world);
    let told = Told::answering(&["200 OK"; 5]);
    add(&matt, &told.url, &["api:dyno", "api:release", "dyno"], "notify").with(201);
    let host = Host::of(&world);
    let next = |what: &str| {
        let (_, body) = told.next();
        assert_eq!(body["webhook_metadata"]["event"]["include"], what, "{body}");
        (body["action"].as_str().unwrap().to_owned(), body["data"].clone())
    };
    world.push();
    let (action, release) = next("api:release");
    assert_eq!(
        (action.as_str(), &release["status"], &release["current"]),
        ("create", &json!("pending"), &json!(false))
    );
    let dyno = host.up(2, "web.1");
    let (action, data) = next("dyno");
    assert_eq!((action.as_str(), &data["name"], &data["state"]), ("create", &json!("web.1"), &json!("up")));
    host.switch(2, &[&dyno]);
    let (action, release) = next("api:release");
    assert_eq!(
        (action.as_str(), &release["status"], &release["current"]),
        ("update", &json!("succeeded"), &json!(true))
    );
    matt.post("/apps/shop/dynos", json!({ "command": "rake" })).with(201);
    let (action, data) = next("api:dyno");
    assert_eq!((action.as_str(), &data["command"]), ("create", &json!("rake")));
    host.gone(&dyno.id);
    assert_eq!(next("dyno").0, "destroy");
}
