//! Every code of Heroku's that the router gives, its page, and its line.

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ruko_api_types::log::LogSource;
use ruko_api_types::router::{RoutedApp, WebState};

use crate::api::{app, routed};
use crate::dyno::{Dyno, Request, answer, nobody};
use crate::world::{World, eventually};

/// What a client sees, and what the log says.
fn expect(world: &World, code: &str, desc: &str, status: u16) {
    let answer = world.get("shop.test", "/x");
    assert_eq!(answer.status, status, "{code}: {}", answer.text());
    assert!(answer.field("content-type").starts_with("text/html"), "{code}");
    assert_eq!(answer.field("cache-control"), "no-store");
    logged(world, code, desc, status);
}

fn logged(world: &World, code: &str, desc: &str, status: u16) {
    let code_word = format!("code={code} ");
    let line = world.api.line(&[&code_word]);
    assert_eq!(
        (line.app.as_str(), line.source, line.process.as_str()),
        ("id-shop", LogSource::Heroku, "router")
    );
    let text = line.text;
    assert!(text.contains(&format!("desc=\"{desc}\"")), "{text}");
    assert!(text.contains("method=GET path=\"/x\" host=shop.test request_id="), "{text}");
    assert!(text.contains(" fwd=\"127.0.0.1\" dyno="), "{text}");
    assert!(text.contains(&format!(" status={status} bytes=")), "{text}");
    assert!(text.ends_with(" protocol=http"), "{text}");
}

/// A dyno that reads a request and then does as it is told.
fn after_request(act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Dyno {
    Dyno::raw(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        if Request::read(&mut reader).is_some() {
            act(&mut stream);
        }
        let _ = stream.shutdown(Shutdown::Both);
    })
}

#[test]
fn a_request_that_is_answered_leaves_a_line() {
    let dyno = Dyno::named("hello");
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    client.send("GET /x?y=\"z HTTP/1.1\r\nHost: shop.test\r\nX-Request-ID: 0123456789abcdefghij\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let line = world.api.line(&["at=info"]);
    let mut words: Vec<_> = line.text.split(' ').collect();
    assert!(words[7].starts_with("connect=") && words[7].ends_with("ms"), "{}", line.text);
    assert!(words[8].starts_with("service=") && words[8].ends_with("ms"), "{}", line.text);
    words.drain(7..9);
    assert_eq!(
        words.join(" "),
        "at=info method=GET path=\"/x?y=%22z\" host=shop.test request_id=0123456789abcdefghij \
         fwd=\"127.0.0.1\" dyno=web.1 status=200 bytes=5 protocol=http"
    );
    assert!(line.at > 1_700_000_000_000_000);
}

#[test]
fn states_of_an_app() {
    let world = World::shop(Vec::new());
    let put = |web, maintenance| world.put(RoutedApp { web, maintenance, ..app("shop", &["shop.test"]) });
    put(WebState::Crashed, false);
    expect(&world, "H10", "App crashed", 503);
    put(WebState::None, false);
    expect(&world, "H14", "No web processes running", 503);
    put(WebState::Running, true);
    expect(&world, "H80", "Maintenance mode", 503);
    assert!(world.api.line(&["code=H80"]).text.starts_with("at=info "));
    assert!(world.api.line(&["code=H10"]).text.starts_with("at=error "));
    let page = world.get("shop.test", "/");
    assert!(page.text().contains("maintenance") && !page.field("retry-after").is_empty());
    let mut program = world.client();
    program.send("GET / HTTP/1.1\r\nHost: shop.test\r\nAccept: application/json\r\n\r\n");
    let answer = program.answer();
    assert!(answer.field("content-type").starts_with("text/plain") && !answer.text().contains('<'));
    assert_eq!(program.get("shop.test", "/").answer().status, 503, "the connection is still good");
}

#[test]
fn an_app_that_does_not_come_up() {
    let world = World::shop(Vec::new());
    world.put(RoutedApp { web: WebState::Asleep, ..app("shop", &["shop.test"]) });
    expect(&world, "H20", "App boot timeout", 503);
}

#[test]
fn a_dyno_that_refuses() {
    let world = World::shop(vec![routed(1, nobody()), routed(2, nobody())]);
    expect(&world, "H21", "Backend connection refused", 503);
}

#[test]
fn a_dyno_that_does_not_take_connections() {
    // Nobody accepts, and the queue is full: the kernel then lets the first packets of others pass unanswered.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        queue.push(stream);
    }
    let world = World::shop(vec![routed(1, address)]);
    expect(&world, "H19", "Backend connection timeout", 503);
}

#[test]
fn more_requests_wait_than_may_at_all() {
    let world = World::with("wake_seconds = 60\nwaiting_requests = 3\nmetrics_listen = '127.0.0.1:0'\n");
    for name in ["shop", "other"] {
        let host = format!("{name}.test");
        world.put(RoutedApp { web: WebState::Asleep, ..app(name, &[&host]) });
    }
    let mut waiting: Vec<_> = (0..3).map(|_| world.client()).collect();
    for client in &mut waiting {
        client.get("other.test", "/");
    }
    eventually("all of them wait", || world.router.metric("openruko_router_waiting_requests") == Some(3.0));
    expect(&world, "H22", "Connection limit reached", 503);
}

#[test]
fn a_dyno_that_says_nothing() {
    let (sender, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let dyno = after_request(move |_| {
        let _ = gate.lock().unwrap().recv();
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    expect(&world, "H12", "Request timeout", 503);
    assert!(world.api.line(&["code=H12"]).text.contains("dyno=web.1 connect="));
    drop(sender);
}

#[test]
fn a_dyno_that_hangs_up() {
    let dyno = after_request(|stream| stream.shutdown(Shutdown::Both).unwrap());
    let world = World::shop(vec![routed(1, dyno.address)]);
    expect(&world, "H13", "Connection closed without response", 503);
}

#[test]
fn a_dyno_that_dies_over_a_request_does_not_get_it_again() {
    let (sender, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // The second request on a connection is too much, after a while of work.
    let dyno = Dyno::raw(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        for number in 0..2 {
            if Request::read(&mut reader).is_none() {
                return;
            }
            count.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                stream.write_all(&answer("200 OK", "yes")).unwrap();
            }
        }
        let _ = gate.lock().unwrap().recv_timeout(Duration::from_millis(500));
        let _ = stream.shutdown(Shutdown::Both);
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    // On one connection, since the next request on it comes when the dyno's is free again.
    let mut client = world.client();
    assert_eq!(client.get("shop.test", "/").answer().text(), "yes");
    assert_eq!(client.get("shop.test", "/x").answer().status, 503);
    logged(&world, "H13", "Connection closed without response", 503);
    assert_eq!((asked.load(Ordering::SeqCst), dyno.accepted()), (2, 1));
    drop(sender);
}

#[test]
fn a_dyno_that_does_not_speak_http() {
    for nonsense in
        ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]
    {
        let dyno = after_request(move |stream| stream.write_all(nonsense.as_bytes()).unwrap());
        let world = World::shop(vec![routed(1, dyno.address)]);
        expect(&world, "H17", "Poorly formatted HTTP response", 503);
    }
    let dyno = after_request(|stream| {
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").unwrap();
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    expect(&world, "H17", "Poorly formatted HTTP response", 503);
}

#[test]
fn an_answer_with_too_large_a_head() {
    let dyno = after_request(|stream| {
        let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(70_000));
        let _ = stream.write_all(head.as_bytes());
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    expect(&world, "H17", "Poorly formatted HTTP response", 503);
}

#[test]
fn a_head_without_end() {
    let (sender, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    // Each hint may be as long as a head.
    let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(40_000));
    let dyno = after_request(move |stream| {
        let _ = stream.write_all(hint.repeat(2).as_bytes());
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(80_000)).as_bytes());
        let _ = gate.lock().unwrap().recv();
    });
    let world = World::with("first_byte_seconds = 60\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let mut client = world.client();
    client.get("shop.test", "/x");
    let statuses = [(); 3].map(|()| client.head().unwrap().status);
    assert_eq!(statuses, [103, 103, 503]);
    logged(&world, "H17", "Poorly formatted HTTP response", 503);
    drop(sender);
}

#[test]
fn a_dyno_that_says_its_head_byte_by_byte() {
    let (sender, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let dyno = after_request(move |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        let gate = gate.lock().unwrap();
        while gate.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout)
            && stream.write_all(b"x").is_ok()
        {}
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    expect(&world, "H12", "Request timeout", 503);
    drop(sender);
}

#[test]
fn a_connection_field_of_a_thousand_names() {
    let names = |count| (0..count).map(|number| format!("x{number}")).collect::<Vec<_>>().join(",");
    let many = names(1000);
    let dyno = Dyno::start(move |request| {
        let names = if request.line.contains("/x") { &many } else { "x-one" };
        format!("HTTP/1.1 200 OK\r\nConnection: {names}\r\nX-One: 1\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    let ask = |names: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: {names}\r\n\r\n");
        world.client().send(head).answer()
    };
    assert_eq!(ask(&names(1000)).status, 400);
    let answer = ask(&names(32));
    assert_eq!((answer.status, answer.field("x-one")), (200, String::new()));
    expect(&world, "H17", "Poorly formatted HTTP response", 503);
}

#[test]
fn a_dyno_that_stops_in_the_midst_of_a_head() {
    let dyno = after_request(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-").unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    expect(&world, "H18", "Server Request Interrupted", 503);
}

#[test]
fn an_answer_that_is_cut_off_is_seen_to_be() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let body = if head.starts_with('C') { "abc" } else { "3\r\nabc\r\n" };
        let dyno = after_request(move |stream| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        });
        let world = World::shop(vec![routed(1, dyno.address)]);
        let mut client = world.client();
        client.get("shop.test", "/x");
        let answer = client.head().unwrap();
        assert_eq!(answer.status, 200);
        let (rest, _) = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
        // As on Heroku, whatever the client got.
        logged(&world, "H18", "Server Request Interrupted", 503);
        // To an old client nothing but the end of the connection says so.
        let mut old = world.client();
        old.send("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n");
        let (_, reset) = old.rest();
        assert!(reset || head.starts_with('C'));
    }
}

#[test]
fn a_dyno_that_falls_silent() {
    let (sender, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let dyno = after_request(move |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").unwrap();
        let _ = gate.lock().unwrap().recv();
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    client.get("shop.test", "/x");
    assert_eq!(client.head().unwrap().status, 200);
    client.rest();
    logged(&world, "H15", "Idle connection", 503);
    drop(sender);
}

#[test]
fn a_client_that_goes_away() {
    let (sender, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let dyno = after_request(move |_| {
        let _ = gate.lock().unwrap().recv();
    });
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    client.get("shop.test", "/x");
    eventually("the request", || dyno.accepted() == 1);
    drop(client);
    logged(&world, "H27", "Client Request Interrupted", 499);
    drop(sender);
}

#[test]
fn a_client_that_falls_silent() {
    let dyno = Dyno::named("never");
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    client.send("POST /x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.answer().status, 408);
    let line = world.api.line(&["code=H28"]).text;
    assert!(
        line.contains("desc=\"Client Connection Idle\" method=POST") && line.contains(" status=408 "),
        "{line}"
    );
}

#[test]
fn an_app_with_more_requests_than_its_dynos_may_have() {
    let (sender, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let dyno = after_request(move |stream| {
        let _ = gate.lock().unwrap().recv();
        let _ = stream.write_all(&answer("200 OK", "late"));
    });
    let world = World::with("dyno_requests = 2\nfirst_byte_seconds = 30\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let mut open: Vec<_> = (0..2).map(|_| world.client()).collect();
    for client in &mut open {
        client.get("shop.test", "/");
    }
    eventually("two requests", || dyno.accepted() == 2);
    expect(&world, "H11", "Backlog too deep", 503);
    drop(sender);
    for client in &mut open {
        assert_eq!(client.answer().text(), "late");
    }
    assert_eq!(world.get("shop.test", "/").text(), "late");
}

#[test]
fn an_app_that_more_requests_wait_for_than_may() {
    let world = World::with("wake_seconds = 60\nmetrics_listen = '127.0.0.1:0'\n");
    world.put(RoutedApp { web: WebState::Asleep, ..app("shop", &["shop.test"]) });
    let mut waiting: Vec<_> = (0..1000).map(|_| world.client()).collect();
    for client in &mut waiting {
        client.get("shop.test", "/");
    }
    let waits = || world.router.metric("openruko_router_waiting_requests");
    eventually("all of them wait", || waits() == Some(1000.0));
    expect(&world, "H11", "Backlog too deep", 503);
    assert_eq!(world.api.wakes(1).len(), 1);
    let dyno = Dyno::named("up");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    for client in &mut waiting {
        assert_eq!(client.answer().text(), "up");
    }
    assert_eq!(waits(), Some(0.0));
}

#[test]
fn a_body_that_cannot_be_read() {
    let dyno = Dyno::named("never");
    let world = World::shop(vec![routed(1, dyno.address)]);
    for bad in ["x\r\n", "-1\r\n", "3\r\nabcd\r\n", "ffffffffffffffffff\r\n", "3\nabc\n0\n\n"] {
        let mut client = world.client();
        client
            .send(format!("POST /x HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n{bad}"));
        let (said, _) = client.rest();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.starts_with("HTTP/1.1 400 "), "{bad:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{bad:?}: {said}");
    }
    world.api.line(&["code=H26", "desc=\"Request Error\"", "status=400"]);
}
