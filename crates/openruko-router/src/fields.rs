//! Header fields between client and dyno: what is for one hop stays there, and each side learns of the other.

use std::time::Instant;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, DATE, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora_core::protocols::http::date::get_cached_date;
use pingora_core::{ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::digits::Digits;

/// What this program says of itself in `Via`, with the version of HTTP that it was spoken to in.
const VIA_HTTP1: &str = "1.1 openruko-router";
const VIA_HTTP2: &str = "2 openruko-router";

/// For one hop only, whatever `Connection` says (RFC 9110, section 7.6.1).
const ONE_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    UPGRADE,
];

/// These are for the whole way, whatever `Connection` says: without them a request would be another one.
const WHOLE_WAY: [HeaderName; 3] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING];

/// The most names in `Connection`, those that are empty included.
pub(crate) const MAX_HOP_NAMES: usize = 32;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a request says of itself, and what its way to the router says of it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The client's own id of the request, if it is one, else a new one.
    pub(crate) request_id: String,
    /// `Host`, as it came.
    pub(crate) host: String,
    /// Everybody that the request came through, the client first: for the log.
    pub(crate) forwarded_for: String,
    /// Whether it came over HTTPS, to this router or to a proxy in front that is trusted.
    pub(crate) https: bool,
    /// The port that it came to, likewise.
    pub(crate) port: u16,
    /// Milliseconds since 1970.
    pub(crate) start: u64,
    /// A handshake for WebSocket.
    pub(crate) websocket: bool,
    /// It came through a proxy that is trusted.
    pub(crate) proxied: bool,
    /// The host that a trusted proxy in front was asked for, if another.
    forwarded_host: Option<String>,
}

/// How a request came here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// The address of the other end of the connection.
    pub(crate) peer: &'a str,
    /// That is a proxy which is believed.
    pub(crate) trusted: bool,
    /// The connection has TLS.
    pub(crate) tls: bool,
    /// The port of this router.
    pub(crate) port: u16,
    /// Milliseconds since 1970.
    pub(crate) start: u64,
    /// The same moment by another clock.
    pub(crate) at: Instant,
}

impl Facts {
    /// Of a request.
    pub(crate) fn of(request: &RequestHeader, arrival: &Arrival<'_>) -> Self {
        let field = |name: &HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
        let trusted = |name: &HeaderName| if arrival.trusted { field(name).map(str::trim) } else { None };
        let proto = trusted(&FORWARDED_PROTO);
        let https = proto.map_or(arrival.tls, |proto| proto.eq_ignore_ascii_case("https"));
        let port = trusted(&FORWARDED_PORT).and_then(|port| port.parse().ok());
        let by_proto = proto.map(|_| if https { 443 } else { 80 });
        let authority = request.uri.authority().map(|authority| authority.as_str());
        Self {
            request_id: request_id(field(&REQUEST_ID)),
            host: field(&HOST).or(authority).unwrap_or_default().to_owned(),
            forwarded_for: forwarded_for(&request.headers, arrival.peer),
            https,
            port: port.or(by_proto).unwrap_or(arrival.port),
            start: arrival.start,
            websocket: is_websocket(request),
            proxied: arrival.trusted,
            forwarded_host: trusted(&FORWARDED_HOST).map(str::to_owned),
        }
    }

    /// `http` or `https`.
    pub(crate) fn protocol(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Heroku's rule: an id of 20 to 200 of these characters is taken over.
fn request_id(said: Option<&str>) -> String {
    let good = |id: &&str| {
        (20..=200).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    said.filter(good).map_or_else(crate::id::request_id, str::to_owned)
}

/// What the client says of its way, and the client.
fn forwarded_for(headers: &HeaderMap, peer: &str) -> String {
    let mut list = String::new();
    for said in headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        list.push_str(said.trim());
        list.push_str(", ");
    }
    list + peer
}

fn is_websocket(request: &RequestHeader) -> bool {
    let is = |name: &HeaderName, word: &str| {
        request.headers.get_all(name).iter().any(|value| has_token(value.as_bytes(), word))
    };
    request.version == Version::HTTP_11
        && request.method == Method::GET
        && is(&UPGRADE, "websocket")
        && is(&CONNECTION, "upgrade")
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token(list: &[u8], word: &str) -> bool {
    tokens(list).any(|token| token.eq_ignore_ascii_case(word.as_bytes()))
}

/// What is for one hop, named by `Connection`.
///
/// # Errors
/// It names more than [`MAX_HOP_NAMES`]: each field is held against each of them.
fn named_by_connection(headers: &HeaderMap) -> Result<Vec<HeaderName>> {
    let lists = headers.get_all(CONNECTION);
    let names = || lists.iter().flat_map(|list| tokens(list.as_bytes()));
    if names().nth(MAX_HOP_NAMES).is_some() {
        return Err(pingora_core::Error::new(ErrorType::InvalidHTTPHeader));
    }
    let names = names().filter_map(|token| HeaderName::from_bytes(token).ok());
    Ok(names.filter(|name| !WHOLE_WAY.contains(name)).collect())
}

/// The head of a request as the dyno gets it.
#[derive(Debug)]
pub(crate) struct ToDyno {
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    /// What the session has to know of it: method and framing.
    pub(crate) known: Box<RequestHeader>,
}

/// The request as the dyno gets it: as the client wrote it, but for what is for one hop and what the router says
/// itself. `raw` is the head as it came, if it came as HTTP/1; it was judged.
///
/// # Errors
/// A field cannot be written, or `Connection` names too much; there is none such.
pub(crate) fn to_dyno(
    request: &RequestHeader,
    raw: Option<&[u8]>,
    path: &str,
    facts: &Facts,
    has_body: bool,
) -> Result<ToDyno> {
    let is_h2 = request.version == Version::HTTP_2;
    let mut known = RequestHeader::build_no_case(request.method.clone(), b"/", Some(0))?;
    let mut head = Vec::with_capacity(raw.map_or(1024, <[u8]>::len) + 512);
    for part in [request.method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let named = named_by_connection(&request.headers)?;
    let is_named = |name: &[u8]| named.iter().any(|one| name.eq_ignore_ascii_case(one.as_str().as_bytes()));
    let stays = |name: &[u8]| is_for_dyno(name) && !is_named(name);
    match raw {
        Some(raw) => {
            lines(raw).filter(|(name, _)| stays(name)).for_each(|(_, line)| head.extend_from_slice(line));
        }
        None => {
            copy_fields(&request.headers, &mut head, stays);
            push_cookies(&request.headers, &mut head);
        }
    }
    if is_h2 {
        push(&mut head, "host", &facts.host);
    }
    if let Some(length) = request.headers.get(CONTENT_LENGTH) {
        known.insert_header(CONTENT_LENGTH, length.clone())?;
    } else if has_body {
        known.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        if is_h2 {
            push(&mut head, "transfer-encoding", "chunked");
        }
    }
    if facts.websocket {
        known.insert_header(UPGRADE, HeaderValue::from_static("websocket"))?;
        push(&mut head, "Connection", "Upgrade");
        push(&mut head, "Upgrade", "websocket");
    }
    push(&mut head, "X-Request-Id", &facts.request_id);
    push(&mut head, "X-Forwarded-For", &facts.forwarded_for);
    push(&mut head, "X-Forwarded-Proto", facts.protocol());
    push_number(&mut head, "X-Forwarded-Port", facts.port.into());
    push(&mut head, "X-Forwarded-Host", facts.forwarded_host.as_deref().unwrap_or(&facts.host));
    push_number(&mut head, "X-Request-Start", facts.start);
    push(&mut head, "Via", if is_h2 { VIA_HTTP2 } else { VIA_HTTP1 });
    head.extend_from_slice(b"\r\n");
    Ok(ToDyno { bytes: head, known: Box::new(known) })
}

/// Whether a field of the client's goes on to the dyno: not if it is for one hop, nor if the router says it itself.
/// To programs that make variables of fields, as CGI does (RFC 3875, section 4.1.18), `_` is the same as `-`.
fn is_for_dyno(name: &[u8]) -> bool {
    let same = |byte: u8, other: u8| byte.eq_ignore_ascii_case(&other) || (byte == b'_' && other == b'-');
    let is = |other: &str| name.iter().zip(other.bytes()).all(|(byte, other)| same(*byte, other));
    // The length tells most fields from these.
    match name.len() {
        2 => !is("te"),
        7 => !is("trailer") && !is("upgrade"),
        10 => !is("connection") && !is("keep-alive"),
        12 => !is("x-request-id"),
        14 => name[7] != b'_' || !is("content-length"),
        15 => !is("x-forwarded-for") && !is("x-request-start"),
        16 => !is("x-forwarded-host") && !is("x-forwarded-port") && !is("proxy-connection"),
        17 => !is("x-forwarded-proto") && (name[8] != b'_' || !is("transfer-encoding")),
        18 => !is("proxy-authenticate"),
        19 => !is("proxy-authorization"),
        _ => true,
    }
}

/// The lines of a head after the first, each with the name of its field.
fn lines(raw: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = raw.split_inclusive(|byte| *byte == b'\n').skip(1);
    lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line))
    })
}

/// The fields of a request over HTTP/2, but for those that HTTP/1 says in another way.
fn copy_fields(headers: &HeaderMap, head: &mut Vec<u8>, stays: impl Fn(&[u8]) -> bool) {
    for (name, value) in headers {
        if *name != HOST && *name != COOKIE && stays(name.as_str().as_bytes()) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
}

/// Cookies may come in pieces over HTTP/2, and have to be put together: RFC 9113, section 8.2.3.
fn push_cookies(headers: &HeaderMap, head: &mut Vec<u8>) {
    let mut before: &[u8] = b"cookie: ";
    for piece in headers.get_all(COOKIE) {
        head.extend_from_slice(before);
        head.extend_from_slice(piece.as_bytes());
        before = b"; ";
    }
    if before == b"; " {
        head.extend_from_slice(b"\r\n");
    }
}

fn push(head: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
}

fn push_number(head: &mut Vec<u8>, name: &str, number: u64) {
    push(head, name, Digits::from(number).as_str());
}

/// Path and query. An absolute target is for proxies; a dyno is none.
pub(crate) fn path(request: &RequestHeader) -> String {
    let raw = request.raw_path();
    if raw.starts_with(b"/") || raw == b"*" {
        return String::from_utf8_lossy(raw).into_owned();
    }
    match request.uri.path_and_query() {
        Some(path) if path.as_str().starts_with('/') => path.as_str().to_owned(),
        Some(query) => format!("/{}", query.as_str().trim_start_matches('*')),
        None => "/".to_owned(),
    }
}

/// The answer as a client gets it that speaks HTTP/2, where a session writes it.
///
/// # Errors
/// `Connection` names too much.
pub(crate) fn to_h2_client(mut answer: Box<ResponseHeader>) -> Result<Box<ResponseHeader>> {
    let mut hop = named_by_connection(&answer.headers)?;
    hop.extend(answer.headers.keys().filter(|name| ONE_HOP.contains(name)).cloned());
    for name in &hop {
        answer.remove_header(name);
    }
    answer.append_header(VIA, HeaderValue::from_static(VIA_HTTP1))?;
    Ok(answer)
}

/// The head of an answer as a client gets it that speaks HTTP/1.
#[derive(Debug)]
pub(crate) struct ToClient {
    /// What is sent; `Connection` and the empty line are still to come.
    pub(crate) bytes: Vec<u8>,
    /// What the session has to know of it: status and framing.
    pub(crate) known: Box<ResponseHeader>,
}

/// How the body of an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// As the dyno says, by a length, or not at all since there is none.
    AsItCame,
    /// In chunks.
    Chunks,
    /// By the end of the connection.
    End,
}

fn framing(answer: &ResponseHeader, request: &RequestHeader) -> Framing {
    let no_body = answer.status.is_informational()
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || request.method == Method::HEAD;
    if no_body || answer.headers.contains_key(CONTENT_LENGTH) {
        Framing::AsItCame
    } else if request.version == Version::HTTP_11 {
        Framing::Chunks
    } else {
        Framing::End
    }
}

/// The answer as the dyno wrote it, but for what is for one hop.
///
/// # Errors
/// `Connection` names too much.
pub(crate) fn to_h1_client(answer: &ResponseHeader, request: &RequestHeader) -> Result<ToClient> {
    let status = answer.status;
    let framing = framing(answer, request);
    let mut known = ResponseHeader::build_no_case(status, Some(1))?;
    let mut head = Vec::with_capacity(512);
    let reason = answer.get_reason_phrase().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let named = named_by_connection(&answer.headers)?;
    for (name, value) in answer.case_header_iter() {
        let (name, value) = (name.as_slice(), value.as_bytes());
        let is_named = named.iter().any(|one| name.eq_ignore_ascii_case(one.as_str().as_bytes()));
        if is_named || !is_for_client(name) {
            continue;
        }
        // Folded values are one line by now: Pingora follows RFC 9112, section 5.2.
        for part in [name, b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    if let Some(length) = answer.headers.get(CONTENT_LENGTH) {
        known.insert_header(CONTENT_LENGTH, length.clone())?;
    }
    if framing == Framing::Chunks {
        known.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        push(&mut head, "Transfer-Encoding", "chunked");
    }
    if !answer.headers.contains_key(DATE) && !status.is_informational() {
        push(&mut head, "Date", get_cached_date().to_str().unwrap_or_default());
    }
    push(&mut head, "Via", VIA_HTTP1);
    Ok(ToClient { bytes: head, known: Box::new(known) })
}

/// Ends the head of an answer, with what becomes of the connection.
pub(crate) fn end_head(head: &mut Vec<u8>, status: StatusCode, keep_alive: bool) {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        push(head, "Connection", "Upgrade");
        push(head, "Upgrade", "websocket");
    } else if !status.is_informational() {
        push(head, "Connection", if keep_alive { "keep-alive" } else { "close" });
    }
    head.extend_from_slice(b"\r\n");
}

/// Whether a field of the dyno's goes on to the client: not if it is for one hop, or about the framing of the body there.
fn is_for_client(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        2 => !is("te"),
        7 => !is("trailer") && !is("upgrade"),
        10 => !is("connection") && !is("keep-alive"),
        16 => !is("proxy-connection"),
        17 => !is("transfer-encoding"),
        18 => !is("proxy-authenticate"),
        19 => !is("proxy-authorization"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/a?b", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn arrival(trusted: bool) -> Arrival<'static> {
        Arrival {
            peer: "203.0.113.9",
            trusted,
            tls: false,
            port: 80,
            start: 1_700_000_000_123,
            at: Instant::now(),
        }
    }

    /// The head of a request as a dyno gets it.
    struct Sent(String);

    impl Sent {
        /// The values of a field.
        fn all(&self, name: &str) -> String {
            let fields = self.0.lines().skip(1).filter_map(|line| line.split_once(": "));
            let named = fields.filter(|(has, _)| has.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value).collect::<Vec<_>>().join(" & ")
        }
    }

    fn sent(fields: &[(&'static str, &str)], trusted: bool) -> Sent {
        let request = request(fields);
        let mut raw = "GET /a?b HTTP/1.1\r\n".to_owned();
        for (name, value) in fields {
            raw += &format!("{name}: {value}\r\n");
        }
        raw += "\r\n";
        let facts = Facts::of(&request, &arrival(trusted));
        let to = to_dyno(&request, Some(raw.as_bytes()), "/a?b", &facts, false).unwrap();
        assert!(to.bytes.starts_with(b"GET /a?b HTTP/1.1\r\n") && to.bytes.ends_with(b"\r\n\r\n"));
        Sent(String::from_utf8(to.bytes).unwrap())
    }

    #[test]
    fn a_dyno_learns_who_asks() {
        let to =
            sent(&[("Host", "a.example.com"), ("X-Forwarded-For", "1.2.3.4"), ("Via", "1.0 cache")], false);
        assert_eq!(to.all("host"), "a.example.com");
        assert_eq!(to.all("x-forwarded-for"), "1.2.3.4, 203.0.113.9");
        assert_eq!(to.all("x-forwarded-proto"), "http");
        assert_eq!(to.all("x-forwarded-port"), "80");
        assert_eq!(to.all("x-forwarded-host"), "a.example.com");
        assert_eq!(to.all("x-request-start"), "1700000000123");
        assert_eq!(to.all("via"), "1.0 cache & 1.1 openruko-router");
        assert_eq!(to.all("x-request-id").len(), 36);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let said = [("Host", "a"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "b")];
        assert_eq!(sent(&said, false).all("x-forwarded-proto"), "http");
        assert_eq!(sent(&said, false).all("x-forwarded-host"), "a");
        assert_eq!(sent(&said, true).all("x-forwarded-proto"), "https");
        assert_eq!(sent(&said, true).all("x-forwarded-port"), "443");
        assert_eq!(sent(&said, true).all("x-forwarded-host"), "b");
    }

    #[test]
    fn what_the_router_says_cannot_be_said_with_underscores() {
        let said = [
            ("Host", "a"),
            ("X_Forwarded_Proto", "https"),
            ("X-Forwarded_For", "1.2.3.4"),
            ("x_request_id", "0123456789-abcdef_XYZ"),
            ("Content_Length", "7"),
            ("Transfer_Encoding", "chunked"),
            ("Content-Length", "0"),
            ("X_Own", "kept"),
        ];
        let to = sent(&said, true);
        for (name, _) in &said[1..6] {
            assert_eq!(to.all(name), "", "{name}");
        }
        assert_eq!((to.all("content-length").as_str(), to.all("x_own").as_str()), ("0", "kept"));
    }

    #[test]
    fn ids_of_requests_are_taken_over_if_they_are_ids() {
        let id = "0123456789-abcdef_XYZ";
        assert_eq!(sent(&[("X-Request-Id", id)], false).all("x-request-id"), id);
        for bad in ["short", "0123456789 0123456789", &"x".repeat(201)] {
            assert_ne!(sent(&[("X-Request-Id", bad)], false).all("x-request-id"), bad);
        }
    }

    #[test]
    fn what_is_for_one_hop_stays_there() {
        let to = sent(
            &[
                ("Host", "a"),
                ("Connection", "close, X-Secret, Host, content-length"),
                ("X-Secret", "1"),
                ("Content-Length", "0"),
                ("Keep-Alive", "timeout=1"),
                ("TE", "trailers"),
                ("Trailer", "X"),
                ("Upgrade", "h2c"),
                ("Proxy-Authorization", "x"),
                ("Proxy-Connection", "x"),
            ],
            false,
        );
        for gone in
            ["connection", "x-secret", "keep-alive", "te", "trailer", "upgrade", "proxy-authorization"]
        {
            assert_eq!(to.all(gone), "", "{gone}");
        }
        assert_eq!((to.all("host"), to.all("content-length")), ("a".to_owned(), "0".to_owned()));
    }

    #[test]
    fn websockets_go_through() {
        let to =
            sent(&[("Host", "a"), ("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")], false);
        assert_eq!((to.all("connection").as_str(), to.all("upgrade").as_str()), ("Upgrade", "websocket"));
        let other = sent(&[("Host", "a"), ("Connection", "close"), ("Upgrade", "websocket")], false);
        assert_eq!(other.all("upgrade"), "");
    }

    #[test]
    fn a_request_over_http2_becomes_one_of_http1() {
        let parts = http::Request::builder()
            .method("POST")
            .uri("http://a.example.com/x")
            .version(Version::HTTP_2)
            .header("cookie", "a=1")
            .header("x-own", "\u{e9}")
            .header("cookie", "b=2")
            .body(())
            .unwrap();
        let request = RequestHeader::from(parts.into_parts().0);
        let to = to_dyno(&request, None, "/x", &Facts::of(&request, &arrival(false)), true).unwrap();
        let text = String::from_utf8(to.bytes).unwrap();
        for line in [
            "POST /x HTTP/1.1",
            "host: a.example.com",
            "cookie: a=1; b=2",
            "x-own: \u{e9}",
            "transfer-encoding: chunked",
            "Via: 2 openruko-router",
        ] {
            assert_eq!(text.lines().filter(|has| *has == line).count(), 1, "{line:?} in {text}");
        }
        assert!(to.known.headers.contains_key("transfer-encoding"));
    }

    #[test]
    fn an_absolute_target_becomes_a_path() {
        for (target, expected) in [("http://a/x?y", "/x?y"), ("http://a", "/"), ("/x", "/x"), ("*", "*")] {
            let request = RequestHeader::build("OPTIONS", target.as_bytes(), None).unwrap();
            assert_eq!(path(&request), expected, "{target}");
        }
    }

    fn answer(status: u16, fields: &[(&'static str, &'static [u8])]) -> ResponseHeader {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            answer.append_header(*name, pingora_http::header_value_from_raw(*value)).unwrap();
        }
        answer
    }

    #[test]
    fn answers_are_framed_for_who_asked() {
        let framed = |status, fields: &[(&'static str, &'static [u8])], request: &RequestHeader| {
            let to = to_h1_client(&answer(status, fields), request).unwrap();
            let said = String::from_utf8(to.bytes).unwrap().contains("Transfer-Encoding: chunked\r\n");
            assert_eq!(to.known.headers.contains_key("transfer-encoding"), said);
            said
        };
        let new = request(&[]);
        let (mut old, mut head) = (request(&[]), request(&[]));
        old.set_version(Version::HTTP_10);
        head.set_method(Method::HEAD);
        let chunked: [(_, &[u8]); 1] = [("Transfer-Encoding", b"chunked")];
        assert!(framed(200, &chunked, &new) && framed(200, &[], &new));
        assert!(!framed(200, &chunked, &old) && !framed(200, &chunked, &head));
        assert!(!framed(200, &[("Content-Length", b"3")], &new));
        assert!(!framed(304, &[], &new) && !framed(204, &chunked, &new) && !framed(103, &[], &new));
    }

    #[test]
    fn a_client_gets_what_the_dyno_wrote_but_for_what_is_for_one_hop() {
        let own: [(_, &[u8]); 8] = [
            ("Content-Length", b"3"),
            ("Date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Connection", b"X-Own, close"),
            ("X-Own", b"1"),
            ("Keep-Alive", b"timeout=5"),
            ("X-MixedCase", b"\xe9"),
            ("Set-Cookie", b"a=1"),
            ("Set-Cookie", b"b=2"),
        ];
        let mut to = to_h1_client(&answer(200, &own), &request(&[])).unwrap();
        end_head(&mut to.bytes, StatusCode::OK, true);
        let expected: &[u8] =
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            X-MixedCase: \xe9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nVia: 1.1 openruko-router\r\n\
            Connection: keep-alive\r\n\r\n";
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(text(&to.bytes), text(expected));
        let h2 = to_h2_client(Box::new(answer(200, &own))).unwrap();
        assert!(!h2.headers.contains_key("x-own") && !h2.headers.contains_key("keep-alive"));
        assert_eq!(h2.headers["via"], "1.1 openruko-router");
    }
}
