//! Apps that sleep are woken by requests, which wait; and whoever is asked for is told of.

use std::time::{Duration, Instant};

use ruko_api_types::router::{RoutedApp, WebState};

use crate::api::{app, routed};
use crate::dyno::Dyno;
use crate::world::{World, eventually};

fn asleep() -> RoutedApp {
    RoutedApp { web: WebState::Asleep, ..app("shop", &["shop.test"]) }
}

#[test]
fn a_request_wakes_an_app_and_is_answered() {
    let dyno = Dyno::named("good morning");
    let world = World::new();
    world.put(asleep());
    let mut clients: Vec<_> = (0..20).map(|_| world.client()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc");
    }
    assert_eq!(world.api.wakes(1), ["id-shop"]);
    // It starts, and is up.
    world.put(app("shop", &["shop.test"]));
    let start = Instant::now();
    world.api.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    for client in &mut clients {
        assert_eq!(client.answer().text(), "good morning");
    }
    assert!(start.elapsed() < Duration::from_millis(500), "at once: {:?}", start.elapsed());
    assert_eq!(world.api.wakes(1).len(), 1, "all of them by one call");
    // When it sleeps again, it is woken again.
    world.put(asleep());
    let mut client = world.client();
    client.get("shop.test", "/");
    world.api.wakes(2);
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    assert_eq!(client.answer().text(), "good morning");
}

#[test]
fn a_request_that_comes_while_a_woken_app_boots_waits_as_long() {
    let dyno = Dyno::named("good morning");
    let world = World::with("wake_seconds = 60\n");
    world.put(asleep());
    let mut first = world.client();
    first.get("shop.test", "/first");
    world.api.wakes(1);
    // It is not asleep any more, and takes longer than a switch of dynos does.
    world.put(app("shop", &["shop.test"]));
    let mut second = world.client();
    second.get("shop.test", "/second");
    let asked = Instant::now();
    eventually("time", || asked.elapsed() > Duration::from_secs(6));
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    for client in [&mut first, &mut second] {
        assert_eq!(client.answer().text(), "good morning");
    }
}

#[test]
fn an_app_is_woken_although_the_api_was_down() {
    let dyno = Dyno::named("good morning");
    let world = World::with("wake_seconds = 20\n");
    world.put(asleep());
    world.api.down(true);
    let mut client = world.client();
    client.get("shop.test", "/");
    world.api.down(false);
    world.api.wakes(1);
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    assert_eq!(client.answer().text(), "good morning");
}

#[test]
fn a_switch_without_dynos_for_a_moment_costs_nobody_a_request() {
    let (old, new) = (Dyno::named("old"), Dyno::named("new"));
    let world = World::shop(vec![routed(1, old.address)]);
    assert_eq!(world.get("shop.test", "/").text(), "old");
    world.put(app("shop", &["shop.test"]));
    let mut client = world.client();
    client.get("shop.test", "/");
    world.put(RoutedApp { dynos: vec![routed(1, new.address)], ..app("shop", &["shop.test"]) });
    assert_eq!(client.answer().text(), "new");
}

#[test]
fn a_dyno_that_crashes_while_others_come_costs_nobody_a_request() {
    let (crashed, new) = (Dyno::named("crashed"), Dyno::named("new"));
    let world = World::shop(vec![routed(1, crashed.address)]);
    drop(crashed);
    let mut client = world.client();
    client.get("shop.test", "/");
    world.put(RoutedApp { dynos: vec![routed(1, new.address)], ..app("shop", &["shop.test"]) });
    assert_eq!(client.answer().text(), "new");
}

#[test]
fn a_client_that_does_not_wait_is_let_go() {
    let world = World::with("wake_seconds = 60\n");
    world.put(asleep());
    let mut client = world.client();
    client.get("shop.test", "/x");
    world.api.wakes(1);
    drop(client);
    let line = world.api.line(&["code=H27"]).text;
    assert!(line.contains(" dyno= connect= service= status=499 "), "{line}");
}

#[test]
fn a_stream_of_http2_that_does_not_wait_is_let_go() {
    let world = World::with("wake_seconds = 60\n");
    world.put(asleep());
    let mut curl = std::process::Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", "--header", "Host: shop.test"])
        .arg(format!("http://{}/y", world.router.http))
        .spawn()
        .unwrap();
    world.api.wakes(1);
    curl.kill().unwrap();
    curl.wait().unwrap();
    let line = world.api.line(&["code=H27", "path=\"/y\""]).text;
    assert!(line.contains(" status=499 "), "{line}");
}

#[test]
fn the_api_learns_which_apps_are_asked_for() {
    let (sender, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let slow = Dyno::start(move |_| {
        let _ = gate.lock().unwrap().recv();
        crate::dyno::answer("200 OK", "late")
    });
    let quick = Dyno::named("quick");
    let world = World::with("first_byte_seconds = 60\n");
    world.put(RoutedApp { dynos: vec![routed(1, slow.address)], ..app("slow", &["slow.test"]) });
    world.put(RoutedApp { dynos: vec![routed(1, quick.address)], ..app("quick", &["quick.test"]) });
    world.put(RoutedApp { dynos: vec![routed(1, quick.address)], ..app("nobodys", &["nobodys.test"]) });
    let mut client = world.client();
    client.get("slow.test", "/");
    assert_eq!(world.get("quick.test", "/").text(), "quick");
    assert_eq!(world.api.activity("slow"), 0, "it is open still");
    assert!(world.api.activity("quick") <= 11);
    eventually("activity", || world.api.activities() > 0);
    assert!(!world.api.was_active("nobodys"));
    drop(sender);
    assert_eq!(client.answer().text(), "late");
}
