//! The forwarder between a client and a server with real TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine;
use common::{Authority, Client, Head, PATIENCE, Server, Stream, TOKEN, answer, ask, json, rest, send};
use ruko_forward::Forwarder;
use serde_json::{Value, json};
use tokio_rustls::rustls::{ClientConnection, ServerConfig, StreamOwned};

/// A server with a forwarder before it.
struct Site {
    server: Server,
    forwarder: Forwarder,
}

impl Site {
    fn new(handler: impl Fn(&Head, &mut Stream) -> bool + Send + Sync + 'static) -> Self {
        Self::with(&Authority::new(), handler)
    }

    fn with(
        authority: &Authority,
        handler: impl Fn(&Head, &mut Stream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let server = Server::start(authority.server(&["localhost"]), handler);
        let forwarder = Forwarder::start(&server.upstream(authority)).unwrap();
        Self { server, forwarder }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.forwarder.key())
    }

    fn ask(&self, request: &str) -> (Head, String) {
        ask(self.forwarder.url(), request, &[("Authorization", &self.bearer())])
    }

    fn ask_json(&self, request: &str) -> Value {
        let (head, body) = self.ask(request);
        assert_eq!(head.status() / 100, 2, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// A way for the test to tell a server's thread to go on, and back.
fn signal<T>() -> (Sender<T>, Mutex<Receiver<T>>) {
    let (sender, receiver) = mpsc::channel();
    (sender, Mutex::new(receiver))
}

fn wait<T>(signal: &Mutex<Receiver<T>>) -> T {
    signal.lock().unwrap().recv_timeout(PATIENCE).unwrap()
}

fn path(url: &Value) -> &str {
    let url = url.as_str().unwrap();
    url[url.find("//").unwrap() + 2..].trim_start_matches(|c| c != '/')
}

#[test]
fn the_key_is_exchanged_for_the_token() {
    let site = Site::new(|_, stream| json(stream, "200 OK", &json!({"email": "dev@example.test"})));
    let basic = base64::engine::general_purpose::STANDARD.encode(format!(":{}", site.forwarder.key()));
    for shown in [site.bearer(), format!("Basic {basic}")] {
        let headers = [
            ("Authorization", shown.as_str()),
            ("Accept", "application/vnd.heroku+json; version=3.sdk"),
            ("Accept-Encoding", "gzip, deflate"),
            ("Connection", "keep-alive, X-Private"),
            ("Keep-Alive", "timeout=5"),
            ("X-Private", "1"),
            ("TE", "trailers"),
            ("Range", "version ..; max=15, order=desc"),
        ];
        let (head, body) = ask(site.forwarder.url(), "GET /account?eq[name]=x%2Fy", &headers);
        assert_eq!((head.status(), body.as_str()), (200, r#"{"email":"dev@example.test"}"#));
    }
    let seen = site.server.seen();
    assert_eq!(seen.len(), 2);
    for head in seen {
        assert_eq!(head.first, "GET /account?eq[name]=x%2Fy HTTP/1.1");
        assert_eq!(head.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert_eq!(head.header("host"), Some(format!("localhost:{}", site.server.port).as_str()));
        assert_eq!(head.header("accept"), Some("application/vnd.heroku+json; version=3.sdk"));
        assert_eq!(head.header("range"), Some("version ..; max=15, order=desc"));
        assert_eq!(head.header("accept-encoding"), Some("identity"));
        for dropped in ["connection", "keep-alive", "x-private", "te"] {
            assert_eq!(head.header(dropped), None, "{dropped}");
        }
        assert!(!format!("{head:?}").contains(site.forwarder.key()));
    }
}

#[test]
fn nobody_else_gets_through() {
    let site = Site::new(|_, stream| json(stream, "200 OK", &json!({})));
    let wrong = format!("Bearer {}", TOKEN);
    for headers in [&[][..], &[("Authorization", wrong.as_str())], &[("Authorization", "Bearer undefined")]] {
        for request in ["GET /account", "POST /oauth/authorizations", "GET /streams/x", "GET /0123/streams/x"]
        {
            let (head, body) = ask(site.forwarder.url(), request, headers);
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((head.status(), &body["id"]), (401, &json!("unauthorized")), "{request}");
        }
    }
    assert_eq!(site.server.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn what_the_server_refuses_is_refused() {
    let site = Site::new(|_, stream| {
        let headers = ["Content-Type: application/json", "Request-Id: r1", "X-Heroku-Warning: careful"];
        answer(stream, "401 Unauthorized", &headers, r#"{"id":"unauthorized","message":"who?"}"#)
    });
    let (head, body) = site.ask("GET /account");
    assert_eq!((head.status(), body.as_str()), (401, r#"{"id":"unauthorized","message":"who?"}"#));
    assert_eq!((head.header("request-id"), head.header("x-heroku-warning")), (Some("r1"), Some("careful")));
}

#[test]
fn addresses_at_the_server_lead_through_the_forwarder_without_the_token() {
    let port = Arc::new(Mutex::new(0));
    let known = port.clone();
    let site = Site::new(move |head, stream| {
        let origin = format!("https://localhost:{}", known.lock().unwrap());
        if head.first.starts_with("GET /streams/") {
            return answer(stream, "200 OK", &["Content-Type: text/plain"], "lines");
        }
        let links = json!({
            "logplex_url": format!("{origin}/streams/s1?x=1"),
            "list": [{"output_stream_url": format!("{origin}/streams/s2")}],
            "source_blob": {"get_url": format!("{origin}/get"), "put_url": "https://elsewhere.test/put"},
            "attach_url": format!("{origin}/ssh"),
            "web_url": format!("{origin}/"),
        });
        json(stream, "201 Created", &links)
    });
    *port.lock().unwrap() = site.server.port;
    let links = site.ask_json("POST /apps/shop/log-sessions");
    let origin = site.server.url();
    assert_eq!(links["source_blob"]["get_url"], format!("{origin}/get"), "goes back to the server as it is");
    assert_eq!(links["source_blob"]["put_url"], "https://elsewhere.test/put");
    assert_eq!(links["attach_url"], format!("{origin}/ssh"));
    assert_eq!(links["web_url"], format!("{origin}/"));
    for (link, at_server) in [
        (&links["logplex_url"], "GET /streams/s1?x=1 HTTP/1.1"),
        (&links["list"][0]["output_stream_url"], "GET /streams/s2 HTTP/1.1"),
    ] {
        assert!(link.as_str().unwrap().starts_with(site.forwarder.open_url()), "{link}");
        for headers in [&[][..], &[("Authorization", site.bearer().as_str())]] {
            let (head, body) = ask(site.forwarder.url(), &format!("GET {}", path(link)), headers);
            assert_eq!((head.status(), body.as_str()), (200, "lines"));
            let seen = site.server.seen().pop().unwrap();
            assert_eq!((seen.first.as_str(), seen.header("authorization")), (at_server, None));
        }
    }
}

#[test]
fn a_compressed_answer_is_refused_and_not_misread() {
    let site = Site::new(|_, stream| {
        answer(stream, "200 OK", &["Content-Type: application/json", "Content-Encoding: gzip"], "\u{1f}x")
    });
    let (head, body) = site.ask("GET /account");
    assert_eq!(head.status(), 502);
    assert!(body.contains("compressed"), "{body}");
}

#[test]
fn a_stream_of_events_is_not_held_back() {
    let (go_on, told) = signal();
    let (tell, gone) = signal();
    let site = Site::new(move |_, stream| {
        send(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for event in ["8\r\nretry: 1\r\n", "c\r\ndata: one\n\n\n\r\n"] {
            send(stream, event);
            wait(&told);
        }
        // Until the client is gone.
        let mut byte = [0];
        tell.send(stream.read(&mut byte).unwrap_or(0)).unwrap();
        false
    });
    let mut client = Client::connect(site.forwarder.url());
    client.ask("GET /streams/x", &[("Authorization", &site.bearer())]);
    assert_eq!(client.head().header("content-type"), Some("text/event-stream"));
    assert_eq!(common::chunk(&mut client.0).unwrap(), b"retry: 1");
    go_on.send(()).unwrap();
    assert_eq!(common::chunk(&mut client.0).unwrap(), b"data: one\n\n\n");
    go_on.send(()).unwrap();
    drop(client);
    assert_eq!(wait(&gone), 0, "the server learns that its reader is gone");
}

#[test]
fn an_upload_is_passed_on_as_it_comes() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 48;
    let (tell, arrived) = signal();
    let site = Site::new(move |head, stream| {
        let mut count = 0;
        head.body(stream, |piece| {
            count += piece.len();
            tell.send(count).unwrap();
        });
        answer(stream, "200 OK", &[], &count.to_string())
    });
    for (how, chunked) in [("Content-Length", false), ("Transfer-Encoding", true)] {
        let length = (PIECE * PIECES).to_string();
        let mut client = Client::connect(site.forwarder.url());
        let value = if chunked { "chunked" } else { length.as_str() };
        let request = format!("PUT {}/sources/x", path(&json!(site.forwarder.open_url())));
        client.ask(&request, &[(how, value), ("Expect", "100-continue")]);
        assert_eq!(client.head().status(), 100);
        for number in 1..=PIECES {
            if chunked {
                client.send(format!("{PIECE:x}\r\n").as_bytes());
            }
            client.send(&vec![b'x'; PIECE]);
            if chunked {
                client.send(b"\r\n");
            }
            // No piece is sent before the one before it has arrived.
            while wait(&arrived) < number * PIECE {}
        }
        if chunked {
            client.send(b"0\r\n\r\n");
        }
        assert_eq!(client.answer().1, length);
        assert_eq!(site.server.seen().pop().unwrap().header("expect"), None);
    }
}

#[test]
fn a_redirect_elsewhere_is_not_followed() {
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let target = format!("http://127.0.0.1:{}/steal", elsewhere.local_addr().unwrap().port());
    let to = Arc::new(Mutex::new(target.clone()));
    let location = to.clone();
    let site = Site::new(move |_, stream| {
        let location = format!("Location: {}", location.lock().unwrap());
        answer(stream, "302 Found", &[location.as_str()], "")
    });
    let location = |request: &str| site.ask(request).0.header("location").unwrap().to_owned();
    assert_eq!(location("GET /account"), target);
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    *to.lock().unwrap() = format!("{}/users/~", site.server.url());
    assert_eq!(location("GET /account"), format!("{}/users/~", site.forwarder.url()));
    *to.lock().unwrap() = "/two".to_owned();
    let open = path(&json!(site.forwarder.open_url())).to_owned();
    assert_eq!(location(&format!("GET {open}/one")), format!("{}/two", site.forwarder.open_url()));
}

#[test]
fn a_server_that_is_not_there_is_named_at_once() {
    let authority = Authority::new();
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut upstream = Server::start(authority.server(&["localhost"]), |_, _| false).upstream(&authority);
    upstream.url = format!("https://localhost:{free}");
    let forwarder = Forwarder::start(&upstream).unwrap();
    let asked = Instant::now();
    let bearer = format!("Bearer {}", forwarder.key());
    let (head, body) = ask(forwarder.url(), "GET /account", &[("Authorization", &bearer)]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(head.status(), 503);
    let expected = format!("cannot reach https://localhost:{free}: Connection refused");
    assert_eq!(body, json!({"id": "unreachable", "message": expected}));
    assert!(asked.elapsed().as_secs() < 5);
}

#[test]
fn a_server_must_prove_its_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (issuer, name) in [(&other, "localhost"), (&authority, "paas.test")] {
        let server = Server::start(issuer.server(&[name]), |_, _| panic!("never asked"));
        let forwarder = Forwarder::start(&server.upstream(&authority)).unwrap();
        let bearer = format!("Bearer {}", forwarder.key());
        let (head, body) = ask(forwarder.url(), "GET /account", &[("Authorization", &bearer)]);
        assert_eq!(head.status(), 503);
        assert!(body.contains("its certificate is not trusted"), "{body}");
        assert_eq!(server.seen().len(), 0);
    }
}

#[test]
fn connections_to_the_server_are_kept_and_replaced_when_they_close() {
    let site = Site::new(|head, stream| {
        json(stream, "200 OK", &json!({}));
        !head.first.contains("/last")
    });
    for _ in 0..5 {
        site.ask_json("GET /account");
    }
    assert_eq!(site.server.connections.load(Ordering::SeqCst), 1);
    for _ in 0..5 {
        site.ask_json("GET /last");
    }
    assert!(site.server.connections.load(Ordering::SeqCst) >= 5);
}

#[test]
fn slow_streams_keep_nobody_waiting() {
    let (go_on, told) = signal();
    let site = Site::new(move |head, stream| {
        if head.first.contains("/slow") {
            send(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
            send(stream, "1\r\nx\r\n");
            wait(&told);
            return send(stream, "0\r\n\r\n");
        }
        json(stream, "200 OK", &json!({}))
    });
    let mut slow: Vec<_> = (0..32).map(|_| Client::connect(site.forwarder.url())).collect();
    for client in &mut slow {
        client.ask("GET /slow", &[("Authorization", &site.bearer())]);
        client.head();
        assert_eq!(common::chunk(&mut client.0).unwrap(), b"x");
    }
    site.ask_json("GET /account");
    for _ in &slow {
        go_on.send(()).unwrap();
    }
    for client in &mut slow {
        assert_eq!(common::chunk(&mut client.0), None);
    }
}

/// A stand-in for the place where dynos are reached. `serve` gets each connection with its first line.
fn rendezvous(authority: &Authority, serve: impl Fn(String, Stream) + Send + 'static) -> u16 {
    rendezvous_of(authority.server(&["localhost"]), serve)
}

fn rendezvous_of(config: Arc<ServerConfig>, serve: impl Fn(String, Stream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = common::accept(config.clone(), stream.unwrap());
            let mut line = String::new();
            if stream.read_line(&mut line).is_ok() {
                serve(line, stream);
            }
        }
    });
    port
}

/// A site whose every answer has this `attach_url`.
fn attaching(authority: &Authority, url: String) -> Site {
    let dyno = json!({"name": "run.1", "attach_url": url});
    Site::with(authority, move |_, stream| json(stream, "201 Created", &dyno))
}

/// A client of the local end, as the CLI is one.
fn attach(site: &Site, attach_url: &str) -> (StreamOwned<ClientConnection, TcpStream>, String) {
    let (address, secret) = attach_url.strip_prefix("rendezvous://").unwrap().split_once('/').unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let config = common::client(site.forwarder.certificate());
    let connection = ClientConnection::new(config, "127.0.0.1".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (StreamOwned::new(connection, stream), secret.to_owned())
}

/// The pieces in which bytes come until they end.
fn records(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> Vec<String> {
    let mut records = Vec::new();
    loop {
        let record = String::from_utf8(stream.fill_buf().unwrap().to_vec()).unwrap();
        if record.is_empty() {
            return records;
        }
        stream.consume(record.len());
        records.push(record);
    }
}

#[test]
fn a_dyno_is_reached_record_by_record() {
    let authority = Authority::new();
    let port = rendezvous(&authority, |line, mut stream| {
        assert_eq!(line, "ef29?x=1\r\n");
        assert_eq!(stream.get_ref().conn.server_name(), Some("localhost"));
        // Three records that leave in one packet.
        for record in ["rendezvous\r\n", "out", "\u{ffff} heroku-command-exit-status: 0\n"] {
            assert_eq!(stream.get_mut().conn.writer().write(record.as_bytes()).unwrap(), record.len());
        }
        stream.get_mut().flush().unwrap();
        let mut said = [0; 6];
        stream.read_exact(&mut said).unwrap();
        stream.get_mut().write_all(&said).unwrap();
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush().unwrap();
    });
    let site = attaching(&authority, format!("rendezvous://localhost:{port}/ef29?x=1"));
    let dyno = site.ask_json("POST /apps/shop/dynos");
    let attach_url = dyno["attach_url"].as_str().unwrap();
    for wrong in ["ef29\r\n", "ef28?x=1\r\n", "\r\n", ""] {
        let (mut stranger, _) = attach(&site, attach_url);
        stranger.write_all(wrong.as_bytes()).unwrap();
        stranger.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stranger), b"", "{wrong:?}");
    }
    let (mut client, secret) = attach(&site, attach_url);
    client.write_all(format!("{secret}\r\n").as_bytes()).unwrap();
    client.write_all(b"input\x04").unwrap();
    let expected = ["rendezvous\r\n", "out", "\u{ffff} heroku-command-exit-status: 0\n", "input\u{4}"];
    assert_eq!(records(&mut client), expected);
}

#[test]
fn much_input_and_much_output_do_not_block_each_other() {
    const PIECE: usize = 16 << 10;
    const PIECES: usize = 1024;
    let authority = Authority::new();
    // Writes all before it reads anything: whoever waits for it to read is stuck.
    let port = rendezvous(&authority, |_, mut stream| {
        for _ in 0..PIECES {
            stream.get_mut().write_all(&[b'o'; PIECE]).unwrap();
        }
        let mut count = 0;
        let mut piece = vec![0; PIECE];
        while count < PIECE * PIECES {
            count += stream.read(&mut piece).unwrap();
        }
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush().unwrap();
    });
    let site = attaching(&authority, format!("rendezvous://localhost:{port}/s"));
    let dyno = site.ask_json("POST /apps/shop/dynos");
    let (mut client, secret) = attach(&site, dyno["attach_url"].as_str().unwrap());
    client.write_all(format!("{secret}\r\n").as_bytes()).unwrap();
    // The input fills every buffer on the way until output is read.
    let (mut sent, mut got) = (0, 0);
    let mut piece = vec![0; PIECE];
    while got < PIECE * PIECES {
        if sent < PIECES {
            client.write_all(&[b'i'; PIECE]).unwrap();
            sent += 1;
        }
        let count = client.read(&mut piece).unwrap();
        assert_ne!(count, 0, "ended after {got} bytes");
        got += count;
    }
    while sent < PIECES {
        client.write_all(&[b'i'; PIECE]).unwrap();
        sent += 1;
    }
    assert_eq!(rest(&mut client), b"");
}

#[test]
fn a_dyno_that_cannot_be_reached_is_an_error_before_the_cli_connects() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let site = attaching(&Authority::new(), format!("rendezvous://localhost:{free}/s"));
    let (head, body) = site.ask("POST /apps/shop/dynos");
    assert_eq!(head.status(), 503);
    assert!(
        body.contains(&format!("cannot reach the dyno at localhost:{free}: Connection refused")),
        "{body}"
    );
}

#[test]
fn a_dyno_must_prove_its_name() {
    let other = Authority::new();
    let port = rendezvous(&other, |_, _| panic!("never greeted"));
    let site = attaching(&Authority::new(), format!("rendezvous://localhost:{port}/s"));
    let (head, body) = site.ask("POST /apps/shop/dynos");
    assert_eq!(head.status(), 503);
    assert!(body.contains("its certificate is not trusted"), "{body}");
}

#[test]
fn a_certificate_that_the_server_told_is_believed_and_no_other_one() {
    let (other, site) = (Authority::new(), Authority::new());
    let (asked, lines) = std::sync::mpsc::channel();
    let (config, digest) = other.server_with_digest(&["elsewhere.test"]);
    let port = rendezvous_of(config, move |line, mut stream| {
        asked.send(line).unwrap();
        stream.get_mut().write_all(b"rendezvous\r\n").unwrap();
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush().unwrap();
    });
    let address = |digest: &str| format!("rendezvous://127.0.0.1:{port}/s?certificate={digest}");
    let attaching_to = |digest: &str| attaching(&site, address(digest));
    let ours = attaching_to(&digest);
    let dyno = ours.ask_json("POST /apps/shop/dynos");
    let (mut client, secret) = attach(&ours, dyno["attach_url"].as_str().unwrap());
    assert_eq!(secret, format!("s?certificate={digest}"));
    client.write_all(format!("{secret}\r\n").as_bytes()).unwrap();
    assert_eq!(records(&mut client), ["rendezvous\r\n"]);
    assert_eq!(lines.recv().unwrap(), format!("{secret}\r\n"));

    let (head, body) = attaching_to(&"ab".repeat(32)).ask("POST /apps/shop/dynos");
    assert_eq!(head.status(), 503);
    assert!(body.contains("its certificate is not trusted"), "{body}");
}

#[test]
fn nothing_is_left_when_the_forwarder_is_dropped() {
    let site = Site::new(|_, stream| json(stream, "200 OK", &json!({})));
    let url = site.forwarder.url().to_owned();
    site.ask_json("GET /account");
    drop(site.forwarder);
    assert!(TcpStream::connect(url.strip_prefix("http://").unwrap()).is_err());
}
