//! What log drains are sent, by receivers on the loopback.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::developer::Developer;
use super::platform_log_lines::{Sender, line, matt, numbered};
use super::platform_logs::{Stream, session, texts};
use super::program::{Program, command};
use super::world::{Home, World};

const DRAINS: &str = "/apps/shop/log-drains";

/// The loopback is a private network, too.
const PRIVATE: &str = "webhook_private = true";

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

fn accept(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>) -> Box<dyn Both> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match tls {
        Some(config) => {
            Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream))
        }
        None => Box::new(stream),
    }
}

/// The next message of octet-counted syslog, without its length; none at the end.
fn message(from: &mut impl BufRead) -> Option<String> {
    let mut digits = Vec::new();
    from.read_until(b' ', &mut digits).ok()?;
    let length: usize = str::from_utf8(&digits).ok()?.trim_end().parse().ok()?;
    let mut message = vec![0; length];
    from.read_exact(&mut message).ok()?;
    Some(String::from_utf8(message).unwrap())
}

fn texts_of(messages: &[String], blanks: &str) -> Vec<String> {
    let text = |message: &String| message.split_once(blanks).unwrap().1.trim_end_matches('\n').to_owned();
    messages.iter().map(text).collect()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Of accept(2), too: socket(7).
    let patience = TimeVal::seconds(PATIENCE.as_secs().try_into().unwrap());
    setsockopt(&listener, ReceiveTimeout, &patience).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn add(developer: &Developer, url: &str) -> Value {
    developer.post(DRAINS, json!({ "url": url })).with(201)
}

/// Reads messages until there are so many of an app.
fn read(from: &mut impl BufRead, count: usize) -> Vec<String> {
    (0..count).map(|n| message(from).unwrap_or_else(|| panic!("it ended after {n}"))).collect()
}

/// The log, once it has a line with these words.
fn told(world: &World, developer: &Developer, words: &str) -> String {
    let url = session(developer, json!({ "lines": 1500, "tail": true, "source": "heroku" }));
    let mut stream = Stream::open(world, &url, None);
    loop {
        let (_, lines) = stream.event().unwrap();
        if let Some(line) = texts(&lines).into_iter().find(|line| line.contains(words)) {
            return line.to_owned();
        }
    }
}

#[test]
fn syslog_drains_get_every_line_from_their_beginning_on() {
    let world = World::with_public(PRIVATE);
    let (matt, shop) = matt(&world);
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 10));
    let (listener, address) = listener();
    let drain = add(&matt, &format!("syslog://{address}"));
    let mut colours = line(&shop, "web.1", "\x1b[31mé\x1b[0m");
    let mut router = line(&shop, "router", "at=info");
    (colours.at, router.at) = (1_795_381_402_099_000, 1_795_381_402_099_001);
    sender.send(vec![colours, router]);
    let mut reader = BufReader::new(accept(&listener, None));
    let token = drain["token"].as_str().unwrap();
    assert_eq!(
        read(&mut reader, 2),
        [
            format!("<190>1 2026-11-22T21:03:22.099000+00:00 {token} app web.1 - - \x1b[31mé\x1b[0m\n"),
            format!("<158>1 2026-11-22T21:03:22.099001+00:00 {token} heroku router - - at=info\n"),
        ]
    );
    world.push();
    let told = texts_of(&read(&mut reader, 4), " - - ");
    assert!(told.contains(&"Release v2 created by user matt".to_owned()), "{told:?}");
    assert!(told.contains(&"Build succeeded".to_owned()), "{told:?}");
    let begun = Instant::now();
    for n in 0..1000 {
        sender.send(numbered(&shop, n, n + 1));
    }
    let expected: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
    assert_eq!(texts_of(&read(&mut reader, 1000), " - - "), expected);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_drain_that_was_removed_gets_nothing_more_and_others_go_on() {
    let world = World::with_public(PRIVATE);
    let (matt, shop) = matt(&world);
    let ((one, at), (other, elsewhere)) = (listener(), listener());
    let drain = add(&matt, &format!("syslog://{at}"));
    add(&matt, &format!("syslog://{elsewhere}/"));
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 1));
    let (mut one, mut other) = (BufReader::new(accept(&one, None)), BufReader::new(accept(&other, None)));
    assert_eq!((read(&mut one, 1).len(), read(&mut other, 1).len()), (1, 1));
    matt.delete(&format!("{DRAINS}/{}", drain["id"].as_str().unwrap())).with(200);
    assert_eq!(message(&mut one), None, "the connection ends");
    sender.send(numbered(&shop, 1, 2));
    assert_eq!(texts_of(&read(&mut other, 1), " - - "), ["line 1"]);
    matt.delete("/apps/shop").with(200);
    assert_eq!(message(&mut other), None);
}

#[test]
fn a_receiver_that_comes_back_is_sent_what_waited() {
    let world = World::with_public(PRIVATE);
    let (matt, shop) = matt(&world);
    let (listener, address) = listener();
    add(&matt, &format!("syslog://{address}"));
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 1));
    let mut reader = BufReader::new(accept(&listener, None));
    assert_eq!(read(&mut reader, 1).len(), 1);
    // It goes away altogether, for long enough that several attempts fail.
    drop((reader, listener));
    for n in 1..100 {
        sender.send(numbered(&shop, n, n + 1));
    }
    let again = TcpListener::bind(address).unwrap();
    let mut reader = BufReader::new(accept(&again, None));
    // What was said while nobody knew that it had gone may be lost, and nothing after that.
    let first = texts_of(&read(&mut reader, 1), " - - ").remove(0);
    let first: usize = first.strip_prefix("line ").unwrap().parse().unwrap();
    assert!(first <= 3, "{first}");
    let expected: Vec<String> = (first + 1..100).map(|n| format!("line {n}")).collect();
    assert_eq!(texts_of(&read(&mut reader, 99 - first), " - - "), expected);
}

#[test]
fn a_dead_drain_drops_what_is_too_much_says_so_and_hinders_nobody() {
    let world = World::with_public(PRIVATE);
    let (matt, shop) = matt(&world);
    let ((dead, address), (alive, elsewhere), (slow, third)) = (listener(), listener(), listener());
    drop(dead);
    add(&matt, &format!("syslog://{address}"));
    add(&matt, &format!("syslog://{elsewhere}"));
    // It takes the connection and reads nothing.
    add(&matt, &format!("syslog://{third}"));
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 1));
    let mut reader = BufReader::new(accept(&alive, None));
    let mut next = 0;
    let mut receive = |to: usize| {
        while next < to {
            let text = texts_of(&read(&mut reader, 1), " - - ").remove(0);
            if !text.starts_with("Error L10") {
                assert_eq!(text, format!("line {next}"), "the drain that is alive gets everything");
                next += 1;
            }
        }
    };
    receive(1);
    for n in 0..20 {
        sender.send(numbered(&shop, n * 1000 + 1, n * 1000 + 1001));
        receive(n * 1000 + 1001);
    }
    let line = told(&world, &matt, "Error L10 (output buffer overflow): ");
    assert!(line.contains(" messages dropped since 20"), "{line}");

    // Back again, it gets the last ones, and is told as well.
    let back = TcpListener::bind(address).unwrap();
    let mut reader = BufReader::new(accept(&back, None));
    let mut texts = Vec::new();
    while !texts.iter().any(|text: &String| text.contains("L10")) || !texts.contains(&"line 20000".to_owned())
    {
        texts.extend(texts_of(&read(&mut reader, 1), " - - "));
    }
    let kept: Vec<&String> = texts.iter().filter(|text| text.starts_with("line ")).collect();
    // So many wait, and a batch may have been on its way while the last ones came.
    assert!(kept.len() <= 10_000 + 1000 && kept.is_sorted_by_key(|text| text.len()), "{}", kept.len());
    drop(slow);
}

/// A request that came.
struct Request {
    head: String,
    body: Vec<u8>,
}

/// Answers requests with these statuses, one after the other, as many on each connection as come.
fn http(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    statuses: &'static [u16],
) -> Receiver<Request> {
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        let mut statuses = statuses.iter();
        while statuses.len() > 0 {
            let mut stream = BufReader::new(accept(&listener, tls.as_ref()));
            while let Some(request) = request(&mut stream) {
                let Some(status) = statuses.next() else { return };
                let mut answer = String::new();
                let _ = write!(answer, "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
                stream.get_mut().flush().unwrap();
                let _ = sender.send(request);
            }
        }
    });
    requests
}

fn request(from: &mut impl BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    from.read_exact(&mut body).unwrap();
    Some(Request { head: lower, body })
}

fn messages(body: &[u8]) -> Vec<String> {
    let mut body = body;
    std::iter::from_fn(|| message(&mut body)).collect()
}

#[test]
fn http_drains_get_batches_in_logplexs_form() {
    let world = World::with_public(PRIVATE);
    let (matt, shop) = matt(&world);
    let (listener, address) = listener();
    let requests = http(listener, None, &[200, 503, 202, 403, 200, 200, 200]);
    let drain = add(&matt, &format!("http://u%40x:s3cret@{address}/in?key=1"));
    let mut sender = Sender::of(&world.url);
    let mut first = line(&shop, "web.1", "one");
    first.at = 1_795_381_402_099_000;
    sender.send(vec![first]);
    let next = || requests.recv_timeout(PATIENCE).unwrap();
    let Request { head, body } = next();
    assert!(head.starts_with("post /in?key=1 http/1.1\r\n"), "{head}");
    for header in [
        format!("host: {address}"),
        "content-type: application/logplex-1".to_owned(),
        "logplex-msg-count: 1".to_owned(),
        format!("logplex-drain-token: {}", drain["token"].as_str().unwrap()),
        // printf u@x:s3cret | base64, in lower case.
        "authorization: basic dub4onmzy3jlda==".to_owned(),
    ] {
        assert!(head.contains(&format!("\r\n{header}\r\n")), "{header}: {head}");
    }
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body, "61 <190>1 2026-11-22T21:03:22.099000+00:00 host app web.1 - one\n");

    // One that fails is sent again, as the same.
    let frame = |request: &Request| {
        let mut lines = request.head.lines();
        lines.find_map(|line| line.strip_prefix("logplex-frame-id: ")).unwrap().to_owned()
    };
    sender.send(numbered(&shop, 0, 3));
    let (failed, again) = (next(), next());
    assert_eq!((frame(&failed), &failed.body), (frame(&again), &again.body));
    assert_ne!(frame(&failed), frame(&Request { head, body: Vec::new() }));
    assert_eq!(texts_of(&messages(&again.body), " - "), ["line 0", "line 1", "line 2"]);
    // What is refused is dropped, which is said, and the drain goes on.
    sender.send(numbered(&shop, 3, 5));
    assert_eq!(messages(&next().body).len(), 2);
    let mut rest = messages(&next().body);
    assert!(rest[0].contains("heroku logplex - Error L10 (output buffer overflow): 2 messages"), "{rest:?}");
    sender.send(numbered(&shop, 5, 6));
    rest.extend(messages(&next().body));
    assert!(rest[1].ends_with("line 5\n"), "{rest:?}");
}

#[test]
fn a_receiver_that_closes_every_connection_is_sent_what_follows_a_refusal() {
    let world = World::with_public(PRIVATE);
    let (matt, shop) = matt(&world);
    let (listener, address) = listener();
    add(&matt, &format!("http://{address}/"));
    let mut sender = Sender::of(&world.url);
    // Nobody answers yet, so that there is more to send the moment that each answer comes.
    for n in 0..4 {
        sender.send(numbered(&shop, n * 1000, n * 1000 + 1000));
    }
    let mut last = String::new();
    for status in [200, 403, 200, 403].into_iter().cycle() {
        let mut stream = BufReader::new(accept(&listener, None));
        last.extend(messages(&request(&mut stream).unwrap().body).pop());
        let answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        if last.contains("line 3999\n") {
            return;
        }
    }
}

#[test]
fn nothing_is_sent_to_private_networks_unless_an_admin_allows_it() {
    let world = World::new();
    let (matt, shop) = matt(&world);
    let (listener, address) = listener();
    let port = address.port();
    let inside = [format!("syslog://{address}"), format!("https://[::ffff:127.0.0.1]:{port}/")];
    for refused in inside.iter().map(String::as_str).chain(["http://logs.test/"]) {
        let (status, _, message) = matt.post(DRAINS, json!({ "url": refused })).refused();
        assert!(status == 422 && message.contains("webhook_private"), "{message}");
    }
    // What a name stands for may change: it is looked at with every connection.
    add(&matt, &format!("syslog://localhost:{port}"));
    add(&matt, &format!("syslog://0x7f000001:{port}"));
    let mut sender = Sender::of(&world.url);
    for n in 0..12 {
        sender.send(numbered(&shop, n * 1000, n * 1000 + 1000));
    }
    // They fail, so that each drops what is too much.
    told(&world, &matt, "Error L10");
    told(&world, &matt, "takes no lines: its host is on a private network");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody connected");
}

/// A certificate authority, and the files and settings that follow from it.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), certificate)
    }

    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    }
}

#[test]
fn over_tls_only_a_receiver_with_a_good_certificate_gets_lines() {
    // What is trusted is what the machine trusts, so the program has to have an environment of its own.
    let home = Home::new();
    let authority = Authority::new();
    let trusted = home.dir.path().join("ca.pem");
    std::fs::write(&trusted, &authority.1).unwrap();
    let config = format!("{}{PRIVATE}\n", home.config("127.0.0.1:0", ""));
    let mut start = command(home.dir.path(), &[]);
    start.env("SSL_CERT_FILE", &trusted);
    let program = Program::started(home.dir.path(), &config, start);
    let world = World::of(&program.url, &program.public_url, home);
    let (matt, shop) = matt(&world);

    let ((syslog, at), (https, elsewhere), (bad, third)) = (listener(), listener(), listener());
    let good = authority.server("localhost");
    add(&matt, &format!("syslog+tls://localhost:{}", at.port()));
    add(&matt, &format!("https://localhost:{}/in", elsewhere.port()));
    add(&matt, &format!("https://localhost:{}/bad", third.port()));
    let requests = http(https, Some(Arc::clone(&good)), &[200, 200, 200]);
    let other = Authority::new().server("localhost");
    std::thread::spawn(move || {
        let mut stream = accept(&bad, Some(&other));
        assert!(stream.read(&mut [0; 1]).is_err(), "it hears nothing");
    });
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 3));
    let mut reader = BufReader::new(accept(&syslog, Some(&good)));
    let expected = ["line 0", "line 1", "line 2"];
    assert_eq!(texts_of(&read(&mut reader, 3), " - - "), expected);
    let request = requests.recv_timeout(PATIENCE).unwrap();
    // The word that the third is not trusted may be there already.
    assert_eq!(texts_of(&messages(&request.body), " - ")[..3], expected);
    let line = told(&world, &matt, "Error L14");
    assert!(line.starts_with("Error L14 (certificate validation error): error=\""), "{line}");
    program.signal(Signal::SIGTERM);
    drop((program, world));
}

#[test]
fn where_a_drain_sends_lines_is_written_down_nowhere() {
    let home = Home::new();
    let config = format!("{}{PRIVATE}\n", home.config("127.0.0.1:0", ""));
    let mut start = command(home.dir.path(), &[]);
    start.env("RUST_LOG", "trace");
    let program = Program::started(home.dir.path(), &config, start);
    let world = World::of(&program.url, &program.public_url, home);
    let (matt, shop) = matt(&world);
    let (listener, address) = listener();
    let requests = http(listener, None, &[500, 403, 200]);
    let url = format!("http://us3r:s3cret@{address}/p4th?k3y=1");
    let drain = add(&matt, &url);
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 1));
    (0..3).for_each(|_| drop(requests.recv_timeout(PATIENCE).unwrap()));
    matt.delete(&format!("{DRAINS}/{}", drain["token"].as_str().unwrap())).with(200);
    program.signal(Signal::SIGTERM);
    let said = program.rest().join("\n");
    assert!(said.contains("a drain does not take lines") && said.contains("refuses"), "{said}");
    for secret in ["us3r", "s3cret", "p4th", "k3y", drain["token"].as_str().unwrap()] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

#[test]
fn a_drain_goes_on_after_a_restart_with_what_is_said_then() {
    let world = World::with_public(PRIVATE);
    let (matt, shop) = matt(&world);
    let (listener, address) = listener();
    add(&matt, &format!("syslog://{address}"));
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 0, 5));
    let mut reader = BufReader::new(accept(&listener, None));
    assert_eq!(read(&mut reader, 5).len(), 5);
    // Said right before the end, it is still sent.
    sender.send(numbered(&shop, 5, 6));
    let world = world.restarted_with(PRIVATE);
    assert_eq!(texts_of(&read(&mut reader, 1), " - - "), ["line 5"]);
    assert_eq!(message(&mut reader), None);
    let mut sender = Sender::of(&world.url);
    sender.send(numbered(&shop, 6, 8));
    let mut reader = BufReader::new(accept(&listener, None));
    assert_eq!(texts_of(&read(&mut reader, 2), " - - "), ["line 6", "line 7"]);
}
