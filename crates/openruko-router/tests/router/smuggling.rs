//! Requests that could hide another one are refused, and their connections closed.

use crate::api::routed;
use crate::dyno::Dyno;
use crate::world::World;

/// What follows each: if it is answered, it was taken for a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: shop.test\r\n\r\n";

#[test]
fn ambiguous_heads_are_refused() {
    let dyno = Dyno::echo();
    let world = World::shop(vec![routed(1, dyno.address)]);
    for (what, head) in [
        (
            "both lengths",
            "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "two equal lengths",
            "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        ),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3, 3\r\n\r\n"),
        ("a signed length", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: +3\r\n\r\n"),
        ("a length that is none", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3x\r\n\r\n"),
        (
            "chunked in the midst",
            "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        ),
        ("another coding", "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("chunked in 1.0", "POST / HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a vertical tab", "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n"),
        ("white space before a colon", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length : 3\r\n\r\n"),
        ("a folded line", "GET / HTTP/1.1\r\nHost: shop.test\r\nX: a\r\n b\r\n\r\n"),
        ("white space before the first field", "GET / HTTP/1.1\r\n X: a\r\nHost: shop.test\r\n\r\n"),
        ("a bare line feed", "GET / HTTP/1.1\r\nHost: shop.test\nX: a\r\n\r\n"),
        ("a bare carriage return", "GET / HTTP/1.1\r\nHost: shop.test\r\nX: a\rContent-Length: 3\r\n\r\n"),
        ("line feeds alone", "GET / HTTP/1.1\nHost: shop.test\n\n"),
        ("a NUL", "GET / HTTP/1.1\r\nHost: shop.test\r\nX: a\0b\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nHost: shop.test\r\nnonsense\r\n\r\n"),
        ("another host in the target", "GET http://other.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\nX: a\r\n\r\n"),
        ("no host in 1.0", "GET / HTTP/1.0\r\n\r\n"),
        ("user and password", "GET / HTTP/1.1\r\nHost: user@shop.test\r\n\r\n"),
        ("two blanks", "GET  / HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
        ("another version", "GET / HTTP/3.0\r\nHost: shop.test\r\n\r\n"),
        ("no version", "GET /\r\n\r\n"),
    ] {
        let mut client = world.client();
        client.send(format!("{head}{HIDDEN}"));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{what}");
        assert_eq!(answer.field("connection"), "close", "{what}");
        let (rest, _) = client.rest();
        assert!(rest.is_empty(), "{what}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(dyno.accepted(), 0, "no dyno heard of any");
    for (status, head) in [
        (405, "CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\n\r\n"),
        (417, "POST / HTTP/1.1\r\nHost: shop.test\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let mut client = world.client();
        assert_eq!(client.send(head).answer().status, status);
        assert!(client.rest().0.is_empty());
    }
}

#[test]
fn a_dyno_sees_one_framing_alone() {
    let dyno = Dyno::echo();
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = world.client();
    client.send(format!(
        "POST /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding, Content-Length\r\n\
         \r\n5;ext=1\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n{HIDDEN}"
    ));
    let first = client.answer().text();
    assert!(first.contains("Transfer-Encoding: chunked\n") && first.ends_with("\nhello"), "{first}");
    assert!(
        !first.to_ascii_lowercase().contains("content-length") && !first.contains("X-Trailer"),
        "{first}"
    );
    assert!(client.answer().text().starts_with("GET /hidden "), "a second request, and seen as one");
}

/// A frame of HTTP/2: RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that are never indexed: RFC 7541, section 6.2.3.
fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0x10], text(name), text(value)].concat()).collect()
}

/// What the router does with a stream: the kind of the first frame on it, and the payload.
fn first_frame(world: &World, fields: &[(&str, &str)], body: Option<&[u8]>) -> (u8, Vec<u8>) {
    use std::io::Read;
    let mut client = world.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").send(frame(4, 0, 0, &[]));
    let end = u8::from(body.is_none());
    client.send(frame(1, 4 | end, 1, &literals(fields)));
    if let Some(body) = body {
        client.send(frame(0, 1, 1, body));
    }
    loop {
        let mut head = [0; 9];
        client.reader.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        client.reader.read_exact(&mut payload).unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if stream == 1 || head[3] == 7 {
            return (head[3], payload);
        }
    }
}

#[test]
fn ambiguous_streams_of_http2_are_refused() {
    const HEADERS: u8 = 1;
    let dyno = Dyno::echo();
    let world = World::shop(vec![routed(1, dyno.address)]);
    let good = [(":method", "POST"), (":scheme", "http"), (":authority", "shop.test"), (":path", "/")];
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    assert_eq!(first_frame(&world, &good, None).0, HEADERS, "a good one is answered");
    assert_eq!(dyno.accepted(), 1);
    for (what, fields) in [
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "h2c")])),
        ("te", with(&[("te", "gzip")])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("a line break in a value", with(&[("x-a", "1\r\nx-b: 2")])),
        ("another host", with(&[("host", "other.test")])),
        ("two lengths", with(&[("content-length", "3"), ("content-length", "4")])),
        ("a length and another body", with(&[("content-length", "3")])),
    ] {
        let body = what.contains("length").then_some(&b"hello"[..]);
        let (kind, payload) = first_frame(&world, &fields, body);
        // A reset or the end of the connection; or an answer that says 400 (its first field, indexed: RFC 7541, A).
        let refused = kind == 3 || kind == 7 || (kind == HEADERS && payload.first() == Some(&0x8C));
        assert!(refused, "{what}: frame {kind}, {payload:?}");
    }
    for (what, path) in
        [("a blank", "/ HTTP/1.1"), ("a line break", "/\r\nx: y"), ("no slash", "http://other.test/")]
    {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.test"), (":path", path)];
        let (kind, payload) = first_frame(&world, &fields, None);
        let refused = kind == 3 || kind == 7 || (kind == HEADERS && payload.first() == Some(&0x8C));
        assert!(refused, "{what}: frame {kind}, {payload:?}");
    }
    assert_eq!(dyno.accepted(), 1, "no dyno heard of any");
}
