//! Which dyno gets a request, what it gets, and what comes back.

use ruko_api_types::router::RoutedApp;

use crate::api::{app, routed};
use crate::client::Client;
use crate::dyno::{Dyno, answer, nobody};
use crate::world::{World, eventually};

#[test]
fn a_request_reaches_the_app_of_its_host() {
    let (shop, blog, any) = (Dyno::named("shop"), Dyno::named("blog"), Dyno::named("any"));
    let world = World::new();
    let put = |name, hosts: &[&str], dyno: &Dyno| {
        world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app(name, hosts) });
    };
    put("shop", &["shop.test", "www.shop.example"], &shop);
    put("blog", &["blog.test"], &blog);
    put("any", &["*.shop.example"], &any);
    for (host, expected) in [
        ("shop.test", "shop"),
        ("SHOP.test:8080", "shop"),
        ("shop.test.", "shop"),
        ("www.shop.example", "shop"),
        ("other.shop.example", "any"),
        ("blog.test", "blog"),
    ] {
        let answer = world.get(host, "/");
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{host}");
    }
    for nobody in ["shop.example", "a.b.shop.example", "unknown.test", "127.0.0.1"] {
        let answer = world.get(nobody, "/");
        assert_eq!(answer.status, 404, "{nobody}");
        assert!(answer.text().contains("No such app") && !answer.text().contains("shop"), "{nobody}");
    }
}

#[test]
fn a_dyno_learns_who_asks_and_a_client_learns_through_whom() {
    let dyno = Dyno::echo();
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    client.send(
        "POST /a%20b?c=d HTTP/1.1\r\nHost: shop.test:80\r\nX-Request-ID: 0123456789abcdefghij\r\n\
         X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
         TE: trailers\r\nProxy-Authorization: secret\r\nX-MixedCase: Kept\r\nX_Forwarded_Proto: https\r\n\
         Content-Length: 5\r\n\r\nhello",
    );
    let answer = client.answer();
    let text = answer.text();
    for said in
        ["POST /a%20b?c=d HTTP/1.1\n", "Host: shop.test:80\n", "X-MixedCase: Kept\n", "Content-Length: 5\n"]
    {
        assert!(text.contains(said), "{said:?} in {text}");
    }
    let lower = text.to_ascii_lowercase();
    for said in [
        "x-request-id: 0123456789abcdefghij\n",
        "x-forwarded-for: 198.51.100.7, 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        &format!("x-forwarded-port: {}\n", world.router.http.port()),
        "x-forwarded-host: shop.test:80\n",
        "x-request-start: 1",
        "via: 1.1 openruko-router\n",
        "\nhello",
    ] {
        assert!(lower.contains(said), "{said:?} in {text}");
    }
    for hop in ["x_forwarded_proto", "x-hop", "\nte:", "proxy-authorization", "\nconnection:"] {
        assert!(!lower.contains(hop), "{hop:?} in {text}");
    }
    assert_eq!(answer.field("via"), "1.1 openruko-router");
}

#[test]
fn a_trusted_proxy_is_believed() {
    let dyno = Dyno::echo();
    let world = World::with("trusted_proxies = ['127.0.0.0/8']\n");
    world.put(RoutedApp {
        dynos: vec![routed(1, dyno.address)],
        force_https: true,
        ..app("shop", &["shop.test"])
    });
    let mut client = world.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\r\n",
    );
    let text = client.answer().text().to_ascii_lowercase();
    assert!(
        text.contains("x-forwarded-proto: https\n") && text.contains("x-forwarded-port: 443\n"),
        "{text}"
    );
    let answer = world.get("shop.test", "/x?y");
    assert_eq!((answer.status, answer.field("location").as_str()), (301, "https://shop.test/x?y"));
    let mut client = world.client();
    client.send("POST /x HTTP/1.1\r\nHost: shop.test:80\r\nContent-Length: 0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("location").as_str()), (308, "https://shop.test/x"));
}

#[test]
fn requests_go_where_the_fewest_are_open() {
    let (slow, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let first = Dyno::start(move |request| {
        if request.line.contains("/slow") {
            let _ = gate.lock().unwrap().recv();
        }
        answer("200 OK", "first")
    });
    let second = Dyno::named("second");
    let world = World::shop(vec![routed(1, first.address)]);
    // Two: a request counts until a moment after the client has its answer.
    let mut waiting = [world.client(), world.client()];
    waiting.iter_mut().for_each(|client| {
        client.get("shop.test", "/slow");
    });
    eventually("the slow requests", || first.accepted() == 2);
    world.put(RoutedApp {
        dynos: vec![routed(1, first.address), routed(2, second.address)],
        ..app("shop", &["shop.test"])
    });
    for _ in 0..6 {
        assert_eq!(world.get("shop.test", "/").text(), "second");
    }
    drop(slow);
    waiting.iter_mut().for_each(|client| assert_eq!(client.answer().text(), "first"));
    let both: Vec<_> = (0..8).map(|_| world.get("shop.test", "/").text()).collect();
    assert!(["first", "second"].iter().all(|one| both.iter().any(|said| said == one)), "{both:?}");
}

#[test]
fn a_dyno_that_does_not_take_the_connection_costs_nobody_a_request() {
    let dyno = Dyno::named("alive");
    let world = World::shop(vec![routed(1, nobody()), routed(2, dyno.address), routed(3, nobody())]);
    for _ in 0..9 {
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc");
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "alive"));
    }
}

#[test]
fn connections_to_dynos_are_used_again_and_a_dead_one_costs_nobody_a_request() {
    let dyno = Dyno::named("alive");
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    for _ in 0..20 {
        assert_eq!(client.get("shop.test", "/").answer().status, 200);
    }
    assert_eq!(dyno.accepted(), 1);
    for round in 0..20 {
        dyno.hang_up();
        let answer = client.get("shop.test", "/").answer();
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        dyno.hang_up();
        client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc");
        // A POST is not sent twice: it may have the bad luck of a connection that dies in this very moment.
        assert!([200, 503].contains(&client.answer().status));
    }
}

#[test]
fn a_dyno_that_closes_after_each_answer_costs_nobody_a_request() {
    use std::io::Write;
    // It does not say so beforehand, and so the router keeps the connection, dead.
    let dyno = Dyno::raw(|stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        if crate::dyno::Request::read(&mut reader).is_some() {
            let _ = stream.write_all(&answer("200 OK", "once"));
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    for _ in 0..200 {
        assert_eq!(client.get("shop.test", "/").answer().text(), "once");
    }
}

#[test]
fn new_requests_go_to_new_dynos_at_once_and_open_ones_go_on() {
    let (gate, opened) = std::sync::mpsc::channel::<()>();
    let opened = std::sync::Mutex::new(opened);
    let (begun, begins) = std::sync::mpsc::channel();
    let old = Dyno::start(move |request| {
        if request.line.contains("/slow") {
            begun.send(()).unwrap();
            let _ = opened.lock().unwrap().recv();
        }
        answer("200 OK", "old")
    });
    let new = Dyno::named("new");
    let world = World::shop(vec![routed(1, old.address)]);
    let mut kept = world.client();
    assert_eq!(kept.get("shop.test", "/").answer().text(), "old");
    let mut slow = world.client();
    slow.get("shop.test", "/slow");
    begins.recv().unwrap();
    world.put(RoutedApp { dynos: vec![routed(1, new.address)], ..app("shop", &["shop.test"]) });
    assert_eq!(kept.get("shop.test", "/").answer().text(), "new", "on a connection of before");
    assert_eq!(world.get("shop.test", "/").text(), "new");
    gate.send(()).unwrap();
    assert_eq!(slow.answer().text(), "old");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let dyno = Dyno::start(|request| answer("200 OK", &request.line));
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    let mut all = String::new();
    for number in 0..5 {
        all += &format!("POST /{number} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc");
        all += &format!("GET /{number} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        all += &format!(
            "PUT /{number} HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
    }
    client.send(all);
    for number in 0..5 {
        for method in ["POST", "GET", "PUT"] {
            assert_eq!(client.answer().text(), format!("{method} /{number} HTTP/1.1"));
        }
    }
}

#[test]
fn an_old_client_gets_an_answer_that_it_can_read() {
    let dyno = Dyno::start(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec()
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = Client::connect(world.router.http);
    client.send("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.field("transfer-encoding").as_str(), answer.text().as_str()), ("", "abcde"));
    assert_eq!(world.get("shop.test", "/").text(), "abcde");
    let mut head = world.client();
    head.send("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\nGET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!(head.head().unwrap().status, 200);
    assert_eq!(head.answer().text(), "abcde");
}

#[test]
fn switches_under_load_cost_nobody_a_request() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let mut dynos = std::collections::VecDeque::from([Dyno::named("answer")]);
    let world = World::shop(vec![routed(1, dynos[0].address)]);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (stop, done, mut client) = (&stop, &done, world.client());
            let request = if number % 2 == 0 {
                "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
            } else {
                "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc"
            };
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.send(request).answer();
                    assert_eq!((answer.status, answer.text().as_str()), (200, "answer"));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for number in 0..30 {
            let next = Dyno::named("answer");
            let mut now = vec![routed(number + 2, next.address)];
            if number % 3 == 0 {
                now.push(routed(number + 1, dynos[dynos.len() - 1].address));
            }
            world.put(RoutedApp { dynos: now, ..app("shop", &["shop.test"]) });
            dynos.push_back(next);
            let before = done.load(Ordering::SeqCst);
            eventually("requests", || done.load(Ordering::SeqCst) > before + 20);
            // Those that got no new requests for a while end, as the host has it.
            while dynos.len() > 3 {
                dynos.pop_front();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn an_answer_comes_as_the_dyno_wrote_it() {
    let dyno = Dyno::raw(|stream| {
        use std::io::Write;
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while crate::dyno::Request::read(&mut reader).is_some() {
            let head = b"HTTP/1.1 299 My Own Words\r\nDATE: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-MixedCase: \xe9\r\n\
                         Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-Folded: one\r\n  two\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(head).unwrap();
        }
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
    let (said, _) = client.rest();
    let expected: &[u8] = b"HTTP/1.1 299 My Own Words\r\nDATE: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-MixedCase: \xe9\r\n\
                            Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-Folded: one two\r\nX-Empty: \r\nContent-Length: 0\r\n\
                            Via: 1.1 openruko-router\r\nConnection: close\r\n\r\n";
    assert_eq!(said.escape_ascii().to_string(), expected.escape_ascii().to_string());
}
