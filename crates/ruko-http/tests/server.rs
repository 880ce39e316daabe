//! Servers on loopback, met by clients that are slow, silent, many, or speak TLS.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use ruko_core::config::TlsConfig;
use ruko_http::{Bounds, ClientAddress, Listen, Listener, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const LONG: Duration = Duration::from_secs(600);

fn listen(bounds: Bounds) -> Listen {
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    Listen { address: "127.0.0.1:0".parse().unwrap(), table: "[test]", tls: None, trusted_proxies, bounds }
}

fn router(name: &'static str) -> Router {
    let who =
        |Extension(ClientAddress(address)): Extension<ClientAddress>| async move { address.to_string() };
    Router::new()
        .route("/name", get(async move || name))
        .route("/who", get(who))
        .route("/large", get(async || vec![0_u8; 32 << 20]))
        .route("/defect", get(defect))
}

async fn defect() -> &'static str {
    panic!("a defect")
}

fn start(runtime: &Runtime, listen: &Listen) -> SocketAddr {
    let listener = runtime.block_on(Listener::bind(listen)).unwrap();
    let address = listener.address();
    runtime.spawn(serve(vec![(listener, router("first"))], std::future::pending()));
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, path: &str, headers: &str) -> String {
    let (head, body) = answer(stream, path, headers);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    body
}

/// Head, in lower case, and body.
fn answer(stream: &mut TcpStream, path: &str, headers: &str) -> (String, String) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    let head = String::from_utf8(answer).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_defect_is_told_to_who_met_it_and_nobody_else_is_cut_off() {
    let runtime = Runtime::new().unwrap();
    let address = start(&runtime, &listen(Bounds::default()));
    let (mut one, mut other) = (connect(address), connect(address));
    assert_eq!(ask(&mut other, "/name", ""), "first");
    let (head, body) = answer(&mut one, "/defect", "");
    assert!(head.starts_with("http/1.1 500") && body.contains("internal_server_error"), "{head}{body}");
    assert_eq!((ask(&mut one, "/name", ""), ask(&mut other, "/name", "")), ("first".into(), "first".into()));
}

#[test]
fn a_connection_that_sends_no_request_is_closed() {
    let runtime = Runtime::new().unwrap();
    let short = Duration::from_millis(200);
    let bounds = Bounds { first_head: short, next_head: short, ..Bounds::default() };
    let address = start(&runtime, &listen(bounds));
    for sent in ["", "GET /name HTTP/1.1\r\nHost:", "GET /name HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = connect(address);
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.contains("200 OK"), sent.ends_with("\r\n\r\n"), "{sent:?}: {answer}");
    }
}

#[test]
fn silent_connections_keep_nobody_out() {
    let runtime = Runtime::new().unwrap();
    let address = start(
        &runtime,
        &listen(Bounds { places: 3, first_head: LONG, next_head: LONG, ..Bounds::default() }),
    );
    let mut heard = connect(address);
    ask(&mut heard, "/name", "");
    let (mut oldest, mut younger) = (connect(address), connect(address));
    younger.write_all(b"GET /name HTTP/1.1\r\n").unwrap();
    ask(&mut connect(address), "/name", "");
    assert_eq!(oldest.read(&mut [0]).unwrap(), 0, "the oldest silent connection made room");
    ask(&mut heard, "/name", "");
    younger.write_all(b"Host: x\r\n\r\n").unwrap();
    assert_eq!(younger.read(&mut [0]).unwrap(), 1, "the younger one was left alone");
}

#[test]
fn one_client_cannot_take_every_connection() {
    let runtime = Runtime::new().unwrap();
    let bounds = Bounds { of_one: 2, first_head: LONG, next_head: LONG, ..Bounds::default() };
    let address = start(&runtime, &Listen { trusted_proxies: vec![], ..listen(bounds) });
    let mut held = [connect(address), connect(address)];
    held.iter_mut().for_each(|stream| drop(ask(stream, "/name", "")));
    let refused = connect(address).read(&mut [0]);
    assert!(matches!(refused, Ok(0)) || refused.is_err(), "{refused:?}");
    ask(&mut held[0], "/name", "");
    let proxied = start(&runtime, &listen(bounds));
    let mut open: Vec<TcpStream> = (0..5).map(|_| connect(proxied)).collect();
    open.iter_mut().for_each(|stream| drop(ask(stream, "/name", "")));
}

#[test]
fn a_hangup_is_no_end() {
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut stop = std::pin::pin!(ruko_http::told_to_stop().unwrap());
    let send = |signal: &str| {
        let pid = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &*pid]).status().unwrap().success());
    };
    send("-HUP");
    let at_once = async { tokio::time::timeout(Duration::ZERO, stop.as_mut()).await };
    assert!(runtime.block_on(at_once).is_err());
    send("-TERM");
    let soon = async { tokio::time::timeout(Duration::from_secs(20), stop.as_mut()).await };
    runtime.block_on(soon).unwrap();
}

/// A connection from another address of the loopback.
fn connect_from(runtime: &Runtime, from: &str, address: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let _entered = runtime.enter();
    let stream = runtime.block_on(socket.connect(address)).unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[test]
fn who_has_all_that_one_may_have_pushes_nobody_out() {
    let runtime = Runtime::new().unwrap();
    let bounds = Bounds { places: 2, of_one: 1, first_head: LONG, next_head: LONG, ..Bounds::default() };
    let address = start(&runtime, &Listen { trusted_proxies: vec![], ..listen(bounds) });
    let mut other = connect_from(&runtime, "127.0.0.2", address);
    let mut own = connect(address);
    own.write_all(b"GET /name HTTP/1.1\r\n").unwrap();
    let refused = connect(address).read(&mut [0]);
    assert!(matches!(refused, Ok(0)) || refused.is_err(), "{refused:?}");
    assert_eq!(ask(&mut other, "/name", ""), "first", "it was there before");
    own.write_all(b"Host: x\r\n\r\n").unwrap();
    assert_eq!(own.read(&mut [0]).unwrap(), 1);
}

#[test]
fn clients_that_do_not_read_keep_nobody_out() {
    let runtime = Runtime::new().unwrap();
    let bounds = Bounds { places: 2, write: Duration::from_millis(300), ..Bounds::default() };
    let address = start(&runtime, &listen(bounds));
    let mut deaf = [connect(address), connect(address)];
    for stream in &mut deaf {
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // It is a place that is heard of.
        stream.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(ask(&mut connect(address), "/name", ""), "first");

    let (certificate, root) = Certificate::new();
    let bounds = Bounds { places: 1, ..bounds };
    let address = start(&runtime, &Listen { tls: Some(certificate.files.clone()), ..listen(bounds) });
    runtime.block_on(async {
        let mut deaf = connect_tls(address, &root).await.unwrap();
        deaf.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        deaf.read_u8().await.unwrap();
        let asked = async { ask_tls(&mut connect_tls(address, &root).await.unwrap()).await };
        let answer = tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
        assert!(answer.ends_with("first"), "{answer}");
        drop(deaf);
    });
}

#[test]
fn each_listener_has_its_own_router_and_all_end_together() {
    let runtime = Runtime::new().unwrap();
    let bind = || runtime.block_on(Listener::bind(&listen(Bounds::default()))).unwrap();
    let (first, second) = (bind(), bind());
    let addresses = [first.address(), second.address()];
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let doors = vec![(first, router("first")), (second, router("second"))];
    let server = runtime.spawn(serve(doors, async { drop(stopped.await) }));
    let mut open = addresses.map(connect);
    assert_eq!(ask(&mut open[0], "/name", ""), "first");
    assert_eq!(ask(&mut open[1], "/name", ""), "second");
    stop.send(()).unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), server).await.unwrap().unwrap() });
    for (stream, address) in open.iter_mut().zip(addresses) {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "an idle connection is closed at the end");
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn handlers_know_the_client() {
    let runtime = Runtime::new().unwrap();
    let believing = start(&runtime, &listen(Bounds::default()));
    let unbelieving = start(&runtime, &Listen { trusted_proxies: vec![], ..listen(Bounds::default()) });
    let forwarded = "X-Forwarded-For: 192.0.2.1, 198.51.100.7\r\n";
    assert_eq!(ask(&mut connect(believing), "/who", forwarded), "198.51.100.7");
    assert_eq!(ask(&mut connect(believing), "/who", ""), "127.0.0.1");
    assert_eq!(ask(&mut connect(unbelieving), "/who", forwarded), "127.0.0.1");
}

struct Certificate {
    files: TlsConfig,
    _dir: tempfile::TempDir,
}

impl Certificate {
    fn new() -> (Self, CertificateDer<'static>) {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsConfig { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let certificate = Self { files, _dir: dir };
        let root = certificate.renew();
        (certificate, root)
    }

    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["paas.test".to_owned()]).unwrap();
        std::fs::write(&self.files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&self.files.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }
}

type TlsStream = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

async fn connect_tls(address: SocketAddr, root: &CertificateDer<'static>) -> std::io::Result<TlsStream> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await?;
    TlsConnector::from(std::sync::Arc::new(config)).connect("paas.test".try_into().unwrap(), stream).await
}

async fn ask_tls(stream: &mut TlsStream) -> String {
    stream.write_all(b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"first") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn tls_is_spoken_and_a_new_certificate_drops_no_connection() {
    let runtime = Runtime::new().unwrap();
    let (certificate, root) = Certificate::new();
    let address =
        start(&runtime, &Listen { tls: Some(certificate.files.clone()), ..listen(Bounds::default()) });
    runtime.block_on(async {
        let mut old = connect_tls(address, &root).await.unwrap();
        assert!(ask_tls(&mut old).await.starts_with("HTTP/1.1 200"));
        let renewed = certificate.renew();
        assert!(connect_tls(address, &root).await.is_err(), "the old certificate is not served any more");
        assert!(ask_tls(&mut connect_tls(address, &renewed).await.unwrap()).await.ends_with("first"));
        assert!(ask_tls(&mut old).await.ends_with("first"));
    });
}

#[test]
fn a_client_that_never_ends_its_handshake_is_cut() {
    let runtime = Runtime::new().unwrap();
    let (certificate, _) = Certificate::new();
    let bounds = Bounds { first_head: Duration::from_millis(200), ..Bounds::default() };
    let address = start(&runtime, &Listen { tls: Some(certificate.files.clone()), ..listen(bounds) });
    let mut stream = connect(address);
    stream.write_all(b"\x16\x03\x01\x02\x00").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
