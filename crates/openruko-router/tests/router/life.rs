//! Beginning, end, and one router after another.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, mpsc};
use std::thread;

use nix::sys::signal::Signal;
use ruko_api_types::router::RoutedApp;

use crate::api::{Api, app, routed};
use crate::client::Client;
use crate::dyno::{Dyno, answer};
use crate::world::{Router, World, configure, eventually};

/// Answers `/slow` when it is told to; tells when it was asked.
fn gated() -> (Dyno, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (sender, gate) = channel::<()>();
    let (asked, asks) = channel();
    let (gate, asked) = (Mutex::new(gate), Mutex::new(asked));
    let dyno = Dyno::start(move |request| {
        if request.line.contains("/slow") {
            asked.lock().unwrap().send(()).unwrap();
            let _ = gate.lock().unwrap().recv();
        }
        answer("200 OK", "done")
    });
    (dyno, sender, asks)
}

#[test]
fn open_requests_end_before_the_router_does() {
    let (dyno, gate, asked) = gated();
    let mut world = World::with("first_byte_seconds = 30\nshutdown_seconds = 30\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let (mut slow, mut idle, mut silent) = (world.client(), world.client(), world.client());
    assert_eq!(idle.get("shop.test", "/").answer().status, 200);
    slow.get("shop.test", "/slow");
    asked.recv().unwrap();
    world.router.signal(Signal::SIGTERM);
    assert!(idle.rest().0.is_empty(), "an idle connection is closed soon");
    assert!(silent.rest().0.is_empty(), "and so is one without a request");
    eventually("its end", || std::net::TcpStream::connect(world.router.http).is_err());
    assert!(world.router.is_running());
    gate.send(()).unwrap();
    let answer = slow.answer();
    assert_eq!((answer.text().as_str(), answer.field("connection").as_str()), ("done", "close"));
    assert!(world.router.ended().success());
    // The last line was sent, too.
    assert_eq!(world.api.lines_with("path=\"/slow\""), 1);
}

#[test]
fn a_request_that_does_not_end_is_cut_off() {
    let (dyno, gate, asked) = gated();
    let mut world = World::with("first_byte_seconds = 60\nshutdown_seconds = 1\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let mut slow = world.client();
    slow.get("shop.test", "/slow");
    asked.recv().unwrap();
    world.router.signal(Signal::SIGTERM);
    assert!(slow.rest().0.is_empty());
    assert!(world.router.ended().success());
    world.api.line(&["code=H24 desc=\"Forced close\"", "path=\"/slow\""]);
    drop(gate);
}

#[test]
fn another_router_takes_over_under_load_and_nobody_notices() {
    let (dyno, gate, asked) = gated();
    let mut world =
        World::with("first_byte_seconds = 60\nshutdown_seconds = 60\nmetrics_listen = '127.0.0.1:0'\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let (address, stop) = (world.router.http, Arc::new(AtomicBool::new(false)));
    let done = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (stop, done) = (stop.clone(), done.clone());
            thread::spawn(move || {
                // Half of them keep their connections, until they are told that it was the last answer there.
                let wish = if number % 2 == 0 { "close" } else { "keep-alive" };
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    client.send(format!("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: {wish}\r\n\r\n"));
                    let answer = client.answer();
                    assert_eq!(answer.text(), "done");
                    if answer.field("connection") == "close" {
                        client = Client::connect(address);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let more = |count: usize| {
        let from = done.load(Ordering::SeqCst);
        eventually("requests", || done.load(Ordering::SeqCst) >= from + count);
    };
    more(100);
    // One that takes the sockets and does nothing with them changes nothing.
    drop(std::os::unix::net::UnixStream::connect(world.dir.path().join("table.json.upgrade")).unwrap());
    for round in 0..3 {
        let mut slow = world.client();
        slow.get("shop.test", "/slow");
        asked.recv().unwrap();
        let next = Router::start(world.dir.path(), &["--upgrade"]);
        assert_eq!(next.http, address, "the same socket");
        assert_eq!(next.metrics, world.router.metrics);
        let mut before = std::mem::replace(&mut world.router, next);
        more(100);
        assert!(before.is_running(), "round {round}: a request is open there");
        gate.send(()).unwrap();
        assert_eq!(slow.answer().text(), "done");
        assert!(before.ended().success());
        more(100);
    }
    stop.store(true, Ordering::SeqCst);
    for client in load {
        client.join().unwrap();
    }
}

#[test]
fn the_router_that_takes_over_knows_what_the_one_before_it_knew() {
    let dyno = Dyno::named("yes");
    let mut world = World::new();
    // The copy on disk is not written with every change.
    for name in ["shop", "blog", "wiki"] {
        let host = format!("{name}.test");
        world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app(name, &[&host]) });
    }
    world.api.down(true);
    let next = Router::start(world.dir.path(), &["--upgrade"]);
    assert!(std::mem::replace(&mut world.router, next).ended().success());
    assert_eq!(world.get("wiki.test", "/").text(), "yes");
}

#[test]
fn metrics_are_those_of_the_router_that_took_over() {
    let (dyno, gate, asked) = gated();
    let mut world =
        World::with("first_byte_seconds = 60\nshutdown_seconds = 60\nmetrics_listen = '127.0.0.1:0'\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    assert_eq!(world.get("shop.test", "/").text(), "done");
    let mut slow = world.client();
    slow.get("shop.test", "/slow");
    asked.recv().unwrap();
    let mut kept = Client::connect(world.router.metrics.unwrap());
    assert_eq!(kept.get("metrics", "/metrics").answer().status, 200);
    let next = Router::start(world.dir.path(), &["--upgrade"]);
    let mut before = std::mem::replace(&mut world.router, next);
    assert!(kept.rest().0.is_empty(), "it is closed");
    let requests = || world.router.metric("openruko_router_requests_total{status=\"2xx\"}");
    eventually("the new one's", || (0..50).all(|_| requests() == Some(0.0)));
    assert!(before.is_running(), "a request is open there");
    gate.send(()).unwrap();
    assert_eq!(slow.answer().text(), "done");
    assert!(before.ended().success());
}

#[test]
fn a_stream_of_http2_ends_before_the_router_does() {
    let (dyno, gate, asked) = gated();
    let mut world = World::with("first_byte_seconds = 30\nshutdown_seconds = 30\n");
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let slow = Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", "--max-time", "30", "--header", "Host: shop.test"])
        .arg(format!("http://{}/slow", world.router.http))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    asked.recv().unwrap();
    world.router.signal(Signal::SIGTERM);
    eventually("its end", || std::net::TcpStream::connect(world.router.http).is_err());
    gate.send(()).unwrap();
    assert_eq!(slow.wait_with_output().unwrap().stdout, b"done");
    assert!(world.router.ended().success());
}

/// Makes listening sockets as systemd does, and becomes the program.
const ACTIVATE: &str = "
import os, socket, sys
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
for number, one in enumerate(sockets):
    print(one.getsockname()[1], flush=True)
    os.dup2(one.fileno(), 10 + number)
for number in range(2):
    os.dup2(10 + number, 3 + number)
    os.set_inheritable(3 + number, True)
os.environ.update(LISTEN_FDS='2', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='metrics:http')
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn sockets_of_whoever_starts_it_are_used() {
    use std::io::{BufRead, BufReader};
    let (dir, api) = (tempfile::tempdir().unwrap(), Api::start());
    configure(dir.path(), api.address, "metrics_listen = '127.0.0.1:0'\n");
    let mut child = Command::new("python3")
        .args(["-c", ACTIVATE, env!("CARGO_BIN_EXE_openruko-router"), "--config"])
        .arg(dir.path().join("config.toml"))
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let ports = BufReader::new(child.stdout.take().unwrap()).lines().take(2);
    let ports: Vec<_> = ports.map(Result::unwrap).collect();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = said.filter(|line| line.starts_with("openruko-router: ")).take(2).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let expected = [
        format!("openruko-router: listening on http://127.0.0.1:{}", ports[1]),
        format!("openruko-router: metrics on http://127.0.0.1:{}", ports[0]),
    ];
    assert_eq!(said, expected);
}

#[test]
fn an_upgrade_without_a_router_is_a_start() {
    let (dir, api) = (tempfile::tempdir().unwrap(), Api::start());
    configure(dir.path(), api.address, "");
    let mut first = Router::start(dir.path(), &["--upgrade"]);
    first.signal(Signal::SIGKILL);
    first.ended();
    // A socket that nobody listens on any more.
    let mut second = Router::start(dir.path(), &["--upgrade"]);
    second.signal(Signal::SIGTERM);
    assert!(second.ended().success());
}

#[test]
fn a_router_that_is_killed_comes_back_with_its_table() {
    let dyno = Dyno::named("yes");
    let mut world = World::shop(vec![routed(1, dyno.address)]);
    let kept = world.dir.path().join("table.json");
    eventually("the copy", || std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("shop.test")));
    world.router.signal(Signal::SIGKILL);
    world.router.ended();
    world.api.down(true);
    world.router = Router::start(world.dir.path(), &[]);
    assert_eq!(world.get("shop.test", "/").text(), "yes");
}

#[test]
fn a_configuration_is_judged_without_acting() {
    let (dir, api) = (tempfile::tempdir().unwrap(), Api::start());
    let check = |extra: &str| {
        configure(dir.path(), api.address, extra);
        let out = Command::new(env!("CARGO_BIN_EXE_openruko-router"))
            .args(["--check".as_ref(), "--config".as_ref(), dir.path().join("config.toml").as_os_str()])
            .env_clear()
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    assert_eq!(check(""), (Some(0), String::new()));
    for (extra, said) in [
        ("tls_listen = '127.0.0.1:0'\n", "certificates"),
        ("header_bytes = 10\n", "header_bytes is 10"),
        ("dyno_requests = 0\n", "dyno_requests"),
        ("wake_seconds = 0\n", "wake_seconds is 0"),
        ("nonsense = 1\n", "nonsense"),
        (
            "certificates = [{ certificate = '/nowhere/cert.pem', key = '/nowhere/key.pem' }]\n",
            "/nowhere/cert.pem",
        ),
    ] {
        let (status, stderr) = check(extra);
        assert_eq!(status, Some(1), "{extra}: {stderr}");
        assert!(stderr.starts_with("openruko-router: ") && stderr.contains(said), "{stderr}");
    }
    let text = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
    std::fs::remove_file(dir.path().join("token")).unwrap();
    std::fs::write(dir.path().join("config.toml"), text.replace("nowhere", "gone")).unwrap();
    let usage = Command::new(env!("CARGO_BIN_EXE_openruko-router")).arg("--nonsense").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}
