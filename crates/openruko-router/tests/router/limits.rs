//! What is bounded.

use ruko_api_types::router::RoutedApp;

use crate::api::{app, routed};
use crate::client::Client;
use crate::dyno::{Dyno, answer};
use crate::world::{DEADLINE, World, eventually};

#[test]
fn heads_have_a_size() {
    let dyno = Dyno::start(|request| answer("200 OK", &request.field("x").len().to_string()));
    let world = World::shop(vec![routed(1, dyno.address)]);
    let head = |length| format!("GET / HTTP/1.1\r\nHost: shop.test\r\nX: {}\r\n\r\n", "x".repeat(length));
    assert_eq!(world.client().send(head(60_000)).answer().text(), "60000");
    let mut client = world.client();
    assert_eq!(client.send(head(66_000)).answer().status, 431);
    assert!(client.rest().0.is_empty());
    let many = format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{}\r\n", "X: 1\r\n".repeat(200));
    assert_eq!(world.client().send(many).answer().status, 431);
    // One that never ends is cut off before it was sent whole.
    let mut endless = world.client();
    endless.send(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000)));
    assert_eq!(endless.answer().status, 431);
}

#[test]
fn a_head_has_to_come_in_time() {
    let world = World::new();
    let mut silent = world.client();
    let mut slow = world.client();
    let started = std::time::Instant::now();
    // A byte each second is as bad as none.
    let head = "GET / HTTP/1.1\r\nHost: shop.test";
    let mut bytes = head.bytes();
    let mut next = 0;
    while started.elapsed().as_secs() < 9 {
        if started.elapsed().as_secs() >= next {
            next += 1;
            slow.send([bytes.next().unwrap()]);
        }
        std::thread::yield_now();
    }
    assert_eq!(slow.answer().status, 408);
    assert!(silent.rest().0.is_empty(), "it has asked for nothing");
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
}

#[test]
fn one_client_does_not_take_all_connections() {
    let dyno = Dyno::named("yes");
    let world = World::with("metrics_listen = '127.0.0.1:0'\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let mut held: Vec<_> = (0..1024).map(|_| Client::connect(world.router.http)).collect();
    eventually("all of them", || world.router.metric("openruko_router_connections") == Some(1024.0));
    let mut beyond = Client::connect(world.router.http);
    assert!(beyond.rest().0.is_empty(), "closed at once");
    // Another address of the loopback is another client.
    let other = std::process::Command::new("curl")
        .args(["--silent", "--interface", "127.0.0.2", "--header", "Host: shop.test"])
        .args(["--max-time", &DEADLINE.as_secs().to_string()])
        .arg(format!("http://{}/", world.router.http))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&other.stdout), "yes");
    assert_eq!(held[0].get("shop.test", "/").answer().text(), "yes");
    drop(held);
    eventually("room again", || {
        let mut client = Client::connect(world.router.http);
        client.get("shop.test", "/");
        client.head().is_some_and(|head| head.status == 200)
    });
    assert!(world.router.metric("openruko_router_connections_refused_total").unwrap() >= 1.0);
}

#[test]
fn metrics_count() {
    let dyno = Dyno::start(|request| {
        let status = if request.line.contains("/bad") { "500 Internal Server Error" } else { "200 OK" };
        answer(status, "x")
    });
    let world = World::with("metrics_listen = '127.0.0.1:0'\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    for path in ["/", "/", "/", "/bad"] {
        world.get("shop.test", path);
    }
    world.get("unknown.test", "/");
    world.client().send("nonsense\r\n\r\n").answer();
    world.put(RoutedApp { maintenance: true, ..app("shop", &["shop.test"]) });
    world.get("shop.test", "/");
    for (name, expected) in [
        ("requests_total{status=\"2xx\"}", 3.0),
        ("requests_total{status=\"5xx\"}", 2.0),
        ("errors_total{code=\"H80\"}", 1.0),
        ("errors_total{code=\"H12\"}", 0.0),
        ("app_requests_total{app=\"shop\",status=\"2xx\"}", 3.0),
        ("app_requests_total{app=\"shop\",status=\"5xx\"}", 2.0),
        ("request_seconds_count", 5.0),
        ("request_seconds_bucket{le=\"+Inf\"}", 5.0),
        ("unrouted_requests_total", 1.0),
        ("bad_requests_total", 1.0),
        ("apps", 1.0),
        ("table_revision", 2.0),
        ("log_lines_dropped_total", 0.0),
    ] {
        // A request is counted a moment after its answer.
        let name = format!("openruko_router_{name}");
        eventually(&name, || world.router.metric(&name) == Some(expected));
    }
    assert!(world.router.metric("openruko_router_table_age_seconds").unwrap() < 60.0);
    assert!(world.router.metric("openruko_router_request_seconds_sum").unwrap() > 0.0);
}
